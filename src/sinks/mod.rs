//! Where results go: each sink writes a field at a time and publishes a slot once all of it is written.

mod commit;
mod grib2;
mod lightning;
mod png;
mod scores;
mod statistics;
mod zarr;

pub use commit::{AbsentRecord, Commit};
pub use grib2::Grib2Sink;
pub use lightning::{LightningError, LightningOptions, LightningSummary, write_lightning};
pub use png::PngSink;
pub use scores::{ScoreFiles, ScoreRecord};
pub use statistics::StatisticsSink;
pub use zarr::{Gridded, StoreDescription, ZarrSink};

use serde_json::Value;

use crate::domain::Field;
use crate::formats::grib2::Grib2Error;
use crate::formats::png::PngError;
use crate::formats::zarr::ZarrError;
use crate::storage::{LedgerError, StorageError};
use crate::tensor::TensorError;
use crate::transforms::statistics::StatisticsError;
use crate::verify::LineError;

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The Zarr store refused.
    #[error(transparent)]
    Zarr(#[from] ZarrError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A picture could not be drawn.
    #[error("{0}")]
    Png(#[from] PngError),
    /// A field does not fit into a GRIB2 message.
    #[error(transparent)]
    Grib2(#[from] Grib2Error),
    /// An object no longer holds what the ledger says was written to it.
    #[error("{0} has lost its message of `{1}`; delete the object and its ledger entry to write it anew")]
    Lost(String, String),
    /// Statistics that do not fit together.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// A score file written earlier cannot be read.
    #[error("{object}: {source}; delete it and its ledger entry to score its cycle anew")]
    Scores {
        /// The file.
        object: String,
        /// What is wrong with it.
        source: LineError,
    },
    /// Values could not be brought back from the device that holds them.
    #[error(transparent)]
    Device(#[from] TensorError),
    /// A variable the variables table does not know.
    #[error("no variable `{0}` in the variables table")]
    Variable(String),
}

/// Where fields go.
pub trait Sink: Send + Sync {
    /// The stage's name: the first part of its units in the ledger, the label of its metrics.
    fn name(&self) -> &str;
    /// Whether the sink takes this variable and slot at all.
    fn takes(&self, field: &Field) -> bool;
    /// Writes one field, off the worker threads; what it returns goes into the ledger.
    fn write(&self, field: &Field) -> Result<Value, SinkError>;
    /// Writes what needs all fields of a slot, before the ledger holds its commit.
    fn seal(&self, _commit: &Commit) -> Result<(), SinkError> {
        Ok(())
    }
    /// Makes a slot visible after the ledger holds its commit.
    fn publish(&self, commit: &Commit) -> Result<(), SinkError>;
}
