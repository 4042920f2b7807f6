//! Which events there are: when, where, of what kind, and what of each was observed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Timelike};
use rayon::prelude::*;

use super::SevirOptions;
use super::place::Place;
use crate::domain::{FRAMES, Modality, Moment, Philox, Slot};
use crate::sources::synth::births::Region;
use crate::sources::synth::math::{cos_turns, sin_turns};
use crate::sources::synth::weather::{Storms, Weather};

/// Moments that are tried for a storm in an event's share of the time.
const TRIES: u32 = 10;
/// Where the middles of events may lie in the plane of the storms.
const LAND: Region = Region { low: [-1100.0, -700.0], high: [1300.0, 700.0] };
/// A core at least as strong makes an event of a reported storm.
const STRONG_DBZ: f64 = 48.0;
/// The share of events around no reported storm.
const RANDOM_SHARE: f64 = 0.2;
/// Of so many events one has no flash on record, whatever its storms: SEVIR has empty tables too.
const UNSEEN_EVERY: u32 = 8;
/// The share of events that lack one modality.
const LACKING_SHARE: f64 = 0.25;
/// The share of events in which frames of one modality are missing.
const GAPS_SHARE: f64 = 0.3;
/// The mapper of lightning began to observe in February 2018: days since 1970.
const LIGHTNING_DAY: u64 = 17_563;
/// Light enough for pictures: the sine of the sun's height.
const DAYLIGHT: f64 = 0.2;
const KINDS: [&str; 8] =
    ["Thunderstorm Wind", "Hail", "Thunderstorm Wind", "Flash Flood", "Tornado", "Hail", "Flood", "Heavy Rain"];

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// Its number, which keys its random draws.
    pub(super) number: u32,
    /// The name that all modalities share.
    pub(super) id: String,
    /// The time that offsets are counted from; on the minute for reported storms.
    pub(super) time: Moment,
    /// The kind of storm; empty for none reported.
    pub(super) kind: &'static str,
    /// Where it is.
    pub(super) place: Place,
    /// Minutes to the first frame, by dense modality; and which frames are missing.
    pub(super) parts: BTreeMap<Modality, Part>,
    /// Whether no flash of it is on record.
    pub(super) unseen: bool,
}

/// What was observed of one modality.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    /// Minutes from the event's time to the first frame.
    pub(super) first_minute: i64,
    /// Frames without a value.
    pub(super) missing: BTreeSet<usize>,
}

impl Plan {
    /// When a frame of a dense modality was observed.
    pub(super) fn frame_time(&self, part: &Part, frame: usize) -> Moment {
        let minutes = part.first_minute + 5 * frame as i64;
        Moment(self.time.0.saturating_add_signed(minutes * 60))
    }
}

/// Every event, in the order of their times.
pub(super) fn events(options: &SevirOptions) -> Vec<Plan> {
    (0..options.events as u32).into_par_iter().filter_map(|number| event(options, number)).collect()
}

fn event(options: &SevirOptions, number: u32) -> Option<Plan> {
    let random = Philox::new(options.seed, 40);
    let [kind, which, lack, gap] = random.uniform([number, 0, 0, 0]);
    let unseen = number % UNSEEN_EVERY == 1;
    let is_random = kind < RANDOM_SHARE;
    let (time, middle_km) =
        if is_random { anywhere(options, &random, number, TRIES) } else { storm(options, &random, number) };
    let place = Place::around(middle_km[0], middle_km[1])?;
    let mut parts = parts(options, time, &place);
    let lacking = (lack < LACKING_SHARE).then(|| Modality::ALL[(lack / LACKING_SHARE * 5.0) as usize % 5]);
    if let Some(lacking) = lacking.filter(|_| parts.len() > 1 && !unseen) {
        parts.remove(&lacking);
    }
    if gap < GAPS_SHARE {
        let share = gap / GAPS_SHARE;
        let count = parts.len().max(1);
        if let Some((modality, part)) = parts.iter_mut().nth((share * count as f64) as usize) {
            let first = (share * 997.0).fract() * 45.0;
            part.missing = (0..1 + number as usize % 4).map(|k| first as usize + k).collect();
            part.missing.retain(|_| *modality != Modality::Lght);
        }
    }
    let calendar = time.calendar();
    let stamp = calendar.format("%y%m%d%H%M").to_string();
    let id = if is_random { format!("R{stamp}{:04}", number % 10_000) } else { format!("S{}", 600_000 + 7 * number) };
    let kind = if is_random { "" } else { KINDS[(which * KINDS.len() as f64) as usize % KINDS.len()] };
    Some(Plan { number, id, time, kind, place, parts, unseen })
}

