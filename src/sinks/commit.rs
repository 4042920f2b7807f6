//! What the ledger says of one slot of one sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Absence, Field, Requirement, Slot};

/// Why a variable is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentRecord {
    /// Whether the pipeline waited for it.
    pub requirement: Requirement,
    /// The reason, for people.
    pub reason: Arc<str>,
}

/// One slot as a sink committed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The slot.
    pub slot: Slot,
    /// Objects the values come from, with their ETags.
    pub objects: BTreeMap<String, String>,
    /// Who made the values.
    pub origin: String,
    /// What was written, by variable.
    pub variables: BTreeMap<Arc<str>, Value>,
    /// What did not come, by variable.
    pub absent: BTreeMap<Arc<str>, AbsentRecord>,
}

impl Commit {
    /// The ledger's name for a slot of a sink.
    pub fn unit(sink: &str, slot: Slot) -> String {
        format!("{sink}/{}/{}", slot.cycle.key(), slot.lead)
    }

    /// Whether nothing that the pipeline requires is absent.
    pub fn is_whole(&self) -> bool {
        !self.objects.is_empty() && self.absent.values().all(|a| a.requirement == Requirement::Optional)
    }

    /// What is absent though the pipeline requires it, with reasons.
    pub fn lacking(&self) -> String {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let required = self.absent.iter().filter(|(_, a)| a.requirement == Requirement::Required);
        required.for_each(|(name, absent)| by_reason.entry(&absent.reason).or_default().push(name));
        let told = by_reason.iter().map(|(reason, names)| format!("lacks {}: {reason}", names.join(", ")));
        told.collect::<Vec<_>>().join("; ")
    }

    /// Variables that are absent and may be.
    pub fn optional_absences(&self) -> impl Iterator<Item = &Arc<str>> {
        self.absent.iter().filter(|(_, a)| a.requirement == Requirement::Optional).map(|(name, _)| name)
    }

    /// Whether the slot was made of this object as it is now.
    pub fn is_of(&self, object: &str, etag: &str) -> bool {
        self.objects.get(object).is_some_and(|known| known == etag)
    }

    /// Records the object of a field, whether or not the sink takes it.
    pub fn passed(&mut self, field: &Field) {
        self.objects.insert(field.provenance.object.clone(), field.provenance.etag.clone());
        self.origin.clone_from(&field.provenance.origin);
    }

    /// Records a field that was written.
    pub fn wrote(&mut self, field: &Field, written: Value) {
        self.passed(field);
        self.absent.remove(&field.variable);
        self.variables.insert(field.variable.clone(), written);
    }

    /// Records a field that did not come, unless an earlier commit has it or says why.
    pub fn lacks(&mut self, absence: &Absence) {
        if !self.variables.contains_key(&absence.variable) {
            let record = AbsentRecord { requirement: absence.requirement, reason: absence.reason.clone() };
            self.absent.entry(absence.variable.clone()).or_insert(record);
        }
    }
}
