//! Where and when storm systems begin: by chance, where the air is unstable, weakly capped and lifted.

use std::ops::Range;

use rayon::prelude::*;

use super::environment::{Climate, Environment, Layers};
use super::math::logistic;
use super::noise::normal;
use super::terrain::broad_ground;
use super::thermodynamics::surface;
use crate::domain::Philox;

/// Storms are stepped this far at a time.
pub(super) const STEP_SECONDS: u64 = 300;
pub(super) const STEP_HOURS: f64 = STEP_SECONDS as f64 / 3600.0;
/// One candidate in every box of this size …
const BOX_KM: f64 = 40.0;
/// … and this many steps.
const WINDOW_STEPS: u32 = 6;
/// The chance of a candidate in perfect air, and which share of it there is without lift and with all of it.
const CHANCE: f64 = 0.22;
const HELP: [f64; 2] = [0.28, 0.9];
/// No storm begins this close to one that began less than [`CROWDED_HOURS`] before.
const CROWDED_KM: f64 = 70.0;
const CROWDED_HOURS: f64 = 2.5;
/// CAPE of half readiness in J/kg, and its width.
const READY_CAPE: [f64; 2] = [1100.0, 350.0];
/// CIN of half readiness in J/kg, and its width.
const READY_CIN: [f64; 2] = [-90.0, 20.0];

/// The beginning of one storm system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    /// Place in the plane.
    pub(super) at_km: [f64; 2],
    /// Steps since 1970.
    pub(super) step: u32,
    /// Draws the system's character and fate.
    pub(super) seed: u64,
    /// How readily the air there makes storms, 0 to 1.
    pub(super) readiness: f64,
    /// The air there.
    pub(super) air: Environment,
}

/// What draws the storms: the truth's own numbers, or from a step on those of a forecast that has left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    /// Draws the truth.
    pub(super) seed: u64,
    /// In a forecast, the first step it no longer shares with the truth, and the seed that draws from there on.
    pub(super) departure: Option<(u32, u64)>,
}

impl Chance {
    /// The numbers that decide what happens at a step.
    pub(super) fn at(&self, step: u32, purpose: u32) -> Philox {
        match self.departure {
            Some((departs, seed)) if step >= departs => Philox::new(self.seed ^ seed, purpose),
            _ => Philox::new(self.seed, purpose),
        }
    }
}

/// A rectangle of the plane in kilometres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    /// The corner with the smallest coordinates.
    pub(super) low: [f64; 2],
    /// The corner with the greatest.
    pub(super) high: [f64; 2],
}

impl Region {
    /// Everywhere from which something that can move by `reach_km` (least and greatest along x and y) gets here.
    pub(super) fn upstream(self, reach_km: [[f64; 2]; 2]) -> Region {
        Region {
            low: [0, 1].map(|axis| self.low[axis] - reach_km[axis][1]),
            high: [0, 1].map(|axis| self.high[axis] - reach_km[axis][0]),
        }
    }

    /// The region and everything within `margin_km` of it.
    pub(super) fn grown(self, margin_km: f64) -> Region {
        Region { low: self.low.map(|c| c - margin_km), high: self.high.map(|c| c + margin_km) }
    }
}

/// How readily undisturbed air makes storms at a place, 0 to 1.
pub(super) fn readiness(air: &Environment, at_km: [f64; 2]) -> f64 {
    let state = surface(air, broad_ground(at_km[0], at_km[1]), 0.0, 0.0);
    let unstable = logistic((state.cape - READY_CAPE[0]) / READY_CAPE[1]);
    let uncapped = logistic((state.cin - READY_CIN[0]) / READY_CIN[1]);
    unstable * uncapped.max(0.35 * air.lift)
}

/// Hours since 1970 of a step.
pub(super) fn hours_of_step(step: u32) -> f64 {
    f64::from(step) * STEP_HOURS
}

/// Every system that begins in `region` in the steps `steps`, oldest first.
pub(super) fn births(climate: &Climate, chance: Chance, region: Region, steps: Range<u32>) -> Vec<Birth> {
    let crowded_steps = (CROWDED_HOURS / STEP_HOURS) as u32;
    let earlier = steps.start.saturating_sub(crowded_steps)..steps.end;
    let mut found = candidates(climate, chance, region.grown(2.0 * CROWDED_KM), earlier);
    found.sort_by_key(|birth| (birth.step, birth.seed));
    let alone = |birth: &&Birth| !found.iter().any(|other| crowds(other, birth));
    let inside = |birth: &&Birth| steps.contains(&birth.step);
    found.iter().filter(inside).filter(alone).copied().collect()
}

fn candidates(climate: &Climate, chance: Chance, region: Region, steps: Range<u32>) -> Vec<Birth> {
    let boxes = |axis: usize| (region.low[axis] / BOX_KM).floor() as i32..=(region.high[axis] / BOX_KM).floor() as i32;
    let in_window = |window: u32| {
        let random = chance.at(window * WINDOW_STEPS, 20);
        let air = climate.layers(region.low, region.high, hours_of_step(window * WINDOW_STEPS));
        let mut found = Vec::new();
        for box_y in boxes(1) {
            for box_x in boxes(0) {
                found.extend(candidate(&air, &random, [box_x as u32, box_y as u32, window, 0]));
            }
        }
        found
    };
    let windows = steps.start / WINDOW_STEPS..steps.end / WINDOW_STEPS + 1;
    let found: Vec<Birth> = windows.into_par_iter().flat_map_iter(in_window).collect();
    found.into_iter().filter(|birth| steps.contains(&birth.step)).collect()
}

fn candidate(air: &Layers, random: &Philox, counter: [u32; 4]) -> Option<Birth> {
    let [luck, x, y, when] = random.uniform(counter);
    if luck > CHANCE * (HELP[0] + HELP[1]) {
        return None;
    }
    let at_km = [(f64::from(counter[0] as i32) + x) * BOX_KM, (f64::from(counter[1] as i32) + y) * BOX_KM];
    let step = counter[2] * WINDOW_STEPS + (when * f64::from(WINDOW_STEPS)) as u32;
    let air = air.at(at_km[0], at_km[1]);
    let readiness = readiness(&air, at_km);
    let [first, second, ..] = random.words([counter[0], counter[1], counter[2], 1]);
    let seed = u64::from(first) << 32 | u64::from(second);
    let chance = CHANCE * readiness * (HELP[0] + HELP[1] * air.lift);
    (luck < chance).then_some(Birth { at_km, step, seed, readiness, air })
}

/// Whether the outflow of `other` has stabilised the air in which `birth` would begin.
fn crowds(other: &Birth, birth: &Birth) -> bool {
    let hours = hours_of_step(birth.step) - hours_of_step(other.step);
    if (other.step, other.seed) >= (birth.step, birth.seed) || hours > CROWDED_HOURS {
        return false;
    }
    let offset = [0, 1].map(|axis| birth.at_km[axis] - other.at_km[axis] - 3.6 * hours * other.air.steering[axis]);
    offset[0] * offset[0] + offset[1] * offset[1] < CROWDED_KM * CROWDED_KM
}

/// Four standard normal draws for a system at a step; `use_` tells apart what they are for.
pub(super) fn draws(random: &Philox, step: u32, slot: u32, use_: u32) -> [f64; 4] {
    normal(random, [step, slot, use_, 0])
}