/// A moment of the event's share of the time, on the minute, and a place on land.
fn anywhere(options: &SevirOptions, random: &Philox, number: u32, attempt: u32) -> (Moment, [f64; 2]) {
    let [when, x, y, _] = random.uniform([number, attempt, 0, 1]);
    let share = (options.to.0 - options.from.0) as f64 / options.events as f64;
    let seconds = options.from.0 + ((f64::from(number) + when) * share) as u64;
    let at = |axis: usize, u: f64| LAND.low[axis] + u * (LAND.high[axis] - LAND.low[axis]);
    (Moment(seconds / 60 * 60), [at(0, x), at(1, y)])
}

/// Around the strongest core of the stormiest of some times and places.
fn storm(options: &SevirOptions, random: &Philox, number: u32) -> (Moment, [f64; 2]) {
    let judged = |attempt: u32| {
        let (time, middle) = anywhere(options, random, number, attempt);
        let storms = storms(options.seed, time, middle, 300.0);
        let strong = storms.cores.iter().filter(|core| core.dbz > STRONG_DBZ).count() as f64;
        let core = storms.cores.iter().max_by(|a, b| a.dbz.total_cmp(&b.dbz))?;
        let held = |axis: usize| core.at_km[axis].clamp(LAND.low[axis], LAND.high[axis]);
        Some((core.dbz + 3.0 * strong, (time, [held(0), held(1)])))
    };
    let best = (0..TRIES).filter_map(judged).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(|| anywhere(options, random, number, 0), |(_, found)| found)
}

/// The storms within a distance of a place, along both axes, and some around it.
fn storms(seed: u64, time: Moment, middle: [f64; 2], distance_km: f64) -> Storms {
    let region = Region { low: middle, high: middle }.grown(distance_km);
    Weather::new(seed, Slot::new(time, Default::default())).storms(region)
}

/// What there is to observe at a time and a place.
fn parts(options: &SevirOptions, time: Moment, place: &Place) -> BTreeMap<Modality, Part> {
    let minute = i64::from(time.calendar().minute());
    // Radar frames are on every fifth minute, the satellite's two minutes later: the radar's first is the last one at
    // least two hours before the event, the satellite's the one nearest to that.
    let radar = -120 - minute.rem_euclid(5);
    let satellite = -122 + (2 - (minute - 122)).rem_euclid(5);
    let lit = sun(time, place.geographic(192.0, 192.0)) > DAYLIGHT;
    let is_there = |modality: &Modality| match modality {
        Modality::Vis => lit,
        Modality::Lght => time.0 / 86_400 >= LIGHTNING_DAY,
        _ => true,
    };
    let first = |modality: Modality| if modality == Modality::Vil { radar } else { satellite };
    let part = |modality: Modality| (modality, Part { first_minute: first(modality), missing: BTreeSet::new() });
    options.modalities.iter().copied().filter(is_there).map(part).collect()
}

/// The sine of the sun's height.
pub(super) fn sun(time: Moment, [latitude, longitude]: [f64; 2]) -> f64 {
    let calendar = time.calendar();
    let declination = -23.44 / 360.0 * cos_turns((f64::from(calendar.ordinal()) + 9.0) / 365.25);
    let hour = (time.0 % 86_400) as f64 / 86_400.0 - 0.5 + longitude / 360.0;
    let latitude = latitude / 360.0;
    sin_turns(latitude) * sin_turns(declination) + cos_turns(latitude) * cos_turns(declination) * cos_turns(hour)
}

/// Minutes from an event's time to each frame.
pub(super) fn minutes(part: &Part) -> [i64; FRAMES] {
    std::array::from_fn(|frame| part.first_minute + 5 * frame as i64)
}
