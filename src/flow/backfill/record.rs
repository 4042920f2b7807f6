//! What the ledger says of one shard, and of the catalogue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Modality;
use crate::sources::RejectReason;
use crate::storage::StorageError;
use crate::transforms::level_statistics::LevelStatistics;

/// Ledger unit of the catalogue.
pub(super) const CATALOG: &str = "source/catalog";

/// An event that was set aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventReject {
    /// The event.
    pub event: String,
    /// The modality that could not be used.
    pub modality: Modality,
    /// The object that holds it, or should.
    pub object: String,
    /// The object's ETag then; `None` where it was not there, or not known.
    pub etag: Option<String>,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was expected, for people.
    pub detail: String,
}

/// A row of the catalogue that was set aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowReject {
    /// Its line in the catalogue, from 1.
    pub line: usize,
    /// The event, as far as it can be read.
    pub event: String,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was expected, for people.
    pub detail: String,
}

/// One shard as it was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    /// Its number, which is its time in the flow.
    pub(super) shard: u64,
    /// Its events.
    pub(super) events: u64,
    /// How many of them have each modality in the store.
    pub(super) stored: BTreeMap<Modality, u64>,
    /// Sums over what its training events have of each modality, where the store is normalised by its own.
    #[serde(default)]
    pub(super) statistics: BTreeMap<Modality, LevelStatistics>,
    /// Those that were set aside, in the order of events.
    pub(super) rejects: Vec<EventReject>,
}

impl ShardRecord {
    /// The ledger's name for a shard of a sink.
    pub(super) fn unit(sink: &str, shard: u64) -> String {
        format!("{sink}/{shard:06}")
    }

    /// Whether a rerun need not look at the shard again: the objects of which something was set aside are what they were.
    /// `etag_of` tells what an object is now, `None` where there is none.
    pub(super) fn is_final(
        &self,
        mut etag_of: impl FnMut(&str) -> Result<Option<String>, StorageError>,
    ) -> Result<bool, StorageError> {
        for reject in &self.rejects {
            if reject.reason == RejectReason::FetchFailed || etag_of(&reject.object)? != reject.etag {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The catalogue as the output was begun with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CatalogRecord {
    /// Events wanted.
    pub(super) events: u64,
    /// Shards they make.
    pub(super) shards: u64,
    /// The same number for the same events in the same shards.
    pub(super) fingerprint: String,
    /// Rows that were set aside.
    pub(super) rows: Vec<RowReject>,
}
