//! Complex packing with second-order spatial differencing (5.3).

use super::super::bits::BitWriter;
use super::super::product::MISSING as NOT_GIVEN;
use super::Packed;
use super::differences::{Differences, Ends, blocks};
use super::groups::{self, Costs, Group, MISSING};
use super::search::search;
use super::steps::{Steps, Survey};

/// The template's number, without its `5.`.
const COMPLEX: u16 = 3;
/// Differences are of this order: they are small where values lie on a plane.
const ORDER: u8 = 2;
/// What NCEP writes as the value that stands for missing.
const PRIMARY_MISSING: f32 = 9.999e20;
/// Splitting method: general (code table 5.4).
const GENERAL: u8 = 1;
/// Second differences of numbers up to 2^29 fit 32 bits.
const MAX_BITS: u32 = 29;
/// Bits of a group's length, as far as it is known before there are groups.
const LENGTH_BITS: u32 = 7;
/// Differences that always stay in one group: finer ones take longer to find and spare 1 to 3 %.
const BLOCK: usize = 4;
/// More bits a number than most fields take; room that is not used costs nothing.
const ROOM_BITS: usize = 12;
/// More bits than the first numbers and the gaps between parts of section 7 take.
const EXTRA_BITS: usize = 256;

/// Values as groups of differences.
pub(super) fn pack(values: &[f32], survey: &Survey, steps: &Steps) -> Result<Packed, String> {
    if steps.bits() > MAX_BITS {
        let bits = steps.bits();
        return Err(format!("values need {bits} bits in 5.3; expected at most {MAX_BITS} bits, coarser steps or 5.0"));
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
        // SAFETY: the processor has AVX2 and BMI2.
        return Ok(unsafe { pack_avx2(values, survey, steps) });
    }
    Ok(pack_portable(values, survey, steps))
}

/// The same code with wider registers and faster shifts.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn pack_avx2(values: &[f32], survey: &Survey, steps: &Steps) -> Packed {
    pack_portable(values, survey, steps)
}

#[inline(always)]
fn pack_portable(values: &[f32], survey: &Survey, steps: &Steps) -> Packed {
    let holes = survey.present < values.len();
    let differences = Differences::new(values, steps, holes);
    let ends = differences.ends();
    let reserved = u32::from(holes);
    let lengths = lengths(differences, &ends, reserved, values.len());
    let (groups, numbers) = write_numbers(differences, &lengths, reserved, values.len());
    let layout = Layout::new(&groups, &ends, reserved);
    let representation = layout.representation(values.len(), steps);
    Packed { representation, bitmap: vec![NOT_GIVEN], data: layout.data(&numbers) }
}

/// The lengths of groups that cost about the least.
#[inline(always)]
fn lengths(differences: Differences, ends: &Ends, reserved: u32, count: usize) -> Vec<u32> {
    let reference = bits(ends.greatest.wrapping_sub(ends.least) as u32 + reserved);
    let group = reference + bits(reference);
    let costs = Costs { group: group + LENGTH_BITS, reserved };
    let found = search(blocks::<BLOCK>(differences), &costs, reference);
    groups::limited(groups::lengths(&found, BLOCK, count), group)
}

/// Groups of the given lengths, and the numbers of all of them, each above its group's least one.
#[inline(always)]
fn write_numbers(mut differences: Differences, lengths: &[u32], reserved: u32, count: usize) -> (Vec<Group>, Vec<u8>) {
    let (mut groups, mut writer) = (Vec::with_capacity(lengths.len()), BitWriter::with_room(count * ROOM_BITS));
    let (mut window, mut begin): (Vec<i32>, usize) = (Vec::new(), 0);
    for length in lengths {
        let length = *length as usize;
        while window.len() < begin + length {
            window.drain(..begin.min(window.len()));
            begin = 0;
            if !differences.extend(&mut window) {
                break;
            }
        }
        let numbers = window.get(begin..begin + length).unwrap_or_default();
        let group = Group::of(numbers);
        write_group(&mut writer, numbers, &group, group.width(reserved));
        groups.push(group);
        begin += length;
    }
    (groups, writer.finish())
}

/// How groups are written.
struct Layout<'a> {
    groups: &'a [Group],
    ends: &'a Ends,
    reserved: u32,
    reference_bits: u32,
    least_width: u32,
    width_bits: u32,
    least_length: u32,
    length_bits: u32,
    octets: u32,
}

