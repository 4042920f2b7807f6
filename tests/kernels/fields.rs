//! Fields from packed bytes to normalised values by kernels: the bits and the counts that the host's transforms give.

use std::sync::Arc;

use gustfront::domain::{Earth, Grid, Projection, Quality};
use gustfront::formats::grib2::{Message, headers, scan};
use gustfront::tensor::{Cpu, Device, FieldMap, Tensor};
use gustfront::transforms::normalise::Normaliser;
use gustfront::transforms::qc::{Report, check};
use gustfront::transforms::regrid::{Method, Weights};
use gustfront::transforms::rotate::Rotation;
use gustfront::transforms::statistics::{Statistics, StatisticsTable};

use crate::emulation::{Order, device};

const METHODS: [Method; 3] = [Method::Nearest, Method::Bilinear, Method::Conservative];

/// Real messages that go all the way.
const REAL: usize = 12;

fn devices() -> Vec<Device> {
    Order::ALL.into_iter().map(device).chain([Cpu::device()]).collect()
}

fn assert_bits(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let different = found.iter().zip(wanted).position(|(found, wanted)| found.to_bits() != wanted.to_bits());
    assert_eq!(different.map(|i| (i, found[i], wanted[i])), None, "{what}");
}

/// A field with slopes, holes, sentinels, and values out of any range.
fn weather(count: usize) -> Vec<f32> {
    let value = |i: usize| match i % 97 {
        3 | 40 => f32::NAN,
        7 => -999.0_f32.next_up(),
        11 => 1e9,
        13 => f32::NEG_INFINITY,
        17 => -0.0,
        _ => 280.0 + 25.0 * (i as f32 * 0.013).sin() + (i * i % 31) as f32 * 0.1,
    };
    (0..count).map(value).collect()
}

fn quality(constant_is_missing: bool) -> Quality {
    Quality { range: Some([-0.5, 340.0]), sentinels: vec![-999.0, 192.12], constant_is_missing }
}

fn lambert(nx: usize, ny: usize, step: f64) -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    let size = (nx, ny);
    Grid::anchored(projection, Earth::sphere(6_371_229.0), (21.138123, 237.280472), size, (step, step)).expect("a grid")
}

fn latlon(nx: usize, ny: usize, first: (f64, f64), step: (f64, f64)) -> Grid {
    let earth = Earth::sphere(6_371_229.0);
    Grid { projection: Projection::LatLon, earth, nx, ny, x0: first.0, y0: first.1, dx: step.0, dy: step.1 }
}

fn tensor(device: &Device, grid: &Grid, values: &[f32]) -> Tensor {
    Tensor::new(device, [grid.ny, grid.nx], values).expect("a tensor")
}

#[test]
fn quality_control_finds_the_same_values() {
    for (count, values) in [1, 2, 255, 256, 6000, 300_000].map(|count| (count, weather(count))) {
        let mut wanted = values.clone();
        let report = check(&mut wanted, &quality(true));
        for device in devices() {
            let x = Tensor::new(&device, [1, count], &values).expect("a tensor");
            let (y, found) = x.checked(&quality(true)).expect("checked");
            assert_eq!(found, report, "{count} on {}", device.name());
            assert_bits(&y.to_vec().expect("values"), &wanted, &device.name());
        }
    }
}

#[test]
fn a_constant_field_is_missing_where_that_is_impossible() {
    let values = [vec![f32::NAN, -999.0], vec![-0.0; 500], vec![0.0; 500]].concat();
    for (device, impossible) in devices().into_iter().flat_map(|device| [(device.clone(), false), (device, true)]) {
        let mut wanted = values.clone();
        let Report { constant, sentinel, .. } = check(&mut wanted, &quality(impossible));
        assert_eq!((constant, sentinel), (impossible, 1));
        let x = Tensor::new(&device, [2, 501], &values).expect("a tensor");
        let (y, found) = x.checked(&quality(impossible)).expect("checked");
        assert_eq!((found.constant, found.sentinel, found.missing_before), (impossible, 1, 1));
        assert_bits(&y.to_vec().expect("values"), &wanted, &device.name());
    }
}

#[test]
fn winds_turn_by_the_same_angles() {
    let grid = lambert(61, 37, 60_000.0);
    let rotation = Rotation::to_earth(&grid).expect("a rotation");
    let (u, mut v) = (weather(grid.len()), weather(grid.len()));
    v.reverse();
    let finite = |values: Vec<f32>| values.into_iter().map(|v| if v.is_finite() { v } else { f32::NAN }).collect();
    let (u, v): (Vec<f32>, Vec<f32>) = (finite(u), finite(v));
    let (east, north) = rotation.apply(&u, &v);
    for device in devices() {
        let angle = rotation.cosine_and_sine().map(|part| tensor(&device, &grid, part));
        let turned = tensor(&device, &grid, &u).rotated(&tensor(&device, &grid, &v), &angle).expect("rotated");
        for (found, wanted) in turned.iter().zip([&east, &north]) {
            assert_bits(&found.to_vec().expect("values"), wanted, &device.name());
        }
    }
}

