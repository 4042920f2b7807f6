//! Which training windows a state belongs to.

use crate::domain::{Lead, Moment, Slot};

/// The slots (window start, lead) that a state valid at a moment fills, in windows of `count` states `step` apart.
///
/// The state is the j-th of the window that starts j steps before it, for j from 0. Windows that would start before
/// 1970, and leads that no [`Lead`] can hold, are left out; a step of zero has one slot.
pub fn slots(valid: Moment, count: u32, step: Lead) -> Vec<Slot> {
    let count = if step == Lead(0) { count.min(1) } else { count };
    (0..count).map_while(|j| slot(valid, j.checked_mul(step.0)?)).collect()
}

fn slot(valid: Moment, minutes: u32) -> Option<Slot> {
    let start = valid.0.checked_sub(u64::from(minutes) * 60)?;
    Some(Slot::new(Moment(start), Lead(minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_in_as_many_windows_as_a_window_has_states() {
        let valid = Moment::from_ymdh(2018, 7, 22, 3).expect("a day");
        let slots = slots(valid, 3, Lead::hours(1));
        let keys: Vec<String> = slots.iter().map(|slot| slot.cycle.key()).collect();
        assert_eq!(keys, ["2018072203", "2018072202", "2018072201"]);
        assert_eq!(slots.iter().map(|slot| slot.lead.in_hours()).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(slots.iter().all(|slot| slot.valid() == valid));
    }

    #[test]
    fn what_time_cannot_hold_is_left_out() {
        assert_eq!(slots(Moment(3600), 4, Lead::hours(1)).len(), 2);
        assert_eq!(slots(Moment(u64::MAX), 4, Lead(u32::MAX)).len(), 2);
        assert_eq!(slots(Moment(7200), 4, Lead(0)).len(), 1);
        assert!(slots(Moment(7200), 0, Lead::hours(1)).is_empty());
    }
}
