//! Writes the fields of a slot off the worker threads, and commits the slot once the frontier proves it complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::domain::{Field, Item, Slot};
use crate::flow::offload::Offload;
use crate::flow::on_device::values;
use crate::flow::totals::Shared;
use crate::sinks::{Commit, Sink, SinkError};
use crate::storage::Ledger;
use crate::telemetry::metrics;

use super::{Items, route};

/// A slot as one event time speaks of it; a correction speaks of the same slot later.
type Key = (Slot, Slot);

/// What the threads of a sink do.
enum Job {
    Write(Key, Box<Field>),
    Commit(Key, Box<Commit>),
}

/// What came of it.
enum Done {
    Wrote(Key, Box<Field>, Result<serde_json::Value, SinkError>),
    Committed(Key, Box<Commit>, Result<(), SinkError>),
}

/// A slot on its way.
struct Pending {
    capability: Capability<Slot>,
    commit: Box<Commit>,
    writing: usize,
    committing: bool,
    /// Nothing of it is new.
    unchanged: bool,
}

/// A sink with everything that its operator needs.
#[derive(Clone)]
pub(in crate::flow) struct Committing {
    pub(in crate::flow) sink: Arc<dyn Sink>,
    pub(in crate::flow) ledger: Ledger,
    /// What earlier runs committed.
    pub(in crate::flow) committed: Arc<BTreeMap<Slot, Commit>>,
    pub(in crate::flow) writers: usize,
    pub(in crate::flow) shared: Arc<Shared>,
}

/// The slots that have been committed, each at its event time.
pub(in crate::flow) fn commit<'scope>(items: Items<'scope>, with: Committing) -> StreamVec<'scope, Slot, Slot> {
    let name = with.sink.name().to_string();
    let worker = items.scope().worker();
    let by_slot = Exchange::new(|item: &Item| route(item.slot()));
    items.unary_frontier(by_slot, &name.clone(), move |_, info| {
        let activator = worker.sync_activator_for(info.address.to_vec());
        let (sink, ledger) = (with.sink.clone(), with.ledger.clone());
        let mut threads = Offload::start(&name, with.writers, activator, move |job| work(&*sink, &ledger, job));
        let mut pending: BTreeMap<Key, Pending> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, batches| {
                for item in batches.flat_map(|batch| batch.drain(..)) {
                    let key = (*time.time(), item.slot());
                    let slot = pending.entry(key).or_insert_with(|| {
                        let earlier = with.committed.get(&key.1).cloned();
                        let commit = earlier.unwrap_or_else(|| Commit { slot: key.1, ..Commit::default() });
                        let capability = time.retain(output.output_index());
                        let commit = Box::new(commit);
                        Pending { capability, commit, writing: 0, committing: false, unchanged: true }
                    });
                    take(slot, key, item, &with, &mut threads);
                }
            });
            for done in threads.poll() {
                settle(done, &mut pending, &with, |capability, slot| output.session(capability).give(slot));
            }
            let failed = with.shared.failure().is_some();
            pending.retain(|key, slot| {
                let complete = !slot.committing && slot.writing == 0 && !frontier.less_equal(&key.0);
                if complete && !failed && !slot.unchanged {
                    slot.committing = true;
                    threads.submit(Job::Commit(*key, slot.commit.clone()));
                }
                !(complete && (failed || slot.unchanged))
            });
        }
    })
}

/// Takes in one item of a slot; what an earlier run committed from the same object is not written again.
fn take(slot: &mut Pending, key: Key, item: Item, with: &Committing, threads: &mut Offload<Job, Done>) {
    match item {
        Item::Absent(absence) => {
            let before = slot.commit.clone();
            slot.commit.lacks(&absence);
            slot.unchanged &= slot.commit == before;
        }
        Item::Field(field) => {
            let source = &field.provenance;
            let done = with.committed.get(&key.1).is_some_and(|c| c.is_of(&source.object, &source.etag));
            if done || with.shared.failure().is_some() {
                return;
            }
            slot.unchanged = false;
            if with.sink.takes(&field) {
                slot.writing += 1;
                threads.submit(Job::Write(key, Box::new(field)));
            } else {
                slot.commit.passed(&field);
            }
        }
    }
}

/// Takes in what the threads did.
fn settle(
    done: Done,
    pending: &mut BTreeMap<Key, Pending>,
    with: &Committing,
    emit: impl FnOnce(&Capability<Slot>, Slot),
) {
    let failed = |error: SinkError| with.shared.fail(error.to_string());
    match done {
        Done::Wrote(key, field, result) => {
            let Some(slot) = pending.get_mut(&key) else { return };
            slot.writing -= 1;
            match result {
                Ok(written) => slot.commit.wrote(&field, written),
                Err(error) => failed(error),
            }
        }
        Done::Committed(key, commit, result) => {
            let Some(slot) = pending.remove(&key) else { return };
            match result {
                Ok(()) => {
                    with.shared.published(with.sink.name(), commit.slot, commit.is_whole());
                    emit(&slot.capability, commit.slot);
                }
                Err(error) => failed(error),
            }
        }
    }
}

/// Done by the sink's threads: data first, then the ledger, then what makes it visible.
fn work(sink: &dyn Sink, ledger: &Ledger, job: Job) -> Done {
    let _timer = metrics().time(sink.name());
    match job {
        Job::Write(key, field) => {
            let bytes = 4 * field.grid.len() as u64;
            let written = values(&field)
                .map_err(SinkError::from)
                .and_then(|values| sink.write(&Field { values, held: None, ..(*field).clone() }));
            metrics().passed(sink.name(), 0, 1, bytes);
            Done::Wrote(key, Box::new(Field { values: Arc::default(), held: None, ..*field }), written)
        }
        Job::Commit(key, commit) => {
            let published = publish(sink, ledger, &commit);
            Done::Committed(key, commit, published)
        }
    }
}

fn publish(sink: &dyn Sink, ledger: &Ledger, commit: &Commit) -> Result<(), SinkError> {
    sink.seal(commit)?;
    ledger.commit(&Commit::unit(sink.name(), commit.slot), commit)?;
    if commit.is_whole() { sink.publish(commit) } else { Ok(()) }
}
