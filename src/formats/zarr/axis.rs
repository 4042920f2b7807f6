//! Which init and lead of the axes a slot is, and what times they are.

use super::ZarrError;
use super::spec::{DAY_MINUTES, StoreSpec, list};
use crate::domain::{Moment, Slot};

/// Longest init axis; a later init comes from a broken header.
const MAX_YEARS: u64 = 100;
const DAY_SECONDS: u64 = DAY_MINUTES as u64 * 60;
const YEAR_SECONDS: u64 = 365 * DAY_SECONDS;

/// Where a slot is in the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) init: u64,
    pub(super) lead: u64,
}

/// How many inits a day has; the init axis is a whole number of days long.
pub(super) fn inits_per_day(spec: &StoreSpec) -> u64 {
    u64::from(DAY_MINUTES / spec.step.0.max(1))
}

/// The moment of the `init`-th init.
pub(super) fn init_time(spec: &StoreSpec, init: u64) -> Moment {
    Moment(spec.origin.0 + init * u64::from(spec.step.0) * 60)
}

/// Where a slot is in the arrays, or why it has no place there; `store` is for the message.
pub(super) fn place(spec: &StoreSpec, store: &str, slot: Slot) -> Result<Place, ZarrError> {
    let lead = spec.leads.iter().position(|lead| *lead == slot.lead).ok_or_else(|| ZarrError::Lead {
        store: store.to_string(),
        lead: slot.lead,
        leads: list(&spec.leads),
    })?;
    Ok(Place { init: init_index(spec, store, slot.cycle)?, lead: lead as u64 })
}

fn init_index(spec: &StoreSpec, store: &str, cycle: Moment) -> Result<u64, ZarrError> {
    let (store, origin, step) = (store.to_string(), spec.origin, spec.step);
    let Some(seconds) = cycle.0.checked_sub(origin.0) else {
        return Err(ZarrError::BeforeOrigin { store, cycle, origin });
    };
    if seconds > MAX_YEARS * YEAR_SECONDS {
        return Err(ZarrError::TooLate { store, cycle, origin, years: MAX_YEARS });
    }
    let step_seconds = u64::from(step.0.max(1)) * 60;
    if seconds % step_seconds != 0 {
        return Err(ZarrError::OffStep { store, cycle, origin, step });
    }
    Ok(seconds / step_seconds)
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::small_spec;
    use super::*;
    use crate::domain::Lead;

    #[test]
    fn slots_have_places_or_reasons() {
        let spec = small_spec();
        let find = |seconds: i64, lead: u32| {
            let cycle = Moment(spec.origin.0.saturating_add_signed(seconds));
            place(&spec, "here", Slot::new(cycle, Lead::hours(lead)))
        };
        assert_eq!(find(25 * 3600, 1).ok(), Some(Place { init: 25, lead: 1 }));
        assert_eq!(init_time(&spec, 25), Moment(spec.origin.0 + 25 * 3600));
        let reason = |found: Result<Place, ZarrError>| found.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(reason(find(-3600, 1)).contains("before the first init 2018-07-22T00:00Z"));
        assert!(reason(find(1800, 1)).contains("60 minutes apart"));
        assert!(reason(find(i64::MAX, 1)).contains("100 years"));
        assert!(reason(find(0, 7)).contains("no lead f07; it has f00, f01, f03"));
    }
}
