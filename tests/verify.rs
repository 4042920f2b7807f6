//! Scores against two others who know them: a plain recomputation and the Python package `scores`.

mod common {
    pub(crate) mod python;
}

use std::fs;
use std::path::Path;

use common::python;
use gustfront::domain::Philox;
use gustfront::verify::{CaseScores, score};
use serde_json::{Value, json};

/// Sums of f64 in another order and 12 written digits: what may differ, as a part of the larger number.
const ROUNDING: f64 = 1e-10;

/// A forecast, its truth and the cells' areas, with missing and infinite values among them.
struct Case {
    forecast: Vec<f32>,
    truth: Vec<f32>,
    area_km2: Vec<f64>,
}

impl Case {
    fn random(seed: u64, cells: u32, offset: f32) -> Self {
        let random = Philox::new(seed, 1);
        let mut case = Case { forecast: Vec::new(), truth: Vec::new(), area_km2: Vec::new() };
        for cell in 0..cells {
            let [common, own, error, _] = random.normal([cell, 0, 0, 0]).map(|v| v as f32);
            let [lot, area, ..] = random.uniform([cell, 1, 0, 0]);
            let forecast = if lot < 0.05 { f32::NAN } else { offset + 8.0 * common + 3.0 * own };
            let truth = match lot {
                0.03..0.1 => f32::NAN,
                0.99.. => f32::INFINITY,
                _ => offset + 8.0 * common + 4.0 * error,
            };
            case.forecast.push(forecast);
            case.truth.push(truth);
            case.area_km2.push(8.0 + 2.0 * area);
        }
        case
    }

    fn score(&self, thresholds: &[f32]) -> CaseScores {
        score(&self.forecast, &self.truth, &self.area_km2, thresholds)
    }

    /// Forecast, truth and area where both are known.
    fn pairs(&self) -> Vec<(f64, f64, f64)> {
        let known = |i: &usize| self.forecast[*i].is_finite() && self.truth[*i].is_finite();
        let pair = |i| (f64::from(self.forecast[i]), f64::from(self.truth[i]), self.area_km2[i]);
        (0..self.truth.len()).filter(known).map(pair).collect()
    }
}

fn near(name: &str, ours: f64, theirs: f64, scale: f64) {
    assert!((ours - theirs).abs() <= ROUNDING * scale, "{name}: {ours} here, {theirs} there");
}

/// The mean of a quantity over pairs, weighted by area.
fn mean(pairs: &[(f64, f64, f64)], quantity: impl Fn(f64, f64) -> f64) -> f64 {
    let whole: f64 = pairs.iter().rev().map(|(_, _, area)| area).sum();
    pairs.iter().rev().map(|(f, o, area)| area * quantity(*f, *o) / whole).sum()
}

#[test]
fn scores_equal_a_plain_recomputation() {
    for (seed, cells, offset) in [(1, 1, 20.0), (2, 4095, 20.0), (3, 4097, 280.0), (4, 100_000, 0.0)] {
        let case = Case::random(seed, cells, offset);
        let (pairs, thresholds) = (case.pairs(), [offset - 10.0, offset, offset + 10.0, offset + 1000.0]);
        let ours = case.score(&thresholds);
        assert_eq!((ours.count, ours.missing), (pairs.len() as u64, u64::from(cells) - pairs.len() as u64));
        if pairs.is_empty() {
            continue;
        }
        let mae = mean(&pairs, |f, o| (f - o).abs());
        near("bias", ours.bias.expect("pairs"), mean(&pairs, |f, o| f - o), mae);
        near("MAE", ours.mae.expect("pairs"), mae, mae);
        near("RMSE", ours.rmse.expect("pairs"), mean(&pairs, |f, o| (f - o).powi(2)).sqrt(), mae);
        for (event, threshold) in ours.thresholds.iter().zip(thresholds) {
            let limit = f64::from(threshold);
            let part = |said, came| mean(&pairs, |f, o| f64::from(((f >= limit), (o >= limit)) == (said, came)));
            let (hits, misses, alarms, none) =
                (part(true, true), part(false, true), part(true, false), part(false, false));
            for (name, area, part) in [
                ("hits", event.hits, hits),
                ("misses", event.misses, misses),
                ("false alarms", event.false_alarms, alarms),
                ("correct negatives", event.correct_negatives, none),
            ] {
                near(name, area, part * ours.area_km2, ours.area_km2);
            }
            ratio("CSI", event.csi, hits, hits + misses + alarms);
            ratio("POD", event.pod, hits, hits + misses);
            ratio("FAR", event.far, alarms, hits + alarms);
            ratio("frequency bias", event.frequency_bias, hits + alarms, hits + misses);
        }
    }
}

fn ratio(name: &str, ours: Option<f64>, part: f64, whole: f64) {
    match ours {
        Some(value) => near(name, value, part / whole, value.abs().max(1.0)),
        None => assert_eq!(whole, 0.0, "{name} is absent"),
    }
}

#[test]
fn the_same_fields_give_the_same_bits_on_any_thread() {
    let case = Case::random(5, 50_000, 10.0);
    let first = case.score(&[5.0, 10.0]);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| case.score(&[5.0, 10.0]))).collect();
        others.into_iter().for_each(|other| assert_eq!(other.join().expect("no panic"), first));
    });
    let text = serde_json::to_string(&first).expect("plain data");
    assert_eq!(serde_json::from_str::<CaseScores>(&text).expect("our own text"), first);
}

#[test]
fn the_package_scores_agrees() {
    let Some(python) = python::python() else { return };
    let (case, thresholds) = (Case::random(6, 20_000, 15.0), [10.0, 15.0, 25.0]);
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &case, &thresholds);
    let printed = python::run(python, "score_fields.py", &[folder.path().to_str().expect("a path")]);
    let theirs: Value = serde_json::from_str(&printed).expect("JSON");
    let ours = case.score(&thresholds);
    let number = |value: &Value| value.as_f64().expect("a number");
    let mae = ours.mae.expect("pairs");
    near("bias", ours.bias.expect("pairs"), number(&theirs["bias"]), mae);
    near("MAE", mae, number(&theirs["mae"]), mae);
    near("RMSE", ours.rmse.expect("pairs"), number(&theirs["rmse"]), mae);
    // The package counts cells, so the contingency scores are compared with all cells of one size.
    let even = score(&case.forecast, &case.truth, &vec![1.0; case.truth.len()], &thresholds);
    for (event, theirs) in even.thresholds.iter().zip(theirs["thresholds"].as_array().expect("a list")) {
        for (name, ours) in
            [("csi", event.csi), ("pod", event.pod), ("far", event.far), ("frequency_bias", event.frequency_bias)]
        {
            near(name, ours.expect("events"), number(&theirs[name]), 1.0);
        }
    }
}

/// Writes the fields as little-endian bytes and the thresholds as JSON.
fn write(folder: &Path, case: &Case, thresholds: &[f32]) {
    let save = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).expect("written");
    save("forecast", case.forecast.iter().flat_map(|v| v.to_le_bytes()).collect());
    save("truth", case.truth.iter().flat_map(|v| v.to_le_bytes()).collect());
    save("area", case.area_km2.iter().flat_map(|v| v.to_le_bytes()).collect());
    save("thresholds", json!(thresholds).to_string().into_bytes());
}
