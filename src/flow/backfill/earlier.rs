//! What earlier runs left in an output: the shards they committed, and which of those are to be written anew.

use std::collections::{BTreeMap, BTreeSet};

use super::record::ShardRecord;
use crate::flow::RunError;
use crate::formats::zarr::events::{MISSING_POINTS, PRESENT, shards_of};
use crate::sinks::SinkError;
use crate::storage::{Ledger, ObjectStore, StorageError};

/// Committed shards.
pub(super) struct Earlier {
    /// The record of each.
    pub(super) records: BTreeMap<u64, ShardRecord>,
    /// The arrays of which the object of a shard is gone.
    pub(super) gone: BTreeMap<u64, Vec<String>>,
}

impl Earlier {
    /// Reads a sink's ledger and looks for the objects that it speaks of, in the store at `path` of the output.
    ///
    /// # Errors
    /// Where the output cannot be read.
    pub(super) fn read(ledger: &Ledger, sink: &str, output: &dyn ObjectStore, path: &str) -> Result<Self, RunError> {
        let loaded: BTreeMap<String, ShardRecord> = ledger.load(&format!("{sink}/"))?;
        let records: BTreeMap<u64, ShardRecord> = loaded.into_values().map(|record| (record.shard, record)).collect();
        let mut gone: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (array, expected) in expected(&records) {
            let there = shards_of(output, path, &array).map_err(SinkError::from)?;
            expected.difference(&there).for_each(|shard| gone.entry(*shard).or_default().push(array.clone()));
        }
        Ok(Earlier { records, gone })
    }

    /// The shards that there is nothing to do about. Those of which an object is gone are done anew, and those with
    /// events that were set aside where the object of one has come or changed since.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub(super) fn done(&self, input: &dyn ObjectStore) -> Result<BTreeSet<u64>, RunError> {
        let mut seen: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut etag_of = |key: &str| -> Result<Option<String>, StorageError> {
            if let Some(known) = seen.get(key) {
                return Ok(known.clone());
            }
            let etag = input.head(key)?.map(|meta| meta.etag);
            seen.insert(key.into(), etag.clone());
            Ok(etag)
        };
        let mut done = BTreeSet::new();
        for (shard, record) in &self.records {
            if !self.gone.contains_key(shard) && record.is_final(&mut etag_of)? {
                done.insert(*shard);
            }
        }
        Ok(done)
    }
}

/// The shards of which each array has an object.
fn expected(records: &BTreeMap<u64, ShardRecord>) -> BTreeMap<String, BTreeSet<u64>> {
    let mut arrays: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (shard, record) in records {
        let stored = record.stored.iter().filter(|(_, events)| **events > 0).map(|(modality, _)| modality.label());
        for array in stored.chain([PRESENT, MISSING_POINTS]) {
            arrays.entry(array.into()).or_default().insert(*shard);
        }
    }
    arrays
}
