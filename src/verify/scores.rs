//! Area-weighted scores of one forecast field against the field that came true.
//!
//! With weights w (the cells' areas), errors e = forecast − truth, and H, M, F the areas of hits, misses and
//! false alarms: bias = Σwe/Σw, MAE = Σw|e|/Σw, RMSE = √(Σwe²/Σw), POD = H/(H+M), FAR = F/(H+F),
//! CSI = H/(H+M+F), frequency bias = (H+F)/(H+M) (Wilks, Statistical Methods in the Atmospheric Sciences, ch. 9).

use serde::{Deserialize, Serialize};

/// Cells summed before their sum joins the total: rounding stays small, and the order of additions is always the same.
const BLOCK: usize = 4096;

/// Below this part of the mean absolute error a bias is rounding of the sums, and is written as zero.
const ROUNDING: f64 = 1e-12;

/// The scores of one field, or of many pooled; `None` where nothing was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseScores {
    /// Pairs of values that were compared.
    pub count: u64,
    /// Pairs left out because the forecast or the truth is missing or not finite.
    pub missing: u64,
    /// Area of the compared cells, km².
    pub area_km2: f64,
    /// Mean error, in the variable's units; positive where the forecast is too high.
    pub bias: Option<f64>,
    /// Mean absolute error, in the variable's units.
    pub mae: Option<f64>,
    /// Root of the mean squared error, in the variable's units.
    pub rmse: Option<f64>,
    /// Scores of the events "at least this much", one a threshold.
    pub thresholds: Vec<ThresholdScores>,
}

/// How well an event was forecast; the event is a value of at least the threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdScores {
    /// The least value that is an event, in the variable's units.
    pub threshold: f32,
    /// Area forecast and observed, km².
    pub hits: f64,
    /// Area observed but not forecast, km².
    pub misses: f64,
    /// Area forecast but not observed, km².
    pub false_alarms: f64,
    /// Area neither forecast nor observed, km².
    pub correct_negatives: f64,
    /// Critical success index; `None` where the event was neither forecast nor observed.
    pub csi: Option<f64>,
    /// Probability of detection; `None` where the event was not observed.
    pub pod: Option<f64>,
    /// False alarm ratio; `None` where the event was not forecast.
    pub far: Option<f64>,
    /// Area forecast over area observed; `None` where the event was not observed.
    pub frequency_bias: Option<f64>,
}

/// Scores a forecast against the truth on the same grid; `area_km2` holds the cells' areas.
///
/// The same input gives the same bits, whatever else the machine does. Numbers are rounded to 12 significant
/// digits, which JSON carries there and back unchanged.
///
/// # Panics
/// Where the three fields differ in length: they are on different grids.
pub fn score(forecast: &[f32], truth: &[f32], area_km2: &[f64], thresholds: &[f32]) -> CaseScores {
    assert_eq!(forecast.len(), truth.len(), "a forecast is scored against the truth on its own grid");
    assert_eq!(forecast.len(), area_km2.len(), "every cell that is scored has an area");
    let mut total = Sums::new(thresholds);
    let blocks = forecast.chunks(BLOCK).zip(truth.chunks(BLOCK)).zip(area_km2.chunks(BLOCK));
    for ((forecast, truth), area) in blocks {
        total.add(&Sums::of_block(forecast, truth, area, thresholds));
    }
    total.scores()
}

/// Weighted sums over cells, from which every score follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) count: u64,
    pub(super) missing: u64,
    pub(super) area: f64,
    pub(super) error: f64,
    pub(super) absolute: f64,
    pub(super) squared: f64,
    pub(super) tables: Vec<Contingency>,
}

/// Areas by whether an event was forecast and observed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Contingency {
    pub(super) threshold: f32,
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) false_alarms: f64,
    pub(super) correct_negatives: f64,
}

impl Sums {
    fn new(thresholds: &[f32]) -> Self {
        let tables = thresholds.iter().map(|t| Contingency { threshold: *t, ..Contingency::default() }).collect();
        Sums { tables, ..Sums::default() }
    }

    fn of_block(forecast: &[f32], truth: &[f32], area: &[f64], thresholds: &[f32]) -> Self {
        let mut sums = Sums::new(thresholds);
        for ((&f, &o), &w) in forecast.iter().zip(truth).zip(area) {
            if !(f.is_finite() && o.is_finite()) {
                sums.missing += 1;
                continue;
            }
            let error = f64::from(f) - f64::from(o);
            sums.count += 1;
            sums.area += w;
            sums.error += w * error;
            sums.absolute += w * error.abs();
            sums.squared += w * error * error;
        }
        sums.tables.iter_mut().for_each(|table| table.fill(forecast, truth, area));
        sums
    }

