//! Complex packing with second-order spatial differencing (5.3).

use super::super::bits::BitWriter;
use super::super::product::MISSING as NOT_GIVEN;
use super::Packed;
use super::groups::{self, Costs, Group, MISSING};
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
/// Bits of a group's length to begin with.
const LENGTH_BITS: u32 = 7;

/// Values as groups of differences.
pub(super) fn pack(values: &[f32], survey: &Survey, steps: &Steps) -> Result<Packed, String> {
    if steps.bits() > MAX_BITS {
        let bits = steps.bits();
        return Err(format!("values need {bits} bits; expected at most {MAX_BITS} in 5.3, coarser steps or 5.0"));
    }
    let holes = survey.present < values.len();
    let differences = Differences::of(steps.of_all(values), values, holes);
    let layout = Layout::new(&differences, holes);
    let representation = layout.representation(values.len(), steps, holes, differences.octets());
    let data = layout.data(&differences, holes);
    Ok(Packed { representation, bitmap: vec![NOT_GIVEN], data })
}

/// Second differences, their least one, and the first two numbers, which they need to become numbers again.
struct Differences {
    numbers: Vec<i32>,
    first: [i32; ORDER as usize],
    least: i32,
    greatest: i32,
}

impl Differences {
    fn of(steps: Vec<u32>, values: &[f32], holes: bool) -> Differences {
        let mut numbers = steps.into_iter().map(|s| s as i32).collect::<Vec<i32>>();
        let first = if holes { with_holes(&mut numbers, values) } else { without_holes(&mut numbers) };
        let (least, greatest) = match holes {
            false => (numbers.iter().min().copied(), numbers.iter().max().copied()),
            true => {
                let present = || numbers.iter().filter(|n| **n != MISSING).copied();
                (present().min(), present().max())
            }
        };
        Differences { numbers, first, least: least.unwrap_or(0), greatest: greatest.unwrap_or(0) }
    }

    /// Octets of each of the first numbers and of the least difference, with their signs.
    fn octets(&self) -> u32 {
        let [first, second] = self.first;
        let bits = [first, second, self.least].map(|n| u32::BITS - n.unsigned_abs().leading_zeros() + 1);
        bits.into_iter().max().unwrap_or(1).div_ceil(8)
    }
}

/// Differences of numbers none of which is missing; those of the first two are never read.
fn without_holes(numbers: &mut [i32]) -> [i32; 2] {
    let (mut before, mut last) = (0, 0);
    let first = [numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(0)];
    for number in numbers.iter_mut() {
        let value = *number;
        *number = value - 2 * last + before;
        (before, last) = (last, value);
    }
    spread_third(numbers, |_| true);
    first
}

/// Differences over the missing numbers, which become [`MISSING`].
fn with_holes(numbers: &mut [i32], values: &[f32]) -> [i32; 2] {
    let (mut before, mut last, mut seen, mut first) = (0, 0, 0, [0; 2]);
    for (number, value) in numbers.iter_mut().zip(values) {
        if value.is_nan() {
            *number = MISSING;
            continue;
        }
        let value = *number;
        if let Some(to) = first.get_mut(seen) {
            *to = value;
        }
        seen += 1;
        *number = value - 2 * last + before;
        (before, last) = (last, value);
    }
    spread_third(numbers, |number| number != MISSING);
    first
}

/// Gives the first two differences the value of the third, so that they widen no group.
fn spread_third(numbers: &mut [i32], present: impl Fn(i32) -> bool) {
    let third = numbers.iter().copied().filter(|n| present(*n)).nth(2).unwrap_or(0);
    numbers.iter_mut().filter(|n| present(**n)).take(2).for_each(|n| *n = third);
}

/// The groups and how they are written.
struct Layout {
    groups: Vec<Group>,
    reserved: u32,
    reference_bits: u32,
    least_width: u32,
    width_bits: u32,
    least_length: u32,
    length_bits: u32,
}

