//! One convective cell: a core that grows and decays, the anvil it spreads, the cold air it leaves behind.

use super::births::{draws, hours_of_step};
use super::math::{exp, smoothstep};
use crate::domain::Philox;

/// Outflow outlives its cell by at most this long.
const WAKE_HOURS: f64 = 2.0;
/// Outflow weakens by a factor of e in this time.
const WAKE_FADES_HOURS: f64 = 0.9;
/// Core reflectivity at the very beginning and end lies this far below the peak.
const GROWTH_DBZ: f64 = 38.0;

/// One cell from its beginning on; every method takes hours since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    at_km: [f64; 2],
    began_hours: f64,
    life_hours: f64,
    motion: [f64; 2],
    peak_dbz: f64,
    core_km: f64,
    stretch: [f64; 2],
}

/// A cell's core at one moment: reflectivity falls off as a Gaussian of the linear reflectivity factor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Core {
    /// Centre in the plane.
    pub(super) at_km: [f64; 2],
    /// Reflectivity at the centre.
    pub(super) dbz: f64,
    /// Gaussian radius.
    pub(super) radius_km: f64,
    /// By which share it is longer along one diagonal than along the other, as cos and sin of twice the angle.
    pub(super) stretch: [f64; 2],
}

/// A disc at one moment: of anvil (dBZ at its centre) or of cold air (strength at its centre).
#[derive(Clone, Copy, Debug)]
pub(super) struct Disc {
    /// Centre in the plane.
    pub(super) at_km: [f64; 2],
    /// Where it ends.
    pub(super) radius_km: f64,
    /// Value at its centre.
    pub(super) value: f64,
}

impl Cell {
    /// A cell that begins at a step; `nature` is the system's strength and vigour and how lasting its cells are.
    pub(super) fn begin(
        random: &Philox,
        [step, slot]: [u32; 2],
        at_km: [f64; 2],
        motion: [f64; 2],
        nature: [f64; 3],
    ) -> Cell {
        let [strength, vigour, lasting] = nature;
        let [peak, size, own_x, own_y] = draws(random, step, slot, 3);
        let [life, first, second, _] = random.uniform([step, slot, 0, 4]);
        let peak_dbz = 41.0 + 11.0 * strength + 9.0 * vigour + 4.5 * peak;
        Cell {
            at_km,
            began_hours: hours_of_step(step),
            life_hours: lasting * (0.5 + 0.75 * life),
            motion: [motion[0] + 1.5 * own_x.clamp(-2.5, 2.5), motion[1] + 1.5 * own_y.clamp(-2.5, 2.5)],
            peak_dbz: peak_dbz.clamp(30.0, 68.0),
            core_km: (2.9 + 1.5 * strength + 0.7 * size).clamp(2.0, 6.5),
            stretch: [0.7 * (first - 0.5), 0.7 * (second - 0.3)],
        }
    }

    /// Whether the cell still has echo or outflow.
    pub(super) fn is_felt(&self, hours: f64) -> bool {
        hours < self.began_hours + self.life_hours + WAKE_HOURS
    }

    /// The core, while the cell lives.
    pub(super) fn core(&self, hours: f64) -> Option<Core> {
        let age = (hours - self.began_hours) / self.life_hours;
        if !(0.0..1.0).contains(&age) {
            return None;
        }
        let grown = smoothstep(age / 0.30) * smoothstep((1.0 - age) / 0.55);
        let dbz = self.peak_dbz - GROWTH_DBZ * (1.0 - grown);
        let radius_km = self.core_km * (0.8 + 0.35 * age);
        Some(Core { at_km: self.place(hours, 1.0), dbz, radius_km, stretch: self.stretch })
    }

    /// The anvil, which spreads downwind and outlives the core a little.
    pub(super) fn anvil(&self, hours: f64) -> Option<Disc> {
        let age = (hours - self.began_hours) / self.life_hours;
        if !(0.15..1.35).contains(&age) {
            return None;
        }
        let size = smoothstep((age - 0.1) / 0.6);
        let radius_km = (5.5 * self.core_km + 6.0) * (0.35 + 0.65 * size);
        let fading = smoothstep((1.35 - age) / 0.6);
        let [x, y] = self.place(hours, 1.0);
        let at_km = [x + 0.34 * radius_km, y + 0.16 * radius_km];
        Some(Disc { at_km, radius_km, value: -12.0 + (0.55 * self.peak_dbz + 8.0) * fading })
    }

    /// The cold air, which grows while it rains and then fades where it lies.
    pub(super) fn cold_pool(&self, hours: f64) -> Option<Disc> {
        let age_hours = hours - self.began_hours;
        let age = age_hours / self.life_hours;
        if age < 0.15 || !self.is_felt(hours) {
            return None;
        }
        let vigour = ((self.peak_dbz - 34.0) / 26.0).clamp(0.05, 1.3);
        let old_hours = (age_hours - 0.8 * self.life_hours).max(0.0);
        let end = smoothstep((self.life_hours + WAKE_HOURS - age_hours) / 0.8);
        let value = 0.85 * vigour * smoothstep((age - 0.15) / 0.55) * exp(-old_hours / WAKE_FADES_HOURS) * end;
        let radius_km = (9.0 + 3.0 * self.core_km) * (0.45 + 0.55 * smoothstep(age / 1.6)) + 5.0 * old_hours;
        Some(Disc { at_km: self.place(hours, 0.82), radius_km, value })
    }

    /// Where the cell is when it moves with `share` of its motion; it does not move after its end.
    pub(super) fn place(&self, hours: f64, share: f64) -> [f64; 2] {
        let moved = (hours - self.began_hours).clamp(0.0, 1.35 * self.life_hours) * 3.6 * share;
        [self.at_km[0] + self.motion[0] * moved, self.at_km[1] + self.motion[1] * moved]
    }

    /// The same cell elsewhere and with another peak, as a forecast has it.
    pub(super) fn mistaken(self, shift_km: [f64; 2], dbz: f64) -> Cell {
        let at_km = [self.at_km[0] + shift_km[0], self.at_km[1] + shift_km[1]];
        Cell { at_km, peak_dbz: (self.peak_dbz + dbz).clamp(20.0, 68.0), ..self }
    }
}
