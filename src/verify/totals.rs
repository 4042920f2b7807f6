//! Sums of scores over cases in fixed point: adding and taking away a case cancels to the last bit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scores::{CaseScores, Contingency, Sums, ThresholdScores};
use crate::domain::Lead;

/// Steps per unit: fine enough for squared errors of 1e-9, and 1e20 units fit (a full HRRR field of CAPE has at most 2e15).
const STEPS: f64 = (1_u64 << 60) as f64;

/// What scores are pooled over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScoreKey {
    /// Who forecast.
    pub model: Arc<str>,
    /// The variable, by its name in configs.
    pub variable: Arc<str>,
    /// How far ahead.
    pub lead: Lead,
}

/// Sums over the cases of one key; weighted sums are areas in km² times the unit named, in steps of 2⁻⁶⁰.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseTotals {
    /// Cases in which anything was compared.
    pub cases: i64,
    /// Pairs that were compared.
    pub count: i64,
    /// Pairs left out.
    pub missing: i64,
    /// Area compared.
    pub area: i128,
    /// Area times error.
    pub error: i128,
    /// Area times absolute error.
    pub absolute: i128,
    /// Area times squared error.
    pub squared: i128,
    /// Contingency areas, one a threshold, in the order of the variable's thresholds.
    pub tables: Vec<TableTotals>,
}

/// Sums of contingency areas, in steps of 2⁻⁶⁰ km².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableTotals {
    /// Forecast and observed.
    pub hits: i128,
    /// Observed, not forecast.
    pub misses: i128,
    /// Forecast, not observed.
    pub false_alarms: i128,
    /// Neither.
    pub correct_negatives: i128,
}

impl From<&CaseScores> for CaseTotals {
    fn from(case: &CaseScores) -> Self {
        let weighted = |mean: Option<f64>| to_steps(case.area_km2 * mean.unwrap_or(0.0));
        CaseTotals {
            cases: i64::from(case.count > 0),
            count: i64::try_from(case.count).unwrap_or(i64::MAX),
            missing: i64::try_from(case.missing).unwrap_or(i64::MAX),
            area: to_steps(case.area_km2),
            error: weighted(case.bias),
            absolute: weighted(case.mae),
            squared: weighted(case.rmse.map(|rmse| rmse * rmse)),
            tables: case.thresholds.iter().map(TableTotals::from).collect(),
        }
    }
}

impl From<&ThresholdScores> for TableTotals {
    fn from(event: &ThresholdScores) -> Self {
        TableTotals {
            hits: to_steps(event.hits),
            misses: to_steps(event.misses),
            false_alarms: to_steps(event.false_alarms),
            correct_negatives: to_steps(event.correct_negatives),
        }
    }
}

impl CaseTotals {
    /// The pooled scores: the RMSE of all errors, the CSI of all areas; `thresholds` are those of the cases.
    pub fn scores(&self, thresholds: &[f32]) -> CaseScores {
        let sums = Sums {
            count: u64::try_from(self.count).unwrap_or(0),
            missing: u64::try_from(self.missing).unwrap_or(0),
            area: from_steps(self.area),
            error: from_steps(self.error),
            absolute: from_steps(self.absolute),
            squared: from_steps(self.squared),
            tables: self.tables.iter().zip(thresholds).map(|(table, t)| table.contingency(*t)).collect(),
        };
        sums.scores()
    }

    /// Adds another case, or a sum of cases. Overflow wraps around, so that what is added can always be taken away.
    pub fn add(&mut self, other: &CaseTotals) {
        self.cases = self.cases.wrapping_add(other.cases);
        self.count = self.count.wrapping_add(other.count);
        self.missing = self.missing.wrapping_add(other.missing);
        self.area = self.area.wrapping_add(other.area);
        self.error = self.error.wrapping_add(other.error);
        self.absolute = self.absolute.wrapping_add(other.absolute);
        self.squared = self.squared.wrapping_add(other.squared);
        let longest = self.tables.len().max(other.tables.len());
        self.tables.resize(longest, TableTotals::default());
        self.tables.iter_mut().zip(&other.tables).for_each(|(mine, theirs)| mine.add(theirs));
    }

    /// This many times the totals; −1 takes a case away.
    pub fn times(&self, factor: i64) -> Self {
        let wide = i128::from(factor);
        CaseTotals {
            cases: self.cases.wrapping_mul(factor),
            count: self.count.wrapping_mul(factor),
            missing: self.missing.wrapping_mul(factor),
            area: self.area.wrapping_mul(wide),
            error: self.error.wrapping_mul(wide),
            absolute: self.absolute.wrapping_mul(wide),
            squared: self.squared.wrapping_mul(wide),
            tables: self.tables.iter().map(|table| table.times(wide)).collect(),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let weighted = [self.area, self.error, self.absolute, self.squared];
        [self.cases, self.count, self.missing] == [0; 3]
            && weighted == [0; 4]
            && self.tables.iter().all(|table| *table == TableTotals::default())
    }
}

impl TableTotals {
    fn contingency(&self, threshold: f32) -> Contingency {
        Contingency {
            threshold,
            hits: from_steps(self.hits),
            misses: from_steps(self.misses),
            false_alarms: from_steps(self.false_alarms),
            correct_negatives: from_steps(self.correct_negatives),
        }
    }

    fn add(&mut self, other: &TableTotals) {
        self.hits = self.hits.wrapping_add(other.hits);
        self.misses = self.misses.wrapping_add(other.misses);
        self.false_alarms = self.false_alarms.wrapping_add(other.false_alarms);
        self.correct_negatives = self.correct_negatives.wrapping_add(other.correct_negatives);
    }

    fn times(&self, factor: i128) -> Self {
        TableTotals {
            hits: self.hits.wrapping_mul(factor),
            misses: self.misses.wrapping_mul(factor),
            false_alarms: self.false_alarms.wrapping_mul(factor),
            correct_negatives: self.correct_negatives.wrapping_mul(factor),
        }
    }
}

fn to_steps(value: f64) -> i128 {
    (value * STEPS).round() as i128
}

fn from_steps(steps: i128) -> f64 {
    steps as f64 / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::score;

    #[test]
    fn a_case_taken_away_leaves_nothing() {
        let case = CaseTotals::from(&score(&[1.1, 2.7], &[0.3, 9.4], &[8.99, 9.01], &[2.0]));
        let mut total = case.clone();
        total.add(&case.times(-1));
        assert!(total.is_empty() && !case.is_empty());
    }

    #[test]
    fn pooling_is_over_errors_not_over_scores() {
        let first = score(&[3.0, 0.0], &[0.0, 0.0], &[1.0, 1.0], &[1.0]);
        let second = score(&[4.0], &[0.0], &[2.0], &[1.0]);
        let mut total = CaseTotals::from(&first);
        total.add(&CaseTotals::from(&second));
        let pooled = total.scores(&[1.0]);
        assert_eq!((total.cases, pooled.count, pooled.area_km2), (2, 3, 4.0));
        assert_eq!((pooled.bias, pooled.mae), (Some(2.75), Some(2.75)));
        let rmse = pooled.rmse.expect("there are pairs");
        assert!((rmse - (41.0_f64 / 4.0).sqrt()).abs() < 1e-9, "{rmse}");
        assert_eq!(pooled.thresholds[0].far, Some(1.0));
    }
}
