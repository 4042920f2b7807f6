//! Lightning files: thousands of small tables, one an event, told together.

use std::io::Write;

use gustfront::formats::hdf5::{Element, Hdf5File};
use serde_json::json;

/// Columns of a table of flashes.
const COLUMNS: [&str; 5] = ["t", "lat", "lon", "x", "y"];
/// Events whose values are looked at.
const LOOKED_AT: usize = 500;
/// Ids that are shown.
const EXAMPLES: usize = 5;

/// A file of one table of five columns an event.
pub(super) struct Keyed {
    ids: Vec<String>,
    /// Points of every event.
    points: Vec<u64>,
    /// Least and greatest value of every column, in the events looked at.
    ranges: [[f64; 2]; 5],
    looked_at: usize,
    faults: Vec<String>,
}

impl Keyed {
    /// The events of a file; `None` where it is no such file.
    pub(super) fn of(file: &Hdf5File, names: &[String]) -> Option<Keyed> {
        let mut keyed = Keyed {
            ids: Vec::new(),
            points: Vec::new(),
            ranges: [[f64::INFINITY, f64::NEG_INFINITY]; 5],
            looked_at: 0,
            faults: Vec::new(),
        };
        let every = names.len().div_ceil(LOOKED_AT).max(1);
        for (number, name) in names.iter().enumerate() {
            match file.dataset(name) {
                Ok(dataset) if dataset.element == Element::F64 && dataset.shape.get(1..) == Some(&[5]) => {
                    keyed.ids.push(name.clone());
                    keyed.points.push(dataset.length());
                    if number % every == 0 {
                        keyed.look(name, dataset.rows::<f64>(0..dataset.length()).map_err(|e| e.to_string()));
                    }
                }
                Ok(_) => return None,
                Err(error) => keyed.faults.push(error.to_string()),
            }
        }
        (!keyed.ids.is_empty()).then_some(keyed)
    }

    fn look(&mut self, id: &str, values: Result<Vec<f64>, String>) {
        self.looked_at += 1;
        match values {
            Err(fault) => self.faults.push(format!("{id}: {fault}")),
            Ok(values) => {
                for (k, value) in values.iter().enumerate() {
                    let [low, high] = &mut self.ranges[k % 5];
                    (*low, *high) = (low.min(*value), high.max(*value));
                }
            }
        }
    }

    /// Whether something could not be read.
    pub(super) fn is_damaged(&self) -> bool {
        !self.faults.is_empty()
    }

    fn empty(&self) -> usize {
        self.points.iter().filter(|points| **points == 0).count()
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (events, total) = (self.ids.len(), self.points.iter().sum::<u64>());
        let most = self.points.iter().max().copied().unwrap_or(0);
        writeln!(
            out,
            "events: {events}, {} of them without lightning; points: {total}, at most {most} an event",
            self.empty()
        )?;
        let examples: Vec<&str> = self.ids.iter().take(EXAMPLES).map(String::as_str).collect();
        writeln!(out, "ids: {}{}", examples.join(", "), if events > EXAMPLES { ", …" } else { "" })?;
        let mut rows = vec![["column", "type", "min", "max", "of"].map(String::from).to_vec()];
        let of =
            if self.looked_at == events { "all".to_string() } else { format!("{} of {events} events", self.looked_at) };
        for (column, [low, high]) in COLUMNS.iter().zip(self.ranges) {
            let end = |value: f64| if low <= high { super::hdf5::number(value) } else { "-".into() };
            rows.push(vec![column.to_string(), "float64".into(), end(low), end(high), of.clone()]);
        }
        super::table(&rows, out)?;
        for fault in &self.faults {
            writeln!(out, "{fault}")?;
        }
        Ok(())
    }

    pub(super) fn json(&self, file: &str, size: u64) -> serde_json::Value {
        let finite = |value: f64| Some(value).filter(|v| v.is_finite());
        json!({
            "file": file,
            "kind": "lightning keyed by event",
            "bytes": size,
            "events": self.ids.len(),
            "empty": self.empty(),
            "points": self.points.iter().sum::<u64>(),
            "most_points": self.points.iter().max(),
            "examples": self.ids.iter().take(EXAMPLES).collect::<Vec<_>>(),
            "columns": COLUMNS,
            "min": self.ranges.map(|[low, _]| finite(low)),
            "max": self.ranges.map(|[_, high]| finite(high)),
            "events_looked_at": self.looked_at,
            "errors": self.faults,
        })
    }
}
