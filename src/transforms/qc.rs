//! Sets values that cannot be true to missing (NaN) and counts them by reason.

use crate::domain::Quality;

/// How far a value may differ from a sentinel, relative to it: a few roundings of f32 on the way out of a packed message.
const SENTINEL_TOLERANCE: f32 = 1e-6;

/// Values checked together: small enough to stay in the first-level cache from one check to the next.
const BLOCK: usize = 2048;

/// Values compared side by side.
const LANES: usize = 8;

/// What was found in one field; the counts are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Values that were missing already.
    pub missing_before: usize,
    /// Values equal to a sentinel, now missing.
    pub sentinel: usize,
    /// Values outside the range, or infinite, now missing.
    pub out_of_range: usize,
    /// The field had one value everywhere though the table calls that impossible; all of it is now missing.
    pub constant: bool,
    /// Lowest and highest true value, before a constant field was set to missing; `None` where all are missing.
    pub extremes: Option<(f32, f32)>,
}

/// Checks one field against the variables table, in place.
///
/// A field is constant where at least two values are left and all are equal.
pub fn check(values: &mut [f32], quality: &Quality) -> Report {
    let mut report = Report::default();
    let (mut lowest, mut highest) = (f32::INFINITY, f32::NEG_INFINITY);
    for block in values.chunks_mut(BLOCK) {
        report.missing_before += block.iter().filter(|value| value.is_nan()).count();
        for &sentinel in &quality.sentinels {
            report.sentinel += remove_sentinel(block, sentinel);
        }
        let [low, high] = bounds(quality);
        report.out_of_range += remove_outside(block, low, high);
        let (low, high) = extremes(block);
        (lowest, highest) = (lowest.min(low), highest.max(high));
    }
    report.extremes = (lowest <= highest).then_some((lowest, highest));
    report.constant = report.is_constant(values.len(), quality);
    if report.constant {
        values.fill(f32::NAN);
    }
    report
}

impl Report {
    /// Whether a field of `len` values is constant and must not be.
    pub fn is_constant(&self, len: usize, quality: &Quality) -> bool {
        let left = len - self.missing_before - self.sentinel - self.out_of_range;
        quality.constant_is_missing && left > 1 && self.extremes.is_some_and(|(lowest, highest)| lowest == highest)
    }
}

/// The lowest and highest value that can be true; infinite ones never are.
pub fn bounds(quality: &Quality) -> [f32; 2] {
    let [low, high] = quality.range.unwrap_or([f32::MIN, f32::MAX]);
    [low.max(f32::MIN), high.min(f32::MAX)]
}

/// How far from a sentinel a value still counts as equal.
pub fn tolerance(sentinel: f32) -> f32 {
    sentinel.abs() * SENTINEL_TOLERANCE
}

/// Lowest and highest of a block, in lanes so that it compiles to vector arithmetic. NaN is neither.
fn extremes(block: &[f32]) -> (f32, f32) {
    let (mut lowest, mut highest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let (lanes, rest) = block.as_chunks::<LANES>();
    for values in lanes {
        for k in 0..LANES {
            lowest[k] = if values[k] < lowest[k] { values[k] } else { lowest[k] };
            highest[k] = if values[k] > highest[k] { values[k] } else { highest[k] };
        }
    }
    let least = lowest.into_iter().chain(rest.iter().copied()).fold(f32::INFINITY, f32::min);
    (least, highest.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max))
}

fn remove_sentinel(block: &mut [f32], sentinel: f32) -> usize {
    let tolerance = tolerance(sentinel);
    remove(block, |value| (value - sentinel).abs() <= tolerance)
}

fn remove_outside(block: &mut [f32], low: f32, high: f32) -> usize {
    remove(block, |value| (value < low) | (value > high))
}

/// Sets every value that is wrong to missing, without a branch, and counts them.
fn remove(block: &mut [f32], wrong: impl Fn(f32) -> bool) -> usize {
    let mut removed = 0_u32;
    for value in block {
        let hit = wrong(*value);
        removed += u32::from(hit);
        *value = if hit { f32::NAN } else { *value };
    }
    removed as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality() -> Quality {
        Quality { range: Some([180.0, 340.0]), sentinels: vec![192.12, -999.0], constant_is_missing: true }
    }

    #[test]
    fn each_value_is_counted_under_one_reason() {
        let packed = ((19_212_f64 / 100.0) as f32).next_up();
        let mut values = vec![300.0, f32::NAN, packed, -999.0, 179.9, f32::INFINITY, 192.13, 340.0];
        let report = check(&mut values, &quality());
        let expected = Report {
            missing_before: 1,
            sentinel: 2,
            out_of_range: 2,
            constant: false,
            extremes: Some((192.13, 340.0)),
        };
        assert_eq!(report, expected);
        let missing: Vec<bool> = values.iter().map(|value| value.is_nan()).collect();
        assert_eq!(missing, [false, true, true, true, true, true, false, false]);
    }

    #[test]
    fn a_constant_field_is_missing_only_where_that_is_impossible() {
        let mut values = vec![273.0; 5000];
        let report = check(&mut values, &quality());
        assert!(report.constant && values.iter().all(|value| value.is_nan()));
        assert_eq!(report.extremes, Some((273.0, 273.0)));
        let mut zero_cape = vec![0.0; 5000];
        let report = check(&mut zero_cape, &Quality { range: Some([0.0, 12_000.0]), ..Quality::default() });
        assert!(!report.constant && zero_cape == vec![0.0; 5000]);
    }

    #[test]
    fn one_value_alone_or_none_is_not_constant() {
        for mut values in [vec![273.0], vec![f32::NAN, 273.0], vec![f32::NAN; 3], Vec::new()] {
            assert!(!check(&mut values, &quality()).constant);
        }
        assert_eq!(check(&mut [f32::NAN; 3], &quality()).extremes, None);
    }

    #[test]
    fn without_a_table_row_only_the_infinite_goes() {
        let mut values = vec![f32::NEG_INFINITY, f32::MAX, -999.0];
        let report = check(&mut values, &Quality::default());
        assert_eq!((report.out_of_range, report.sentinel), (1, 0));
        assert_eq!(&values[1..], [f32::MAX, -999.0]);
    }

    #[test]
    fn blocks_add_up() {
        let mut values: Vec<f32> =
            (0..3 * BLOCK + 7).map(|i| if i % 10 == 0 { -999.0 } else { 200.0 + (i % 100) as f32 }).collect();
        let expected = values.iter().filter(|&&value| value == -999.0).count();
        let report = check(&mut values, &quality());
        assert_eq!((report.sentinel, report.out_of_range, report.extremes), (expected, 0, Some((201.0, 299.0))));
    }
}
