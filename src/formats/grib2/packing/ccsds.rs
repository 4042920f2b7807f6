//! The lossless compression of CCSDS 121.0-B (template 5.42), blocks of samples each with a code of its own.

use super::super::Grib2Error;
use super::super::section::Section;
use super::Scale;

/// Flag of section 5: samples are signed.
const SIGNED: u8 = 1;
/// Flag: samples are differences from those before, folded to be positive.
const PREPROCESSED: u8 = 8;
/// Flag: the smaller set of codes for samples of up to 4 bits.
const RESTRICTED: u8 = 16;
/// Flag: every reference sample interval begins at a byte.
const PADDED: u8 = 32;
/// The widest sample.
const MAX_BITS: u32 = 32;
/// Samples of the longest block.
const MAX_BLOCK: usize = 64;
/// Zero blocks after which a run of them ends (a segment of CCSDS 121.0-B, section 3.4).
const SEGMENT: usize = 64;
/// What stands for "zeros to the segment's end" among the counts of zero blocks.
const REST_OF_SEGMENT: u32 = 5;

/// Adaptive entropy coding of blocks of packed integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ccsds {
    /// How integers become values.
    pub scale: Scale,
    /// Samples of a block.
    pub block: usize,
    /// Blocks from one sample stored as it is to the next.
    pub interval: usize,
    pub(super) flags: u8,
}

/// The packing that section 5 describes.
pub(super) fn parse(section: &Section) -> Result<Ccsds, Grib2Error> {
    let packing = Ccsds {
        scale: super::scale(section)?,
        flags: section.u8(22)?,
        block: section.u8(23)?.into(),
        interval: section.u16(24)?.into(),
    };
    match packing {
        Ccsds { scale: Scale { bits: 0, .. }, .. } => Ok(packing),
        Ccsds { scale: Scale { bits, .. }, .. } if bits > MAX_BITS => {
            Err(section.damaged(20, format!("at most {MAX_BITS} bits a number, found {bits}")))
        }
        Ccsds { block, .. } if ![8, 16, 32, MAX_BLOCK].contains(&block) => {
            Err(section.damaged(23, format!("blocks of 8, 16, 32 or 64 samples, found {block}")))
        }
        Ccsds { interval: 0, .. } => Err(section.damaged(24, "a reference sample interval of at least one block")),
        _ => Ok(packing),
    }
}

/// Unpacks section 7 into `values`.
pub(super) fn unpack(data: &Section, packing: &Ccsds, values: &mut [f32]) -> Result<(), Grib2Error> {
    if packing.scale.bits == 0 {
        values.fill(packing.scale.reference);
        return Ok(());
    }
    if packing.flags & SIGNED != 0 {
        return Err(data.unsupported("CCSDS compression of signed samples", "unsigned samples"));
    }
    let mut stream = Stream::new(data.rest(6), packing);
    let interval = packing.block.saturating_mul(packing.interval);
    let count = values.len();
    for (number, interval_values) in values.chunks_mut(interval).enumerate() {
        stream.interval(packing, interval_values).map_err(|expected| {
            let place = format!("sample {} of {count}", number * interval);
            data.damaged(6 + stream.bits.consumed(), format!("{expected} in the reference interval from {place}"))
        })?;
    }
    Ok(())
}

/// The code of one block.
enum Code {
    /// This many blocks of zeros.
    Zeros(usize),
    /// Pairs of samples, each pair one number.
    Pairs,
    /// Samples whose lowest bits are apart from the rest.
    Split(u32),
    /// Samples as they are.
    Plain,
}

