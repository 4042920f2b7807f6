//! Every field of a GRIB2 file with its statistics, and what was skipped.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use gustfront::config;
use gustfront::domain::{Lead, Variable};
use gustfront::formats::grib2::{Grib2Error, Message, Surface, Time, headers, scan};
use serde_json::json;

/// The table's columns.
const COLUMNS: [&str; 13] =
    ["#", "variable", "level", "cycle", "lead", "window", "grid", "packing", "values", "missing", "min", "max", "mean"];

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
}

impl Content {
    /// Describes everything there is, unpacking one field at a time.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let scan = scan(bytes);
        let skipped = scan.skipped.iter().map(|s| Skipped { bytes: s.range.clone(), reason: s.reason.to_string() });
        let mut content = Content { fields: Vec::new(), skipped: skipped.collect() };
        for range in scan.messages {
            content.take(bytes.get(range.clone()).unwrap_or_default(), range);
        }
        content
    }

    fn take(&mut self, message: &[u8], bytes: Range<usize>) {
        match headers(message) {
            Ok(found) => self.fields.extend(found.into_iter().map(|header| {
                let statistics = header.decode(message).map(|values| Statistics::of(&values));
                Field { bytes: bytes.clone(), message: header, statistics }
            })),
            Err(error) => self.skipped.push(Skipped { bytes, reason: error.to_string() }),
        }
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
            super::table(&rows, out)?;
        }
        for (number, field) in self.fields.iter().enumerate() {
            if let Err(error) = &field.statistics {
                writeln!(out, "field {}: {error}", number + 1)?;
            }
        }
        for Skipped { bytes, reason } in &self.skipped {
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
        for Skipped { bytes, reason } in &self.skipped {
            let (offset, length) = (bytes.start, bytes.len());
            writeln!(out, "{}", json!({ "file": file, "skipped_offset": offset, "bytes": length, "reason": reason }))?;
        }
        Ok(())
    }
}

impl Field {
    /// The variable of the table whose codes the field has.
    pub(super) fn variable(&self) -> Option<&'static Arc<Variable>> {
        let message = &self.message;
        config::variables().iter().find(|v| {
            let product = &message.product;
            v.grib == message.codes() && product.is_at(v) && product.is_instantaneous() && product.ensemble.is_none()
        })
    }

    /// The variable's name, or its codes.
    pub(super) fn name(&self) -> String {
        let [discipline, category, number] = self.message.codes();
        self.variable().map_or(format!("{discipline}.{category}.{number}"), |v| v.name.to_string())
    }

    /// The level in the words of an index where they are known.
    pub(super) fn level(&self) -> String {
        let Some(Surface { kind, level }) = self.message.product.first else { return "-".into() };
        match kind {
            1 => "surface".into(),
            8 => "top of atmosphere".into(),
            10 => "entire atmosphere".into(),
            100 => format!("{} mb", level / 100.0),
            101 => "mean sea level".into(),
            103 => format!("{level} m above ground"),
            other => format!("surface type {other}, {level}"),
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
            "discipline": message.discipline,
            "category": product.category,
            "number": product.number,
            "surface": product.first.map(|s| s.kind),
            "level": product.first.map(|s| s.level),
            "cycle": message.cycle.to_string(),
            "lead_minutes": minutes(|t| Some(t.lead)),
            "window_minutes": minutes(|t| t.window),
            "grid": message.grid.as_deref().ok(),
            "packing": message.packing.to_string(),
            "origin": *message.origin,
            "values": message.points,
            "missing": statistics.map(|s| s.missing),
            "min": of_present(|s| s.min),
            "max": of_present(|s| s.max),
            "mean": of_present(|s| s.mean),
            "error": self.statistics.as_ref().err().map(ToString::to_string),
        })
    }
}

/// How values are distributed; NaN is missing.
struct Statistics {
    count: usize,
    missing: usize,
    min: f64,
    max: f64,
    mean: f64,
}

impl Statistics {
    fn of(values: &[f32]) -> Self {
        let present = || values.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v));
        let count = present().count();
        Statistics {
            count,
            missing: values.len() - count,
            min: present().fold(f64::INFINITY, f64::min),
            max: present().fold(f64::NEG_INFINITY, f64::max),
            mean: present().sum::<f64>() / count as f64,
        }
    }

    /// Missing, min, max and mean for people, in the precision of the values.
    fn shown(&self) -> [String; 4] {
        let text = |value: f64| if self.count == 0 { "-".to_string() } else { (value as f32).to_string() };
        [self.missing.to_string(), text(self.min), text(self.max), text(self.mean)]
    }
}
