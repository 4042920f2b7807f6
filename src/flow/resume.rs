//! What earlier runs published, and what therefore need not be fetched again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::WindowOptions;
use crate::domain::{Lead, Moment, Slot};
use crate::sinks::{Commit, ScoreRecord};
use crate::sources::{Need, Offer};
use crate::transforms::window;

/// Which slots of a sink a slot of the source becomes.
#[derive(Clone, Debug)]
pub(super) enum Becomes {
    /// Itself.
    Itself,
    /// The forecasts of these leads from it.
    Forecasts(Vec<Lead>),
    /// A step of every window it belongs to, from the store's first init on.
    Windows(WindowOptions, Moment),
}

impl Becomes {
    /// How many leads of a cycle the sink publishes, where the source expects `expected`.
    pub(super) fn leads(&self, expected: usize) -> usize {
        match self {
            Becomes::Itself => expected,
            Becomes::Forecasts(leads) => leads.len(),
            Becomes::Windows(options, _) => options.steps as usize,
        }
    }

    /// The sink's slots that a slot of the source becomes.
    pub(super) fn slots(&self, slot: Slot) -> Vec<Slot> {
        match self {
            Becomes::Itself => vec![slot],
            Becomes::Forecasts(leads) => leads.iter().map(|lead| Slot::new(slot.cycle, *lead)).collect(),
            Becomes::Windows(options, origin) => {
                let mut windows = window::slots(slot.cycle, options.steps, options.step);
                windows.retain(|w| w.cycle >= *origin);
                windows
            }
        }
    }
}

/// A sink and what it has committed.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) becomes: Becomes,
    pub(super) commits: Arc<BTreeMap<Slot, Commit>>,
    /// Whether states can be read back from this sink's lead 0.
    pub(super) restores: bool,
}

impl Committed {
    /// Whether a slot of the sink is made of this object as it is now.
    fn has(&self, slot: &Slot, offer: &Offer) -> bool {
        self.commits.get(slot).is_some_and(|c| c.is_of(&offer.meta.key, &offer.meta.etag))
    }

    /// Whether the sink lacks something that the object becomes.
    fn lacks(&self, slot: Slot, offer: &Offer) -> bool {
        !self.becomes.slots(slot).iter().all(|s| self.has(s, offer))
    }
}

/// A verification and what it has scored.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) leads: Vec<Lead>,
    pub(super) records: BTreeMap<Moment, ScoreRecord>,
}

/// Everything that earlier runs did.
#[derive(Clone, Debug, Default)]
pub(super) struct Resume {
    pub(super) sinks: Vec<Committed>,
    pub(super) scores: Vec<Scored>,
    /// Valid times of the states that the source offers.
    pub(super) offered: BTreeSet<Moment>,
    /// Those of them that are not published as they are now: what they were compared with before counts no more.
    pub(super) changed: BTreeSet<Moment>,
    /// More states will come after the last one offered.
    pub(super) follow: bool,
    /// The slot that each object filled.
    pub(super) by_object: BTreeMap<String, Slot>,
}

impl Resume {
    /// What is needed of an object whose slot flows as `slot`.
    pub(super) fn need(&self, slot: Slot, offer: &Offer) -> Need {
        let done = |sink: &Committed, slot: &Slot| sink.has(slot, offer);
        let direct = self.sinks.iter().filter(|s| matches!(s.becomes, Becomes::Itself)).any(|s| s.lacks(slot, offer));
        if !self.is_changed(slot, offer) && !self.scores.iter().any(|s| self.unscored(s, slot.cycle)) {
            return Need::Skip;
        }
        let restorable = self.sinks.iter().any(|s| s.restores && done(s, &Slot::new(slot.cycle, Lead(0))));
        if restorable && !direct { Need::Restore } else { Need::Fetch }
    }

    /// Whether a sink lacks something that an object, whose slot flows as `slot`, becomes.
    pub(super) fn is_changed(&self, slot: Slot, offer: &Offer) -> bool {
        self.sinks.iter().any(|sink| sink.lacks(slot, offer))
    }

    /// The commit of a slot in the sink that states are read back from.
    pub(super) fn own_commit(&self, slot: Slot) -> Option<&Commit> {
        self.sinks.iter().find(|s| s.restores)?.commits.get(&Slot::new(slot.cycle, Lead(0)))
    }

    /// The slot that an object filled in an earlier run, whatever its name says.
    pub(super) fn slot_of(&self, offer: &Offer) -> Option<Slot> {
        let slot = *self.by_object.get(&offer.meta.key)?;
        let made_of_it =
            |sink: &Committed| sink.commits.get(&slot).is_some_and(|c| c.is_of(&offer.meta.key, &offer.meta.etag));
        self.sinks.iter().any(made_of_it).then_some(slot)
    }

