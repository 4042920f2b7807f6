//! What radar and satellite see of a scene, in SEVIR's own encodings.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::lightning::{self, Flash};
use super::place::SIDE_KM;
use super::plan::{Part, Plan, sun};
use super::scene::{Point, Scene};
use super::{MISSING_LEVEL, MISSING_NUMBER};
use crate::domain::{FRAMES, Levels, Modality};
use crate::sources::synth::math::{exp, ln, smoothstep};

/// 0 °C in kelvin.
const FREEZING_K: f64 = 273.15;
/// Liquid water in kg m⁻³ of the reflectivity factor in mm⁶ m⁻³ (Greene and Clark, 1972): factor and exponent.
const LIQUID: [f64; 2] = [3.44e-6, 4.0 / 7.0];
/// Echoes above this are hail and add no liquid.
const HAIL_DBZ: f64 = 56.0;
/// dBZ to the natural logarithm of the reflectivity factor.
const NEPERS_PER_DBZ: f64 = 0.230_258_509_3;

/// Everything that was observed of an event.
pub(super) struct Views {
    /// Values in order of row, column and frame, as the files have them.
    pub(super) dense: BTreeMap<Modality, Levels>,
    /// Lightning in the order of time, where the mapper observed.
    pub(super) flashes: Option<Vec<Flash>>,
}

/// Looks at the event of a plan.
pub(super) fn of(seed: u64, event: &Plan, wanted: &BTreeSet<Modality>) -> Views {
    let dense: Vec<(Modality, &Part)> =
        event.parts.iter().filter(|(m, _)| **m != Modality::Lght && wanted.contains(m)).map(|(m, p)| (*m, p)).collect();
    let frames: Vec<(Vec<Vec<i16>>, Vec<Flash>)> =
        (0..FRAMES).into_par_iter().map(|frame| look(seed, event, &dense, frame)).collect();
    let has_lightning = event.parts.contains_key(&Modality::Lght);
    let cube = |k: usize, modality: Modality, part: &Part| {
        let planes: Vec<&[i16]> = frames.iter().map(|(planes, _)| planes[k].as_slice()).collect();
        (modality, interleaved(modality, part, &planes))
    };
    Views {
        dense: dense.iter().enumerate().map(|(k, (modality, part))| cube(k, *modality, part)).collect(),
        flashes: has_lightning.then(|| lightning::in_order(frames.iter().flat_map(|(_, flashes)| flashes).copied())),
    }
}

/// One frame of each dense modality, and the flashes of five minutes.
fn look(seed: u64, event: &Plan, dense: &[(Modality, &Part)], frame: usize) -> (Vec<Vec<i16>>, Vec<Flash>) {
    // The storms are those of the radar's frame; the satellite's, two minutes later, has the same.
    let nominal = Part { first_minute: -120, ..Part::default() };
    let scene = Scene::new(seed, event.frame_time(&nominal, frame), &event.place);
    let plane = |(modality, part): &(Modality, &Part)| {
        let light = sun(event.frame_time(part, frame), event.place.geographic(SIDE_KM / 2.0, SIDE_KM / 2.0)).max(0.0);
        let size = modality.size();
        let step_km = SIDE_KM / size as f64;
        let middle = |k: usize| (k as f64 + 0.5) * step_km;
        let point = |k: usize| scene.at(event.place.in_storms(middle(k % size), middle(k / size)));
        (0..size * size).map(|k| seen(*modality, &point(k), light)).collect()
    };
    (dense.iter().map(plane).collect(), lightning::flashes(seed, event, frame, &scene.storms))
}

/// What is stored of one point.
fn seen(modality: Modality, point: &Point, light: f64) -> i16 {
    let degrees = |kelvin: f64| ((kelvin - FREEZING_K) * 100.0).round() as i16;
    match modality {
        Modality::Vil => level(liquid(f64::from(point.dbz))).into(),
        Modality::Ir107 => degrees(window_k(point)),
        Modality::Ir069 => degrees(vapour_k(point)),
        Modality::Vis => (reflectance(point, light) * 1e4).round() as i16,
        Modality::Lght => 0,
    }
}

/// Vertically integrated liquid in kg m⁻²: the water of the echo in a column that is the deeper the stronger it is.
fn liquid(dbz: f64) -> f64 {
    if dbz < 5.0 {
        return 0.0;
    }
    let per_m3 = LIQUID[0] * exp(LIQUID[1] * NEPERS_PER_DBZ * dbz.min(HAIL_DBZ));
    per_m3 * (2500.0 + 7500.0 * smoothstep((dbz - 20.0) / 40.0))
}

