//! Scores pooled over cases: a table by variable and lead, for people and as rows for programs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::line::ScoreLine;
use super::scores::{CaseScores, ThresholdScores};
use super::totals::{CaseTotals, ScoreKey};
use crate::domain::Lead;

/// The scores of one model, variable and lead over all cases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportRow {
    /// Who forecast.
    pub model: Arc<str>,
    /// The variable.
    pub variable: Arc<str>,
    /// Units of the bias, the errors and the thresholds.
    pub units: Arc<str>,
    /// Whether any case is of synthetic weather.
    pub synthetic: bool,
    /// How far ahead, in hours.
    #[serde(rename = "lead_hours", serialize_with = "super::line::lead::serialize")]
    pub lead: Lead,
    /// Cases in which anything was compared.
    pub cases: u64,
    /// The pooled scores: the RMSE of all errors, the CSI of all areas.
    #[serde(flatten)]
    pub scores: CaseScores,
}

/// What is gathered for one row.
#[derive(Default)]
struct Group {
    units: Arc<str>,
    synthetic: bool,
    totals: CaseTotals,
}

/// Pools the lines by model, variable and lead; lines with other thresholds or units are pooled apart.
///
/// Within a model, the variables with the most event thresholds come first.
pub fn rows(lines: &[ScoreLine]) -> Vec<ReportRow> {
    let mut groups: BTreeMap<(ScoreKey, Arc<str>, Vec<u32>), Group> = BTreeMap::new();
    for line in lines {
        let thresholds = line.scores.thresholds.iter().map(|t| t.threshold.to_bits()).collect();
        let group = groups.entry((line.key(), Arc::clone(&line.units), thresholds)).or_default();
        group.units = Arc::clone(&line.units);
        group.synthetic |= line.origin.starts_with("SYNTHETIC");
        group.totals.add(&line.totals());
    }
    let pooled = groups.into_iter().map(|((key, _, thresholds), group)| row(key, &thresholds, group));
    let mut rows: Vec<ReportRow> = pooled.collect();
    rows.sort_by_key(|row| (row.model.clone(), Reverse(row.scores.thresholds.len())));
    rows
}

fn row(key: ScoreKey, thresholds: &[u32], group: Group) -> ReportRow {
    let thresholds: Vec<f32> = thresholds.iter().map(|bits| f32::from_bits(*bits)).collect();
    ReportRow {
        model: key.model,
        variable: key.variable,
        units: group.units,
        synthetic: group.synthetic,
        lead: key.lead,
        cases: u64::try_from(group.totals.cases).unwrap_or(0),
        scores: group.totals.scores(&thresholds),
    }
}

/// The rows as aligned text, one block a model and variable.
pub fn table(rows: &[ReportRow]) -> String {
    let same_block = |a: &ReportRow, b: &ReportRow| {
        (&a.model, &a.variable, &a.units, thresholds(a)) == (&b.model, &b.variable, &b.units, thresholds(b))
    };
    rows.chunk_by(same_block).map(block).collect::<Vec<_>>().join("\n")
}

fn thresholds(row: &ReportRow) -> Vec<f32> {
    row.scores.thresholds.iter().map(|t| t.threshold).collect()
}

fn block(rows: &[ReportRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let synthetic = if rows.iter().any(|row| row.synthetic) { " · SYNTHETIC weather" } else { "" };
    let mut text = format!("{} ({}) · {}{synthetic}\n{}", first.variable, first.units, first.model, heading(first));
    let decimals = decimals(rows);
    rows.iter().for_each(|row| text += &body(row, decimals));
    text
}

/// The columns' names: a second line tells what stands below the thresholds.
fn heading(row: &ReportRow) -> String {
    let mut first = String::from("   lead  cases       bias        MAE       RMSE");
    let mut second = " ".repeat(first.len());
    for threshold in thresholds(row) {
        let _ = write!(first, "  {:>14}", format!("≥ {threshold}"));
        second += "     CSI/POD/FAR";
    }
    if row.scores.thresholds.is_empty() { first + "\n" } else { format!("{first}\n{second}\n") }
}

fn body(row: &ReportRow, decimals: usize) -> String {
    let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.decimals$}"));
    let hours = format!("{} h", f64::from(row.lead.0) / 60.0);
    let scores = &row.scores;
    let [bias, mae, rmse] = [number(scores.bias), number(scores.mae), number(scores.rmse)];
    let mut text = format!("{hours:>7}{:>7}{bias:>11}{mae:>11}{rmse:>11}", row.cases);
    for event in &scores.thresholds {
        let _ = write!(text, "  {:>14}", event_cell(event));
    }
    text + "\n"
}

fn event_cell(event: &ThresholdScores) -> String {
    let short = |value: Option<f64>| value.map_or("  - ".into(), |v| format!("{v:.2}"));
    format!("{}/{}/{}", short(event.csi), short(event.pod), short(event.far))
}

/// Decimals that leave the largest RMSE of a block four significant digits.
fn decimals(rows: &[ReportRow]) -> usize {
    let largest = rows.iter().filter_map(|row| row.scores.rmse).fold(0.0, f64::max);
    let digits = if largest > 0.0 { largest.log10().floor() } else { 0.0 };
    (3.0 - digits).clamp(0.0, 8.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Moment, Slot};
    use crate::verify::score;

    fn line(hour: u64, lead: u32, forecast: &[f32], truth: &[f32]) -> ScoreLine {
        let slot = Slot::new(Moment(hour * 3600), Lead::hours(lead));
        ScoreLine {
            init: slot.cycle,
            lead: slot.lead,
            valid: slot.valid(),
            model: "persistence".into(),
            variable: "t2m".into(),
            units: "K".into(),
            origin: "SYNTHETIC test".into(),
            scores: score(forecast, truth, &vec![9.0; truth.len()], &[273.15]),
        }
    }

    #[test]
    fn rows_pool_the_cases_of_a_lead() {
        let missing = f32::NAN;
        let lines = [
            line(0, 1, &[274.0, 273.0], &[275.0, 272.0]),
            line(1, 1, &[280.0, missing], &[277.0, 1.0]),
            line(2, 1, &[missing, missing], &[1.0, 1.0]),
            line(0, 2, &[273.0, 280.0], &[273.0, 280.0]),
        ];
        let rows = rows(&lines);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].cases, rows[0].scores.count, rows[0].scores.missing), (2, 3, 3));
        assert_eq!(rows[0].scores.bias, Some(1.0));
        let rmse = rows[0].scores.rmse.expect("there are pairs");
        assert!((rmse - (11.0_f64 / 3.0).sqrt()).abs() < 1e-9, "{rmse}");
        assert_eq!(rows[1].scores.rmse, Some(0.0));
    }

    #[test]
    fn the_table_is_aligned_and_says_synthetic() {
        let lines = [line(0, 1, &[274.0, 273.0], &[275.0, 272.0]), line(0, 12, &[250.0], &[260.0])];
        let text = table(&rows(&lines));
        let table: Vec<&str> = text.lines().collect();
        assert_eq!(table[0], "t2m (K) · persistence · SYNTHETIC weather");
        let widths: Vec<usize> = table[1..].iter().map(|l| l.chars().count()).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{text}");
        assert!(table[3].starts_with("    1 h      1       0.00       1.00"), "{text}");
        assert!(table[4].ends_with("  - /  - /  - "), "{text}");
    }

    #[test]
    fn no_lines_make_an_empty_table() {
        assert_eq!(table(&rows(&[])), "");
    }
}
