//! Which cycle is the newest that every sink has published whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Lead, Moment, Slot};

/// Cycles on their way to being complete in every sink.
#[derive(Debug, Default)]
pub(super) struct Cycles {
    /// How many leads of a cycle each sink publishes.
    leads: BTreeMap<String, usize>,
    /// What is published of the cycles after the newest complete one.
    published: BTreeMap<Moment, BTreeSet<(String, Lead)>>,
    newest: Option<Moment>,
}

impl Cycles {
    /// Counts on a sink for so many leads of every cycle.
    pub(super) fn count_on(&mut self, sink: &str, leads: usize) {
        self.leads.insert(sink.to_string(), leads);
    }

    /// Notes a slot that a sink holds whole; tells of a cycle that is newly the newest complete one.
    pub(super) fn publish(&mut self, sink: &str, slot: Slot) -> Option<Moment> {
        if !self.leads.contains_key(sink) || self.newest.is_some_and(|newest| slot.cycle <= newest) {
            return None;
        }
        let published = self.published.entry(slot.cycle).or_default();
        published.insert((sink.to_string(), slot.lead));
        if published.len() < self.leads.values().sum() {
            return None;
        }
        self.newest = Some(slot.cycle);
        self.published.retain(|cycle, _| *cycle > slot.cycle);
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(hour: u64, lead: u32) -> Slot {
        Slot::new(Moment(hour * 3600), Lead::hours(lead))
    }

    #[test]
    fn a_cycle_is_complete_once_every_sink_has_all_its_leads() {
        let mut cycles = Cycles::default();
        cycles.count_on("store", 2);
        cycles.count_on("pictures", 1);
        let steps = [("store", slot(1, 0)), ("pictures", slot(1, 0)), ("store", slot(1, 0)), ("scores", slot(1, 1))];
        assert!(steps.iter().all(|(sink, slot)| cycles.publish(sink, *slot).is_none()));
        assert_eq!(cycles.publish("store", slot(1, 1)), Some(Moment(3600)));
    }

    #[test]
    fn an_older_cycle_that_is_complete_later_is_not_the_newest() {
        let mut cycles = Cycles::default();
        cycles.count_on("store", 1);
        assert_eq!(cycles.publish("store", slot(5, 0)), Some(Moment(5 * 3600)));
        assert_eq!(cycles.publish("store", slot(4, 0)), None);
        assert_eq!(cycles.publish("store", slot(6, 0)), Some(Moment(6 * 3600)));
    }
}
