//! What an output holds of storm events, told from its ledger and what is there of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::earlier::Earlier;
use super::plan::sink;
use super::record::{CATALOG, CatalogRecord};
use super::totals::EventTotals;
use crate::config::Pipeline;
use crate::flow::RunError;
use crate::flow::plan::{open_output, s3};
use crate::formats::zarr::events::is_visible;
use crate::sinks::SinkError;
use crate::sources::SourceError;
use crate::storage::open_existing;

/// What an output holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EventStatus {
    /// The sink that stores the events.
    pub sink: String,
    /// Events that the catalogue has of those wanted.
    pub events_expected: u64,
    /// Whether every shard is committed, all its objects are there, and the store is visible.
    pub complete: bool,
    /// Whether readers see the store.
    pub published: bool,
    /// Shards that are not committed.
    pub shards_open: Vec<u64>,
    /// Committed shards, and the arrays of which their object is gone.
    pub shards_damaged: BTreeMap<u64, Vec<String>>,
    /// What is committed and what was set aside.
    #[serde(flatten)]
    pub totals: EventTotals,
}

/// Reads the ledger of a pipeline's output.
///
/// # Errors
/// Where there is no ledger or it cannot be read, or the pipeline stores no events.
pub fn event_status(pipeline: &Pipeline) -> Result<EventStatus, RunError> {
    let (sink, options) = sink(pipeline)?;
    open_existing(&pipeline.output, &s3(&pipeline.output_server))?;
    let (output, ledger) = open_output(pipeline)?;
    let catalog: BTreeMap<String, CatalogRecord> = ledger.load(&format!("{CATALOG}."))?;
    let not_begun = || SourceError::Empty {
        location: pipeline.output.clone(),
        expected: "no run that stores events was begun there; check --output".into(),
    };
    let catalog = catalog.into_values().next().ok_or_else(not_begun)?;
    let earlier = Earlier::read(&ledger, &sink.name, &*output, &options.path)?;
    let mut totals = EventTotals { shards: catalog.shards, ..EventTotals::default() };
    totals.rows(&catalog.rows);
    earlier.records.values().for_each(|record| totals.shard(record));
    totals.shards_committed_before = earlier.records.len() as u64;
    totals.rejects.sort();
    let open: Vec<u64> = (0..catalog.shards).filter(|shard| !earlier.records.contains_key(shard)).collect();
    let published = is_visible(&*output, &options.path).map_err(SinkError::from)?;
    Ok(EventStatus {
        sink: sink.name.to_string(),
        events_expected: catalog.events,
        complete: catalog.shards > 0 && open.is_empty() && earlier.gone.is_empty() && published,
        published,
        shards_open: open,
        shards_damaged: earlier.gone,
        totals,
    })
}
