//! The life of one storm system: it drifts, feeds on the air it meets, and sheds cells along its leading edge.

use super::births::{Birth, Chance, STEP_HOURS, draws, hours_of_step, readiness};
use super::cells::Cell;
use super::environment::{Climate, FRONT_NORMAL};
use super::math::{cos_turns, sin_turns, smoothstep};
use crate::domain::Philox;

/// Systems are over after this long, cells and outflow included.
pub(super) const LONGEST_HOURS: f64 = 9.0;
/// How far a system can move from where it began along x and y, least and greatest; what goes farther is over.
pub(super) const REACH_KM: [[f64; 2]; 2] = [[-150.0, 600.0], [-350.0, 450.0]];
/// No cell, shield or outflow reaches farther than this from its own centre.
pub(super) const PART_KM: f64 = 250.0;
/// The air is looked at anew every so many steps.
const LOOK_STEPS: u32 = 3;
/// The strength follows the air with this delay, and wanders by so much an hour.
const RESPONSE_HOURS: f64 = 0.7;
const WANDER: f64 = 0.30;
/// The stratiform shield follows the strength with this delay.
const SHIELD_HOURS: f64 = 1.1;

/// What a system is from its beginning.
#[derive(Clone, Copy, Debug)]
struct Character {
    /// Length of the leading edge.
    length_km: f64,
    /// Unit vector across the leading edge, forward.
    forward: [f64; 2],
    /// Own motion added to the steering wind, m/s.
    propagation: [f64; 2],
    /// For how long the air can feed it.
    life_hours: f64,
    /// How far the ends of the line hang back, as a share of its length.
    bow: f64,
    /// How strong its cells get, 0 to 1.
    vigour: f64,
}

/// A broad area of steady rain at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shield {
    /// Centre in the plane.
    pub(super) at_km: [f64; 2],
    /// Unit vector across it, forward.
    pub(super) forward: [f64; 2],
    /// Half its extent across and along.
    pub(super) half_km: [f64; 2],
    /// Reflectivity at its centre.
    pub(super) dbz: f64,
}

/// A system as it is at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Living {
    /// Every cell that still has echo or outflow.
    pub(super) cells: Vec<Cell>,
    /// Its area of steady rain.
    pub(super) shield: Option<Shield>,
}

/// A system while it is stepped.
struct Walk {
    at_km: [f64; 2],
    drift: [f64; 2],
    steering: [f64; 2],
    food: f64,
    strength: f64,
    shield: f64,
}

/// Steps a system from its beginning to `until` (steps since 1970).
pub(super) fn live(birth: &Birth, climate: &Climate, departure: Option<(u32, u64)>, until: u32) -> Living {
    let chance = Chance { seed: birth.seed, departure };
    let character = character(birth, &Philox::new(birth.seed, 21));
    let mut walk = Walk {
        at_km: birth.at_km,
        drift: [0.0; 2],
        steering: birth.air.steering,
        food: birth.readiness,
        strength: 0.45,
        shield: 0.0,
    };
    let mut cells = Vec::new();
    for step in birth.step..until {
        let random = chance.at(step, 22);
        advance(&mut walk, &character, birth, climate, &random, step);
        shed(&walk, &character, &random, step, &mut cells);
    }
    let now = hours_of_step(until);
    let near = |at_km: [f64; 2]| {
        (0..2).all(|axis| (REACH_KM[axis][0]..REACH_KM[axis][1]).contains(&(at_km[axis] - birth.at_km[axis])))
    };
    cells.retain(|cell| cell.is_felt(now) && near(cell.place(now, 1.0)));
    Living { cells, shield: shield(&walk, &character).filter(|shield| near(shield.at_km)) }
}

fn character(birth: &Birth, random: &Philox) -> Character {
    let [kind, length, life, bow] = random.uniform([0, 0, 0, 7]);
    let [turn, own_x, own_y, vigour] = draws(random, 0, 0, 8);
    let organised = kind + 0.30 * birth.air.lift;
    let (length_km, life_hours, push) = match organised {
        k if k < 0.50 => (10.0, 1.0 + 1.5 * life, 0.0),
        k if k < 0.86 => (40.0 + 50.0 * length, 2.0 + 2.5 * life, 2.0),
        _ => (110.0 + 190.0 * length, 3.5 + 3.0 * life, 4.5),
    };
    let turns = 0.035 * turn - 0.015;
    let (cos, sin) = (cos_turns(turns), sin_turns(turns));
    let forward = [FRONT_NORMAL[0] * cos - FRONT_NORMAL[1] * sin, FRONT_NORMAL[0] * sin + FRONT_NORMAL[1] * cos];
    let propagation = [push * forward[0] + 1.6 * held(own_x), push * forward[1] - 1.0 + 1.6 * held(own_y)];
    let vigour = (0.5 + 0.2 * vigour).clamp(0.05, 1.0);
    Character { length_km, forward, propagation, life_hours, bow: 0.10 + 0.25 * bow, vigour }
}

