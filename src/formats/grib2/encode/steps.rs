//! Values as whole numbers of steps above a reference.

use super::Precision;

/// Adding it to a number below 2^51 leaves the number, rounded to the nearest whole one, in the lowest bits.
const ROUNDING: f64 = 1.5 * (1u64 << 52) as f64;
/// Values looked at side by side.
const LANES: usize = 16;

/// What there is to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survey {
    /// The least value; 0 where there is none.
    pub(super) lowest: f32,
    /// The greatest value; 0 where there is none.
    pub(super) highest: f32,
    /// Values that are not missing.
    pub(super) present: usize,
}

impl Survey {
    /// Looks at every value; the error says that one is infinite.
    pub(super) fn of(values: &[f32]) -> Result<Survey, String> {
        let (mut lowest, mut highest, mut missing) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], 0usize);
        for part in values.chunks(LANES) {
            for ((value, low), high) in part.iter().zip(&mut lowest).zip(&mut highest) {
                // Comparisons with NaN are false.
                *low = if *value < *low { *value } else { *low };
                *high = if *value > *high { *value } else { *high };
            }
            missing += part.iter().map(|v| u32::from(v.is_nan())).sum::<u32>() as usize;
        }
        let present = values.len() - missing;
        let (lowest, highest) = (lowest.into_iter().reduce(f32::min), highest.into_iter().reduce(f32::max));
        match (lowest.unwrap_or(0.0), highest.unwrap_or(0.0)) {
            _ if present == 0 => Ok(Survey { lowest: 0.0, highest: 0.0, present }),
            // Adding zero makes −0 a 0.
            (lowest, highest) if lowest.is_finite() && highest.is_finite() => {
                Ok(Survey { lowest: lowest + 0.0, highest: highest + 0.0, present })
            }
            (lowest, highest) => Err(format!("values from {lowest} to {highest}; expected finite ones, or NaN")),
        }
    }
}

/// How values become whole numbers from 0 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The least value, or what steps are counted from, before the decimal scale.
    pub(super) reference: f32,
    /// What was asked for.
    pub(super) precision: Precision,
    /// The whole number of the greatest value.
    pub(super) greatest: u32,
    factor: f64,
    offset: f64,
}

impl Steps {
    /// Steps for values between the least and the greatest; the error says why there are none.
    pub(super) fn new(precision: Precision, survey: &Survey) -> Result<Steps, String> {
        let (decimal, step) = (10f64.powi(precision.decimal.into()), 2f64.powi(precision.binary.into()));
        let factor = decimal / step;
        let count = |value: f32, from: f64| (f64::from(value) * factor - from / step).round_ties_even();
        let fits = |r: &f32| r.is_finite() && count(survey.lowest, f64::from(*r)) >= 0.0;
        let given = precision.reference.filter(fits);
        let reference = given.unwrap_or_else(|| at_most(count(survey.lowest, 0.0) * step));
        let greatest = count(survey.highest, reference.into());
        if !(reference.is_finite() && (0.0..=f64::from(u32::MAX)).contains(&greatest)) {
            let (Survey { lowest, highest, .. }, Precision { decimal, binary, .. }) = (survey, precision);
            return Err(format!(
                "values from {lowest} to {highest} in steps of 2^{binary} / 10^{decimal} need more than 32 bits; \
                 expected coarser steps"
            ));
        }
        let (greatest, offset) = (greatest as u32, f64::from(reference) / step);
        Ok(Steps { reference, precision, greatest, factor, offset })
    }

    /// Bits of the greatest whole number.
    pub(super) fn bits(&self) -> u32 {
        u32::BITS - self.greatest.leading_zeros()
    }

    /// The one value of a field whose values are all the same, or all 0 steps.
    pub(super) fn constant(&self, survey: &Survey) -> Option<f32> {
        let decimal = 10f64.powi(self.precision.decimal.into());
        let rounded = || (self.greatest == 0).then(|| (f64::from(self.reference) / decimal) as f32);
        if survey.lowest == survey.highest { Some(survey.lowest) } else { rounded() }
    }

    /// The whole number of a value; that of a missing one means nothing.
    #[inline(always)]
    pub(super) fn of(&self, value: f32) -> u32 {
        (f64::from(value) * self.factor - self.offset + ROUNDING).to_bits() as u32
    }

    /// The whole numbers of the values that are present.
    pub(super) fn of_present(&self, values: &[f32], survey: &Survey) -> Vec<u32> {
        let mut steps: Vec<u32> = values.iter().map(|value| self.of(*value)).collect();
        if survey.present < values.len() {
            let mut missing = values.iter().map(|v| v.is_nan());
            steps.retain(|_| missing.next() == Some(false));
        }
        steps
    }

    /// R, E, D and the bits of a number as octets 12 to 20 of section 5.
    pub(super) fn octets(&self, bits: u32) -> [u8; 9] {
        let ([a, b, c, d], [e, f], [g, h]) = (
            self.reference.to_be_bytes(),
            super::signed_short(self.precision.binary),
            super::signed_short(self.precision.decimal),
        );
        [a, b, c, d, e, f, g, h, bits as u8]
    }
}

/// The greatest 32-bit number that is not above `value`, so that no whole number is negative.
///
/// Between whole multiples of a power of two that are too large for 24 bits there are only such multiples.
fn at_most(value: f64) -> f32 {
    // Adding zero makes −0 a 0.
    let near = value as f32 + 0.0;
    if f64::from(near) > value { near.next_down() } else { near }
}