/// The bits of a field, and how its blocks are coded.
struct Stream<'a> {
    bits: Bits<'a>,
    code_bits: u32,
    width: u32,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8], packing: &Ccsds) -> Self {
        let width = packing.scale.bits;
        let code_bits = match (width, packing.flags & RESTRICTED != 0) {
            (..=2, true) => 1,
            (..=4, true) => 2,
            (..=8, _) => 3,
            (..=16, _) => 4,
            _ => 5,
        };
        Stream { bits: Bits::new(bytes), code_bits, width }
    }

    /// Unpacks the blocks of one reference sample interval, which may end before its last block does.
    fn interval(&mut self, packing: &Ccsds, values: &mut [f32]) -> Result<(), &'static str> {
        let mut samples = [0; MAX_BLOCK];
        let samples = samples.get_mut(..packing.block).unwrap_or_default();
        let mut unfold = Unfold::new(packing);
        let (mut filled, mut block) = (0, 0);
        while filled < values.len() {
            let reference = usize::from(unfold.folded && block == 0);
            let blocks = match self.code(packing, block, reference, samples)? {
                Code::Zeros(blocks) => blocks,
                code => self.block(code, reference, samples)?,
            };
            if self.bits.past_end() {
                return Err("more bytes");
            }
            let end = values.len().min(filled + blocks * packing.block);
            for block in values.get_mut(filled..end).unwrap_or_default().chunks_mut(packing.block) {
                unfold.values(samples, block);
                samples.fill(0);
            }
            (filled, block) = (end, block + blocks);
        }
        if packing.flags & PADDED != 0 {
            self.bits.align();
        }
        Ok(())
    }

    /// The code of the next block, which is the interval's `block`th, and the reference sample that comes with it.
    ///
    /// `samples` are set to zeros but for the reference sample.
    fn code(
        &mut self,
        packing: &Ccsds,
        block: usize,
        reference: usize,
        samples: &mut [u32],
    ) -> Result<Code, &'static str> {
        let greatest = (1 << self.code_bits) - 1;
        let code = self.bits.take(self.code_bits);
        let pairs = code == 0 && self.bits.take(1) == 1;
        samples.fill(0);
        if let Some(first) = samples.first_mut().filter(|_| reference == 1 && code != greatest) {
            *first = self.bits.take(self.width);
        }
        match code {
            0 if pairs => Ok(Code::Pairs),
            0 => self.zeros(packing.interval.saturating_sub(block), block),
            code if code == greatest => Ok(Code::Plain),
            code => Ok(Code::Split(code - 1)),
        }
    }

    /// How many blocks of zeros there are, of at most `left` in the interval.
    fn zeros(&mut self, left: usize, block: usize) -> Result<Code, &'static str> {
        let blocks = match self.bits.unary()?.saturating_add(1) {
            REST_OF_SEGMENT => left.min(SEGMENT - block % SEGMENT),
            count if count < REST_OF_SEGMENT => count as usize,
            count => count as usize - 1,
        };
        if blocks <= left { Ok(Code::Zeros(blocks)) } else { Err("no more zero blocks than are left") }
    }

    /// Reads one block behind its code.
    #[inline]
    fn block(&mut self, code: Code, reference: usize, samples: &mut [u32]) -> Result<usize, &'static str> {
        let rest = samples.get_mut(reference..).unwrap_or_default();
        match code {
            Code::Plain => samples.iter_mut().for_each(|sample| *sample = self.bits.take(self.width)),
            Code::Split(low_bits) => self.split(low_bits, rest)?,
            Code::Pairs => self.pairs(reference, samples)?,
            Code::Zeros(_) => (),
        }
        Ok(1)
    }

    /// The high parts of all samples, each in unary, then their low bits.
    #[inline]
    fn split(&mut self, low_bits: u32, samples: &mut [u32]) -> Result<(), &'static str> {
        for sample in samples.iter_mut() {
            *sample = self.bits.unary()?;
        }
        if low_bits > 0 {
            for sample in samples {
                *sample = (*sample << low_bits) | self.bits.take(low_bits);
            }
        }
        Ok(())
    }

    /// Pairs (a, b) as (a + b)(a + b + 1)/2 + b; of the first pair only b where a reference sample stands for a.
    fn pairs(&mut self, reference: usize, samples: &mut [u32]) -> Result<(), &'static str> {
        for (number, pair) in samples.chunks_exact_mut(2).enumerate() {
            let [a, b] = pair else { continue };
            let code = self.bits.unary()?;
            let sum = PAIR_SUMS.iter().rposition(|first| *first <= code).unwrap_or(0) as u32;
            if code > LAST_PAIR {
                return Err("a pair of samples whose sum is at most 12");
            }
            *b = code - sum * (sum + 1) / 2;
            if number > 0 || reference == 0 {
                *a = sum - *b;
            }
        }
        Ok(())
    }
}