fn advance(walk: &mut Walk, character: &Character, birth: &Birth, climate: &Climate, random: &Philox, step: u32) {
    let age_hours = f64::from(step - birth.step) * STEP_HOURS;
    if (step - birth.step).is_multiple_of(LOOK_STEPS) {
        let air = climate.at(walk.at_km[0], walk.at_km[1], hours_of_step(step));
        let ready = readiness(&air, walk.at_km);
        // An organised system lifts its own air and needs less help than a beginning one.
        walk.food = smoothstep(ready * (1.3 + character.length_km / 150.0)) * (0.55 + 0.45 * character.vigour);
        walk.steering = air.steering;
    }
    let food = if age_hours > character.life_hours { 0.0 } else { walk.food };
    let [chance, gust_x, gust_y, _] = draws(random, step, 0, 1);
    walk.strength += (food - walk.strength) * STEP_HOURS / RESPONSE_HOURS + WANDER * STEP_HOURS.sqrt() * chance;
    walk.strength = walk.strength.clamp(0.0, 1.1);
    walk.shield += (walk.strength - walk.shield) * STEP_HOURS / SHIELD_HOURS;
    for (axis, gust) in [gust_x, gust_y].into_iter().enumerate() {
        walk.drift[axis] += -walk.drift[axis] * STEP_HOURS + 2.0 * STEP_HOURS.sqrt() * held(gust);
        let speed = walk.steering[axis] + character.propagation[axis] + walk.drift[axis].clamp(-4.0, 4.0);
        walk.at_km[axis] += speed * 3.6 * STEP_HOURS;
    }
}

/// New cells begin along the leading edge, the more the stronger the system is.
fn shed(walk: &Walk, character: &Character, random: &Philox, step: u32, cells: &mut Vec<Cell>) {
    let slots = 1 + (character.length_km / 18.0) as u32;
    let chance = 0.22 * walk.strength * walk.strength + 0.06 * walk.strength;
    for slot in 0..slots {
        let [luck, place, across, _] = random.uniform([step, slot, 0, 2]);
        if luck > chance {
            continue;
        }
        let along_km = ((f64::from(slot) + place) / f64::from(slots) - 0.5) * character.length_km;
        let share = 2.0 * along_km / character.length_km;
        let depth = if character.length_km > 100.0 { 10.0 } else { 0.3 * character.length_km + 4.0 };
        let across_km = depth * (across - 0.5) - character.bow * 0.5 * character.length_km * share * share;
        let at_km = place_at(walk.at_km, character.forward, across_km, along_km);
        let motion = [0, 1].map(|axis| walk.steering[axis] + 0.6 * character.propagation[axis] + walk.drift[axis]);
        let lasting = if character.length_km < 20.0 { 1.7 } else { 1.0 };
        cells.push(Cell::begin(random, [step, slot], at_km, motion, [walk.strength, character.vigour, lasting]));
    }
}

fn shield(walk: &Walk, character: &Character) -> Option<Shield> {
    let size = walk.shield * (character.length_km / 120.0).min(1.0);
    if size < 0.06 {
        return None;
    }
    let half_km = [18.0 + 62.0 * size, 0.42 * character.length_km + 18.0 + 30.0 * size];
    let at_km = place_at(walk.at_km, character.forward, 4.0 - 0.8 * half_km[0], 0.06 * character.length_km);
    Some(Shield { at_km, forward: character.forward, half_km, dbz: 4.0 + 30.0 * smoothstep(1.5 * size + 0.15) })
}

/// The point `across_km` forward of `from` and `along_km` to the left of that.
fn place_at(from: [f64; 2], forward: [f64; 2], across_km: f64, along_km: f64) -> [f64; 2] {
    [from[0] + forward[0] * across_km - forward[1] * along_km, from[1] + forward[1] * across_km + forward[0] * along_km]
}

/// A normal draw within two and a half deviations, so that nothing races away.
fn held(draw: f64) -> f64 {
    draw.clamp(-2.5, 2.5)
}
