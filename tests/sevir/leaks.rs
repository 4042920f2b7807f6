//! What must not leak: later frames into a window's inputs.

use std::fs;
use std::path::Path;

use gustfront::domain::{FRAMES, Modality};
use gustfront::sources::sevir::{EventSource, LightningBins, Sevir, SevirOptions};
use gustfront::transforms::frames::WindowRule;
use gustfront::transforms::resize::resize;
use gustfront::transforms::scaling::{PUBLISHED, ScalingTable};

use super::files::{Line, catalog, write_dense, write_points};
use super::reading::{event, open};

const MODALITIES: [Modality; 3] = [Modality::Vil, Modality::Ir107, Modality::Lght];

/// One event whose frames from one on, and whose flashes after a time, are others where `other`.
fn write_event(folder: &Path, other: bool, first_frame: usize, after_seconds: f64) {
    let file = |modality: Modality| folder.join(format!("data/{modality}/2019/SEVIR.h5"));
    let moved = |frame: usize| usize::from(other && frame >= first_frame);
    write_dense(&file(Modality::Vil), Modality::Vil, &["S1"], |_, y, x, t| {
        ((y * 3 + x + t) % 200 + 40 * moved(t)) as u8
    });
    write_dense(&file(Modality::Ir107), Modality::Ir107, &["S1"], |_, y, x, t| {
        (y * 20 + x * 7 + t) as i16 - 3000 * moved(t) as i16
    });
    let times = (0..900).map(|at| -7500.0 + f64::from(at) * 16.7).filter(|t| !other || *t < after_seconds);
    let mut points: Vec<[f64; 5]> = times.map(|t| [t, 38.0, -98.0, (t.abs() % 48.0).floor(), 7.0]).collect();
    if other {
        points.extend((0..500).map(|at| [after_seconds + f64::from(at) * 20.0, 38.0, -98.0, 9.0, 9.0]));
    }
    write_points(&file(Modality::Lght), &[("S1", &points)]);
    let lines = MODALITIES.map(|modality| Line::new("S1", "2018-07-01 00:00:00", modality, 0));
    fs::write(folder.join("CATALOG.csv"), catalog(&lines)).expect("a catalogue");
}

/// The bits of the inputs and of the targets of an event's first window, scaled at 384 × 384 points.
fn first_window(sevir: &Sevir) -> [Vec<u32>; 2] {
    let table = ScalingTable::read(PUBLISHED).expect("a table");
    let window = WindowRule::default().windows().expect("windows").swap_remove(0);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for modality in MODALITIES {
        let cube = sevir.read(&event(sevir, "S1"), modality).expect("a cube");
        let cube = resize(cube, modality, 384).expect("a size");
        let mut scaled = vec![0.0; FRAMES * 384 * 384];
        table.of(modality).expect("a row").apply(&cube.levels, &mut scaled);
        let of = |frames: std::ops::Range<usize>| scaled[frames.start * 384 * 384..frames.end * 384 * 384].iter();
        inputs.extend(of(window.input.clone()).map(|value| value.to_bits()));
        targets.extend(of(window.target.clone()).map(|value| value.to_bits()));
    }
    [inputs, targets]
}

#[test]
fn later_frames_and_flashes_change_nothing_of_the_inputs() {
    // The last of 13 input frames is at −3600 s; its lightning ends 300 s later in SEVIR's bins, there in the others.
    for (lightning, end) in [(LightningBins::After, -3300.0), (LightningBins::Before, -3600.0)] {
        let windows = [false, true].map(|other| {
            let folder = tempfile::tempdir().expect("a folder");
            write_event(folder.path(), other, 13, end);
            first_window(&open(folder.path(), SevirOptions { lightning, ..SevirOptions::default() }))
        });
        let [[inputs, targets], [other_inputs, other_targets]] = windows;
        assert_eq!(inputs.len(), 3 * 13 * 384 * 384);
        assert!(inputs == other_inputs, "{lightning:?}");
        let share = |modality: usize| {
            let part = modality * 12 * 384 * 384..(modality + 1) * 12 * 384 * 384;
            targets[part.clone()] != other_targets[part]
        };
        assert!((0..3).all(share), "every modality has other targets");
    }
}

#[test]
fn an_earlier_change_is_seen_in_the_inputs() {
    let windows = [false, true].map(|other| {
        let folder = tempfile::tempdir().expect("a folder");
        write_event(folder.path(), other, 12, -3301.0);
        first_window(&open(folder.path(), SevirOptions::default()))
    });
    assert!(windows[0][0] != windows[1][0]);
}
