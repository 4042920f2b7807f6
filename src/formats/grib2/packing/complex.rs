//! Complex packing (templates 5.2 and 5.3): groups with their own widths, of values or of spatial differences.

use super::super::Grib2Error;
use super::super::bits::{BitReader, WIDEST, align};
use super::super::section::{Section, sign_magnitude};
use super::Complex;

/// The groups of a field: where their references, widths, lengths and values are.
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
    /// The groups, and the bit their values begin at.
    fn new(packing: &'a Complex, bytes: &'a [u8]) -> (Self, usize) {
        let extra = if packing.order == 0 { 0 } else { usize::from(packing.order) + 1 };
        let references = extra * packing.extra_octets as usize * 8;
        let widths = align(references + packing.groups * packing.scale.bits as usize);
        let lengths = align(widths + packing.groups * packing.width_bits as usize);
        let values = align(lengths + packing.groups * packing.length_bits as usize);
        let at = |position| BitReader::new(bytes, position);
        let groups = Groups { packing, references: at(references), widths: at(widths), lengths: at(lengths), next: 0 };
        (groups, values)
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

/// Checks that section 7 holds groups of `count` values in all.
fn check(data: &Section, packing: &Complex, count: usize) -> Result<(), Grib2Error> {
    if packing.groups == 0 && packing.scale.bits == 0 {
        return Ok(());
    }
    if packing.groups > count || (packing.groups == 0 && count > 0) {
        return Err(data.damaged(6, format!("1 to {count} groups of {count} values, found {}", packing.groups)));
    }
    let bytes = data.rest(6);
    let available = bytes.len() * 8;
    let (groups, start) = Groups::new(packing, bytes);
    let (mut total, mut end) = (0u64, start as u64);
    for group in groups {
        total = total.saturating_add(group.length);
        end = end.saturating_add(group.length.saturating_mul(group.width));
        if group.width > WIDEST.into() {
            return Err(data.damaged(6, format!("groups of at most {WIDEST} bits a value, found {}", group.width)));
        }
        if total > count as u64 || end > available as u64 {
            break;
        }
    }
    if start > available || end > available as u64 || total != count as u64 {
        let found = format!("found {total} values up to bit {end}");
        return Err(data.damaged(6, format!("groups of {count} values in all within {available} bits, {found}")));
    }
    Ok(())
}

/// Unpacks section 7 into `values`; NaN is missing.
pub(super) fn unpack(data: &Section, packing: &Complex, values: &mut [f32]) -> Result<(), Grib2Error> {
    check(data, packing, values.len())?;
    if packing.groups == 0 {
        values.fill(packing.scale.reference);
        return Ok(());
    }
    match packing.order {
        0 => unpack_order::<0>(data.rest(6), packing, values),
        1 => unpack_order::<1>(data.rest(6), packing, values),
        _ => unpack_order::<2>(data.rest(6), packing, values),
    }
    Ok(())
}

fn unpack_order<const ORDER: usize>(bytes: &[u8], packing: &Complex, values: &mut [f32]) {
    let (groups, start) = Groups::new(packing, bytes);
    let mut reader = BitReader::new(bytes, start);
    let mut sums = Sums::<ORDER>::new(packing, bytes);
    let mut rest = values;
    for group in groups {
        let Some((head, tail)) = rest.split_at_mut_checked(group.length as usize) else { return };
        rest = tail;
        if packing.missing == 0 && sums.seen >= ORDER {
            sums.plain(&mut reader, &group, head);
        } else {
            sums.careful(&mut reader, &group, head, packing);
        }
    }
}

/// Turns differences of order `ORDER` back into values by summing them.
struct Sums<const ORDER: usize> {
    first: [i64; 2],
    minimum: i64,
    seen: usize,
    value: i64,
    slope: i64,
    offset: f64,
    factor: f64,
}

impl<const ORDER: usize> Sums<ORDER> {
    fn new(packing: &Complex, bytes: &[u8]) -> Self {
        let bits = packing.extra_octets * 8;
        let mut reader = BitReader::new(bytes, 0);
        let mut first = [0; 2];
        first.iter_mut().take(ORDER).for_each(|value| *value = reader.read(bits) as i64);
        let minimum = if ORDER == 0 { 0 } else { sign_magnitude(reader.read(bits), bits) };
        let (offset, factor) = packing.scale.line();
        Sums { first, minimum, seen: 0, value: 0, slope: 0, offset, factor }
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
        (self.offset + self.value as f64 * self.factor) as f32
    }

    /// A group without missing values, past the first values.
    #[inline]
    fn plain(&mut self, reader: &mut BitReader, group: &Group, values: &mut [f32]) {
        let base = (group.reference as i64).wrapping_add(self.minimum);
        for value in values {
            *value = self.add(base.wrapping_add(reader.read(group.width as u32) as i64));
        }
    }

    /// A group that may have missing values or the field's first values.
    fn careful(&mut self, reader: &mut BitReader, group: &Group, values: &mut [f32], packing: &Complex) {
        let base = (group.reference as i64).wrapping_add(self.minimum);
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
        let Some(first) = self.first.get(self.seen).filter(|_| self.seen < ORDER) else {
            return self.add(difference);
        };
        self.slope = first.wrapping_sub(self.value);
        self.value = *first;
        self.seen += 1;
        (self.offset + self.value as f64 * self.factor) as f32
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
        assert_eq!(unpack(&data, &packing, &mut values), Ok(()));
        assert_eq!(values, [1.5, 1.6, 1.8, 1.8]);
        packing.missing = 1;
        assert_eq!(unpack(&data, &packing, &mut values), Ok(()));
        assert!(values[0].is_nan() && values[2].is_nan());
        assert_eq!((values[1], values[3]), (1.5, 1.5));
    }

    #[test]
    fn groups_that_do_not_fit_are_refused() {
        let data = Section { number: 7, offset: 0, bytes: &DATA };
        for (packing, count) in [(packing(3), 4), (packing(2), 5), (packing(60), 4), (packing(255), 4)] {
            assert!(check(&data, &packing, count).is_err(), "{packing:?}");
        }
        let empty = Complex { last_length: 0, ..packing(60) };
        assert!(check(&data, &empty, 1).is_err());
    }
}
