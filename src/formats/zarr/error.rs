//! What can be wrong with a store, a slot or a shard.

use crate::domain::{Lead, Moment};
use crate::storage::StorageError;

/// A store that cannot be made, opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ZarrError {
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was asked for describes no store.
    #[error("{store}: no store can be made: {reason}")]
    Spec {
        /// The store.
        store: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// There is metadata, but not of a store of ours.
    #[error("{store}: `{key}` is not the metadata of a Gustfront store: {reason}")]
    Metadata {
        /// The store.
        store: String,
        /// The object.
        key: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// There is no store.
    #[error("{store}: there is no Zarr store here (no `zarr.json`)")]
    Absent {
        /// The store.
        store: String,
    },
    /// The store was written in another layout.
    #[error(
        "{store}: the store has format version {found}, this program reads and writes version {expected}: \
         use the program that wrote it, or another output"
    )]
    Version {
        /// The store.
        store: String,
        /// The version in the store.
        found: u64,
        /// The version of this program.
        expected: u64,
    },
    /// The store that is there holds something else than what is to be written.
    #[error(
        "{store}: the store that is there has {what} {stored}, but {wanted} is to be written: \
         choose another output, or remove the store to write it anew"
    )]
    Disagrees {
        /// The store.
        store: String,
        /// What differs, such as `leads`.
        what: String,
        /// As it is in the store.
        stored: String,
        /// As it was asked for.
        wanted: String,
    },
    /// An init before the first one of the axis.
    #[error(
        "{store}: {cycle} lies before the first init {origin} of the store: choose another output for earlier inits"
    )]
    BeforeOrigin {
        /// The store.
        store: String,
        /// The init.
        cycle: Moment,
        /// The first init of the axis.
        origin: Moment,
    },
    /// An init between two of the axis.
    #[error("{store}: {cycle} is no init of the store, whose inits are {step} minutes apart from {origin} on", step = step.0)]
    OffStep {
        /// The store.
        store: String,
        /// The init.
        cycle: Moment,
        /// The first init of the axis.
        origin: Moment,
        /// The time between inits.
        step: Lead,
    },
    /// An init so late that the axis would not be reasonable.
    #[error("{store}: {cycle} lies more than {years} years after the first init {origin} of the store")]
    TooLate {
        /// The store.
        store: String,
        /// The init.
        cycle: Moment,
        /// The first init of the axis.
        origin: Moment,
        /// The longest axis in years.
        years: u64,
    },
    /// A lead the store has no place for.
    #[error("{store}: the store has no lead {lead}; it has {leads}")]
    Lead {
        /// The store.
        store: String,
        /// The lead.
        lead: Lead,
        /// The leads there are.
        leads: String,
    },
    /// A variable the store has no array for.
    #[error("{store}: the store has no variable `{variable}`; it has {variables}")]
    Variable {
        /// The store.
        store: String,
        /// The variable.
        variable: String,
        /// The variables there are.
        variables: String,
    },
    /// A field of another size than the grid's.
    #[error("{store}: {got} values of `{variable}`, but the grid has {expected} points")]
    Values {
        /// The store.
        store: String,
        /// The variable.
        variable: String,
        /// How many values came.
        got: usize,
        /// How many points the grid has.
        expected: usize,
    },
    /// A shard that cannot be packed or unpacked.
    #[error("{store}: `{key}` cannot be packed or unpacked: {reason}")]
    Shard {
        /// The store.
        store: String,
        /// The object.
        key: String,
        /// The codec's own words.
        reason: String,
    },
}
