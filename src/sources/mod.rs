//! Where fields come from.

mod assembly;
pub mod hrrr;
pub mod sevir;
pub mod synth;

pub use assembly::{Assembly, Basis, Delivery, Emission, Job, Need, Outcome, Work};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{Field, Period, Provenance, Slot};
use crate::formats::grib2::{Grib2Error, Message};
use crate::storage::{ObjectMeta, StorageError};

/// A source that cannot be listed or read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store failed for good.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The listing holds nothing that the source could read.
    #[error("{location}: {expected}")]
    Empty {
        /// The store.
        location: String,
        /// What was looked for and what to do.
        expected: String,
    },
    /// The catalogue as a whole cannot be used.
    #[error("{location}: {reason}")]
    Catalog {
        /// The store or file.
        location: String,
        /// What is wrong and what was expected.
        reason: String,
    },
}

/// An object that a listing offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The object.
    pub meta: ObjectMeta,
    /// The slot its name speaks of.
    pub named: Slot,
    /// Whether the name is exactly the one the layout gives to that slot.
    pub exact: bool,
    /// Whether an index lies beside it.
    pub indexed: bool,
}

/// Why something was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Its slot is filled by an object of the right name; of a catalogue, the same thing is in another row.
    Duplicate,
    /// It is not the format its name promises, or is damaged.
    Unreadable,
    /// Its header speaks of a slot nobody asked for.
    UnexpectedSlot,
    /// Its grid is not the one of the rest.
    WrongGrid,
    /// It is synthetic and the rest is not, or the other way round.
    WrongOrigin,
    /// A variable that the pipeline requires is not in it.
    MissingVariable,
    /// It could not be fetched; a rerun tries again.
    FetchFailed,
    /// A row of a catalogue that cannot be read or used.
    BadRow,
    /// A catalogue contradicts itself, or the file that it speaks of.
    Contradiction,
    /// A file, dataset or event that should be there is not.
    MissingData,
    /// Data of another shape or type than expected.
    WrongShape,
    /// It is sound, in a form that is not read.
    Unsupported,
}

impl RejectReason {
    /// The label in metrics, reports and ledgers.
    pub fn label(self) -> &'static str {
        match self {
            RejectReason::Duplicate => "duplicate",
            RejectReason::Unreadable => "unreadable",
            RejectReason::UnexpectedSlot => "unexpected_slot",
            RejectReason::WrongGrid => "wrong_grid",
            RejectReason::WrongOrigin => "wrong_origin",
            RejectReason::MissingVariable => "missing_variable",
            RejectReason::FetchFailed => "fetch_failed",
            RejectReason::BadRow => "bad_row",
            RejectReason::Contradiction => "contradiction",
            RejectReason::MissingData => "missing_data",
            RejectReason::WrongShape => "wrong_shape",
            RejectReason::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What was set aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reject {
    /// The object.
    pub object: String,
    /// Its ETag.
    pub etag: String,
    /// The slot its name speaks of.
    pub named: Slot,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was expected, for people.
    pub detail: String,
    /// How many messages it concerns.
    pub messages: usize,
    /// Whether something else of the object was of use.
    pub used: bool,
}

impl Reject {
    /// Whether a rerun need not look at the object again.
    pub fn is_final(&self) -> bool {
        !self.used && self.reason != RejectReason::FetchFailed
    }
}

/// One field still packed: what its header says it is of, and how to unpack it.
pub struct Chunk {
    /// The variable it holds.
    pub variable: Arc<str>,
    /// The slot its header speaks of.
    pub slot: Slot,
    /// Its header.
    pub message: Message,
    /// The bytes that the header was read from.
    pub bytes: Bytes,
    /// Where it comes from.
    pub provenance: Arc<Provenance>,
}

impl Chunk {
    /// The field with its values; where it cannot be had, why.
    pub fn unpack(&self) -> Result<Field, String> {
        let values = self.message.decode(&self.bytes).map_err(|error| self.told(&error))?;
        Ok(self.field()?.with_values(values))
    }

    /// The field without values; where its place is not known, why.
    pub fn field(&self) -> Result<Field, String> {
        let grid = self.message.grid.clone().map_err(|error| self.told(&error))?;
        let (variable, slot, provenance) = (self.variable.clone(), self.slot, self.provenance.clone());
        Ok(Field { variable, slot, grid, values: Arc::default(), held: None, provenance, restored: false })
    }

    /// What is wrong with it, for people.
    pub fn told(&self, error: &Grib2Error) -> String {
        format!("{} of {}: {error}", self.variable, self.slot)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.variable, self.slot)
    }
}

/// What fetching an object brought.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The wanted messages.
    pub chunks: Vec<Chunk>,
    /// Damaged messages, in words.
    pub damage: Vec<String>,
    /// Bytes that travelled.
    pub bytes: u64,
}

/// A place that fields come from: objects, or parts of objects, are listed and fetched off the worker threads.
///
/// A slot is a cycle and a lead for a model, a time and lead 0 for a mosaic, a shard's number and lead 0 for events.
pub trait Source: Send + Sync {
    /// What is there now in a period, sorted by slot and key.
    fn list(&self, period: &Period) -> Result<Vec<Offer>, SourceError>;
    /// Fetches the wanted parts of an object and reads their headers.
    fn fetch(&self, offer: &Offer) -> Result<Fetched, StorageError>;
}