/// The level that SEVIR decodes to an amount: 5 and less is none, 6 to 18 linear, above logarithmic, at most 254.
fn level(kg_m2: f64) -> u8 {
    let linear = 90.66 * kg_m2 + 2.0;
    let found = if linear <= 18.0 { linear } else { 38.9 * ln(kg_m2) + 83.9 };
    if kg_m2 <= 0.0 { 0 } else { found.round().clamp(0.0, 254.0) as u8 }
}

/// Thickness of all cloud over a point: anvils and shields, and the towers that make echoes.
fn thickness(point: &Point) -> f64 {
    f64::from(point.cloud).max(0.75 * (f64::from(point.dbz) + 12.0) - 4.0).max(0.0)
}

/// The temperature of the cloud's top, the colder the thicker; the strongest cores shoot through the anvil.
fn top_k(point: &Point) -> f64 {
    let overshoot = 0.5 * (f64::from(point.dbz) - 50.0).max(0.0);
    262.0 - 1.12 * thickness(point) - overshoot + 2.0 * f64::from(point.grain)
}

fn window_k(point: &Point) -> f64 {
    let opaque = smoothstep((thickness(point) + 3.0 * f64::from(point.grain)) / 13.0);
    let ground_k = f64::from(point.ground_k) + 0.6 * f64::from(point.grain);
    ground_k + opaque * (top_k(point).min(ground_k) - ground_k)
}

/// Moist upper air hides what is below it: only high cloud is seen through.
fn vapour_k(point: &Point) -> f64 {
    let clear_k = 243.0 - 4.5 * f64::from(point.moisture).clamp(-2.0, 2.0) + 0.8 * f64::from(point.grain);
    let high = smoothstep((thickness(point) - 5.0) / 18.0);
    clear_k + high * ((top_k(point) + 1.5).min(clear_k) - clear_k)
}

fn reflectance(point: &Point, light: f64) -> f64 {
    let grain = f64::from(point.grain);
    let bright = smoothstep((thickness(point) + 5.0 * grain) / 18.0) * (0.86 + 0.10 * grain);
    (light * (0.07 + 0.01 * grain + bright)).clamp(0.0, 1.3)
}

/// The frames side by side at every point, the missing ones marked.
fn interleaved(modality: Modality, part: &Part, planes: &[&[i16]]) -> Levels {
    let points = modality.size() * modality.size();
    let value = |k: usize, missing: i16| {
        let frame = k % FRAMES;
        if part.missing.contains(&frame) { missing } else { planes[frame][k / FRAMES] }
    };
    let all = (0..points * FRAMES).into_par_iter();
    match modality {
        Modality::Vil => Levels::U8(all.map(|k| value(k, MISSING_LEVEL.into()) as u8).collect()),
        _ => Levels::I16(all.map(|k| value(k, MISSING_NUMBER)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_what_sevir_decodes() {
        let decoded = |level: u8| match level {
            0..=5 => 0.0,
            6..=18 => (f64::from(level) - 2.0) / 90.66,
            _ => ((f64::from(level) - 83.9) / 38.9).exp(),
        };
        for wanted in 6..=254_u8 {
            assert_eq!(level(decoded(wanted)), wanted);
        }
        assert_eq!((level(0.0), level(1e9)), (0, 254));
    }

    #[test]
    fn stronger_echoes_have_more_liquid_and_colder_tops() {
        let point = |dbz: f32| Point { dbz, cloud: 20.0, ground_k: 295.0, moisture: 0.0, grain: 0.0 };
        let liquids: Vec<f64> = [0.0, 20.0, 35.0, 50.0, 60.0].map(liquid).to_vec();
        assert!(liquids.is_sorted() && (20.0..60.0).contains(&liquids[4]), "{liquids:?}");
        assert!(window_k(&point(62.0)) < window_k(&point(30.0)) && vapour_k(&point(62.0)) < vapour_k(&point(0.0)));
        let clear = Point { dbz: -10.0, cloud: 0.0, ..point(0.0) };
        assert!((window_k(&clear) - 295.0).abs() < 1e-6 && (238.0..248.0).contains(&vapour_k(&clear)));
        assert!(reflectance(&point(50.0), 0.0) == 0.0 && reflectance(&point(50.0), 0.9) > 0.7);
    }
}
