//! Flashes around strong cores, as points of an event.

use super::place::{Place, SIDE_KM};
use super::plan::Plan;
use crate::domain::{FRAME_SECONDS, Modality, Philox};
use crate::sources::synth::cells::Core;
use crate::sources::synth::math::{exp, ln};
use crate::sources::synth::noise::normal;
use crate::sources::synth::weather::Storms;

/// Cores weaker than this make no lightning.
const WEAKEST_DBZ: f64 = 45.0;
/// Flashes in five minutes of a core ten dBZ stronger than that, and how they grow with strength.
const RATE: f64 = 11.0;
const GROWTH: f64 = 1.7;
/// No core makes more in five minutes.
const MOST: f64 = 250.0;
/// Points outside the square are kept up to so many cells, as SEVIR does.
const OUTSIDE: f64 = 1.0;

/// Seconds after the event's time, latitude, longitude, column and row on the grid of 48 × 48 cells.
pub(super) type Flash = [f64; 5];

/// The flashes of the five minutes from a frame on, counted from two hours before the event's time.
pub(super) fn flashes(seed: u64, event: &Plan, frame: usize, storms: &Storms) -> Vec<Flash> {
    if event.unseen || !event.parts.contains_key(&Modality::Lght) {
        return Vec::new();
    }
    let random = Philox::new(seed, 41);
    let start = (frame as i64 - 24) * FRAME_SECONDS;
    let mut found = Vec::new();
    for (k, core) in storms.cores.iter().enumerate() {
        let counter = |use_: u32| [event.number, frame as u32, k as u32, use_];
        for flash in 0..count(core, &random, counter(0)) {
            let [when, ..] = random.uniform(counter(2 * flash + 1));
            let [x, y, ..] = normal(&random, counter(2 * flash + 2));
            let seconds = start as f64 + when * FRAME_SECONDS as f64;
            let at_km = [core.at_km[0] + x * core.radius_km, core.at_km[1] + y * core.radius_km];
            found.extend(point(&event.place, seconds, at_km));
        }
    }
    found
}

/// The flashes in the order of their times.
pub(super) fn in_order(flashes: impl Iterator<Item = Flash>) -> Vec<Flash> {
    let mut flashes: Vec<Flash> = flashes.collect();
    flashes.sort_by(|a, b| a[0].total_cmp(&b[0]));
    flashes
}

/// How many flashes a core makes: a draw around its rate, of about the variance of a Poisson distribution.
fn count(core: &Core, random: &Philox, counter: [u32; 4]) -> u32 {
    let excess = (core.dbz - WEAKEST_DBZ) / 10.0;
    if excess <= 0.0 {
        return 0;
    }
    let rate = (RATE * exp(GROWTH * ln(excess))).min(MOST);
    let [draw, ..] = normal(random, counter);
    (rate + rate.sqrt() * draw + 0.5).max(0.0) as u32
}

/// A flash on the event's grid; `None` far outside.
fn point(place: &Place, seconds: f64, at_km: [f64; 2]) -> Option<Flash> {
    let [x_km, y_km] = place.in_square(at_km[0], at_km[1])?;
    let cells = Modality::Lght.size() as f64;
    let cell = |km: f64| (km / (SIDE_KM / cells)).floor();
    let (x, y) = (cell(x_km), cell(y_km));
    let near = |cell: f64| (-OUTSIDE..cells + OUTSIDE).contains(&cell);
    let [latitude, longitude] = place.geographic(x_km, y_km);
    (near(x) && near(y)).then_some([seconds, latitude, longitude, x, y])
}
