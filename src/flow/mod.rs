//! Turns a checked pipeline into a running dataflow; the only module that speaks timely.

mod backfill;
mod cycles;
mod graph;
mod identity;
mod offload;
mod on_device;
mod operators;
mod outputs;
mod plan;
mod resume;
mod running;
mod stages;
mod status;
mod supply;
mod time;
mod totals;
mod watch;

pub use backfill::{
    BackfillOptions, Cluster, ClusterError, EventReject, EventReport, EventStatus, EventTotals, KeptNormalisation,
    LeftShard, RowReject, backfill, event_status,
};
pub use on_device::open_device;
pub use status::{CycleStatus, Status, status};
pub use totals::{SinkTotals, Totals};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use serde::Serialize;
use timely::dataflow::ProbeHandle;

use crate::config::{DeviceChoice, Pipeline};
use crate::domain::{Moment, Period, Slot};
use crate::sinks::SinkError;
use crate::sources::{Offer, SourceError};
use crate::storage::{LedgerError, StorageError, clear_partial};
use crate::telemetry::{health, metrics};
use crate::tensor::{Opened, TensorError};

use graph::{Computed, build};
use operators::Intake;
use outputs::Output;
use plan::Plan;

/// Listings for which a new object is left alone while its index has not come.
const INDEX_PATIENCE: u32 = 3;
/// How long a worker sleeps where nothing wakes it.
const PARK: Duration = Duration::from_millis(50);

/// A run that could not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipeline cannot be run as it is.
    #[error("{}", .0.join("\n"))]
    Pipeline(Vec<String>),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A store failed for good.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A sink could not be opened or written.
    #[error(transparent)]
    Sink(Box<SinkError>),
    /// The processes of the run did not come together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] TensorError),
    /// Another run is writing to the output.
    #[error("{0}")]
    Busy(String),
    /// Everything was committed, and what is to be published of it cannot be used.
    #[error("nothing is published: {0}")]
    Unpublished(String),
    /// The run ended before its time.
    #[error("{0}; what was published stays, and a rerun goes on from there")]
    Failed(String),
}

impl From<SinkError> for RunError {
    fn from(error: SinkError) -> Self {
        RunError::Sink(Box::new(error))
    }
}

/// How a pipeline is run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Worker threads of the dataflow.
    pub workers: usize,
    /// The cycles to process.
    pub period: Period,
    /// Keep listing for new objects until stopped.
    pub follow: bool,
    /// Show a progress bar on a terminal.
    pub progress: bool,
}

/// Which device did the arithmetic of a run.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// What was asked for.
    pub asked: DeviceChoice,
    /// What did it.
    pub used: String,
    /// Why it is the CPU, where a GPU would have been taken.
    pub reason: Option<String>,
}

/// A run's totals and how long it took.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// What did the arithmetic.
    pub device: DeviceReport,
    /// Worker threads.
    pub workers: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Requests to object stores that were tried again.
    pub retries: u64,
    /// Whether the run was stopped before it was through.
    pub stopped: bool,
    /// What was done.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Runs a pipeline to its end, or until `stop` is set, on the device that it names.
///
/// # Errors
/// Where it cannot start, and where a sink fails for good; objects that cannot be used are counted, not errors.
pub fn run(pipeline: Pipeline, options: &RunOptions, stop: Arc<AtomicBool>) -> Result<Report, RunError> {
    let opened = open_device(&pipeline)?;
    run_on(opened, pipeline, options, stop)
}

/// As [`run`], on a device that was opened before.
///
/// # Errors
/// As [`run`].
pub fn run_on(
    opened: Opened,
    pipeline: Pipeline,
    options: &RunOptions,
    stop: Arc<AtomicBool>,
) -> Result<Report, RunError> {
    let (started, retried) = (Instant::now(), metrics().retries_in_all());
    let device = DeviceReport { asked: pipeline.device, used: opened.device.name(), reason: opened.reason };
    let reason = device.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    opened.cuda.iter().for_each(watch::watch);
    let plan = Arc::new(Plan::new(pipeline, options, opened.cuda, stop.clone())?);
    tracing::info!("running on {}{reason}", device.used);
    health().set_ready();
    flow(&plan, options);
    let shared = &plan.supply.shared;
    let ended = shared.failure().map_or_else(|| finish(&plan), |reason| Err(RunError::Failed(reason)));
    plan.running.leave();
    ended?;
    Ok(Report {
        pipeline: plan.pipeline.name.clone(),
        device,
        workers: options.workers,
        seconds: started.elapsed().as_secs_f64(),
        retries: metrics().retries_in_all() - retried,
        stopped: stop.load(Ordering::Relaxed),
        totals: shared.totals(),
    })
}