/// The number of the first pair of every sum.
const PAIR_SUMS: [u32; 13] = [0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 66, 78];
/// The number of the last pair, (0, 12).
const LAST_PAIR: u32 = 90;

/// Turns samples into values, and differences into samples before.
struct Unfold {
    folded: bool,
    started: bool,
    previous: u32,
    greatest: u32,
    offset: f64,
    factor: f64,
}

impl Unfold {
    fn new(packing: &Ccsds) -> Self {
        let (offset, factor) = packing.scale.line();
        let greatest = u32::MAX >> (u32::BITS - packing.scale.bits.clamp(1, u32::BITS));
        Unfold { folded: packing.flags & PREPROCESSED != 0, started: false, previous: 0, greatest, offset, factor }
    }

    #[inline]
    fn values(&mut self, samples: &[u32], values: &mut [f32]) {
        for (value, sample) in values.iter_mut().zip(samples) {
            let sample = if self.folded && self.started { self.next(*sample) } else { *sample };
            (self.previous, self.started) = (sample, true);
            *value = (self.offset + f64::from(sample) * self.factor) as f32;
        }
    }

    /// The sample after `previous` from their difference, even where it is positive and odd where negative, which is
    /// the sample's distance from its range's nearer end where the differences of one sign run out.
    #[inline]
    fn next(&self, folded: u32) -> u32 {
        let mask = if self.previous > self.greatest / 2 { self.greatest } else { 0 };
        if (folded >> 1) + (folded & 1) <= mask ^ self.previous {
            self.previous.wrapping_add((folded >> 1) ^ (folded & 1).wrapping_neg())
        } else {
            mask ^ folded
        }
    }
}

