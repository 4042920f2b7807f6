//! Synthetic weather keeps the laws it promises: the same for the same seed, physically consistent, moving.

use super::environment::Climate;
use super::frame::{FULL, Frame, plane_km};
use super::weather::Weather;
use super::{Fields, fields, grounds};
use crate::config::variables;
use crate::domain::{Lead, Moment, Slot};

const SEED: u64 = 7;

fn slot(hour: u32, lead_hours: u32) -> Slot {
    let midnight = Moment::from_ymdh(2026, 5, 20, 0).expect("a day");
    Slot::new(midnight.plus(Lead::hours(hour - lead_hours)), Lead::hours(lead_hours))
}

fn make(seed: u64, slot: Slot, size: [usize; 2]) -> Fields {
    let frame = Frame::new(size).expect("a crop");
    fields(seed, slot, &frame, &grounds(&frame))
}

fn values<'a>(fields: &'a Fields, name: &str) -> &'a [f32] {
    &fields.variables.iter().find(|(variable, _)| *variable == name).expect("a variable").1
}

fn correlation(pairs: &[(f32, f32)]) -> f64 {
    let count = pairs.len() as f64;
    let mean = |part: fn(&(f32, f32)) -> f32| pairs.iter().map(|p| f64::from(part(p))).sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(|p| p.0), mean(|p| p.1));
    let product = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        pairs.iter().map(|(a, b)| f(f64::from(*a) - mean_a, f64::from(*b) - mean_b)).sum()
    };
    product(&|a, b| a * b) / (product(&|a, _| a * a) * product(&|_, b| b * b)).sqrt()
}

/// The correlation of a field, moved by (dx, dy) points, with a later one.
fn moved_correlation(now: &[f32], later: &[f32], [nx, ny]: [usize; 2], [dx, dy]: [usize; 2]) -> f64 {
    let inside = (dy..ny).flat_map(|j| (dx..nx).map(move |i| (i, j)));
    correlation(&inside.map(|(i, j)| (now[(j - dy) * nx + i - dx], later[j * nx + i])).collect::<Vec<_>>())
}

#[test]
fn the_same_seed_gives_the_same_fields_and_another_seed_others() {
    let first = make(SEED, slot(22, 0), [64, 48]);
    assert_eq!(first, make(SEED, slot(22, 0), [64, 48]));
    assert_ne!(first, make(SEED + 1, slot(22, 0), [64, 48]));
}

#[test]
fn a_crop_is_a_window_of_a_larger_crop() {
    let (small, large) = (make(SEED, slot(23, 0), [40, 30]), make(SEED, slot(23, 0), [90, 70]));
    let (small_frame, large_frame) = (Frame::new([40, 30]).expect("small"), Frame::new([90, 70]).expect("large"));
    let shift = [0, 1].map(|axis| small_frame.first[axis] - large_frame.first[axis]);
    for ((name, inner), (_, outer)) in small.variables.iter().zip(&large.variables) {
        for (k, value) in inner.iter().enumerate() {
            let there = outer[(k / 40 + shift[1]) * 90 + k % 40 + shift[0]];
            assert_eq!(*value, there, "{name} {k}");
        }
    }
}

#[test]
fn every_value_can_be_true() {
    for (seed, slot) in [(1, slot(21, 0)), (2, slot(30, 0)), (3, slot(12, 0)), (SEED, slot(24, 6))] {
        let made = make(seed, slot, [160, 160]);
        for (name, values) in &made.variables {
            let [low, high] = variables().get(name).and_then(|v| v.quality.range).expect("a range");
            assert!(values.iter().all(|v| (low..=high).contains(v)), "{name} at {slot}");
        }
        let pairs = values(&made, "t2m").iter().zip(values(&made, "d2m"));
        assert!(pairs.into_iter().all(|(t, td)| td <= t));
        assert!(values(&made, "cin").iter().all(|cin| *cin <= 0.0));
        assert!(values(&made, "refc").iter().all(|dbz| (-10.0..=72.0).contains(dbz)));
        assert!(values(&made, "land").iter().all(|land| *land == 0.0 || *land == 1.0));
    }
}

