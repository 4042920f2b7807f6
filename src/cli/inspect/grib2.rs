//! Every field of a GRIB2 file with its statistics, and what was skipped.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use gustfront::config;
use gustfront::domain::{Lead, Variable};
use gustfront::formats::grib2::{Grib2Error, Message, Reason, Time, decode_each, headers, scan};
use serde_json::json;

use super::names;
use super::statistics::Statistics;

/// The table's columns; the last where decoding was measured.
const COLUMNS: [&str; 14] = [
    "#",
    "variable",
    "level",
    "cycle",
    "lead",
    "window",
    "grid",
    "packing",
    "values",
    "missing",
    "min",
    "max",
    "mean",
    "decode ms",
];

/// What a file holds.
pub(super) struct Content {
    /// Fields in their order.
    pub(super) fields: Vec<Field>,
    /// Messages whose header cannot be read, and bytes that are no message.
    skipped: Vec<Skipped>,
}

/// One field and what its values are like.
pub(super) struct Field {
    /// The bytes of its message in the file.
    pub(super) bytes: Range<usize>,
    /// Its header.
    pub(super) message: Message,
    statistics: Result<Statistics, Grib2Error>,
}

/// Bytes that hold no field that can be described.
struct Skipped {
    bytes: Range<usize>,
    reason: String,
    padding: bool,
}

impl Content {
    /// Describes everything there is, unpacking fields side by side, or one by one where that is measured.
    pub(super) fn read(bytes: &[u8], repeat: Option<usize>) -> Self {
        let scan = scan(bytes);
        let skipped = scan.skipped.iter().map(|s| {
            let (reason, padding) = (s.reason.to_string(), s.reason == Reason::Padding);
            Skipped { bytes: s.range.clone(), reason, padding }
        });
        let mut content = Content { fields: Vec::new(), skipped: skipped.collect() };
        let mut found = Vec::new();
        for range in scan.messages {
            match headers(bytes.get(range.clone()).unwrap_or_default()) {
                Ok(messages) => found.extend(messages.into_iter().map(|message| (range.clone(), message))),
                Err(error) => content.skipped.push(Skipped { bytes: range, reason: error.to_string(), padding: false }),
            }
        }
        let statistics = match repeat {
            Some(times) => {
                found.iter().map(|(range, m)| Statistics::measured(m, &bytes[range.clone()], times)).collect()
            }
            None => decode_each(bytes, &found, |_, values| Statistics::of(values)),
        };
        let field = |((bytes, message), statistics)| Field { bytes, message, statistics };
        content.fields = found.into_iter().zip(statistics).map(field).collect();
        content.skipped.sort_by_key(|skipped| skipped.bytes.start);
        content
    }

    /// Whether a field cannot be unpacked, or bytes other than padding are no field.
    pub(super) fn is_damaged(&self) -> bool {
        self.skipped.iter().any(|s| !s.padding) || self.fields.iter().any(|f| f.statistics.is_err())
    }

    /// Why there is not one field, where there is none.
    pub(super) fn reason_for_nothing(&self) -> Option<&str> {
        let reason = self.skipped.first().map_or("the file is empty", |s| &s.reason);
        self.fields.is_empty().then_some(reason)
    }

    /// Prints a table, or one JSON object a line.
    pub(super) fn print(&self, file: &str, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        if json { self.print_json(file, out) } else { self.print_table(file, out) }
    }

    fn print_table(&self, file: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        writeln!(out, "{file}: fields: {}", self.fields.len())?;
        for origin in self.origins() {
            writeln!(out, "origin: {origin}")?;
        }
        if !self.fields.is_empty() {
            let mut rows = vec![COLUMNS.map(String::from).to_vec()];
            rows.extend(self.fields.iter().enumerate().map(|(number, field)| field.row(number + 1)));
            let measured = self.fields.iter().any(|f| f.statistics.as_ref().is_ok_and(|s| s.decode_ms.is_some()));
            if !measured {
                rows.iter_mut().for_each(|row| row.truncate(COLUMNS.len() - 1));
            }
            super::table(&rows, out)?;
        }
        for (number, field) in self.fields.iter().enumerate() {
            if let Err(error) = &field.statistics {
                writeln!(out, "field {}: {error}", number + 1)?;
            }
            for unknown in field.unknown() {
                writeln!(out, "field {}: {unknown}", number + 1)?;
            }
        }
        for Skipped { bytes, reason, .. } in &self.skipped {
            writeln!(out, "skipped {} bytes at byte {}: {reason}", bytes.len(), bytes.start)?;
        }
        Ok(())
    }

