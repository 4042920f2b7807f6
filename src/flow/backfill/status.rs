//! What an output holds of storm events, told from its ledger alone.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::sink;
use super::record::{CATALOG, CatalogRecord, ShardRecord};
use super::totals::EventTotals;
use crate::config::Pipeline;
use crate::flow::RunError;
use crate::flow::plan::{open_output, s3};
use crate::sources::SourceError;
use crate::storage::open_existing;

/// What an output holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventStatus {
    /// The sink that stores the events.
    pub sink: String,
    /// Events that the catalogue has of those wanted.
    pub events_expected: u64,
    /// Whether every shard is committed and the store therefore visible.
    pub complete: bool,
    /// Shards that are not committed.
    pub shards_open: Vec<u64>,
    /// What is committed and what was set aside.
    #[serde(flatten)]
    pub totals: EventTotals,
}

/// Reads the ledger of a pipeline's output.
///
/// # Errors
/// Where there is no ledger or it cannot be read, or the pipeline stores no events.
pub fn event_status(pipeline: &Pipeline) -> Result<EventStatus, RunError> {
    let (sink, _) = sink(pipeline)?;
    open_existing(&pipeline.output, &s3(&pipeline.output_server))?;
    let (_, ledger) = open_output(pipeline)?;
    let catalog: BTreeMap<String, CatalogRecord> = ledger.load(&format!("{CATALOG}."))?;
    let not_begun = || SourceError::Empty {
        location: pipeline.output.clone(),
        expected: "no run that stores events was begun there; check --output".into(),
    };
    let catalog = catalog.into_values().next().ok_or_else(not_begun)?;
    let records: BTreeMap<String, ShardRecord> = ledger.load(&format!("{}/", sink.name))?;
    let mut totals = EventTotals { shards: catalog.shards, ..EventTotals::default() };
    totals.rows(&catalog.rows);
    let mut open: Vec<u64> = (0..catalog.shards).collect();
    for record in records.values() {
        totals.shard(record);
        totals.shards_committed_before += 1;
        open.retain(|shard| *shard != record.shard);
    }
    totals.rejects.sort();
    let complete = catalog.shards > 0 && open.is_empty();
    Ok(EventStatus {
        sink: sink.name.to_string(),
        events_expected: catalog.events,
        complete,
        shards_open: open,
        totals,
    })
}
