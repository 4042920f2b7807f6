//! Storm events in bulk: shard by shard, over as many workers, processes and hosts as there are.
//!
//! Time is the shard's number. The first worker hands out shards, held back by the slowest; each goes by exchange to one
//! worker, whose threads read, transform and write it, one modality at a time, and commit it to the ledger; the first
//! worker counts what came of it. Every process reads the catalogue for itself: only numbers of shards travel.

mod cluster;
mod describing;
mod earlier;
mod graph;
mod greeting;
mod normalising;
mod peer;
mod plan;
mod record;
mod silence;
mod status;
mod totals;
mod work;

pub use cluster::{Cluster, ClusterError};
pub use record::{EventReject, RowReject};
pub use status::{EventStatus, event_status};
pub use totals::{EventTotals, KeptNormalisation, LeftShard};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::RunError;
use crate::config::Pipeline;
use crate::sinks::SinkError;
use crate::storage::clear_partial;
use crate::telemetry::{health, metrics};

use plan::Plan;
use silence::Watch;

pub(super) use plan::check;

/// How a pipeline of storm events is run.
#[derive(Clone, Debug)]
pub struct BackfillOptions {
    /// Worker threads of the dataflow in this process.
    pub workers: usize,
    /// The processes, where there are more than this one.
    pub cluster: Option<Cluster>,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}

impl BackfillOptions {
    /// This process, from 0.
    fn process(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.process)
    }

    /// How many processes there are.
    fn processes(&self) -> usize {
        self.cluster.as_ref().map_or(1, |cluster| cluster.hosts.len())
    }
}

/// A run's totals and how long it took. The first process speaks of all of them, any other of itself.
#[derive(Clone, Debug, Serialize)]
pub struct EventReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// This process, from 0.
    pub process: usize,
    /// How many processes there are.
    pub processes: usize,
    /// Worker threads in each.
    pub workers: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Requests to object stores that were tried again, in this process.
    pub retries: u64,
    /// Whether the run was stopped before it was through.
    pub stopped: bool,
    /// What was done.
    #[serde(flatten)]
    pub totals: EventTotals,
}

/// Runs a pipeline of storm events to its end, or until `stop` is set.
///
/// # Errors
/// Where it cannot start, where the store fails for good, and where another process failed; events that cannot be used
/// are counted, not errors.
pub fn backfill(pipeline: Pipeline, options: &BackfillOptions, stop: Arc<AtomicBool>) -> Result<EventReport, RunError> {
    let (started, retried) = (Instant::now(), metrics().retries_in_all());
    let plan = Arc::new(Plan::new(pipeline, options, stop.clone())?);
    health().set_ready();
    let ended = run(&plan, options);
    plan.running.iter().for_each(|running| running.leave());
    ended?;
    Ok(EventReport {
        pipeline: plan.pipeline.name.clone(),
        process: options.process(),
        processes: options.processes(),
        workers: options.workers,
        seconds: started.elapsed().as_secs_f64(),
        retries: metrics().retries_in_all() - retried,
        stopped: stop.load(Ordering::Relaxed),
        totals: plan.totals.now(),
    })
}

/// Brings the processes together, does what is to be done, and publishes it.
fn run(plan: &Arc<Plan>, options: &BackfillOptions) -> Result<(), RunError> {
    let peers = match (&options.cluster, &plan.running) {
        (Some(cluster), Some(running)) => Some(cluster.connect(options.workers, plan.work, running, plan.stop())?),
        _ => None,
    };
    let is_first = options.process() == 0;
    if is_first {
        // No other process writes before the first one hands out shards.
        clear_partial(&plan.pipeline.output)?;
    }
    let watched = peers.as_ref().zip(plan.running.clone());
    let _watch = watched.map(|(peers, running)| Watch::start(peers, running, is_first));
    graph::run(plan, options, peers)?;
    if let Some(reason) = plan.totals.failure() {
        return Err(RunError::Failed(reason));
    }
    if is_first {
        finish(plan)?;
    }
    Ok(())
}

/// Makes the store visible once every shard is there; what is visible already is left alone.
fn finish(plan: &Plan) -> Result<(), RunError> {
    let published = publish(plan, &plan.totals.now());
    clear_partial(&plan.pipeline.output)?;
    published
}

fn publish(plan: &Plan, totals: &EventTotals) -> Result<(), RunError> {
    if !totals.is_through() {
        return Ok(());
    }
    if totals.shards_committed > 0 {
        plan.check_ledger()?;
    }
    match plan.store.published().map_err(SinkError::from)? {
        None => Ok(plan.normalising.apply(&plan.store, totals)?.publish().map_err(SinkError::from)?),
        Some(arrays) => {
            let kept = plan.normalising.kept(&arrays, totals);
            plan.totals.count(|totals| totals.normalisations_kept = kept);
            Ok(())
        }
    }
}
