//! Brings objects in: fetched and decoded on threads of their own, taken in listing order, held back by the slowest sink.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{ProbeHandle, Scope};
use timely::progress::Antichain;

use crate::domain::{Field, Item, Slot};
use crate::flow::offload::Offload;
use crate::flow::supply::{Brought, Supply};
use crate::sources::{Assembly, Chunk, Delivery, Job, Offer, Outcome, Work};
use crate::telemetry::metrics;

use super::Items;

/// How soon to look again while the slowest sink is behind, or for a stop.
const HELD_BACK: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_millis(50);

/// What the source operator of the first worker starts from.
pub(in crate::flow) struct Intake {
    pub(in crate::flow) assembly: Assembly,
    pub(in crate::flow) supply: Arc<Supply>,
    /// Further listings of a live bucket; closed where there are none.
    pub(in crate::flow) listings: Option<Receiver<Vec<Offer>>>,
}

/// A job under way, in the order in which jobs were started.
struct Running {
    job: Job,
    brought: bool,
    decoding: usize,
    delivery: Delivery,
}

/// A field, or what was wrong with its message.
type Decoded = Result<Field, String>;

struct State {
    intake: Intake,
    fetchers: Offload<(u64, Work), (u64, Brought)>,
    decoders: Offload<(u64, Chunk), (u64, Decoded)>,
    running: VecDeque<Running>,
    /// Number of the first running job.
    first: u64,
    /// Times sent at that the slowest sink has not passed.
    in_flow: BTreeSet<Slot>,
}

/// Every item of the source, from the first worker; other workers have nothing to send.
pub(in crate::flow) fn intake<'scope>(
    scope: Scope<'scope, Slot>,
    intake: Option<Intake>,
    slowest: ProbeHandle<Slot>,
) -> Items<'scope> {
    let worker = scope.worker();
    source(scope, "Intake", move |capability, info| {
        let again = worker.activator_for(info.address.clone());
        let mut state = intake.map(|intake| {
            let waker = || worker.sync_activator_for(info.address.to_vec());
            let (fetching, decoding) = (intake.supply.clone(), intake.supply.clone());
            State {
                fetchers: Offload::start("fetch", fetching.connections(), waker(), move |(number, work)| {
                    (number, fetching.bring(&work))
                }),
                decoders: Offload::start("decode", decoding.decoders(), waker(), move |(number, chunk)| {
                    (number, decoding.decode(&chunk))
                }),
                running: VecDeque::new(),
                first: 0,
                in_flow: BTreeSet::new(),
                intake,
            }
        });
        let mut capabilities = CapabilitySet::from_elem(capability);
        move |output| {
            let Some(now) = &mut state else {
                capabilities.downgrade(Antichain::new().iter());
                return;
            };
            now.listen();
            for outcome in now.advance() {
                for (at, item) in now.settle(outcome) {
                    output.session(&capabilities.delayed(&at)).give(item);
                }
            }
            now.start_jobs(&slowest);
            capabilities.downgrade(now.frontier().iter());
            if now.intake.assembly.is_done() {
                state = None;
            } else {
                again.activate_after(if now.in_flow.is_empty() { IDLE } else { HELD_BACK });
            }
        }
    })
}

impl State {
    /// Takes in new listings and the wish to stop.
    fn listen(&mut self) {
        let supply = self.intake.supply.clone();
        if supply.is_stopping() {
            self.intake.listings = None;
            self.intake.assembly.stop();
        }
        let offers = self.intake.listings.iter().flat_map(|listings| listings.try_iter()).collect::<Vec<_>>();
        for listing in offers {
            let outcome = supply.listed(&mut self.intake.assembly, listing);
            supply.note(&outcome);
        }
        if self.intake.listings.is_some() {
            let outcome = supply.overdue(&mut self.intake.assembly);
            supply.note(&outcome);
        }
    }

    /// Moves every job on, and finishes those whose turn it is.
    fn advance(&mut self) -> Vec<Outcome> {
        for (number, brought) in self.fetchers.poll() {
            self.brought(number, brought);
        }
        for (number, decoded) in self.decoders.poll() {
            let Some(running) = self.running.get_mut((number - self.first) as usize) else { continue };
            running.decoding -= 1;
            match decoded {
                Ok(field) => running.delivery.fields.push(field),
                Err(damage) => running.delivery.damage.push(damage),
            }
        }
        let mut outcomes = Vec::new();
        while self.running.front().is_some_and(|r| r.brought && r.decoding == 0) {
            let Some(mut done) = self.running.pop_front() else { break };
            self.first += 1;
            done.delivery.fields.sort_by(|a, b| (a.slot, &a.variable).cmp(&(b.slot, &b.variable)));
            done.delivery.damage.sort();
            let before = self.intake.assembly.basis().is_some();
            outcomes.push(self.intake.assembly.finish(done.job, done.delivery));
            if let Some(basis) = self.intake.assembly.basis().filter(|_| !before) {
                self.intake.supply.note_basis(basis);
            }
        }
        outcomes
    }

    fn brought(&mut self, number: u64, brought: Brought) {
        let Some(running) = self.running.get_mut((number - self.first) as usize) else { return };
        running.brought = true;
        match brought {
            Brought::Packed(fetched) => {
                running.decoding = fetched.chunks.len();
                running.delivery.damage = fetched.damage;
                for chunk in fetched.chunks {
                    self.decoders.submit((number, chunk));
                }
            }
            Brought::Restored(fields) => running.delivery.fields = fields,
            Brought::Nothing(reason) => running.delivery.failure = Some(reason),
        }
    }

    /// Notes what was decided, and tells what is to be sent, when.
    fn settle(&mut self, outcome: Outcome) -> Vec<(Slot, Item)> {
        let supply = &self.intake.supply;
        supply.note(&outcome);
        let sent: Vec<(Slot, Item)> =
            outcome.emissions.into_iter().map(|e| (supply.present(e.at), supply.present_item(e.item))).collect();
        self.in_flow.extend(sent.iter().map(|(at, _)| *at));
        sent
    }

    /// Starts jobs while the sinks keep up. A correction is held up by the slots before it, not by the sinks:
    /// it does not count, or the slots before it could wait for it in turn.
    fn start_jobs(&mut self, slowest: &ProbeHandle<Slot>) {
        self.in_flow.retain(|at| slowest.less_equal(at));
        let (window, open) = (self.intake.supply.window(), self.frontier());
        let behind = self.in_flow.iter().filter(|at| !open.less_equal(at)).count();
        while self.running.len() + behind < window {
            let Some(job) = self.intake.assembly.next_job() else { break };
            self.fetchers.submit((self.first + self.running.len() as u64, job.work.clone()));
            self.running.push_back(Running { job, brought: false, decoding: 0, delivery: Delivery::default() });
        }
        metrics().queue("in_flow", self.in_flow.len(), window);
    }

    fn frontier(&mut self) -> Antichain<Slot> {
        let supply = &self.intake.supply;
        self.intake.assembly.frontier().into_iter().map(|slot| supply.present(slot)).collect()
    }
}
