//! Mean, spread and extremes of a variable in one pass that can be split anywhere and merged.

use crate::domain::Slot;

mod table;

pub use table::{Row, StatisticsError, StatisticsTable};

/// A running summary of one variable's values, in its units.
///
/// Blocks are merged by the pairwise update of Chan, Golub and LeVeque (1983); of Welford's (1962) kind for one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Finite values.
    pub count: u64,
    /// Values that are NaN or infinite, which enter nothing else.
    pub missing: u64,
    /// Mean; 0 where there are no values.
    pub mean: f64,
    /// Sum of squared differences from the mean.
    pub m2: f64,
    /// Lowest value; +∞ where there are none.
    pub min: f64,
    /// Highest value; −∞ where there are none.
    pub max: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Statistics { count: 0, missing: 0, mean: 0.0, m2: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Statistics {
    /// Takes in the values of a field.
    pub fn push(&mut self, values: &[f32]) {
        self.merge(&Statistics::of(values));
    }

    /// The summary of one field, in two passes over it: the mean, then the squared differences from it.
    pub fn of(values: &[f32]) -> Self {
        let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
        let mut statistics = Statistics::default();
        let mut total = 0.0;
        for value in finite() {
            statistics.count += 1;
            total += value;
            statistics.min = statistics.min.min(value);
            statistics.max = statistics.max.max(value);
        }
        statistics.missing = values.len() as u64 - statistics.count;
        if statistics.count > 0 {
            statistics.mean = total / statistics.count as f64;
            statistics.m2 = finite().map(|value| (value - statistics.mean).powi(2)).sum();
        }
        statistics
    }

    /// Takes in another summary; the order of merges changes the result by rounding alone (1e-12 relative).
    pub fn merge(&mut self, other: &Statistics) {
        self.missing += other.missing;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let share = other.count as f64 / count as f64;
        let difference = other.mean - self.mean;
        self.mean += difference * share;
        self.m2 += other.m2 + difference * difference * self.count as f64 * share;
        self.count = count;
    }

    /// Standard deviation of the values themselves (divided by the count); NaN where there are none.
    pub fn standard_deviation(&self) -> f64 {
        (self.m2 / self.count as f64).sqrt()
    }

    /// The row of a table; mean, deviation and extremes are NaN where there are no values.
    pub fn row(&self) -> Row {
        let known = |number: f64| if self.count == 0 { f64::NAN } else { number };
        Row {
            count: self.count,
            missing: self.missing,
            mean: known(self.mean),
            standard_deviation: known(self.standard_deviation()),
            minimum: known(self.min),
            maximum: known(self.max),
        }
    }
}

/// Merges the summaries of single slots in the order of the slots, so that any order of arrival gives the same bits.
pub fn merge_sorted(mut partials: Vec<(Slot, Statistics)>) -> Statistics {
    partials.sort_by_key(|(slot, _)| *slot);
    partials.iter().fold(Statistics::default(), |mut total, (_, partial)| {
        total.merge(partial);
        total
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Lead, Moment};

    fn close(a: f64, b: f64) -> bool {
        a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
    }

    fn same(a: &Statistics, b: &Statistics) -> bool {
        (a.count, a.missing, a.min, a.max) == (b.count, b.missing, b.min, b.max)
            && close(a.mean, b.mean)
            // Two values that differ by little lose digits to their mean, so its size is the scale.
            && (a.standard_deviation() - b.standard_deviation()).abs() <= 1e-12 * a.mean.abs()
    }

    #[test]
    fn a_small_sample_by_hand() {
        let mut statistics = Statistics::default();
        statistics.push(&[2.0, 4.0, f32::NAN]);
        statistics.push(&[4.0, 4.0, 5.0, 5.0, f32::INFINITY]);
        statistics.push(&[]);
        statistics.push(&[7.0, 9.0]);
        assert_eq!((statistics.count, statistics.missing), (8, 2));
        assert!(close(statistics.mean, 5.0) && close(statistics.standard_deviation(), 2.0));
        assert_eq!((statistics.min, statistics.max), (2.0, 9.0));
    }

    #[test]
    fn no_values_have_no_mean() {
        let row = Statistics::of(&[f32::NAN; 3]).row();
        assert!(row.mean.is_nan() && row.standard_deviation.is_nan() && row.minimum.is_nan());
        assert_eq!((row.count, row.missing), (0, 3));
    }

    #[test]
    fn slots_merge_to_the_same_bits_from_any_order() {
        let partial = |hour: u32| {
            let values: Vec<f32> =
                (0..500).map(|i| 280.0 + ((i * 7 + hour as usize * 13) as f32 * 0.37).sin() * 12.0).collect();
            (Slot::new(Moment(u64::from(hour) * 3600), Lead(0)), Statistics::of(&values))
        };
        let forward: Vec<_> = (0..24).map(partial).collect();
        let shuffled: Vec<_> = (0..24).map(|i| forward[i * 7 % 24]).collect();
        let (a, b) = (merge_sorted(forward), merge_sorted(shuffled));
        assert_eq!((a.mean.to_bits(), a.m2.to_bits()), (b.mean.to_bits(), b.m2.to_bits()));
    }

    proptest! {
        #[test]
        fn any_split_and_order_gives_the_same_table(
            values in prop::collection::vec(prop_oneof![200.0_f32..320.0, Just(f32::NAN)], 2..300),
            cuts in prop::collection::vec(0_usize..300, 0..6),
            reverse in any::<bool>(),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).chain([0, values.len()]).collect();
            cuts.sort_unstable();
            let mut parts: Vec<Statistics> = cuts.windows(2).map(|cut| Statistics::of(&values[cut[0]..cut[1]])).collect();
            if reverse {
                parts.reverse();
            }
            let mut merged = Statistics::default();
            parts.iter().for_each(|part| merged.merge(part));
            let whole = Statistics::of(&values);
            prop_assert!(whole.count == 0 || same(&merged, &whole), "{merged:?} {whole:?}");
            prop_assert_eq!((merged.count, merged.missing), (whole.count, whole.missing));
        }
    }
}
