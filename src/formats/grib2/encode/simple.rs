//! Simple packing (5.0): every value in the same number of bits, missing ones in a bitmap.

use super::super::bits::BitWriter;
use super::super::product::MISSING;
use super::Packed;
use super::steps::{Steps, Survey};

/// The template's number, without its `5.`.
const SIMPLE: u16 = 0;

/// Values of the same number of bits each.
pub(super) fn pack(values: &[f32], survey: &Survey, steps: &Steps) -> Packed {
    let (numbers, bits) = (steps.of_present(values, survey), steps.bits());
    let mut writer = BitWriter::with_room(numbers.len() * bits as usize);
    write(&mut writer, &numbers, bits);
    let representation = representation(SIMPLE, survey.present, steps, bits);
    Packed { representation, bitmap: bitmap(values, survey), data: writer.finish() }
}

/// A field of one value, which is its reference value, without a decimal scale, which readers disagree about.
pub(super) fn constant(values: &[f32], survey: &Survey, constant: f32) -> Packed {
    let mut representation = (survey.present as u32).to_be_bytes().to_vec();
    representation.extend_from_slice(&SIMPLE.to_be_bytes());
    representation.extend_from_slice(&constant.to_be_bytes());
    representation.extend_from_slice(&[0; 6]);
    Packed { representation, bitmap: bitmap(values, survey), data: Vec::new() }
}

/// Numbers of the same number of bits each, as many at a time as one write takes.
pub(super) fn write(writer: &mut BitWriter, numbers: &[u32], bits: u32) {
    let whole = match bits {
        0..=14 => runs::<4>(writer, numbers, bits),
        15..=18 => runs::<3>(writer, numbers, bits),
        19..=28 => runs::<2>(writer, numbers, bits),
        _ => 0,
    };
    numbers.iter().skip(whole).for_each(|number| writer.write((*number).into(), bits));
}

/// Writes runs of `RUN` numbers; how many numbers were written.
fn runs<const RUN: usize>(writer: &mut BitWriter, numbers: &[u32], bits: u32) -> usize {
    let runs = numbers.chunks_exact(RUN);
    let rest = runs.remainder().len();
    for run in runs {
        let joined = run.iter().fold(0, |joined, number| joined << bits | u64::from(*number));
        writer.write(joined, bits * RUN as u32);
    }
    numbers.len() - rest
}

/// Section 5 of templates 5.0 and 5.41.
pub(super) fn representation(template: u16, present: usize, steps: &Steps, bits: u32) -> Vec<u8> {
    let mut octets = (present as u32).to_be_bytes().to_vec();
    octets.extend_from_slice(&template.to_be_bytes());
    octets.extend_from_slice(&steps.octets(bits));
    octets.push(0);
    octets
}

/// Section 6: which values are present, or that all are.
pub(super) fn bitmap(values: &[f32], survey: &Survey) -> Vec<u8> {
    if survey.present == values.len() {
        return vec![MISSING];
    }
    let byte = |eight: &[f32]| eight.iter().fold(0, |byte, v| byte << 1 | u8::from(!v.is_nan())) << (8 - eight.len());
    [0].into_iter().chain(values.chunks(8).map(byte)).collect()
}
