//! Decides which object fills which slot, whatever the order of arrival, and how far event time has come.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Absence, Field, Grid, Item, Lead, Moment, Requirement, Slot};

use super::{Offer, Reject, RejectReason};
use book::{Book, Open};

/// What a listed object is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everything made of it is published.
    Skip,
    /// Everything made of it is published, as the slot its header speaks of.
    SkipAs(Slot),
    /// It is published, and later results need it: read it back from the pipeline's own store.
    Restore,
    /// Fetch it.
    Fetch,
}

/// Something to be done off the worker threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Fetch and decode an object.
    Fetch(Offer),
    /// Read a slot back from the pipeline's own store.
    Restore(Offer),
}

/// Work for a slot.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be done.
    pub work: Work,
    /// Event time is held here until the job is finished.
    pub position: Slot,
    /// The slot this job alone may fill, or `None` where the header decides.
    fills: Option<Slot>,
}

/// What a job brought.
#[derive(Debug, Default)]
pub struct Delivery {
    /// The decoded fields.
    pub fields: Vec<Field>,
    /// What was damaged, in words.
    pub damage: Vec<String>,
    /// Why nothing could be fetched.
    pub failure: Option<String>,
}

/// An item and the event time it is sent at: its own slot, or a later one where it is a correction.
#[derive(Debug, PartialEq)]
pub struct Emission {
    /// The event time.
    pub at: Slot,
    /// The item.
    pub item: Item,
}

/// What a step of the assembly decided.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What goes into the flow.
    pub emissions: Vec<Emission>,
    /// What was set aside in this step.
    pub rejects: Vec<Reject>,
    /// Slots that were declared missing.
    pub missing: Vec<Slot>,
    /// Slots that were filled.
    pub filled: Vec<Slot>,
    /// Those of them that had been declared missing.
    pub recovered: Vec<Slot>,
    /// Slots that need nothing, because all that is made of them is published.
    pub published_before: Vec<Slot>,
}

/// What every field of an output has in common; the first field of all decides it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The grid.
    pub grid: Arc<Grid>,
    /// Whether the fields are synthetic.
    pub synthetic: bool,
    /// The object that decided.
    pub object: String,
}

impl Basis {
    fn of(field: &Field) -> Self {
        let (grid, object) = (field.grid.clone(), field.provenance.object.clone());
        Basis { grid, synthetic: is_synthetic(field), object }
    }
}

fn is_synthetic(field: &Field) -> bool {
    field.provenance.origin.starts_with("SYNTHETIC")
}

/// The state of a run's slots.
#[derive(Debug)]
pub struct Assembly {
    variables: Vec<(Arc<str>, Requirement)>,
    leads: Vec<Lead>,
    basis: Option<Basis>,
    /// What earlier runs set aside, by object and ETag.
    known: BTreeMap<(String, String), Vec<Reject>>,
    seen: BTreeMap<String, String>,
    missing: BTreeSet<Slot>,
    filled: BTreeSet<Slot>,
    /// Objects of which something was of use.
    used: BTreeSet<String>,
    book: Book,
}

impl Assembly {
    /// An assembly that expects `leads` of every cycle; `basis` and `known` rejects come from earlier runs.
    pub fn new(
        variables: Vec<(Arc<str>, Requirement)>,
        leads: Vec<Lead>,
        basis: Option<Basis>,
        known: Vec<Reject>,
    ) -> Self {
        let mut by_object: BTreeMap<(String, String), Vec<Reject>> = BTreeMap::new();
        known.into_iter().for_each(|r| by_object.entry((r.object.clone(), r.etag.clone())).or_default().push(r));
        let book = Book::new(leads.first().copied().unwrap_or_default());
        Assembly {
            variables,
            leads,
            basis,
            known: by_object,
            seen: BTreeMap::new(),
            missing: BTreeSet::new(),
            filled: BTreeSet::new(),
            used: BTreeSet::new(),
            book,
        }
    }

