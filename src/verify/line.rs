//! One line of JSON for every forecast field that was verified.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scores::CaseScores;
use super::totals::{CaseTotals, ScoreKey};
use crate::domain::{Lead, Moment, Slot};

/// A file of score lines that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {number} is no score: {source}")]
pub struct LineError {
    /// The line, counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

/// The scores of one variable of one forecast; the fields are written in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine {
    /// When the forecast started.
    #[serde(with = "moment")]
    pub init: Moment,
    /// How far it looked ahead, in hours.
    #[serde(rename = "lead_hours", with = "lead")]
    pub lead: Lead,
    /// The moment it is about.
    #[serde(with = "moment")]
    pub valid: Moment,
    /// Who forecast.
    pub model: Arc<str>,
    /// The variable, by its name in configs.
    pub variable: Arc<str>,
    /// Units of the bias, the errors and the thresholds.
    pub units: Arc<str>,
    /// Who made the values; begins with `SYNTHETIC` where no weather was observed or analysed.
    pub origin: Arc<str>,
    /// The scores.
    #[serde(flatten)]
    pub scores: CaseScores,
}

impl ScoreLine {
    /// What the line is pooled under.
    pub fn key(&self) -> ScoreKey {
        ScoreKey { model: Arc::clone(&self.model), variable: Arc::clone(&self.variable), lead: self.lead }
    }

    /// What the line adds to the totals of its key.
    pub fn totals(&self) -> CaseTotals {
        CaseTotals::from(&self.scores)
    }

    /// The forecast the line is about.
    pub fn slot(&self) -> Slot {
        Slot::new(self.init, self.lead)
    }
}

/// Sorts the lines by forecast, model and variable, and writes each as one line of JSON.
pub fn to_lines(lines: &mut [ScoreLine]) -> String {
    lines.sort_by(|a, b| (a.slot(), &a.model, &a.variable).cmp(&(b.slot(), &b.model, &b.variable)));
    // Numbers, texts and lists always have a form in JSON.
    lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect()
}

/// Reads what [`to_lines`] wrote; empty lines are skipped.
pub fn from_lines(text: &str) -> Result<Vec<ScoreLine>, LineError> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line)| serde_json::from_str(line).map_err(|source| LineError { number: index + 1, source });
    numbered.map(read).collect()
}

/// A moment as text: `2018-07-22T01:00Z`.
mod moment {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::Moment;

    pub(super) fn serialize<S: Serializer>(moment: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(moment)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A lead as hours: a whole number, or a fraction between the hours.
pub(super) mod lead {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::Lead;

    pub(in crate::verify) fn serialize<S: Serializer>(lead: &Lead, serializer: S) -> Result<S::Ok, S::Error> {
        match lead.0 % 60 {
            0 => serializer.serialize_u32(lead.in_hours()),
            _ => serializer.serialize_f64(f64::from(lead.0) / 60.0),
        }
    }

    pub(in crate::verify) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lead, D::Error> {
        let minutes = (f64::deserialize(deserializer)? * 60.0).round();
        let fits = (0.0..=f64::from(u32::MAX)).contains(&minutes);
        fits.then_some(Lead(minutes as u32)).ok_or_else(|| D::Error::custom("a lead is a number of hours from 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::score;

    fn line(hour: u64, lead: u32, variable: &str) -> ScoreLine {
        let slot = Slot::new(Moment(1_532_217_600 + hour * 3600), Lead::hours(lead));
        ScoreLine {
            init: slot.cycle,
            lead: slot.lead,
            valid: slot.valid(),
            model: "persistence".into(),
            variable: variable.into(),
            units: "K".into(),
            origin: "a test".into(),
            scores: score(&[280.1, 281.7, 1.0 / 3.0], &[279.4, 281.7, 0.1], &[9.0, 9.1, 8.7], &[273.15]),
        }
    }

    #[test]
    fn lines_are_sorted_and_come_back_as_they_were() {
        let mut lines = vec![line(3, 1, "t2m"), line(1, 2, "t2m"), line(1, 2, "cape"), line(1, 1, "u10")];
        let text = to_lines(&mut lines);
        let order: Vec<_> = lines.iter().map(|l| (l.init.key(), l.lead.in_hours(), l.variable.to_string())).collect();
        assert!(order.is_sorted(), "{order:?}");
        let mut again = from_lines(&text).expect("our own lines");
        assert_eq!(again, lines);
        again.reverse();
        assert_eq!(to_lines(&mut again), text);
    }

    #[test]
    fn the_fields_have_a_fixed_order_and_plain_forms() {
        let text = to_lines(&mut [line(1, 2, "t2m")]);
        let head = r#"{"init":"2018-07-22T01:00Z","lead_hours":2,"valid":"2018-07-22T03:00Z","model":"persistence","#;
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = to_lines(&mut [line(1, 2, "t2m")]) + "\n{\"init\":1}\n";
        assert_eq!(from_lines(&text).expect_err("the third line is broken").number, 3);
    }
}