#[test]
fn every_regridding_gives_the_same_values() {
    let globe = latlon(36, 19, (0.0, -90.0), (10.0, 10.0));
    let strip = latlon(40, 1, (-110.0, 40.0), (0.5, 0.5));
    let around = latlon(90, 50, (-180.0, -60.0), (4.1, 2.3));
    let over = latlon(80, 45, (-125.0, 22.0), (0.6, 0.6));
    let pairs =
        [(lambert(61, 37, 80_000.0), &over), (globe, &around), (strip, &latlon(33, 3, (-112.0, 39.9), (0.7, 0.1)))];
    for (source, target) in pairs {
        let values: Vec<f32> = weather(source.len()).into_iter().map(|v| if v > 1e8 { f32::NAN } else { v }).collect();
        for method in METHODS {
            let weights = Weights::new(&source, target, method).expect("weights");
            let mut wanted = vec![0.0; target.len()];
            weights.apply(&values, &mut wanted);
            let missing = wanted.iter().filter(|value| value.is_nan()).count();
            assert!(0 < missing && missing < wanted.len(), "{missing} missing by {method:?}");
            // An infinite value has no bits to agree on: what it leaves is a NaN of either sign.
            let wanted: Vec<f32> = wanted.into_iter().map(|v| if v.is_nan() { f32::NAN } else { v }).collect();
            for device in devices() {
                let map = FieldMap::new(&device, &weights, target.ny, target.nx).expect("a map");
                let found = tensor(&device, &source, &values).moved(&map).and_then(|y| y.to_vec()).expect("values");
                let found: Vec<f32> = found.into_iter().map(|v| if v.is_nan() { f32::NAN } else { v }).collect();
                assert_bits(&found, &wanted, &format!("{method:?} of {} on {}", source.describe(), device.name()));
            }
        }
    }
}

/// All of a field's way on the host, and what quality control found.
fn on_host(field: &Message, bytes: &[u8], weights: &Weights, normaliser: &Normaliser) -> (Vec<f32>, Report) {
    let mut values = field.decode(bytes).expect("values");
    let report = check(&mut values, &quality(false));
    let mut moved = vec![0.0; weights.points().1];
    weights.apply(&values, &mut moved);
    normaliser.apply(&mut moved);
    (moved, report)
}

fn normaliser(values: &[f32]) -> Normaliser {
    let mut statistics = Statistics::default();
    statistics.push(values);
    let table = StatisticsTable { source: "a test".into(), variables: [("x".to_string(), statistics.row())].into() };
    Normaliser::new("x", &table).expect("a normaliser")
}

#[test]
fn real_messages_are_the_same_at_the_end_of_their_way() {
    let Some(folder) = crate::data::folder() else { return };
    let scale = normaliser(&[250.0, 280.0, 301.5]);
    let mut found = 0;
    let files = crate::data::manifest(&folder).files.into_iter().filter(|file| file.path.starts_with("hrrr-idaho"));
    for path in files.map(|file| file.path).step_by(5).take(REAL) {
        let bytes = crate::data::read(&folder, &path).unwrap_or_default();
        let Some(message) = scan(&bytes).messages.first().map(|range| &bytes[range.clone()]) else { continue };
        let field = headers(message).expect("headers").remove(0);
        let Ok(source) = field.grid.clone() else { continue };
        let target = Arc::new(source.covering_latlon(0.03).expect("a grid"));
        let method = METHODS[found % 3];
        let weights = Weights::new(&source, &target, method).expect("weights");
        let (wanted, report) = on_host(&field, message, &weights, &scale);
        let device = device(Order::ALL[found % 3]);
        let map = FieldMap::new(&device, &weights, target.ny, target.nx).expect("a map");
        let [mean, deviation] = scale.mean_and_deviation().map(|v| Tensor::new(&device, [1], &[v]).expect("a number"));
        let unpacked = Tensor::unpacked(&device, &field, message).expect("unpacked");
        let (checked, told) = unpacked.checked(&quality(false)).expect("checked");
        assert_eq!(told, report, "{path}");
        let moved = checked.moved(&map).and_then(|y| y.reshape([1, 1, target.len()])).expect("moved");
        let scaled = moved.standardise(&mean, &deviation).and_then(|y| y.to_vec()).expect("values");
        assert_bits(&scaled, &wanted, &path);
        found += 1;
    }
    assert!(found > 3, "{found} messages");
}
