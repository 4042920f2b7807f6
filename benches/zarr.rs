//! How long one full-grid slot of nine variables takes to be packed and written to a folder, and to be read back.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use gustfront::domain::{Earth, Grid, Lead, Moment, Philox, Projection, Slot};
use gustfront::formats::zarr::{ArraySpec, Store, StoreSpec};
use gustfront::storage::FileStore;

/// How many variables a slot has.
const VARIABLES: usize = 9;
/// Values are multiples of this, as a packed GRIB2 field's are.
const QUANTUM: f32 = 1.0 / 16.0;

fn hrrr() -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5; 2], longitude_origin: 262.5 };
    let (x0, y0) = (-2_697_520.142_5, -1_587_306.152_6);
    Grid { projection, earth: Earth::sphere(6_371_229.0), nx: 1799, ny: 1059, x0, y0, dx: 3000.0, dy: 3000.0 }
}

fn spec() -> StoreSpec {
    let variable = |at: usize| ArraySpec {
        name: format!("v{at}").into(),
        long_name: "synthetic".into(),
        units: "K".into(),
        standard_name: None,
    };
    StoreSpec {
        title: "Synthetic fields".into(),
        origin: Moment::from_ymdh(2025, 8, 1, 0).unwrap_or_default(),
        step: Lead::hours(1),
        leads: vec![Lead(0)],
        grid: Arc::new(hrrr()),
        variables: (0..VARIABLES).map(variable).collect(),
        attributes: Default::default(),
    }
}

/// Synthetic: long waves, a fine texture and noise of a few quanta.
fn field(seed: usize) -> Vec<f32> {
    let (grid, philox) = (hrrr(), Philox::new(seed as u64, 1));
    let value = |at: usize| {
        let (i, j) = ((at % grid.nx) as f32, (at / grid.nx) as f32);
        let noise = philox.normal([at as u32, 0, 0, 0])[0] as f32;
        let wave = (i / 160.0).sin() * (j / 130.0).cos() * 15.0 + (i / 9.0 + j / 13.0).sin();
        ((280.0 + wave + noise * 0.15) / QUANTUM).round() * QUANTUM
    };
    (0..grid.len()).map(value).collect()
}

fn slot_of_nine(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let spec = spec();
    let store = Store::create_or_open(objects, "", &spec).expect("a store");
    let fields: Vec<_> = (0..VARIABLES).map(field).collect();
    let slot = Slot::new(spec.origin, Lead(0));
    let write = || {
        for (variable, values) in spec.variables.iter().zip(&fields) {
            store.write(&variable.name, slot, values).expect("written");
        }
        store.publish(slot).expect("published");
    };
    let read = || {
        spec.variables.iter().map(|v| store.read(&v.name, slot).expect("read").map_or(0, |f| f.len())).sum::<usize>()
    };
    let mut group = criterion.benchmark_group("zarr");
    group.sample_size(10);
    group.bench_function("write nine fields of 1799×1059", |bencher| bencher.iter(write));
    group.bench_function("read nine fields of 1799×1059", |bencher| bencher.iter(read));
    group.finish();
}

criterion_group!(benches, slot_of_nine);
criterion_main!(benches);