    /// What every field must have in common, once the first is known.
    pub fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    /// Slots expected so far.
    pub fn expected(&self) -> u64 {
        (self.book.open.len() + self.filled.len() + self.missing.len()) as u64
    }

    /// Expects every lead of a cycle; a cycle expected before is left as it is.
    pub fn await_cycle(&mut self, cycle: Moment) {
        for lead in &self.leads {
            let slot = Slot::new(cycle, *lead);
            if !self.filled.contains(&slot) && !self.missing.contains(&slot) {
                self.book.open.entry(slot).or_insert(Open::Awaited);
            }
        }
    }

    /// No slot before this moment will be expected any more; `None` once the listing has ended. It never goes back.
    pub fn set_future(&mut self, cycle: Option<Moment>) {
        let before = self.book.future.unwrap_or_default().cycle;
        self.book.future = cycle.map(|c| Slot::new(c.max(before), Lead(0)));
    }

    /// Takes in a listing; objects seen before with the same ETag are passed over.
    pub fn listed(&mut self, offers: Vec<Offer>, need: &dyn Fn(&Offer) -> Need) -> Outcome {
        let mut outcome = Outcome::default();
        let mut offers = offers;
        // An object that filled another's slot comes after that slot's own.
        offers.sort_by_cached_key(|offer| matches!(need(offer), Need::SkipAs(_)));
        for offer in offers {
            let before = self.seen.insert(offer.meta.key.clone(), offer.meta.etag.clone());
            if before.as_ref() == Some(&offer.meta.etag) {
                continue;
            }
            let known = self.known.get(&(offer.meta.key.clone(), offer.meta.etag.clone()));
            let known = known.map_or(&[][..], Vec::as_slice);
            // What could not be fetched is tried again, and told again if it fails again.
            let told = known.iter().filter(|reject| reject.reason != RejectReason::FetchFailed);
            outcome.rejects.extend(told.cloned());
            if known.is_empty() || !known.iter().all(Reject::is_final) {
                self.offered(offer, need, &mut outcome);
            }
        }
        outcome
    }

    fn offered(&mut self, offer: Offer, need: &dyn Fn(&Offer) -> Need, outcome: &mut Outcome) {
        let (slot, need) = (offer.named, need(&offer));
        if let Need::SkipAs(slot) = need {
            return self.published_as(slot, &offer, outcome);
        }
        if !offer.exact {
            return self.book.queue_extra(offer);
        }
        match (need, self.book.open.get_mut(&slot)) {
            (Need::Skip, _) => {
                self.book.open.remove(&slot);
                self.filled.insert(slot);
                outcome.published_before.push(slot);
            }
            (need, Some(open)) => {
                let work = if need == Need::Restore { Work::Restore(offer) } else { Work::Fetch(offer) };
                *open = Open::Ready(work, Some(slot));
            }
            (_, None) => self.book.queue_extra(offer),
        }
    }

    /// An object that filled a slot of another name in an earlier run: it keeps it unless the slot's own object came.
    fn published_as(&mut self, slot: Slot, offer: &Offer, outcome: &mut Outcome) {
        if matches!(self.book.open.get(&slot), Some(Open::Awaited)) {
            self.book.open.remove(&slot);
            self.filled.insert(slot);
            outcome.published_before.push(slot);
        } else {
            let detail = format!("the name says {}, the header says {slot}, which its own object fills", offer.named);
            outcome.rejects.push(rejected(offer, RejectReason::Duplicate, detail, self.variables.len()));
        }
    }

    /// Declares missing every awaited slot that is due, unless a wrongly named object can fill it.
    pub fn declare_missing(&mut self, due: impl Fn(Slot) -> bool) -> Outcome {
        let awaited = |(slot, open): (&Slot, &Open)| (matches!(open, Open::Awaited) && due(*slot)).then_some(*slot);
        let slots: Vec<Slot> = self.book.open.iter().filter_map(awaited).collect();
        let mut outcome = Outcome::default();
        slots.into_iter().for_each(|slot| self.unfilled(slot, &mut outcome));
        outcome
    }

