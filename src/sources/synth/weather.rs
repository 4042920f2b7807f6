//! Every storm near a region at one moment: of the truth, or of a forecast that departed from it.

use rayon::prelude::*;

use super::births::{Birth, Chance, Region, STEP_SECONDS, births, draws, hours_of_step};
use super::cells::{Core, Disc};
use super::environment::Climate;
use super::systems::{LONGEST_HOURS, Living, PART_KM, REACH_KM, Shield, live};
use crate::domain::{Moment, Philox, Slot};

/// What a forecast's storms are off by: at once, and more with every hour.
const SHIFT_KM: f64 = 3.0;
const SHIFT_KM_PER_HOUR: f64 = 5.0;
const DBZ_PER_HOUR: f64 = 1.0;

/// The weather of one seed at one valid time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// The air between the storms, with the errors of a forecast where this is one.
    pub(super) climate: Climate,
    truth: Climate,
    chance: Chance,
    step: u32,
    lead_hours: f64,
}

/// Everything storms put into the fields at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Storms {
    pub(super) cores: Vec<Core>,
    pub(super) anvils: Vec<Disc>,
    pub(super) shields: Vec<Shield>,
    pub(super) cold_pools: Vec<Disc>,
}

impl Weather {
    /// The weather of a slot: the truth at lead zero, else a forecast from the truth at its cycle.
    pub(super) fn new(seed: u64, slot: Slot) -> Weather {
        let forecast_seed = seed ^ slot.cycle.0.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5EED;
        let lead_hours = f64::from(slot.lead.0) / 60.0;
        let departure = (slot.lead.0 > 0).then_some((step_of(slot.cycle), forecast_seed));
        Weather {
            climate: Climate::new(seed, forecast_seed, lead_hours),
            truth: Climate::new(seed, seed, 0.0),
            chance: Chance { seed, departure },
            step: step_of(slot.valid()),
            lead_hours,
        }
    }

    /// What draws the truth.
    pub(super) fn seed(&self) -> u64 {
        self.chance.seed
    }

    /// The valid time in hours since 1970.
    pub(super) fn hours(&self) -> f64 {
        hours_of_step(self.step)
    }

    /// Draws that are the same for every point at this valid time; a forecast has its own.
    pub(super) fn random(&self, purpose: u32) -> Philox {
        self.chance.at(self.step, purpose)
    }

    /// What storms put into a region.
    pub(super) fn storms(&self, region: Region) -> Storms {
        let oldest = self.step.saturating_sub((LONGEST_HOURS * 3600.0) as u32 / STEP_SECONDS as u32);
        let begun = births(&self.truth, self.chance, region.grown(PART_KM).upstream(REACH_KM), oldest..self.step);
        let living: Vec<Living> = begun.par_iter().map(|birth| self.system(birth)).collect();
        let mut storms = Storms::default();
        for system in &living {
            storms.add(system, self.hours());
        }
        storms
    }

    /// One system, with the errors of a forecast where this is one.
    fn system(&self, birth: &Birth) -> Living {
        let departure = self.chance.departure;
        let mut living = live(birth, &self.truth, departure, self.step);
        if let Some((_, forecast_seed)) = departure {
            let [x, y, dbz, _] =
                draws(&Philox::new(birth.seed ^ forecast_seed, 23), 0, 0, 0).map(|d| d.clamp(-2.5, 2.5));
            let size = SHIFT_KM + SHIFT_KM_PER_HOUR * self.lead_hours.min(12.0);
            let (shift_km, dbz) = ([x * size, y * size], dbz * DBZ_PER_HOUR * self.lead_hours.min(6.0));
            living.cells = living.cells.iter().map(|cell| cell.mistaken(shift_km, dbz)).collect();
            if let Some(shield) = &mut living.shield {
                shield.at_km = [shield.at_km[0] + shift_km[0], shield.at_km[1] + shift_km[1]];
                shield.dbz += dbz;
            }
        }
        living
    }
}

impl Storms {
    fn add(&mut self, system: &Living, hours: f64) {
        self.cores.extend(system.cells.iter().filter_map(|cell| cell.core(hours)));
        self.anvils.extend(system.cells.iter().filter_map(|cell| cell.anvil(hours)));
        self.cold_pools.extend(system.cells.iter().filter_map(|cell| cell.cold_pool(hours)));
        self.shields.extend(system.shield);
    }
}

/// Steps since 1970; the step numbers of 32 bits last beyond the year 40000.
fn step_of(moment: Moment) -> u32 {
    u32::try_from(moment.0 / STEP_SECONDS).unwrap_or(u32::MAX)
}
