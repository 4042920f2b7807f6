//! Complex packing: groups are unpacked into a tile that stays in the first cache, and the tile is summed.
//!
//! Every group writes a fixed number of values, most of them overwritten by the next group: the lengths of groups
//! cannot be predicted, and a branch predicted wrongly costs more than the values of four times eight lanes.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_andnot_si256, _mm256_cmpeq_epi32, _mm256_or_si256, _mm256_set1_epi32,
    _mm256_storeu_si256, _mm256_xor_si256,
};
use std::mem::take;

use super::super::Complex;
use super::super::complex::{Parts, Start};
use super::numbers::{Eight, LANES, REACH, WIDEST};
use super::scale::{blank, scale};
use super::sums::{LIMIT, Sums, TILE};

/// Groups whose heads are read at once.
const BLOCK: usize = 256;
/// Values that every group writes at least.
const SURE: usize = 4 * LANES;
/// Bytes that a tile or a block may be read from: its own, and those behind them that are read and not used.
const SPAN: usize = TILE * WIDEST / 8 + SURE * WIDEST / 8 + REACH;
// The heads of a block are read through the same window.
const _: () = assert!(SPAN >= (BLOCK + SURE) * WIDEST / 8 + REACH);

/// Unpacks a field; `None` where it is damaged, or 32 bits may be too few, or a number has more than 25.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(bytes: &[u8], packing: &Complex, mut values: &mut [f32]) -> Option<()> {
    let mut field = Field::new(bytes, packing, values.len())?;
    for first in (0..packing.groups).step_by(BLOCK) {
        field.read(first)?;
        while field.block.next < field.block.count {
            field.fill();
            if field.tile.filled == TILE {
                field.sum(&mut values)?;
            }
        }
    }
    field.sum(&mut values)?;
    values.is_empty().then_some(())
}

/// The heads of some groups.
struct Block {
    /// What each value of a group is added to.
    base: [i32; BLOCK + SURE],
    width: [i32; BLOCK + SURE],
    length: [i32; BLOCK + SURE],
    next: usize,
    count: usize,
}

/// Differences that are not summed yet.
#[repr(C, align(64))]
struct Tile {
    numbers: [i32; TILE + SURE],
    /// −1 where there is a value, 0 where it is missing; all −1 in fields that have no missing values.
    present: [i32; TILE + SURE],
    filled: usize,
}

/// A field being unpacked.
struct Field<'a> {
    packing: &'a Complex,
    bytes: Padded<'a>,
    /// The bits where the heads of the next block and the values of the next group begin.
    next: Parts,
    start: Start,
    line: (f64, f64),
    /// Bases that stand for missing values in groups without bits.
    missing: [i32; 2],
    seen: usize,
    sums: Sums,
    /// How many values the groups may still have.
    left: u64,
    /// How many bits they may still have.
    bits_left: u64,
    block: Block,
    tile: Tile,
}

impl<'a> Field<'a> {
    fn new(bytes: &'a [u8], packing: &'a Complex, count: usize) -> Option<Self> {
        let (next, start) = (Parts::new(packing), Start::new(packing, bytes));
        let bits_left = (bytes.len() * 8).checked_sub(next.values)? as u64;
        let widths = [packing.scale.bits, packing.width_bits, packing.length_bits];
        let longest = packing.length_reference + (packing.length_increment << packing.length_bits.min(32));
        let narrow = widths.iter().all(|bits| *bits as usize <= WIDEST)
            && start.minimum.abs() < i64::from(LIMIT / 4)
            && start.first.iter().all(|first| (0..LIMIT.into()).contains(first))
            && longest.max(packing.last_length) <= i32::MAX as u64;
        let ones = (1i32.checked_shl(packing.scale.bits)? - 1).wrapping_add(start.minimum as i32);
        let second = if packing.missing == 2 { ones.wrapping_sub(1) } else { ones };
        narrow.then(|| Field {
            packing,
            bytes: Padded::new(bytes),
            next,
            start,
            line: packing.scale.line(),
            missing: [ones, second],
            seen: 0,
            sums: Sums::default(),
            left: count as u64,
            bits_left,
            block: Block::default(),
            tile: Tile { numbers: [0; TILE + SURE], present: [-1; TILE + SURE], filled: 0 },
        })
    }

    /// Reads the heads of the groups from `first` on and checks that their values are there and wanted.
    #[target_feature(enable = "avx2")]
    fn read(&mut self, first: usize) -> Option<()> {
        let (packing, block) = (self.packing, &mut self.block);
        (block.next, block.count) = (0, (packing.groups - first).min(BLOCK));
        let parts = [
            (&mut self.next.references, packing.scale.bits, &mut block.base),
            (&mut self.next.widths, packing.width_bits, &mut block.width),
            (&mut self.next.lengths, packing.length_bits, &mut block.length),
        ];
        for (position, bits, into) in parts {
            let (window, first_bit) = self.bytes.window(*position);
            numbers(window, first_bit, bits as usize, into);
            *position += block.count * bits as usize;
        }
        block.scale(packing, self.start.minimum as i32);
        if first + block.count == packing.groups {
            block.length[block.count - 1] = packing.last_length as i32;
        }
        let (values, bits) = block.sizes()?;
        self.left = self.left.checked_sub(values)?;
        self.bits_left = self.bits_left.checked_sub(bits)?;
        Some(())
    }