    /// The next work, lowest slot first.
    pub fn next_job(&mut self) -> Option<Job> {
        self.book.next_job()
    }

    /// Whether every expected slot is resolved and every object dealt with.
    pub fn is_done(&self) -> bool {
        self.book.is_idle()
    }

    /// Gives up what has not been started.
    pub fn stop(&mut self) {
        self.book.stop();
    }

    /// The times that may still be sent at: nothing will be sent that is not at or after one of them.
    pub fn frontier(&mut self) -> Vec<Slot> {
        self.book.frontier()
    }

    /// Takes in what a job brought.
    pub fn finish(&mut self, job: Job, delivery: Delivery) -> Outcome {
        let mut outcome = Outcome::default();
        let (Work::Fetch(offer) | Work::Restore(offer)) = &job.work;
        let delivery_failed = delivery.failure.is_some();
        let empty = delivery.fields.is_empty();
        let fields = self.on_the_basis(offer, delivery.fields, &mut outcome);
        let mut groups: BTreeMap<Slot, Vec<Field>> = BTreeMap::new();
        fields.into_iter().for_each(|f| groups.entry(f.slot).or_default().push(f));
        if let Some(slot) = job.fills {
            match groups.remove(&slot) {
                Some(fields) => self.fill(slot, slot, offer, fields, &mut outcome),
                None => self.unfilled(slot, &mut outcome),
            }
        }
        for (slot, fields) in groups {
            self.unnamed(slot, &job, offer, fields, &mut outcome);
        }
        report_damage(offer, &delivery.damage, delivery.failure.as_deref(), empty, &mut outcome);
        outcome.rejects.iter_mut().for_each(|reject| reject.used = self.used.contains(&reject.object));
        self.book.finished(&job);
        if delivery_failed {
            // A later listing offers it again.
            self.seen.remove(&offer.meta.key);
        }
        outcome
    }

    /// Fields whose header speaks of another slot than the one the job was for.
    fn unnamed(&mut self, slot: Slot, job: &Job, offer: &Offer, fields: Vec<Field>, outcome: &mut Outcome) {
        let disagrees = format!("the name says {}, the header says {slot}", offer.named);
        if slot != offer.named {
            tracing::warn!(object = offer.meta.key, named = %offer.named, header = %slot, "name and header disagree; the header is believed");
        }
        let messages = fields.len();
        let replaces = offer.exact && slot == offer.named;
        let recovers = self.missing.remove(&slot);
        outcome.recovered.extend(recovers.then_some(slot));
        if recovers || replaces {
            self.fill(slot, slot.join(job.position), offer, fields, outcome);
        } else if self.filled.contains(&slot) {
            let detail = format!("{disagrees}, and that slot is filled already");
            outcome.rejects.push(rejected(offer, RejectReason::Duplicate, detail, messages));
        } else if self.book.open.contains_key(&slot) {
            self.book.candidates.entry(slot).or_default().push(offer.clone());
        } else {
            let detail = format!("{disagrees}, which the pipeline does not expect");
            outcome.rejects.push(rejected(offer, RejectReason::UnexpectedSlot, detail, messages));
        }
    }