    fn add(&mut self, other: &Sums) {
        self.count += other.count;
        self.missing += other.missing;
        self.area += other.area;
        self.error += other.error;
        self.absolute += other.absolute;
        self.squared += other.squared;
        self.tables.iter_mut().zip(&other.tables).for_each(|(mine, theirs)| mine.add(theirs));
    }

    /// The scores that follow from the sums.
    pub(super) fn scores(&self) -> CaseScores {
        let mae = ratio(self.absolute, self.area);
        let is_rounding = |bias: f64| bias.abs() < ROUNDING * mae.unwrap_or(0.0);
        CaseScores {
            count: self.count,
            missing: self.missing,
            area_km2: rounded(self.area),
            bias: ratio(self.error, self.area).map(|bias| if is_rounding(bias) { 0.0 } else { bias }),
            mae,
            rmse: ratio(self.squared, self.area).map(|mean| rounded(mean.sqrt())),
            thresholds: self.tables.iter().map(Contingency::scores).collect(),
        }
    }
}

impl Contingency {
    fn fill(&mut self, forecast: &[f32], truth: &[f32], area: &[f64]) {
        for ((&f, &o), &w) in forecast.iter().zip(truth).zip(area) {
            let known = f.is_finite() && o.is_finite();
            let (said, came) = (f >= self.threshold, o >= self.threshold);
            let weight_if = |event: bool| if known && event { w } else { 0.0 };
            self.hits += weight_if(said && came);
            self.misses += weight_if(!said && came);
            self.false_alarms += weight_if(said && !came);
            self.correct_negatives += weight_if(!said && !came);
        }
    }

    fn add(&mut self, other: &Contingency) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.false_alarms += other.false_alarms;
        self.correct_negatives += other.correct_negatives;
    }

    fn scores(&self) -> ThresholdScores {
        let (forecast, observed) = (self.hits + self.false_alarms, self.hits + self.misses);
        ThresholdScores {
            threshold: self.threshold,
            hits: rounded(self.hits),
            misses: rounded(self.misses),
            false_alarms: rounded(self.false_alarms),
            correct_negatives: rounded(self.correct_negatives),
            csi: ratio(self.hits, observed + self.false_alarms),
            pod: ratio(self.hits, observed),
            far: ratio(self.false_alarms, forecast),
            frequency_bias: ratio(forecast, observed),
        }
    }
}

/// A quotient, or `None` where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| rounded(part / whole))
}

/// The nearest number with 12 significant decimal digits, never −0.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value) + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_four_cells_by_hand() {
        let got = score(&[2.0, 0.0, 3.0, f32::NAN], &[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, 2.0, 5.0], &[2.0]);
        assert_eq!((got.count, got.missing, got.area_km2), (3, 1, 4.0));
        assert_eq!((got.bias, got.mae), (Some(-0.25), Some(0.75)));
        assert_eq!(got.rmse, Some(1.11803398875));
        let event = &got.thresholds[0];
        assert_eq!((event.hits, event.misses, event.false_alarms, event.correct_negatives), (2.0, 1.0, 1.0, 0.0));
        assert_eq!((event.csi, event.pod), (Some(0.5), Some(0.666666666667)));
        assert_eq!((event.far, event.frequency_bias), (Some(0.333333333333), Some(1.0)));
    }

    #[test]
    fn nothing_compared_is_no_number() {
        let got = score(&[f32::NAN, 1.0], &[1.0, f32::INFINITY], &[1.0, 1.0], &[0.0]);
        assert_eq!((got.count, got.missing), (0, 2));
        assert_eq!((got.bias, got.mae, got.rmse, got.thresholds[0].csi), (None, None, None, None));
        let text = serde_json::to_string(&got).expect("plain data");
        assert!(text.contains("\"rmse\":null"), "{text}");
    }

    #[test]
    fn an_event_that_never_was_has_no_ratio() {
        let event = &score(&[0.0, 0.0], &[0.0, 0.0], &[1.0, 1.0], &[5.0]).thresholds[0];
        assert_eq!((event.csi, event.pod, event.far, event.frequency_bias), (None, None, None, None));
        assert_eq!(event.correct_negatives, 2.0);
    }
}