    /// Unpacks groups until the tile is full or the block has no more.
    #[target_feature(enable = "avx2")]
    fn fill(&mut self) {
        let (window, first_bit) = self.bytes.window(self.next.values);
        let (block, tile) = (&mut self.block, &mut self.tile);
        self.next.values += match self.packing.missing {
            0 => fill::<false>(window, first_bit, block, tile, Codes::default()),
            management => fill::<true>(window, first_bit, block, tile, Codes { bases: self.missing, management }),
        };
    }

    /// Turns the tile into the first of `values`, and empties it.
    #[target_feature(enable = "avx2")]
    fn sum(&mut self, values: &mut &mut [f32]) -> Option<()> {
        let (head, tail) = take(values).split_at_mut_checked(self.tile.filled)?;
        *values = tail;
        self.begin();
        let right = match self.packing.order {
            0 => true,
            1 => self.sum_order::<1>(),
            _ => self.sum_order::<2>(),
        };
        scale(self.tile.numbers.as_chunks().0, self.line, head);
        if self.packing.missing > 0 {
            blank(self.tile.present.as_chunks().0, head);
        }
        self.tile.filled = 0;
        right.then_some(())
    }

    #[target_feature(enable = "avx2")]
    fn sum_order<const ORDER: u8>(&mut self) -> bool {
        let tile = &mut self.tile;
        match tile.numbers.first_chunk_mut() {
            Some(whole) if self.packing.missing == 0 && tile.filled == TILE => self.sums.tile::<ORDER>(whole),
            _ => {
                // What is left behind the last values is no difference.
                tile.numbers.iter_mut().skip(tile.filled).for_each(|number| *number = 0);
                let (eights, present) = (tile.filled.div_ceil(LANES), tile.present.as_chunks().0);
                let numbers = tile.numbers.as_chunks_mut().0.get_mut(..eights).unwrap_or_default();
                self.sums.some::<ORDER>(numbers, present)
            }
        }
    }

    /// Puts differences that lead to the field's first values in the place of the first ones.
    fn begin(&mut self) {
        let [first, second] = self.start.first.map(|value| value as i32);
        let differences = [first, second.wrapping_sub(first.wrapping_mul(2))];
        let present = self.tile.present.iter().take(self.tile.filled);
        let places = self.tile.numbers.iter_mut().zip(present).filter(|(_, present)| **present != 0);
        let wanted = differences.iter().take(self.packing.order.into()).skip(self.seen);
        for ((place, _), difference) in places.zip(wanted) {
            *place = *difference;
            self.seen += 1;
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Block { base: [0; BLOCK + SURE], width: [0; BLOCK + SURE], length: [0; BLOCK + SURE], next: 0, count: 0 }
    }
}

impl Block {
    /// Turns numbers as they are packed into bases, widths and lengths.
    #[target_feature(enable = "avx2")]
    fn scale(&mut self, packing: &Complex, minimum: i32) {
        let (reference, increment) = (packing.length_reference as i32, packing.length_increment as i32);
        self.base.iter_mut().for_each(|base| *base += minimum);
        self.width.iter_mut().for_each(|width| *width += packing.width_reference as i32);
        self.length.iter_mut().for_each(|length| *length = length.wrapping_mul(increment).wrapping_add(reference));
    }