    fn fill(&mut self, slot: Slot, at: Slot, offer: &Offer, fields: Vec<Field>, outcome: &mut Outcome) {
        self.book.open.remove(&slot);
        self.filled.insert(slot);
        self.used.insert(offer.meta.key.clone());
        outcome.filled.push(slot);
        let absences = self.absences(slot, &fields);
        let lacking: Vec<&str> =
            absences.iter().filter(|a| a.requirement == Requirement::Required).map(|a| &*a.variable).collect();
        if !lacking.is_empty() {
            let detail = format!("{slot} lacks {}, which the pipeline requires", lacking.join(", "));
            outcome.rejects.push(rejected(offer, RejectReason::MissingVariable, detail, 0));
        }
        let items = fields.into_iter().map(Item::Field).chain(absences.into_iter().map(Item::Absent));
        outcome.emissions.extend(items.map(|item| Emission { at, item }));
        for other in self.book.candidates.remove(&slot).unwrap_or_default() {
            let detail =
                format!("the name says {}, the header says {slot}, which {} fills", other.named, offer.meta.key);
            outcome.rejects.push(rejected(&other, RejectReason::Duplicate, detail, self.variables.len()));
        }
    }

    /// A slot whose own object does not fill it: a candidate gets its turn, else it is missing.
    fn unfilled(&mut self, slot: Slot, outcome: &mut Outcome) {
        let candidates = self.book.candidates.entry(slot).or_default();
        candidates.sort_by(|a, b| a.meta.key.cmp(&b.meta.key));
        if candidates.is_empty() {
            self.book.candidates.remove(&slot);
            self.book.open.remove(&slot);
            self.missing.insert(slot);
            outcome.missing.push(slot);
        } else {
            let offer = candidates.remove(0);
            self.book.open.insert(slot, Open::Ready(Work::Fetch(offer), Some(slot)));
        }
    }

    fn absences(&self, slot: Slot, fields: &[Field]) -> Vec<Absence> {
        let absent = |(variable, requirement): &(Arc<str>, Requirement)| {
            let there = fields.iter().any(|f| f.variable == *variable);
            let reason = "not among the readable messages of its object".into();
            (!there).then(|| Absence { variable: variable.clone(), slot, requirement: *requirement, reason })
        };
        self.variables.iter().filter_map(absent).collect()
    }

    /// Fields on the output's grid and of its kind of origin.
    fn on_the_basis(&mut self, offer: &Offer, fields: Vec<Field>, outcome: &mut Outcome) -> Vec<Field> {
        let Some(first) = fields.first().filter(|first| !first.restored) else { return fields };
        let basis = self.basis.get_or_insert_with(|| Basis::of(first)).clone();
        let remedy = format!("as {} set it; choose another --output for these", basis.object);
        let (mut good, bad): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(|f| f.grid == basis.grid);
        if let Some(odd) = bad.first() {
            let detail = format!("on {}; expected {}, {remedy}", odd.grid.describe(), basis.grid.describe());
            outcome.rejects.push(rejected(offer, RejectReason::WrongGrid, detail, bad.len()));
        }
        let found = good.len();
        good.retain(|field| is_synthetic(field) == basis.synthetic);
        if good.len() < found {
            let kind = |synthetic| if synthetic { "synthetic" } else { "not synthetic" };
            let detail = format!("{}; expected {} fields, {remedy}", kind(!basis.synthetic), kind(basis.synthetic));
            outcome.rejects.push(rejected(offer, RejectReason::WrongOrigin, detail, found - good.len()));
        }
        good
    }
}

fn rejected(offer: &Offer, reason: RejectReason, detail: String, messages: usize) -> Reject {
    let (object, etag) = (offer.meta.key.clone(), offer.meta.etag.clone());
    Reject { object, etag, named: offer.named, reason, detail, messages, used: false }
}

fn report_damage(offer: &Offer, damage: &[String], failure: Option<&str>, empty: bool, outcome: &mut Outcome) {
    if let Some(failure) = failure {
        outcome.rejects.push(rejected(offer, RejectReason::FetchFailed, failure.to_string(), 0));
    } else if !damage.is_empty() {
        outcome.rejects.push(rejected(offer, RejectReason::Unreadable, damage.join("; "), damage.len()));
    } else if empty {
        let detail = "none of the pipeline's variables are in it".to_string();
        outcome.rejects.push(rejected(offer, RejectReason::Unreadable, detail, 0));
    }
}

#[cfg(test)]
mod tests;
