//! Times regridding of the HRRR grid to 0.03° lat-lon, weights ready, on one core: `cargo bench --profile release --bench regrid`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use gustfront::domain::{Grid, Projection, Quality};
use gustfront::transforms::qc;
use gustfront::transforms::regrid::{Method, Weights};
use gustfront::transforms::rotate::Rotation;

/// The HRRR CONUS grid.
fn hrrr() -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    Grid::anchored(projection, 6_371_229.0, (21.138123, 237.280472), (1799, 1059), (3000.0, 3000.0)).expect("a grid")
}

/// A smooth synthetic temperature in kelvin.
fn synthetic(grid: &Grid) -> Vec<f32> {
    (0..grid.len())
        .map(|at| 280.0 + ((at % grid.nx) as f32 * 0.01).sin() * 20.0 + (at / grid.nx) as f32 * 0.01)
        .collect()
}

fn regridding(criterion: &mut Criterion) {
    let (source, target) = (hrrr(), hrrr().covering_latlon(0.03).expect("a grid"));
    let field = synthetic(&source);
    let mut result = vec![0.0; target.len()];
    println!("{} to {}", source.describe(), target.describe());
    let mut group = criterion.benchmark_group("regrid");
    for method in [Method::Bilinear, Method::Conservative, Method::Nearest] {
        let start = Instant::now();
        let weights = Weights::new(&source, &target, method).expect("weights");
        println!("{method:?}: weights worked out in {:.2} s", start.elapsed().as_secs_f64());
        let name = format!("{method:?}").to_lowercase();
        group.bench_function(name, |bencher| bencher.iter(|| weights.apply(black_box(&field), black_box(&mut result))));
    }
    group.finish();
}

fn point_by_point(criterion: &mut Criterion) {
    let grid = hrrr();
    let (u, v) = (synthetic(&grid), synthetic(&grid));
    let rotation = Rotation::to_earth(&grid).expect("a rotation");
    criterion.bench_function("rotate", |bencher| bencher.iter(|| rotation.apply(black_box(&u), black_box(&v))));
    let quality = Quality { range: Some([180.0, 340.0]), sentinels: vec![192.12], constant_is_missing: true };
    let mut field = synthetic(&grid);
    criterion.bench_function("quality control", |bencher| bencher.iter(|| qc::check(black_box(&mut field), &quality)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    targets = regridding, point_by_point
}
criterion_main!(benches);