#[test]
fn the_ground_does_not_change() {
    let (now, later) = (make(SEED, slot(20, 0), [100, 100]), make(SEED + 5, slot(33, 3), [100, 100]));
    for name in ["hgt", "land"] {
        assert_eq!(values(&now, name), values(&later, name));
    }
}

#[test]
fn storms_move_with_the_steering_wind_but_not_predictably() {
    let size = [256, 256];
    let frame = Frame::new(size).expect("a crop");
    let [x, y] = plane_km((frame.first[0] + 128) as i64, (frame.first[1] + 128) as i64);
    let (mut still, mut moved) = (0.0, 0.0);
    for hour in 22..28 {
        let (now, later) = (make(SEED, slot(hour, 0), size), make(SEED, slot(hour + 1, 0), size));
        let steering = Climate::new(SEED, SEED, 0.0).at(x, y, Weather::new(SEED, slot(hour, 0)).hours()).steering;
        let shift = steering.map(|speed| (speed * 3.6 / 3.0).round().max(0.0) as usize);
        let (now, later) = (values(&now, "refc"), values(&later, "refc"));
        still += moved_correlation(now, later, size, [0, 0]) / 6.0;
        moved += moved_correlation(now, later, size, shift) / 6.0;
    }
    assert!(moved > still + 0.1 && moved < 0.95, "unmoved {still:.3}, moved {moved:.3}");
}

#[test]
fn storms_cool_the_air_and_consume_its_cape() {
    let made = make(SEED, slot(25, 0), [256, 256]);
    let mean = |name: &str, storm: bool| {
        let chosen = values(&made, "refc").iter().zip(values(&made, name)).filter(|(dbz, _)| (**dbz > 40.0) == storm);
        let (sum, count) = chosen.fold((0.0, 0.0), |(sum, count), (_, value)| (sum + f64::from(*value), count + 1.0));
        sum / count
    };
    assert!(mean("t2m", true) < mean("t2m", false) - 1.5, "{} {}", mean("t2m", true), mean("t2m", false));
    assert!(mean("cape", true) < 0.7 * mean("cape", false), "{} {}", mean("cape", true), mean("cape", false));
}

#[test]
fn forecasts_err_more_with_every_hour() {
    let size = [200, 200];
    let truth = make(SEED, slot(26, 0), size);
    let likeness = |lead: u32, name: &str| {
        let forecast = make(SEED, slot(26, lead), size);
        correlation(
            &values(&truth, name).iter().copied().zip(values(&forecast, name).iter().copied()).collect::<Vec<_>>(),
        )
    };
    let (one, six) = (likeness(1, "refc"), likeness(6, "refc"));
    assert!(six < one && one < 0.98 && one > 0.5, "reflectivity: 1 h {one:.3}, 6 h {six:.3}");
    assert!(likeness(6, "t2m") < likeness(1, "t2m"));
}

#[test]
fn the_whole_grid_is_hrrrs() {
    let frame = Frame::new(FULL).expect("the whole grid");
    let corner = frame.grid.to_geographic(frame.grid.x0, frame.grid.y0).expect("a point");
    assert!((corner.0 - 21.138_123).abs() < 1e-5 && (corner.1 - (237.280_472 - 360.0)).abs() < 1e-5, "{corner:?}");
}

/// When this fails, seeds mean other weather than before: the number in [`super::GENERATOR`] must grow with it.
#[test]
fn version_1_still_makes_the_weather_of_version_1() {
    let made = make(SEED, slot(24, 1), [48, 32]);
    let bytes = made.variables.iter().flat_map(|(_, values)| values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
    // Fowler, Noll and Vo's hash FNV-1a of 64 bits.
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    assert_eq!((super::GENERATOR, hash), ("gustfront-synth/1", 3_193_216_410_851_937_689));
}