/// Bits in their order, held back in a register; past the end they are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to be loaded, past the end too.
    position: usize,
    /// The next bits, from the highest.
    word: u64,
    /// How many bits of `word` count, at most 63; those behind them are zeros or what will be loaded there.
    held: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, position: 0, word: 0, held: 0 }
    }

    /// Loads until at least 56 bits are held.
    #[inline(always)]
    fn load(&mut self) {
        let next = match self.bytes.get(self.position..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(eight) => u64::from_be_bytes(*eight),
            None => self.last_bytes(),
        };
        self.word |= next >> self.held;
        let loaded = (63 - self.held) / 8;
        self.position += loaded as usize;
        self.held += loaded * 8;
    }

    #[cold]
    fn last_bytes(&self) -> u64 {
        let mut padded = [0; 8];
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(padded)
    }

    /// The next `width` ≤ 32 bits.
    #[inline(always)]
    fn take(&mut self, width: u32) -> u32 {
        if self.held < width {
            self.load();
        }
        // Two shifts, so that no bits at all shift by 64.
        let bits = (self.word >> 1) >> (63 - width);
        self.drop(width);
        bits as u32
    }

    /// How many zeros there are before the next one, which is read too.
    #[inline(always)]
    fn unary(&mut self) -> Result<u32, &'static str> {
        let zeros = self.word.leading_zeros();
        if zeros < self.held {
            self.drop(zeros + 1);
            return Ok(zeros);
        }
        self.long_unary()
    }

    fn long_unary(&mut self) -> Result<u32, &'static str> {
        let mut zeros = 0;
        loop {
            self.load();
            let found = self.word.leading_zeros().min(self.held);
            zeros = found.saturating_add(zeros);
            if found < self.held {
                self.drop(found + 1);
                return Ok(zeros);
            }
            self.drop(found);
            if self.past_end() {
                return Err("a one after fewer zeros");
            }
        }
    }

    /// Forgets the next `width` ≤ `held` bits.
    #[inline(always)]
    fn drop(&mut self, width: u32) {
        self.word <<= width;
        self.held -= width;
    }

    fn align(&mut self) {
        self.drop(self.held % 8);
    }

    /// Bytes that are read from, wholly or in part.
    fn consumed(&self) -> usize {
        self.position - self.held as usize / 8
    }

    fn past_end(&self) -> bool {
        self.consumed() > self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::bits::BitWriter;
    use super::*;

    fn packing(bits: u32, flags: u8, interval: usize) -> Ccsds {
        Ccsds { scale: Scale { reference: 0.0, binary: 0, decimal: 0, bits }, block: 8, interval, flags }
    }

    fn unpacked(packing: &Ccsds, payload: &[u8], count: usize) -> Result<Vec<f32>, Grib2Error> {
        let bytes = [&[0, 0, 0, 0, 7], payload].concat();
        let mut values = vec![-1.0; count];
        unpack(&Section { number: 7, offset: 0, bytes: &bytes }, packing, &mut values).map(|()| values)
    }

    fn written(numbers: &[(u64, u32)]) -> Vec<u8> {
        let mut writer = BitWriter::default();
        numbers.iter().for_each(|(number, width)| writer.write(*number, *width));
        writer.finish()
    }

    #[test]
    fn every_code_is_read() {
        // Plain; split behind 2 low bits; pairs (1, 2), (0, 0) …; two zero blocks.
        let plain = [(7, 3)].into_iter().chain((0..8).map(|sample| (sample * 30, 8)));
        let split = [(3, 3)].into_iter().chain((0..8).map(|_| (1, 3))).chain((0..8).map(|low| (low % 4, 2)));
        let pairs = [(0, 3), (1, 1), (1, 9), (1, 1), (1, 1), (1, 1)];
        let zeros = [(0, 3), (0, 1), (1, 2)];
        let bits: Vec<(u64, u32)> = plain.chain(split).chain(pairs).chain(zeros).collect();
        let found = unpacked(&packing(8, 0, 100), &written(&bits), 40).expect("values");
        assert_eq!(found[..8], [0., 30., 60., 90., 120., 150., 180., 210.]);
        assert_eq!(found[8..16], [8., 9., 10., 11., 8., 9., 10., 11.]);
        assert_eq!(found[16..24], [1., 2., 0., 0., 0., 0., 0., 0.]);
        assert_eq!(found[24..], [0.; 16]);
    }

    #[test]
    fn differences_fold_at_the_ends_of_the_range() {
        // From 250: +1, −1, then 11 of what only one sign is left for, then zeros.
        let bits = [(7, 3), (250, 8), (2, 8), (1, 8), (11, 8), (0, 8), (0, 8), (0, 8), (0, 8)];
        let found = unpacked(&packing(8, PREPROCESSED, 4), &written(&bits), 8).expect("values");
        assert_eq!(found, [250., 251., 250., 244., 244., 244., 244., 244.]);
    }

    #[test]
    fn padded_intervals_begin_at_bytes() {
        let block = |first: u64| [(7, 3)].into_iter().chain((first..first + 8).map(|sample| (sample, 8)));
        let bits: Vec<(u64, u32)> = block(10).chain([(0, 5)]).chain(block(90)).collect();
        let found = unpacked(&packing(8, PADDED, 1), &written(&bits), 16).expect("values");
        assert_eq!(found, [10., 11., 12., 13., 14., 15., 16., 17., 90., 91., 92., 93., 94., 95., 96., 97.]);
    }

    #[test]
    fn streams_that_cannot_be_are_refused() {
        for (payload, expected) in [
            (&[][..], "a one after fewer zeros"),
            (&[0xff, 0xff], "more bytes"),
            (&[0, 0, 0], "a one after fewer zeros"),
            (&written(&[(0, 3), (1, 1), (0, 46), (1, 46)]), "whose sum is at most 12"),
            (&written(&[(0, 3), (0, 1), (1, 8)]), "no more zero blocks"),
        ] {
            let error = unpacked(&packing(8, 0, 2), payload, 16).expect_err(expected).to_string();
            assert!(error.contains("section 7") && error.contains(expected), "{error}");
        }
        assert!(unpacked(&packing(8, SIGNED, 2), &[0; 9], 8).is_err_and(|e| e.to_string().contains("signed")));
    }

    #[test]
    fn blocks_and_widths_that_cannot_be_are_refused() {
        let section = |bits, block, interval| {
            let mut bytes = [0; 25];
            bytes[19] = bits;
            bytes[21..25].copy_from_slice(&[14, block, 0, interval]);
            parse(&Section { number: 5, offset: 0, bytes: &bytes })
        };
        assert!(section(12, 32, 128).is_ok() && section(0, 0, 0).is_ok());
        assert!(section(33, 32, 128).is_err() && section(12, 9, 128).is_err() && section(12, 32, 0).is_err());
    }
}