    fn origins(&self) -> BTreeSet<&str> {
        self.fields.iter().map(|f| &*f.message.origin).collect()
    }

    fn print_json(&self, file: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        for (number, field) in self.fields.iter().enumerate() {
            writeln!(out, "{}", field.json(file, number + 1))?;
        }
        for Skipped { bytes, reason, .. } in &self.skipped {
            let (offset, length) = (bytes.start, bytes.len());
            writeln!(out, "{}", json!({ "file": file, "skipped_offset": offset, "bytes": length, "reason": reason }))?;
        }
        Ok(())
    }
}

impl Field {
    /// Why the field's place or time is not known.
    fn unknown(&self) -> impl Iterator<Item = &Grib2Error> {
        self.message.grid.as_ref().err().into_iter().chain(self.message.product.time.as_ref().err())
    }

    /// The variable of the table whose codes the field has.
    pub(super) fn variable(&self) -> Option<&'static Arc<Variable>> {
        let message = &self.message;
        config::variables().iter().find(|v| {
            let product = &message.product;
            v.grib == message.codes() && product.is_at(v) && product.is_instantaneous() && product.ensemble.is_none()
        })
    }

    /// The variable's name, or the parameter's in the words of the WMO, or its codes.
    pub(super) fn name(&self) -> String {
        let [discipline, category, number] = self.message.codes();
        let codes = || format!("{discipline}.{category}.{number}");
        let parameter = || names::parameter(self.message.codes()).map_or_else(codes, str::to_string);
        self.variable().map_or_else(parameter, |v| v.name.to_string())
    }

    /// The level in the words of an index where they are known.
    pub(super) fn level(&self) -> String {
        match (self.message.product.first, self.message.product.second) {
            (None, _) => "-".into(),
            (Some(first), None) => names::surface(first),
            (Some(first), Some(second)) => format!("{} to {}", names::surface(first), names::surface(second)),
        }
    }

    fn row(&self, number: usize) -> Vec<String> {
        let message = &self.message;
        let time = message.product.time.as_ref().ok();
        let [missing, min, max, mean] = self.statistics.as_ref().map(Statistics::shown).unwrap_or_default();
        vec![
            number.to_string(),
            self.name(),
            self.level(),
            message.cycle.to_string(),
            time.map_or("-".into(), |t| t.lead.to_string()),
            time.and_then(|t| t.window).map_or("-".into(), |w| format!("{} min", w.0)),
            message.grid.as_ref().map_or_else(|_| format!("3.{}", message.grid_template), |g| g.describe()),
            message.packing.to_string(),
            message.points.to_string(),
            missing,
            min,
            max,
            mean,
            self.statistics.as_ref().ok().and_then(|s| s.decode_ms).map_or("-".into(), |ms| format!("{ms:.3}")),
        ]
    }

    fn json(&self, file: &str, number: usize) -> serde_json::Value {
        let message = &self.message;
        let product = &message.product;
        let minutes = |of: fn(&Time) -> Option<Lead>| product.time.as_ref().ok().and_then(of).map(|l| l.0);
        let statistics = self.statistics.as_ref().ok();
        let of_present = |value: fn(&Statistics) -> f64| statistics.filter(|s| s.count > 0).map(value);
        json!({
            "file": file,
            "field": number,
            "offset": self.bytes.start,
            "bytes": self.bytes.len(),
            "variable": self.name(),
            "parameter": names::parameter(message.codes()),
            "discipline": message.discipline,
            "category": product.category,
            "number": product.number,
            "surface": product.first.map(|s| s.kind),
            "level": product.first.map(|s| s.level),
            "ensemble": product.ensemble,
            "cycle": message.cycle.to_string(),
            "valid": message.slot().ok().map(|slot| slot.valid().to_string()),
            "lead_minutes": minutes(|t| Some(t.lead)),
            "window_minutes": minutes(|t| t.window),
            "grid": message.grid.as_deref().ok(),
            "packing": message.packing.to_string(),
            "origin": *message.origin,
            "statistic": product.time.as_ref().ok().and_then(|t| t.statistic),
            "values": message.points,
            "missing": statistics.map(|s| s.missing),
            "min": of_present(|s| s.min),
            "max": of_present(|s| s.max),
            "mean": of_present(|s| s.mean),
            "decode_ms": statistics.and_then(|s| s.decode_ms),
            "error": self.statistics.as_ref().err().map(ToString::to_string),
            "unknown": self.unknown().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}
