//! Times what is done to each event of SEVIR on its way to a store, on one core: turning, resizing, counting, scaling.

use std::hint::black_box;
use std::time::Instant;

use gustfront::domain::{Cube, FRAMES, Levels, Modality, Philox};
use gustfront::sources::sevir::{LightningBins, count_lightning, frames_first};
use gustfront::transforms::level_statistics::LevelStatistics;
use gustfront::transforms::resize::resize;
use gustfront::transforms::scaling::{PUBLISHED, ScalingTable};

/// Runs of each that count, after a tenth as many that do not.
const RUNS: usize = 30;

/// Prints the fastest and the median time of a run, and megabytes a second at the median, of so many bytes written.
fn measure(name: &str, bytes: usize, mut work: impl FnMut()) {
    measure_on(name, bytes, || (), |()| work());
}

/// As [`measure`], with something for each run whose making takes no part in its time.
fn measure_on<T>(name: &str, bytes: usize, make: impl Fn() -> T, mut work: impl FnMut(T)) {
    (0..RUNS / 10).for_each(|_| work(make()));
    let mut time = || {
        let made = make();
        let start = Instant::now();
        work(made);
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..RUNS).map(|_| time()).collect();
    times.sort_by(f64::total_cmp);
    let rate = bytes as f64 / 1e3 / times[RUNS / 2];
    println!("{name:<28} fastest {:7.2} ms   median {:7.2} ms   {rate:7.0} MB/s", times[0], times[RUNS / 2]);
}

/// Noise of one byte a pixel, which no branch can foretell, without the value for missing.
fn noise(bytes: usize) -> Vec<u8> {
    let philox = Philox::new(1, 2);
    let words = (0..bytes.div_ceil(16) as u32).flat_map(|at| philox.words([at, 0, 0, 0]));
    words.flat_map(u32::to_le_bytes).map(|byte| byte % 255).take(bytes).collect()
}

fn cube(modality: Modality) -> Cube {
    let size = modality.size();
    let bytes = noise(FRAMES * size * size);
    let levels = match modality {
        Modality::Vil => Levels::U8(bytes),
        _ => Levels::I16(bytes.into_iter().map(i16::from).collect()),
    };
    Cube { size, levels }
}

fn turning() {
    for (name, bytes, width) in [("vil", 384 * 384 * FRAMES, 1), ("ir069", 192 * 192 * FRAMES * 2, 2)] {
        let source = noise(bytes);
        measure(&format!("copy {name}"), bytes, || drop(black_box(source.clone())));
        measure(&format!("turn {name}"), bytes, || match width {
            1 => drop(black_box(frames_first::<u8>(&source))),
            _ => drop(black_box(frames_first::<i16>(&source))),
        });
    }
}

fn resizing() {
    for (modality, missing) in [
        (Modality::Ir069, false),
        (Modality::Ir069, true),
        (Modality::Vis, false),
        (Modality::Vis, true),
        (Modality::Lght, false),
    ] {
        let mut source = cube(modality);
        if let (Levels::I16(values), true) = (&mut source.levels, missing) {
            values.iter_mut().step_by(1000).for_each(|value| *value = i16::MIN);
        }
        let name = format!("{modality} to 384{}", if missing { ", holes" } else { "" });
        let bytes = 384 * 384 * FRAMES * 2;
        measure_on(
            &name,
            bytes,
            || source.clone(),
            |source| drop(black_box(resize(source, modality, 384).expect("a size"))),
        );
    }
}

fn counting() {
    let philox = Philox::new(3, 4);
    let points: Vec<f64> = (0..20_000_u32)
        .flat_map(|at| {
            let [t, x, y, _] = philox.uniform([at, 0, 0, 0]);
            [t * 14_400.0 - 7200.0, 38.0, -98.0, x * 48.0, y * 48.0]
        })
        .collect();
    let bytes = points.len() * size_of::<f64>();
    measure("count 20,000 flashes", bytes, || drop(black_box(count_lightning(&points, LightningBins::After))));
}

fn scaling() {
    let table = ScalingTable::read(PUBLISHED).expect("a table");
    for modality in [Modality::Vil, Modality::Ir107] {
        let source = cube(modality);
        let mut out = vec![0.0; FRAMES * source.size * source.size];
        let row = table.of(modality).expect("a row");
        let bytes = out.len() * size_of::<f32>();
        measure(&format!("scale {modality}"), bytes, || row.apply(black_box(&source.levels), &mut out));
        let read = if modality == Modality::Vil { bytes / 4 } else { bytes / 2 };
        measure(&format!("statistics of {modality}"), read, || {
            black_box(LevelStatistics::of(black_box(&source.levels)));
        });
    }
}

fn main() {
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    turning();
    resizing();
    counting();
    scaling();
}