impl<'a> Layout<'a> {
    fn new(groups: &'a [Group], ends: &'a Ends, reserved: u32) -> Layout<'a> {
        let references = groups.iter().filter(|g| !g.is_missing()).map(|g| (g.least - ends.least) as u32);
        let reference_bits = bits(references.max().unwrap_or(0) + reserved);
        let widths = || groups.iter().map(|g| g.width(reserved));
        let least_width = widths().min().unwrap_or(0);
        let width_bits = bits(widths().max().unwrap_or(0) - least_width);
        let lengths = || groups.iter().rev().skip(1).map(|g| g.length);
        let least_length = lengths().min().unwrap_or(0);
        let length_bits = bits(lengths().max().unwrap_or(0) - least_length);
        let [first, second] = ends.first;
        let signed = [first, second, ends.least].map(|n| bits(n.unsigned_abs()) + 1);
        let octets = signed.into_iter().max().unwrap_or(1).div_ceil(8);
        Layout { groups, ends, reserved, reference_bits, least_width, width_bits, least_length, length_bits, octets }
    }

    /// Section 5 without its length and number.
    fn representation(&self, count: usize, steps: &Steps) -> Vec<u8> {
        let last = self.groups.last().map_or(0, |g| g.length);
        let holes = self.reserved > 0;
        [
            &(count as u32).to_be_bytes()[..],
            &COMPLEX.to_be_bytes(),
            &steps.octets(self.reference_bits),
            &[0, GENERAL, u8::from(holes)],
            &if holes { PRIMARY_MISSING.to_be_bytes() } else { [0; 4] },
            &if holes { [NOT_GIVEN; 4] } else { [0; 4] },
            &(self.groups.len() as u32).to_be_bytes(),
            &[self.least_width as u8, self.width_bits as u8],
            &self.least_length.to_be_bytes(),
            &[1],
            &last.to_be_bytes(),
            &[self.length_bits as u8, ORDER, self.octets as u8],
        ]
        .concat()
    }

    /// Section 7 without its length and number, the numbers of all groups at its end.
    fn data(&self, numbers: &[u8]) -> Vec<u8> {
        let group = (self.reference_bits + self.width_bits + self.length_bits) as usize;
        let mut writer = BitWriter::with_room(self.groups.len() * group + numbers.len() * 8 + EXTRA_BITS);
        for number in [self.ends.first[0], self.ends.first[1], self.ends.least] {
            writer.write(sign_magnitude(number, self.octets * 8), self.octets * 8);
        }
        self.groups.iter().for_each(|group| writer.write(self.reference(group), self.reference_bits));
        writer.align();
        let width = |group: &Group| group.width(self.reserved) - self.least_width;
        self.groups.iter().for_each(|group| writer.write(width(group).into(), self.width_bits));
        writer.align();
        let ordinary = self.groups.len().saturating_sub(1);
        let length = |group: &Group| group.length - self.least_length;
        self.groups.iter().take(ordinary).for_each(|group| writer.write(length(group).into(), self.length_bits));
        writer.write(0, if self.groups.is_empty() { 0 } else { self.length_bits });
        let mut data = writer.finish();
        data.extend_from_slice(numbers);
        data
    }

    /// A group's reference above the least difference; all ones for a group of missing numbers.
    fn reference(&self, group: &Group) -> u64 {
        if group.is_missing() { (1 << self.reference_bits) - 1 } else { (group.least - self.ends.least) as u64 }
    }
}

/// The numbers of a group above its least one; all ones for missing ones.
#[inline(always)]
fn write_group(writer: &mut BitWriter, numbers: &[i32], group: &Group, width: u32) {
    match width {
        0 => (),
        _ if group.holes => {
            let ones = (1u64 << width) - 1;
            let above = |n: i32| if n == MISSING { ones } else { (n - group.least) as u64 };
            numbers.iter().for_each(|n| writer.write(above(*n), width));
        }
        1..=14 => write_runs::<4>(writer, numbers, group.least, width),
        15..=28 => write_runs::<2>(writer, numbers, group.least, width),
        _ => write_runs::<1>(writer, numbers, group.least, width),
    }
}

/// Numbers above the least one, several in one write.
#[inline(always)]
fn write_runs<const RUN: usize>(writer: &mut BitWriter, numbers: &[i32], least: i32, width: u32) {
    let above = |n: &i32| u64::from((*n).wrapping_sub(least) as u32);
    let (runs, rest) = numbers.as_chunks::<RUN>();
    for run in runs {
        writer.write(run.iter().fold(0, |joined, n| joined << width | above(n)), width * RUN as u32);
    }
    rest.iter().for_each(|n| writer.write(above(n), width));
}

/// Bits of a whole number.
fn bits(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

/// A number whose first of `bits` bits is its sign.
fn sign_magnitude(number: i32, bits: u32) -> u64 {
    let sign = if number < 0 { 1 << (bits - 1) } else { 0 };
    u64::from(number.unsigned_abs()) | sign
}
