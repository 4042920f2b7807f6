//! Fields as GRIB2: one object a cycle and lead with a message a variable, and its index beside it.
//!
//! The index comes last, once nothing that the pipeline requires is missing: a reader who waits for it, as for NCEP's,
//! never takes a lead for whole that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::config::{Grib2Options, Grib2Packing, VariableTable};
use crate::domain::{Field, Slot, Variable};
use crate::formats::grib2::{Encode, Pack, encode, headers, index_line, scan};
use crate::storage::ObjectStore;

use super::{Commit, Sink, SinkError};

/// Messages of a slot by variable.
type Messages = BTreeMap<Arc<str>, Bytes>;

/// The GRIB2 sink.
#[derive(Debug)]
pub struct Grib2Sink {
    name: String,
    objects: Arc<dyn ObjectStore>,
    options: Grib2Options,
    earth_winds: bool,
    variables: BTreeMap<Arc<str>, Arc<Variable>>,
    written: Mutex<BTreeMap<Slot, Messages>>,
}

impl Grib2Sink {
    /// A sink into `options.path` of a store of objects.
    pub fn new(
        name: &str,
        objects: Arc<dyn ObjectStore>,
        options: &Grib2Options,
        earth_winds: bool,
        table: &VariableTable,
    ) -> Self {
        Grib2Sink {
            name: name.into(),
            objects,
            options: options.clone(),
            earth_winds,
            variables: table.iter().map(|v| (v.name.clone(), v.clone())).collect(),
            written: Mutex::default(),
        }
    }

    /// Writes again every index that a killed run committed and could not write.
    pub fn publish_committed<'a>(&self, commits: impl Iterator<Item = &'a Commit>) -> Result<(), SinkError> {
        let listed = self.objects.list(&format!("{}/", self.options.path))?;
        let there: BTreeSet<String> = listed.into_iter().map(|object| object.key).collect();
        for commit in commits.filter(|c| !there.contains(&self.index(c.slot))) {
            if self.holds(commit)? {
                self.publish(commit)?;
            }
        }
        Ok(())
    }

    /// Whether the slot's object is the one that was committed, not one that a killed run replaced it with.
    fn holds(&self, commit: &Commit) -> Result<bool, SinkError> {
        let object = self.objects.get(&self.object(commit.slot))?.unwrap_or_default();
        let found = scan(&object).messages.into_iter().map(|range| range.len() as u64);
        Ok(found.eq(commit.variables.values().map(length)))
    }

    fn object(&self, slot: Slot) -> String {
        let cycle = slot.cycle.key();
        format!("{}/{cycle}/{cycle}.{}.grib2", self.options.path, slot.lead)
    }

    fn index(&self, slot: Slot) -> String {
        format!("{}.idx", self.object(slot))
    }

    fn variable(&self, name: &Arc<str>) -> Result<&Variable, SinkError> {
        self.variables.get(name).map(|v| &**v).ok_or_else(|| SinkError::Variable(name.to_string()))
    }

    /// Messages of variables that an earlier run wrote into the slot's object.
    fn kept(&self, slot: Slot) -> Result<Messages, SinkError> {
        let Some(object) = self.objects.get(&self.object(slot))? else { return Ok(Messages::new()) };
        let mut kept = Messages::new();
        for range in scan(&object).messages {
            let message = object.slice(range);
            let found = headers(&message)?;
            let holds = |v: &&Arc<Variable>| found.iter().any(|m| v.grib == m.codes() && m.product.is_at(v));
            if let Some(variable) = self.variables.values().find(holds) {
                kept.insert(variable.name.clone(), message);
            }
        }
        Ok(kept)
    }
}

impl Sink for Grib2Sink {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, field: &Field) -> bool {
        self.options.variables.is_empty() || self.options.variables.contains(&field.variable)
    }

    fn write(&self, field: &Field) -> Result<Value, SinkError> {
        let variable = self.variable(&field.variable)?;
        let encoding = Encode {
            pack: match self.options.packing {
                Grib2Packing::Simple => Pack::Simple,
                Grib2Packing::Complex => Pack::Complex,
                Grib2Packing::Png => Pack::Png,
            },
            centre: self.options.centre,
            grid_relative: !self.earth_winds,
            origin: Some(field.provenance.origin.as_str()).filter(|origin| origin.starts_with("SYNTHETIC")),
            ..Encode::new(field.slot, variable, &field.grid, &field.values, variable.decimal_digits)
        };
        let message = Bytes::from(encode(&encoding)?);
        let (bytes, line) = (message.len(), index_line(1, 0, &encoding));
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.entry(field.slot).or_default().insert(field.variable.clone(), message);
        let about = line.strip_prefix("1:0:").unwrap_or(&line);
        Ok(json!({ "bytes": bytes, "index": about, "missing": field.missing() }))
    }

    fn seal(&self, commit: &Commit) -> Result<(), SinkError> {
        let slot = commit.slot;
        if commit.variables.is_empty() {
            return Ok(());
        }
        let mut messages =
            self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot).unwrap_or_default();
        if commit.variables.keys().any(|name| !messages.contains_key(name)) {
            messages = self.kept(slot)?.into_iter().chain(messages).collect();
        }
        let parts = commit.variables.keys().map(|name| {
            messages.get(name).cloned().ok_or_else(|| SinkError::Lost(self.object(slot), name.to_string()))
        });
        let object = parts.collect::<Result<Vec<Bytes>, SinkError>>()?.concat();
        // An index never speaks of another object than the one beside it.
        self.objects.delete(&self.index(slot))?;
        Ok(self.objects.put(&self.object(slot), Bytes::from(object))?)
    }

    fn publish(&self, commit: &Commit) -> Result<(), SinkError> {
        if commit.variables.is_empty() {
            return Ok(());
        }
        let (mut index, mut offset) = (String::new(), 0);
        for (number, written) in commit.variables.values().enumerate() {
            let about = written.get("index").and_then(Value::as_str).unwrap_or_default();
            index += &format!("{}:{offset}:{about}\n", number + 1);
            offset += length(written);
        }
        Ok(self.objects.put(&self.index(commit.slot), Bytes::from(index))?)
    }
}

/// Bytes of a message, as the ledger has them.
fn length(written: &Value) -> u64 {
    written.get("bytes").and_then(Value::as_u64).unwrap_or(0)
}
