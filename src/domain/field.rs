//! One variable on one grid for one slot, and the record that it did not come.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Grid, Slot};

/// One variable at one slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The name used in configs, archives and scores, such as `t2m`.
    pub variable: Arc<str>,
    /// The cycle and lead the values are of.
    pub slot: Slot,
    /// Where the values are.
    pub grid: Arc<Grid>,
    /// Row-major (y, x) in the grid's own row order; NaN is missing.
    pub values: Arc<Vec<f32>>,
    /// The values where a device holds them; `values` is empty then, and nobody but who put them there can read them.
    #[serde(skip)]
    pub held: Option<Held>,
    /// Where the values come from.
    pub provenance: Arc<Provenance>,
    /// Already passed the transforms in an earlier run and was read back from this pipeline's own store.
    pub restored: bool,
}

impl Field {
    /// The same field with other values on the same grid.
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        Field { values: Arc::new(values), held: None, ..self.clone() }
    }

    /// How many values are missing.
    pub fn missing(&self) -> usize {
        self.values.iter().filter(|v| v.is_nan()).count()
    }
}

/// Values on a device, seen as nothing in particular: what a device is comes later than what a field is.
#[derive(Clone)]
pub struct Held(pub Arc<dyn Any + Send + Sync>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Where values come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Provenance {
    /// The object they were read from.
    pub object: String,
    /// The object's ETag when it was read.
    pub etag: String,
    /// Who made them; begins with `SYNTHETIC` where no weather was observed or analysed.
    pub origin: String,
}

/// Whether a pipeline waits for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// A slot without it is partial.
    Required,
    /// A slot without it is whole; the absence is recorded.
    Optional,
}

/// The record that a variable of a slot did not come, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absence {
    /// The variable that did not come.
    pub variable: Arc<str>,
    /// The slot it did not come for.
    pub slot: Slot,
    /// Whether the pipeline waited for it.
    pub requirement: Requirement,
    /// What is known of the reason, for people.
    pub reason: Arc<str>,
}

/// What travels between operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A field.
    Field(Field),
    /// The record that a field did not come.
    Absent(Absence),
}

impl Item {
    /// The slot the item is of.
    pub fn slot(&self) -> Slot {
        match self {
            Item::Field(field) => field.slot,
            Item::Absent(absence) => absence.slot,
        }
    }

    /// The same item as another slot's; values are shared.
    pub fn at(&self, slot: Slot) -> Self {
        match self {
            Item::Field(field) => Item::Field(Field { slot, ..field.clone() }),
            Item::Absent(absence) => Item::Absent(Absence { slot, ..absence.clone() }),
        }
    }

    /// The variable the item is of.
    pub fn variable(&self) -> &Arc<str> {
        match self {
            Item::Field(field) => &field.variable,
            Item::Absent(absence) => &absence.variable,
        }
    }
}
