//! Complex packing (templates 5.2 and 5.3): groups with their own widths, of values or of spatial differences.

use super::super::Grib2Error;
use super::super::bits::{BitReader, WIDEST, align};
use super::super::section::{Section, sign_magnitude};
use super::{Complex, Level};

/// The bits where the references, widths, lengths and values of a field's groups begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) references: usize,
    pub(super) widths: usize,
    pub(super) lengths: usize,
    pub(super) values: usize,
}

impl Parts {
    pub(super) fn new(packing: &Complex) -> Self {
        let extra = if packing.order == 0 { 0 } else { usize::from(packing.order) + 1 };
        let references = extra * packing.extra_octets as usize * 8;
        let widths = align(references + packing.groups * packing.scale.bits as usize);
        let lengths = align(widths + packing.groups * packing.width_bits as usize);
        let values = align(lengths + packing.groups * packing.length_bits as usize);
        Parts { references, widths, lengths, values }
    }
}

/// What a field of differences begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// As many values as the order of the differences says.
    pub(super) first: [i64; 2],
    /// The least difference, to be added to each.
    pub(super) minimum: i64,
}

impl Start {
    pub(super) fn new(packing: &Complex, bytes: &[u8]) -> Self {
        let bits = packing.extra_octets * 8;
        let (mut reader, mut first) = (BitReader::new(bytes, 0), [0; 2]);
        first.iter_mut().take(packing.order.into()).for_each(|value| *value = reader.read(bits) as i64);
        let minimum = if packing.order == 0 { 0 } else { sign_magnitude(reader.read(bits), bits) };
        Start { first, minimum }
    }
}

/// The groups of a field, one after the other.
struct Groups<'a> {
    packing: &'a Complex,
    references: BitReader<'a>,
    widths: BitReader<'a>,
    lengths: BitReader<'a>,
    next: usize,
}

/// One group: `length` values of `width` bits, each an increment to `reference`.
struct Group {
    reference: u64,
    width: u64,
    length: u64,
}

impl<'a> Groups<'a> {
    fn new(packing: &'a Complex, parts: &Parts, bytes: &'a [u8]) -> Self {
        let at = |position| BitReader::new(bytes, position);
        let (references, widths, lengths) = (at(parts.references), at(parts.widths), at(parts.lengths));
        Groups { packing, references, widths, lengths, next: 0 }
    }
}

impl Iterator for Groups<'_> {
    type Item = Group;

    #[inline]
    fn next(&mut self) -> Option<Group> {
        let packing = self.packing;
        self.next += 1;
        let scaled = packing.length_reference + packing.length_increment * self.lengths.read(packing.length_bits);
        (self.next <= packing.groups).then(|| Group {
            reference: self.references.read(packing.scale.bits),
            width: u64::from(packing.width_reference) + self.widths.read(packing.width_bits),
            length: if self.next == packing.groups { packing.last_length } else { scaled },
        })
    }
}

/// Fields of more values are counted before there is memory for them.
const LARGE: usize = 1 << 22;

/// Checks that the groups of section 7 can be those of `count` values; of large fields, that they are.
pub(super) fn check(data: &Section, packing: &Complex, count: usize) -> Result<(), Grib2Error> {
    if (packing.groups == 0 && packing.scale.bits == 0) || count <= LARGE {
        return Ok(());
    }
    let (bytes, parts) = (data.rest(6), Parts::new(packing));
    if parts.values.div_ceil(8) > bytes.len() {
        let (groups, found) = (packing.groups, bytes.len());
        return Err(data.damaged(6, format!("{} bytes for {groups} groups, found {found}", parts.values.div_ceil(8))));
    }
    match Groups::new(packing, &parts, bytes).fold(0u64, |sum, group| sum.saturating_add(group.length)) {
        sum if sum == count as u64 => Ok(()),
        sum => Err(data.damaged(6, format!("groups of {count} values in all, found {sum}"))),
    }
}

/// Unpacks section 7 into `values`; NaN is missing.
pub(super) fn unpack(data: &Section, packing: &Complex, values: &mut [f32], level: Level) -> Result<(), Grib2Error> {
    let (groups, count) = (packing.groups, values.len());
    if groups == 0 && packing.scale.bits == 0 {
        values.fill(packing.scale.reference);
        return Ok(());
    }
    if groups > count || (groups == 0 && count > 0) {
        return Err(data.damaged(6, format!("1 to {count} groups of {count} values, found {groups}")));
    }
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(avx2) if avx2.complex(data.rest(6), packing, values) => Ok(()),
        _ => match packing.order {
            0 => unpack_order::<0>(data, packing, values),
            1 => unpack_order::<1>(data, packing, values),
            _ => unpack_order::<2>(data, packing, values),
        },
    }
}

