//! Which slots are open, which objects wait for their turn, and the frontier that follows from both.

use std::collections::BTreeMap;

use crate::domain::{Lead, Slot};

use super::super::Offer;
use super::{Job, Work};

/// A slot that is expected and not yet resolved.
#[derive(Debug)]
pub(super) enum Open {
    /// No object of its name has been listed.
    Awaited,
    /// Its work has not been started; the slot the work alone may fill, if any.
    Ready(Work, Option<Slot>),
    /// Its work is under way.
    Running,
}

/// The open slots and waiting objects of a run.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) open: BTreeMap<Slot, Open>,
    /// Objects whose names are not exactly a slot's, or that came late, by the position they hold.
    extras: BTreeMap<(Slot, String), Offer>,
    running_extras: BTreeMap<Slot, usize>,
    /// Wrongly named objects whose headers speak of an open slot.
    pub(super) candidates: BTreeMap<Slot, Vec<Offer>>,
    pub(super) future: Option<Slot>,
    least_lead: Lead,
    /// The frontier told last.
    told: Vec<Slot>,
}

impl Book {
    pub(super) fn new(least_lead: Lead) -> Self {
        Book {
            open: BTreeMap::new(),
            extras: BTreeMap::new(),
            running_extras: BTreeMap::new(),
            candidates: BTreeMap::new(),
            future: Some(Slot::default()),
            least_lead,
            told: vec![Slot::default()],
        }
    }

    /// Queues an object at its named slot, or at the later time that will be complete first.
    pub(super) fn queue_extra(&mut self, offer: Offer) {
        let still_open = self.told.iter().any(|t| t.before_or_at(offer.named));
        let floor = self.told.first().copied().unwrap_or_default();
        let position = if still_open { offer.named } else { offer.named.join(floor) };
        self.extras.insert((position, offer.meta.key.clone()), offer);
    }

    pub(super) fn next_job(&mut self) -> Option<Job> {
        let ready = |(slot, open): (&Slot, &Open)| matches!(open, Open::Ready(..)).then_some(*slot);
        let slot = self.open.iter().find_map(ready);
        let extra = self.extras.keys().next().map(|(slot, _)| *slot);
        match (slot, extra) {
            (None, None) => None,
            (Some(slot), extra) if extra.is_none_or(|extra| slot <= extra) => self.start(slot),
            _ => self.start_extra(),
        }
    }

    fn start(&mut self, slot: Slot) -> Option<Job> {
        match std::mem::replace(self.open.get_mut(&slot)?, Open::Running) {
            Open::Ready(work, fills) => Some(Job { work, position: slot, fills }),
            _ => None,
        }
    }

    fn start_extra(&mut self) -> Option<Job> {
        let ((position, _), offer) = self.extras.pop_first()?;
        *self.running_extras.entry(position).or_default() += 1;
        Some(Job { work: Work::Fetch(offer), position, fills: None })
    }

    pub(super) fn finished(&mut self, job: &Job) {
        if job.fills.is_some() {
            return;
        }
        if let Some(running) = self.running_extras.get_mut(&job.position) {
            *running -= 1;
        }
        self.running_extras.retain(|_, running| *running > 0);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.extras.is_empty() && self.running_extras.is_empty() && self.future.is_none()
    }

    pub(super) fn stop(&mut self) {
        self.open.retain(|_, open| matches!(open, Open::Running));
        self.extras.clear();
        self.candidates.clear();
        self.future = None;
    }

    /// Minimal elements, in product order, of everything that may still be sent.
    pub(super) fn frontier(&mut self) -> Vec<Slot> {
        let extras = self.extras.keys().map(|(slot, _)| slot).chain(self.running_extras.keys());
        let mut lowest: Vec<Slot> = minimal(self.open.keys().copied(), self.least_lead);
        lowest.extend(extras.copied().chain(self.future));
        lowest.sort();
        self.told = minimal(lowest.into_iter(), Lead(0));
        self.told.clone()
    }
}

/// The minimal elements of slots in ascending order; none of them has a lead below `least`.
fn minimal(slots: impl Iterator<Item = Slot>, least: Lead) -> Vec<Slot> {
    let mut kept: Vec<Slot> = Vec::new();
    for slot in slots {
        if kept.last().is_none_or(|last| slot.lead < last.lead) {
            kept.push(slot);
        }
        if slot.lead <= least {
            break;
        }
    }
    kept
}
