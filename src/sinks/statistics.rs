//! Mean, spread and extremes of every variable: a partial a slot in the ledger, merged in the order of the slots.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::domain::Field;
use crate::storage::{Ledger, ObjectStore};
use crate::transforms::statistics::{Statistics, StatisticsTable};

use super::{Commit, Sink, SinkError};

/// The statistics sink.
#[derive(Debug)]
pub struct StatisticsSink {
    name: String,
    objects: Arc<dyn ObjectStore>,
    ledger: Ledger,
    path: String,
}

impl StatisticsSink {
    /// A sink whose table is the object `path`.
    pub fn new(name: &str, path: &str, objects: Arc<dyn ObjectStore>, ledger: Ledger) -> Self {
        StatisticsSink { name: name.into(), objects, ledger, path: path.into() }
    }

    /// Merges every committed slot into the table and writes it.
    pub fn finish(&self) -> Result<(), SinkError> {
        let commits: Vec<Commit> = self.ledger.load(&format!("{}/", self.name))?.into_values().collect();
        let Some(first) = commits.first() else { return Ok(()) };
        let valid = |c: &Commit| c.slot.valid();
        let (from, to) = (commits.iter().map(valid).min(), commits.iter().map(valid).max());
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        let source = format!("{}, {} slots valid {from} to {to}", first.origin, commits.len());
        let partials = commits.iter().flat_map(|commit| {
            commit.variables.iter().map(|(name, value)| (name.to_string(), commit.slot, from_json(value)))
        });
        let table = StatisticsTable::from_partials(&source, partials);
        Ok(self.objects.put(&self.path, Bytes::from(table.to_toml()))?)
    }
}

impl Sink for StatisticsSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, _field: &Field) -> bool {
        true
    }

    fn write(&self, field: &Field) -> Result<Value, SinkError> {
        let s = Statistics::of(&field.values);
        Ok(json!({ "count": s.count, "missing": s.missing, "mean": s.mean, "m2": s.m2, "min": s.min, "max": s.max }))
    }

    fn publish(&self, _commit: &Commit) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A partial as the ledger holds it; the extremes of no values are `null` there.
fn from_json(value: &Value) -> Statistics {
    let empty = Statistics::default();
    let number = |key: &str, otherwise: f64| value.get(key).and_then(Value::as_f64).unwrap_or(otherwise);
    let count = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    Statistics {
        count: count("count"),
        missing: count("missing"),
        mean: number("mean", empty.mean),
        m2: number("m2", empty.m2),
        min: number("min", empty.min),
        max: number("max", empty.max),
    }
}
