//! The statistics table: one row a variable, to and from TOML.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Statistics, merge_sorted};
use crate::domain::Slot;

/// A text that is no statistics table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatisticsError {
    /// A key is unknown, absent, or of the wrong kind.
    #[error("line {line} of the statistics table{}: {reason}", in_row(.variable))]
    Table {
        /// The line, from 1.
        line: usize,
        /// The variable whose row it is in.
        variable: Option<String>,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A row's numbers contradict each other.
    #[error("line {line} of the statistics table, in `{variable}`: {reason}")]
    Row {
        /// The line of the row's heading, from 1.
        line: usize,
        /// The variable.
        variable: String,
        /// What is wrong and what was expected.
        reason: String,
    },
}

fn in_row(variable: &Option<String>) -> String {
    variable.as_ref().map_or_else(String::new, |variable| format!(", in `{variable}`"))
}

/// The statistics of one variable, in its units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Values that were there.
    pub count: u64,
    /// Values that were missing.
    pub missing: u64,
    /// Mean; NaN, like the rest, where there were no values.
    pub mean: f64,
    /// Standard deviation of the values themselves.
    pub standard_deviation: f64,
    /// Lowest value.
    pub minimum: f64,
    /// Highest value.
    pub maximum: f64,
}

/// The statistics of every variable, and what they were taken from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatisticsTable {
    /// What the statistics were taken from, for people.
    pub source: String,
    /// A row for each variable, by name.
    #[serde(default)]
    pub variables: BTreeMap<String, Row>,
}

impl StatisticsTable {
    /// The table of summaries of single slots, each merged in the order of the slots: the same bytes from any order.
    pub fn from_partials(source: &str, partials: impl IntoIterator<Item = (String, Slot, Statistics)>) -> Self {
        let mut by_variable: BTreeMap<String, Vec<(Slot, Statistics)>> = BTreeMap::new();
        for (variable, slot, statistics) in partials {
            by_variable.entry(variable).or_default().push((slot, statistics));
        }
        let rows = by_variable.into_iter().map(|(variable, partials)| (variable, merge_sorted(partials).row()));
        StatisticsTable { source: source.into(), variables: rows.collect() }
    }

    /// Reads a table; unknown keys and rows that contradict themselves are errors with their line and variable.
    pub fn from_toml(text: &str) -> Result<Self, StatisticsError> {
        let table: StatisticsTable = toml::from_str(text).map_err(|error| located(text, &error))?;
        for (variable, row) in &table.variables {
            row.check().map_err(|reason| {
                let line = heading_line(text, variable);
                StatisticsError::Row { line, variable: variable.clone(), reason }
            })?;
        }
        Ok(table)
    }

    /// The table as TOML; numbers read back to the same bits.
    pub fn to_toml(&self) -> String {
        let mut text = format!("source = {}\n", toml::Value::from(self.source.as_str()));
        for (variable, row) in &self.variables {
            text.push_str(&format!("\n[variables.{}]\n", key(variable)));
            text.push_str(&row.to_toml());
        }
        text
    }
}

impl Row {
    fn check(&self) -> Result<(), String> {
        let Row { count, mean, standard_deviation, minimum, maximum, .. } = *self;
        if count == 0 || (standard_deviation >= 0.0 && minimum <= mean && mean <= maximum) {
            return Ok(());
        }
        Err(format!(
            "expected minimum ≤ mean ≤ maximum and a standard deviation of at least 0, \
             not minimum {minimum}, mean {mean}, maximum {maximum}, standard deviation {standard_deviation}"
        ))
    }

    fn to_toml(self) -> String {
        let number = toml::Value::from;
        format!(
            "count = {}\nmissing = {}\nmean = {}\nstandard_deviation = {}\nminimum = {}\nmaximum = {}\n",
            self.count,
            self.missing,
            number(self.mean),
            number(self.standard_deviation),
            number(self.minimum),
            number(self.maximum)
        )
    }
}

/// A variable's name as a TOML key: bare where it can be.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.into() } else { toml::Value::from(name).to_string() }
}

/// The error with its line, and the variable of the last heading up to it.
fn located(text: &str, error: &toml::de::Error) -> StatisticsError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    let variable = text.lines().take(line).filter_map(heading).last();
    StatisticsError::Table { line, variable, reason: error.message().to_string() }
}

/// The variable that a line begins the row of.
fn heading(line: &str) -> Option<String> {
    let name = line.trim().strip_prefix("[variables.")?.split(']').next()?;
    Some(name.trim_matches('"').to_string())
}

fn heading_line(text: &str, variable: &str) -> usize {
    let place = text.lines().position(|line| heading(line).as_deref() == Some(variable));
    place.map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lead, Moment};

    fn table() -> StatisticsTable {
        let slot = |hour: u64| Slot::new(Moment(hour * 3600), Lead(0));
        let partials = [
            ("t2m".to_string(), slot(2), Statistics::of(&[271.3, 280.1])),
            ("t2m".to_string(), slot(1), Statistics::of(&[f32::NAN, 291.7])),
            ("cape".to_string(), slot(1), Statistics::of(&[0.0, 0.1, 2000.3])),
        ];
        StatisticsTable::from_partials("synthetic \"states\" of two hours", partials)
    }

    #[test]
    fn a_table_reads_back_to_the_same_bits() {
        let text = table().to_toml();
        assert_eq!(StatisticsTable::from_toml(&text), Ok(table()), "{text}");
        assert_eq!(table().variables["t2m"].count, 3);
    }

    #[test]
    fn a_row_without_values_reads_back() {
        let row = ("refc".to_string(), Slot::default(), Statistics::of(&[f32::NAN]));
        let text = StatisticsTable::from_partials("nothing", [row]).to_toml();
        assert!(StatisticsTable::from_toml(&text).expect("a table").variables["refc"].mean.is_nan());
    }

    #[test]
    fn mistakes_name_the_variable_and_the_line() {
        let good = table().to_toml();
        for (bad, line, reason) in [
            (good.replacen("missing = 1", "mising = 1", 1), 13, "unknown field `mising`"),
            (good.replacen("mean = 281", "mean = \"warm\"\nmode = 281", 1), 14, "invalid type"),
            (good.replacen("minimum = 271", "minimum = 471", 1), 11, "minimum ≤ mean"),
        ] {
            let message = StatisticsTable::from_toml(&bad).expect_err("a mistake").to_string();
            assert!(message.contains(&format!("line {line} ")) && message.contains("`t2m`"), "{message}\n{bad}");
            assert!(message.contains(reason), "{message}");
        }
        let message = StatisticsTable::from_toml("sauce = 1").expect_err("a mistake").to_string();
        assert!(message.contains("line 1 ") && message.contains("sauce"), "{message}");
        assert!(StatisticsTable::from_toml("source = ").is_err());
    }
}
