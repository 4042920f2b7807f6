//! Which events, and which of their modalities, a run is about.

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::domain::{Event, Modality, Period};

/// What stands for events at random places among the kinds of storms.
pub const RANDOM: &str = "random";

/// Which events are taken; every condition must hold, and an empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventFilter {
    /// Calendar years (UTC) of the event's time.
    pub years: Vec<i32>,
    /// The first and the last event time taken.
    pub period: Period,
    /// Kinds of storms as the catalogue names them, in any case; `random` is the events without one.
    pub kinds: Vec<String>,
    /// Modalities taken; the rest is left out as if it were not there.
    pub modalities: Vec<Modality>,
    /// The greatest share of missing pixels, 0 to 1; a modality with more is left out of its event.
    pub max_missing_share: Option<f32>,
    /// Modalities that an event must then have.
    pub require: Vec<Modality>,
}

impl EventFilter {
    /// The event with the modalities that are taken; `None` where it is not taken, or nothing is left of it.
    pub fn apply(&self, mut event: Event) -> Option<Event> {
        if !self.takes(&event) {
            return None;
        }
        event.parts.retain(|modality, part| {
            (self.modalities.is_empty() || self.modalities.contains(modality))
                && self.max_missing_share.is_none_or(|most| part.missing_share <= most)
        });
        let whole = self.require.iter().all(|modality| event.parts.contains_key(modality));
        (whole && !event.parts.is_empty()).then_some(event)
    }

    fn takes(&self, event: &Event) -> bool {
        let year = event.time.calendar().year();
        let kind = if event.kind.is_empty() { RANDOM } else { &event.kind };
        (self.years.is_empty() || self.years.contains(&year))
            && self.period.contains(event.time)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind)))
    }
}