/// Unpacks group by group, each once its values are known to be there and wanted.
fn unpack_order<const ORDER: usize>(data: &Section, packing: &Complex, values: &mut [f32]) -> Result<(), Grib2Error> {
    let (bytes, parts) = (data.rest(6), Parts::new(packing));
    let available = bytes.len() as u64 * 8;
    let (mut reader, mut sums) = (BitReader::new(bytes, parts.values), Sums::<ORDER>::new(packing, bytes));
    let (mut rest, mut end) = (values, parts.values as u64);
    for group in Groups::new(packing, &parts, bytes) {
        end = end.saturating_add(group.length.saturating_mul(group.width));
        if group.width > WIDEST.into() {
            return Err(data.damaged(6, format!("groups of at most {WIDEST} bits a value, found {}", group.width)));
        }
        if end > available {
            return Err(data.damaged(6, format!("groups within {available} bits, found one up to bit {end}")));
        }
        let left = rest.len();
        let Some((head, tail)) = usize::try_from(group.length).ok().and_then(|l| rest.split_at_mut_checked(l)) else {
            return Err(data.damaged(6, format!("a group of at most the {left} values left, found {}", group.length)));
        };
        rest = tail;
        if packing.missing == 0 && sums.seen >= ORDER {
            sums.plain(&mut reader, &group, head);
        } else {
            sums.careful(&mut reader, &group, head, packing);
        }
    }
    match rest.len() {
        0 => Ok(()),
        left => Err(data.damaged(6, format!("groups of all values of the field, found {left} values without a group"))),
    }
}

/// Turns differences of order `ORDER` back into values by summing them.
struct Sums<const ORDER: usize> {
    start: Start,
    seen: usize,
    value: i64,
    slope: i64,
    line: (f64, f64),
}

impl<const ORDER: usize> Sums<ORDER> {
    fn new(packing: &Complex, bytes: &[u8]) -> Self {
        Sums { start: Start::new(packing, bytes), seen: 0, value: 0, slope: 0, line: packing.scale.line() }
    }

    /// The value after a difference, once the first `ORDER` values are known.
    #[inline(always)]
    fn add(&mut self, difference: i64) -> f32 {
        match ORDER {
            0 => self.value = difference,
            1 => self.value = self.value.wrapping_add(difference),
            _ => {
                self.slope = self.slope.wrapping_add(difference);
                self.value = self.value.wrapping_add(self.slope);
            }
        }
        self.scaled()
    }

    #[inline(always)]
    fn scaled(&self) -> f32 {
        let (offset, factor) = self.line;
        (offset + self.value as f64 * factor) as f32
    }

    /// A group without missing values, past the first values.
    #[inline]
    fn plain(&mut self, reader: &mut BitReader, group: &Group, values: &mut [f32]) {
        let base = (group.reference as i64).wrapping_add(self.start.minimum);
        for value in values {
            *value = self.add(base.wrapping_add(reader.read(group.width as u32) as i64));
        }
    }

    /// A group that may have missing values or the field's first values.
    fn careful(&mut self, reader: &mut BitReader, group: &Group, values: &mut [f32], packing: &Complex) {
        let base = (group.reference as i64).wrapping_add(self.start.minimum);
        let reference_missing = is_missing(group.reference, packing.scale.bits, packing.missing);
        for value in values {
            let increment = reader.read(group.width as u32);
            let missing = match group.width {
                0 => reference_missing,
                width => is_missing(increment, width as u32, packing.missing),
            };
            *value = if missing { f32::NAN } else { self.step(base.wrapping_add(increment as i64)) };
        }
    }

    fn step(&mut self, difference: i64) -> f32 {
        let Some(first) = self.start.first.get(self.seen).filter(|_| self.seen < ORDER) else {
            return self.add(difference);
        };
        self.slope = first.wrapping_sub(self.value);
        self.value = *first;
        self.seen += 1;
        self.scaled()
    }
}

/// Whether a number of `bits` bits stands for missing: all ones, or with two kinds of missing one less.
#[inline(always)]
fn is_missing(number: u64, bits: u32, management: u8) -> bool {
    let ones = (1u64 << bits) - 1;
    management > 0 && number == ones || management > 1 && number.wrapping_add(1) == ones
}

#[cfg(test)]
mod tests {
    use super::super::Scale;
    use super::*;

    /// One group of four values, `width` bits each.
    fn packing(width: u32) -> Complex {
        Complex {
            scale: Scale { reference: 10.0, binary: 0, decimal: 1, bits: 8 },
            missing: 1,
            order: 1,
            groups: 1,
            width_reference: width,
            width_bits: 0,
            length_reference: 0,
            length_increment: 0,
            last_length: 4,
            length_bits: 0,
            extra_octets: 1,
        }
    }

    /// First value 5, least difference −2, group reference 1, then differences 3 (unused), 2, missing, 1.
    const DATA: [u8; 9] = [0, 0, 0, 9, 7, 5, 0x82, 1, 0b11_10_11_01];

    #[test]
    fn differences_are_summed_past_missing_values() {
        let (data, mut packing) = (Section { number: 7, offset: 0, bytes: &DATA }, packing(2));
        packing.missing = 0;
        let mut values = [0.0; 4];
        assert_eq!(unpack(&data, &packing, &mut values, Level::Portable), Ok(()));
        assert_eq!(values, [1.5, 1.6, 1.8, 1.8]);
        packing.missing = 1;
        assert_eq!(unpack(&data, &packing, &mut values, Level::Portable), Ok(()));
        assert!(values[0].is_nan() && values[2].is_nan());
        assert_eq!((values[1], values[3]), (1.5, 1.5));
    }

    #[test]
    fn groups_that_do_not_fit_are_refused() {
        let data = Section { number: 7, offset: 0, bytes: &DATA };
        for (packing, count) in [(packing(3), 4), (packing(2), 5), (packing(60), 4), (packing(255), 4)] {
            let mut values = vec![0.0; count];
            assert!(unpack(&data, &packing, &mut values, Level::best()).is_err(), "{packing:?}");
        }
        let empty = Complex { last_length: 0, ..packing(60) };
        assert!(unpack(&data, &empty, &mut [0.0], Level::best()).is_err());
    }
}