    /// How many values and bits the groups have; `None` where one is too wide.
    #[target_feature(enable = "avx2")]
    fn sizes(&self) -> Option<(u64, u64)> {
        let (mut values, mut bits, mut widest) = (0, 0, 0);
        for (width, length) in self.width.iter().zip(&self.length).take(self.count) {
            values += u64::from(length.cast_unsigned());
            bits += u64::from(length.cast_unsigned()) * u64::from(width.cast_unsigned());
            widest = widest.max(*width);
        }
        (widest as usize <= WIDEST).then_some((values, bits))
    }
}

/// What stands for missing values.
#[derive(Clone, Copy, Default)]
struct Codes {
    /// Bases of groups without bits.
    bases: [i32; 2],
    management: u8,
}

impl Codes {
    /// The numbers that stand for missing values in a group; −1 is none.
    #[inline]
    fn of(self, base: i32, width: usize) -> [i32; 2] {
        let ones = (1 << width) - 1;
        match width {
            0 if self.bases.contains(&base) => [0, 0],
            0 => [-1, -1],
            _ => [ones, if self.management == 2 { ones - 1 } else { ones }],
        }
    }
}

/// Unpacks groups until the tile is full or the block has no more; how many bits they had.
#[target_feature(enable = "avx2")]
fn fill<const MISSING: bool>(
    window: &[u8; SPAN],
    first_bit: usize,
    block: &mut Block,
    tile: &mut Tile,
    codes: Codes,
) -> usize {
    let (mut position, mut filled, mut next) = (first_bit, tile.filled, block.next);
    let heads = block.base.iter().zip(&block.width).zip(&mut block.length).take(block.count).skip(block.next);
    for ((base, width), length) in heads {
        let (width, count) = (*width as usize, (*length as usize).min(TILE - filled));
        let group = Group::new::<MISSING>(*base, width, position, codes);
        for eight in 0..SURE / LANES {
            // SAFETY: filled ≤ TILE, and these are the first `SURE` values of a group.
            unsafe { group.write::<MISSING>(window, eight, tile, filled) };
        }
        for eight in SURE / LANES..count.div_ceil(LANES) {
            // SAFETY: 8 · eight < count ≤ TILE − filled.
            unsafe { group.write::<MISSING>(window, eight, tile, filled) };
        }
        filled += count;
        position += count * width;
        *length -= count as i32;
        if *length > 0 {
            break;
        }
        next += 1;
    }
    (tile.filled, block.next) = (filled, next);
    position - first_bit
}

/// A group being unpacked.
struct Group {
    eight: Eight,
    base: __m256i,
    codes: [i32; 2],
    width: usize,
    start: usize,
}

impl Group {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new<const MISSING: bool>(base: i32, width: usize, position: usize, codes: Codes) -> Self {
        let codes = if MISSING { codes.of(base, width) } else { [0; 2] };
        let eight = Eight::new(width, position % 8);
        Group { eight, base: _mm256_set1_epi32(base), codes, width, start: position / 8 }
    }

    /// Writes the group's `at`th eight values, from the tile's place `filled + 8 · at` on.
    ///
    /// # Safety
    /// The group's first value is at most the tile's last; these eight are among its first `SURE` or begin
    /// with one that the tile has room for; and the window begins where the tile's first value unpacked from it does.
    /// So at most `TILE` values and then `SURE` more are read from the window and written to the tile.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn write<const MISSING: bool>(&self, window: &[u8; SPAN], at: usize, tile: &mut Tile, filled: usize) {
        let to = filled + at * LANES;
        // SAFETY: to + LANES ≤ TILE + SURE, as the caller sees to; `SPAN` bytes hold as many numbers of `WIDEST` bits.
        unsafe {
            let numbers = self.eight.take(window.as_ptr().add(self.start + at * self.width));
            if MISSING {
                let (differences, present) = examine(numbers, self.base, self.codes);
                _mm256_storeu_si256(tile.numbers.as_mut_ptr().add(to).cast(), differences);
                _mm256_storeu_si256(tile.present.as_mut_ptr().add(to).cast(), present);
            } else {
                _mm256_storeu_si256(tile.numbers.as_mut_ptr().add(to).cast(), _mm256_add_epi32(numbers, self.base));
            }
        }
    }
}

/// Differences, zero where they are missing, and −1 where they are not.
#[inline]
#[target_feature(enable = "avx2")]
fn examine(numbers: __m256i, bases: __m256i, codes: [i32; 2]) -> (__m256i, __m256i) {
    let [first, second] = codes.map(|code| _mm256_cmpeq_epi32(numbers, _mm256_set1_epi32(code)));
    let missing = _mm256_or_si256(first, second);
    let differences = _mm256_andnot_si256(missing, _mm256_add_epi32(numbers, bases));
    (differences, _mm256_xor_si256(missing, _mm256_set1_epi32(-1)))
}

/// The heads of a block: numbers of `width` bits one after the other.
#[target_feature(enable = "avx2")]
fn numbers(window: &[u8; SPAN], first_bit: usize, width: usize, into: &mut [i32; BLOCK + SURE]) {
    let eight = Eight::new(width, first_bit);
    for (at, lanes) in into.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        // SAFETY: `SPAN` bytes hold more than BLOCK + SURE numbers of `WIDEST` bits; eight lanes are 32 bytes.
        unsafe {
            let numbers = eight.take(window.as_ptr().add(at * width));
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), numbers);
        }
    }
}

/// Bytes followed by as many zeros as are read behind them.
struct Padded<'a> {
    bytes: &'a [u8],
    /// The last bytes and zeros.
    tail: Vec<u8>,
    tail_start: usize,
}

impl<'a> Padded<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let tail_start = bytes.len().saturating_sub(SPAN);
        let mut tail = bytes.get(tail_start..).unwrap_or_default().to_vec();
        tail.resize(2 * SPAN, 0);
        Padded { bytes, tail, tail_start }
    }

    /// The bytes from the one that a bit lies in, and its place in that.
    fn window(&self, position: usize) -> (&[u8; SPAN], usize) {
        const ZEROS: &[u8; SPAN] = &[0; SPAN];
        let start = position / 8;
        let inside = self.bytes.get(start..).and_then(|rest| rest.first_chunk());
        let behind = || self.tail.get(start.checked_sub(self.tail_start)?..)?.first_chunk();
        (inside.or_else(behind).unwrap_or(ZEROS), position % 8)
    }
}
