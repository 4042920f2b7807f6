//! Slots as timely's timestamps: cycle and lead in product order.

use differential_dataflow::lattice::Lattice;
use timely::PartialOrder;
use timely::progress::Timestamp;
use timely::progress::timestamp::{PathSummary, Refines};

use crate::domain::{Lead, Moment, Slot};

impl PartialOrder for Slot {
    fn less_equal(&self, other: &Self) -> bool {
        self.before_or_at(*other)
    }
}

impl Timestamp for Slot {
    type Summary = Slot;
    fn minimum() -> Self {
        Slot::default()
    }
}

/// A path that moves time on by a slot's cycle and lead; no operator here does, but timely asks.
impl PathSummary<Slot> for Slot {
    fn results_in(&self, time: &Slot) -> Option<Slot> {
        let cycle = self.cycle.0.checked_add(time.cycle.0)?;
        Some(Slot::new(Moment(cycle), Lead(self.lead.0.checked_add(time.lead.0)?)))
    }

    fn followed_by(&self, other: &Slot) -> Option<Slot> {
        self.results_in(other)
    }
}

impl Refines<()> for Slot {
    fn to_inner(_: ()) -> Self {
        Slot::default()
    }

    fn to_outer(self) {}

    fn summarize(_: Slot) {}
}

impl Lattice for Slot {
    fn join(&self, other: &Self) -> Self {
        Slot::join(*self, *other)
    }

    fn meet(&self, other: &Self) -> Self {
        Slot::new(self.cycle.min(other.cycle), self.lead.min(other.lead))
    }
}

#[cfg(test)]
mod tests {
    use timely::progress::Antichain;

    use super::*;

    fn slot(hour: u64, lead: u32) -> Slot {
        Slot::new(Moment(hour * 3600), Lead::hours(lead))
    }

    #[test]
    fn the_order_is_a_product_and_a_score_comes_at_the_least_upper_bound() {
        assert!(!slot(0, 6).less_equal(&slot(1, 0)) && !slot(1, 0).less_equal(&slot(0, 6)));
        assert_eq!(slot(0, 6).join(slot(6, 0)), slot(6, 6));
        assert_eq!(Lattice::meet(&slot(0, 6), &slot(6, 0)), slot(0, 0));
    }

    #[test]
    fn a_lead_is_complete_though_later_cycles_are_open() {
        let frontier: Antichain<Slot> = [slot(0, 3), slot(1, 0)].into_iter().collect();
        let complete = |slot| !frontier.less_equal(&slot);
        assert!(complete(slot(0, 2)) && !complete(slot(0, 3)));
        assert!(!complete(slot(1, 1)));
    }
}