    /// Adds a sink and what it has committed.
    pub(super) fn add(&mut self, sink: Committed) {
        let itself = matches!(sink.becomes, Becomes::Itself);
        for commit in sink.commits.values().filter(|c| itself || c.slot.lead == Lead(0)) {
            self.by_object.extend(commit.objects.keys().map(|object| (object.clone(), commit.slot)));
        }
        self.sinks.push(sink);
    }

    /// Whether the state of a moment takes part in a comparison that has not been made and can be.
    fn unscored(&self, scored: &Scored, state: Moment) -> bool {
        let changed = |init: Moment, lead: &Lead| [init, init.plus(*lead)].iter().any(|m| self.changed.contains(m));
        let verified = |init: Moment, lead: &Lead| {
            scored.records.get(&init).is_some_and(|r| r.verified.contains(lead)) && !changed(init, lead)
        };
        let comes = |valid: Moment| {
            self.offered.contains(&valid) || self.follow && self.offered.last().is_none_or(|last| valid > *last)
        };
        scored.leads.iter().any(|lead| {
            let as_forecast = !verified(state, lead) && comes(state.plus(*lead));
            let init = Moment(state.0.saturating_sub(u64::from(lead.0) * 60));
            let as_truth = self.offered.contains(&init) && !verified(init, lead);
            as_forecast || as_truth
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::ObjectMeta;

    const HOUR: u64 = 3600;

    fn offer(hour: u64) -> Offer {
        let meta = ObjectMeta { key: format!("o{hour}"), size: 1, etag: "e".into() };
        Offer { meta, named: Slot::new(Moment(hour * HOUR), Lead(0)), exact: true, indexed: true }
    }

    fn commits(slots: &[(u64, u32)]) -> Arc<BTreeMap<Slot, Commit>> {
        let commit = |(hour, lead): &(u64, u32)| {
            let slot = Slot::new(Moment(hour * HOUR), Lead::hours(*lead));
            let objects = [(format!("o{hour}"), "e".to_string())].into();
            (slot, Commit { slot, objects, ..Commit::default() })
        };
        Arc::new(slots.iter().map(commit).collect())
    }

    fn need(resume: &Resume, hour: u64) -> Need {
        resume.need(Slot::new(Moment(hour * HOUR), Lead(0)), &offer(hour))
    }

    #[test]
    fn what_is_published_is_skipped_and_a_changed_object_is_not() {
        let sink = Committed { becomes: Becomes::Itself, commits: commits(&[(3, 0)]), restores: false };
        let resume = Resume { sinks: vec![sink], ..Resume::default() };
        assert_eq!((need(&resume, 3), need(&resume, 4)), (Need::Skip, Need::Fetch));
        let mut changed = offer(3);
        changed.meta.etag = "new".into();
        assert_eq!(resume.need(changed.named, &changed), Need::Fetch);
    }

    #[test]
    fn a_published_state_is_read_back_while_a_score_needs_it() {
        let leads = vec![Lead(0), Lead::hours(1)];
        let sink = Committed {
            becomes: Becomes::Forecasts(leads),
            commits: commits(&[(3, 0), (3, 1), (4, 0), (4, 1)]),
            restores: true,
        };
        let scored = |verified: &[u64]| {
            let record = |h: &u64| {
                let init = Moment(h * HOUR);
                (init, ScoreRecord { init, verified: [Lead::hours(1)].into() })
            };
            Scored { leads: vec![Lead::hours(1)], records: verified.iter().map(record).collect() }
        };
        let offered: BTreeSet<Moment> = [3, 4].map(|h| Moment(h * HOUR)).into();
        let run = |verified: &[u64], follow| Resume {
            sinks: vec![sink.clone()],
            scores: vec![scored(verified)],
            offered: offered.clone(),
            follow,
            ..Resume::default()
        };
        assert_eq!((need(&run(&[], false), 3), need(&run(&[], false), 4)), (Need::Restore, Need::Restore));
        assert_eq!((need(&run(&[3], false), 3), need(&run(&[3], false), 4)), (Need::Skip, Need::Skip));
        // A state that was replaced is compared anew with its neighbours, which are read back.
        let mut replaced = run(&[3], false);
        replaced.changed = [Moment(4 * HOUR)].into();
        assert_eq!(need(&replaced, 3), Need::Restore);
        // The truth of hour 5 is still to come.
        assert_eq!((need(&run(&[3], true), 3), need(&run(&[3], true), 4)), (Need::Skip, Need::Restore));
    }
}