/// Checks what a pipeline names beyond its file: a device that is there and has room, statistics tables that can be read
/// and have every variable.
///
/// # Errors
/// Each mistake with its place.
pub fn check(pipeline: &Pipeline) -> Result<(), RunError> {
    if pipeline.events().is_some() {
        return backfill::check(pipeline);
    }
    plan::check_tables(pipeline)?;
    // `auto` is never refused.
    if pipeline.device == DeviceChoice::Auto { Ok(()) } else { open_device(pipeline).map(|_| ()) }
}

/// Runs the dataflow on all workers.
fn flow(plan: &Arc<Plan>, options: &RunOptions) {
    let computed = Arc::new(Computed::new(plan));
    let listings = options.follow.then(|| follow(plan.clone()));
    let intake = Intake { assembly: plan.assembly(), supply: plan.supply.clone(), listings };
    let intake = Mutex::new(Some(intake));
    let (shared, plan) = (plan.supply.shared.clone(), plan.clone());
    let config = if options.workers > 1 { timely::Config::process(options.workers) } else { timely::Config::thread() };
    let running = timely::execute(config, move |worker| {
        let slowest: ProbeHandle<Slot> = ProbeHandle::new();
        let mine =
            if worker.index() == 0 { intake.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
        worker.dataflow(|scope| build(scope, &plan, &computed, mine, &slowest));
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK));
            health().beat();
        }
    });
    let ended = running.map(|guards| guards.join().into_iter().collect::<Result<Vec<()>, String>>());
    if let Err(reason) | Ok(Err(reason)) = ended {
        shared.fail(format!("a worker ended early: {reason}"));
    }
}

/// Lists a live bucket again and again, on a thread of its own.
fn follow(plan: Arc<Plan>) -> Receiver<Vec<Offer>> {
    let (sender, receiver) = bounded(1);
    thread::spawn(move || {
        let supply = &plan.supply;
        let mut waits: BTreeMap<String, u32> = BTreeMap::new();
        while !supply.is_stopping() {
            wait(Duration::from_secs(supply.options.poll_seconds), supply);
            match supply.source.list(&recent(&plan)) {
                Ok(mut offers) => {
                    offers.retain(|offer| is_ready(offer, &mut waits));
                    if sender.send(offers).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "the listing failed; trying again"),
            }
        }
    });
    receiver
}

/// The part of a live bucket in which something may still change.
fn recent(plan: &Plan) -> Period {
    let back = plan.supply.options.deadline_minutes * 60 + plan::FOLLOW_BACK_SECONDS;
    let recent = Moment(Moment::now().0.saturating_sub(back));
    Period { from: plan.period.from.max(Some(recent)), to: None }
}

/// Whether an object is to be taken now: its index is there, or has been waited for long enough.
fn is_ready(offer: &Offer, waits: &mut BTreeMap<String, u32>) -> bool {
    if offer.indexed {
        waits.remove(&offer.meta.key);
        return true;
    }
    let waited = waits.entry(offer.meta.key.clone()).or_default();
    *waited += 1;
    *waited > INDEX_PATIENCE
}

fn wait(time: Duration, supply: &supply::Supply) {
    let until = Instant::now() + time;
    while Instant::now() < until && !supply.is_stopping() {
        thread::sleep(PARK.min(time));
    }
}

/// Writes what is made of all slots together.
fn finish(plan: &Plan) -> Result<(), RunError> {
    for output in plan.outputs.values() {
        match output {
            Output::Slots(_, Some(statistics)) => statistics.finish()?,
            Output::Slots(..) => (),
            Output::Scores(files) => {
                let rows = files.finish()?;
                plan.supply.shared.count(|t| t.scores = rows);
            }
        }
    }
    clear_partial(&plan.pipeline.output)?;
    Ok(())
}
