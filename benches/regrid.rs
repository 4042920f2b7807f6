//! Times regridding of the HRRR grid to 0.03° lat-lon, weights ready, on one core, and the transforms point by point.

use std::fs::read_to_string;
use std::hint::black_box;
use std::time::Instant;

use gustfront::domain::{Earth, Grid, Projection, Quality};
use gustfront::transforms::qc;
use gustfront::transforms::regrid::{Method, Weights};
use gustfront::transforms::rotate::Rotation;

/// Runs of each transform that count, after a tenth as many that do not.
const RUNS: usize = 300;
/// Clock ticks a second in Linux's account of processor time.
const TICKS: f64 = 100.0;

/// The HRRR CONUS grid.
fn hrrr() -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    Grid::anchored(projection, Earth::sphere(6_371_229.0), (21.138123, 237.280472), (1799, 1059), (3000.0, 3000.0))
        .expect("a grid")
}

/// A smooth synthetic temperature in kelvin.
fn synthetic(grid: &Grid) -> Vec<f32> {
    (0..grid.len())
        .map(|at| 280.0 + ((at % grid.nx) as f32 * 0.01).sin() * 20.0 + (at / grid.nx) as f32 * 0.01)
        .collect()
}

/// Seconds of processor time this program has used; NaN where the system does not tell in Linux's way.
fn processor_seconds() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / TICKS
}

/// Prints the fastest and the median wall-clock time of a run, and the mean processor time, in milliseconds.
fn measure(name: &str, mut work: impl FnMut()) {
    (0..RUNS / 10).for_each(|_| work());
    let before = processor_seconds();
    let mut time = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..RUNS).map(|_| time()).collect();
    let processor = (processor_seconds() - before) * 1e3 / RUNS as f64;
    times.sort_by(f64::total_cmp);
    println!("{name:<16} fastest {:6.2}   median {:6.2}   processor {processor:6.2}", times[0], times[RUNS / 2]);
}

fn main() {
    let (source, target) = (hrrr(), hrrr().covering_latlon(0.03).expect("a grid"));
    let field = synthetic(&source);
    println!(
        "{} to {}; load {}",
        source.describe(),
        target.describe(),
        read_to_string("/proc/loadavg").unwrap_or_default()
    );
    let mut result = vec![0.0; target.len()];
    for method in [Method::Bilinear, Method::Conservative, Method::Nearest] {
        let weights = Weights::new(&source, &target, method).expect("weights");
        let name = format!("{method:?}").to_lowercase();
        measure(&name, || weights.apply(black_box(&field), black_box(&mut result)));
    }
    let rotation = Rotation::to_earth(&source).expect("a rotation");
    measure("rotate", || {
        black_box(rotation.apply(black_box(&field), black_box(&field)));
    });
    let quality = Quality { range: Some([180.0, 340.0]), sentinels: vec![192.12], constant_is_missing: true };
    let mut checked = field.clone();
    measure("quality control", || {
        black_box(qc::check(black_box(&mut checked), &quality));
    });
}