impl Layout {
    fn new(differences: &Differences, holes: bool) -> Layout {
        let reserved = u32::from(holes);
        let range = differences.greatest.wrapping_sub(differences.least) as u32;
        let reference_bits = bits(range + reserved);
        let width_bits = bits(reference_bits);
        let costs = Costs { group: reference_bits + width_bits + LENGTH_BITS, reserved };
        let groups = groups::split(&differences.numbers, &costs);
        let (groups, _) = groups::limit(groups, &Costs { group: reference_bits + width_bits, ..costs });
        let references = groups.iter().filter(|g| !g.is_missing()).map(|g| (g.least - differences.least) as u32);
        let reference_bits = bits(references.max().unwrap_or(0) + reserved);
        let widths = || groups.iter().map(|g| g.width(reserved));
        let least_width = widths().min().unwrap_or(0);
        let width_bits = bits(widths().max().unwrap_or(0) - least_width);
        let lengths = || groups.iter().rev().skip(1).map(|g| g.length);
        let least_length = lengths().min().unwrap_or(0);
        let length_bits = bits(lengths().max().unwrap_or(0) - least_length);
        Layout { groups, reserved, reference_bits, least_width, width_bits, least_length, length_bits }
    }

    /// Section 5 without its length and number.
    fn representation(&self, count: usize, steps: &Steps, holes: bool, octets: u32) -> Vec<u8> {
        let last = self.groups.last().map_or(0, |g| g.length);
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
            &[self.length_bits as u8, ORDER, octets as u8],
        ]
        .concat()
    }

    /// Section 7 without its length and number.
    fn data(&self, differences: &Differences, holes: bool) -> Vec<u8> {
        let mut writer = BitWriter::with_room(self.bits());
        let octets = differences.octets();
        for number in [differences.first[0], differences.first[1], differences.least] {
            writer.write(sign_magnitude(number, octets * 8), octets * 8);
        }
        for group in &self.groups {
            writer.write(self.reference(group, differences.least), self.reference_bits);
        }
        writer.align();
        for group in &self.groups {
            writer.write((group.width(self.reserved) - self.least_width).into(), self.width_bits);
        }
        writer.align();
        let ordinary = self.groups.len().saturating_sub(1);
        for (index, group) in self.groups.iter().enumerate() {
            let length = if index < ordinary { group.length - self.least_length } else { 0 };
            writer.write(length.into(), self.length_bits);
        }
        writer.align();
        let mut rest = &differences.numbers[..];
        for group in &self.groups {
            let Some((numbers, behind)) = rest.split_at_checked(group.length as usize) else { break };
            rest = behind;
            write_group(&mut writer, numbers, group, self.reserved, holes);
        }
        writer.finish()
    }

    /// About how many bits section 7 takes, not less than it does.
    fn bits(&self) -> usize {
        let group = (self.reference_bits + self.width_bits + self.length_bits) as usize;
        let numbers = self.groups.iter().map(|g| g.length as usize * g.width(self.reserved) as usize).sum::<usize>();
        self.groups.len() * group + numbers + 256
    }

    /// A group's reference above the least difference; all ones for a group of missing numbers.
    fn reference(&self, group: &Group, least: i32) -> u64 {
        if group.is_missing() { (1 << self.reference_bits) - 1 } else { (group.least - least) as u64 }
    }
}

/// The numbers of a group above its least one; all ones for missing ones.
fn write_group(writer: &mut BitWriter, numbers: &[i32], group: &Group, reserved: u32, holes: bool) {
    let width = group.width(reserved);
    match width {
        0 => (),
        _ if holes => {
            let ones = (1u64 << width) - 1;
            let above = |n: i32| if n == MISSING { ones } else { (n - group.least) as u64 };
            numbers.iter().for_each(|n| writer.write(above(*n), width));
        }
        1..=14 => write_runs::<4>(writer, numbers, group.least, width),
        _ => write_runs::<2>(writer, numbers, group.least, width),
    }
}

/// Numbers above the least one, several in one write.
fn write_runs<const RUN: usize>(writer: &mut BitWriter, numbers: &[i32], least: i32, width: u32) {
    let above = |n: &i32| u64::from((*n).wrapping_sub(least) as u32);
    let runs = numbers.chunks_exact(RUN);
    let rest = runs.remainder();
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
