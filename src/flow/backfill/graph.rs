//! The dataflow of a backfill: shards handed out, done, counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Capability, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use super::peer::Peer;
use super::plan::Plan;
use super::work::{Crew, Outcome};
use super::{BackfillOptions, ClusterError};
use crate::flow::offload::Offload;
use crate::flow::{PARK, RunError};
use crate::telemetry::{health, metrics};

/// How soon the first worker looks again whether the slowest has moved on, or the run is to stop.
const HELD_BACK: Duration = Duration::from_millis(5);
/// Shards handed out for every thread that does one: one to do, one to come.
const AHEAD: usize = 2;

/// A shard to be done: its number in this run's order, which chooses the worker, and in the store.
type Task = (u64, u64);

/// Runs the dataflow on all workers of this process until every process is through; `peers` are connections to the others
/// by number, where there are some.
pub(super) fn run(
    plan: &Arc<Plan>,
    options: &BackfillOptions,
    peers: Option<Vec<Option<Peer>>>,
) -> Result<(), RunError> {
    let crew = Arc::new(Crew::new(plan.clone()));
    let tasks =
        Mutex::new(Some(plan.pending.iter().copied().enumerate().map(|(turn, shard)| (turn as u64, shard)).collect()));
    let logic = {
        let plan = plan.clone();
        move |worker: &mut Worker| {
            let first = worker.index() == 0;
            let mine = if first { tasks.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
            worker.dataflow(|scope| build(scope, &plan, &crew, mine));
            while worker.has_dataflows() {
                worker.step_or_park(Some(PARK));
                health().beat();
            }
        }
    };
    let running = match peers {
        None => {
            let config =
                if options.workers > 1 { timely::Config::process(options.workers) } else { timely::Config::thread() };
            timely::execute(config, logic)
        }
        Some(peers) => {
            let process = options.process();
            let hooks = Hooks::default();
            let threads = ProcessBuilder::new_typed_vector(options.workers, hooks.refill.clone(), None);
            let made = initialize_networking_from_sockets(threads, peers, process, options.workers, hooks);
            let (builders, guard) = made.map_err(|source| ClusterError::Broken { process, source })?;
            let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
            timely::execute::execute_from(builders, Box::new(guard), WorkerConfig::default(), logic)
        }
    };
    let ended = running.map(|guards| guards.join().into_iter().collect::<Result<Vec<()>, String>>());
    if let Err(reason) | Ok(Err(reason)) = ended {
        plan.totals.fail(format!("a worker ended early: {reason}"));
    }
    Ok(())
}

fn build(scope: Scope<'_, u64>, plan: &Arc<Plan>, crew: &Arc<Crew>, tasks: Option<VecDeque<Task>>) {
    let slowest: ProbeHandle<u64> = ProbeHandle::new();
    let window = AHEAD * plan.writers * scope.peers();
    let tasks = hand_out(scope, plan.clone(), tasks, window, slowest.clone());
    let outcomes = work(tasks, plan.clone(), crew.clone());
    count(outcomes, plan.clone()).probe_with(&slowest);
}

/// Shards in order, from the first worker, no more than `window` beyond the slowest.
fn hand_out<'scope>(
    scope: Scope<'scope, u64>,
    plan: Arc<Plan>,
    tasks: Option<VecDeque<Task>>,
    window: usize,
    slowest: ProbeHandle<u64>,
) -> StreamVec<'scope, u64, Task> {
    let worker = scope.worker();
    source(scope, "Shards", move |capability, info| {
        let again = worker.activator_for(info.address.clone());
        let mut state = tasks.map(|tasks| (capability, tasks));
        let mut in_flow = BTreeSet::new();
        move |output| {
            let Some((capability, tasks)) = &mut state else { return };
            if plan.is_stopping() {
                tasks.clear();
            }
            in_flow.retain(|shard| slowest.less_equal(shard));
            while in_flow.len() < window
                && let Some(task) = tasks.pop_front()
            {
                capability.downgrade(&task.1);
                output.session(&*capability).give(task);
                in_flow.insert(task.1);
            }
            metrics().queue("shards", in_flow.len(), window);
            match tasks.front() {
                Some((_, next)) => {
                    capability.downgrade(next);
                    again.activate_after(HELD_BACK);
                }
                None => state = None,
            }
        }
    })
}

/// Does each shard on threads of the worker that it is exchanged to.
fn work<'scope>(
    tasks: StreamVec<'scope, u64, Task>,
    plan: Arc<Plan>,
    crew: Arc<Crew>,
) -> StreamVec<'scope, u64, Outcome> {
    let worker = tasks.scope().worker();
    tasks.unary(Exchange::new(|task: &Task| task.0), "Backfill", move |_, info| {
        let activator = worker.sync_activator_for(info.address.to_vec());
        let mut threads = Offload::start("shard", plan.writers, activator, move |shard| (shard, crew.shard(shard)));
        let mut held: BTreeMap<u64, Capability<u64>> = BTreeMap::new();
        move |input, output| {
            input.for_each_time(|time, batches| {
                for (_, shard) in batches.flat_map(|batch| batch.drain(..)) {
                    held.insert(shard, time.retain(output.output_index()));
                    threads.submit(shard);
                }
            });
            for (shard, outcome) in threads.poll() {
                if let Some(capability) = held.remove(&shard) {
                    plan.note_own(&outcome);
                    output.session(&capability).give(outcome);
                }
            }
        }
    })
}

/// Counts on the first worker what came of every shard; passes the number of each on.
fn count<'scope>(outcomes: StreamVec<'scope, u64, Outcome>, plan: Arc<Plan>) -> StreamVec<'scope, u64, u64> {
    outcomes.unary(Exchange::new(|_: &Outcome| 0), "Totals", move |_, _| {
        move |input, output| {
            input.for_each_time(|time, batches| {
                let shard = *time.time();
                for outcome in batches.flat_map(|batch| batch.drain(..)) {
                    plan.note(&outcome);
                    output.session(&time).give(shard);
                }
            });
        }
    })
}
