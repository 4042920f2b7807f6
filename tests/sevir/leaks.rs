//! What must not leak: later frames into a window's inputs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gustfront::domain::{FRAMES, Modality};
use gustfront::formats::zarr::events::{
    AFTER, BEFORE, CatalogueEvent, EventArray, EventReader, EventStore, EventStoreSpec, LIGHTNING_BINS, Normalisation,
    Packing,
};
use gustfront::loader::{Loader, LoaderOptions, Scale, Values};
use gustfront::sources::sevir::{EventSource, LightningBins, Sevir, SevirOptions, Split};
use gustfront::storage::{FileStore, ObjectStore};
use gustfront::tensor::Cpu;
use gustfront::transforms::frames::WindowRule;
use gustfront::transforms::resize::resize;
use gustfront::transforms::scaling::{PUBLISHED, ScalingTable};

use super::files::{Line, catalog, offsets, write_dense, write_points};
use super::reading::{event, open};

/// Points along a side of stored frames.
const SIZE: usize = 48;
const MODALITIES: [Modality; 3] = [Modality::Vil, Modality::Ir107, Modality::Lght];

/// One event whose frames after the 13th, and whose flashes from a time on, are others where `other`.
fn write_event(folder: &Path, other: bool, first_minutes: [i16; 2], after_seconds: f64) {
    let file = |modality: Modality| folder.join(format!("data/{modality}/2019/SEVIR.h5"));
    let moved = |frame: usize| usize::from(other && frame >= 13);
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
    let mut lines = MODALITIES.map(|modality| Line::new("S1", "2018-07-01 00:00:00", modality, 0));
    lines.iter_mut().zip(first_minutes).for_each(|(line, first)| line.offsets = offsets(first));
    fs::write(folder.join("CATALOG.csv"), catalog(&lines)).expect("a catalogue");
}

/// A store of the event as it is, at 48 × 48 points, and a loader's first window of it: the bits of the inputs and of the
/// targets by modality.
fn first_window(sevir: &Sevir, lightning: LightningBins) -> [Vec<Vec<u32>>; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let objects: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let table = ScalingTable::read(PUBLISHED).expect("a table");
    let array = |modality| {
        let row = table.of(modality).expect("a row");
        EventArray { modality, size: SIZE, normalisation: Some(Normalisation { shift: row.shift, scale: row.scale }) }
    };
    let bins = if lightning == LightningBins::After { AFTER } else { BEFORE };
    let spec = EventStoreSpec {
        title: "One event".into(),
        arrays: MODALITIES.map(array).to_vec(),
        events: vec![CatalogueEvent { event: event(sevir, "S1"), split: 1 }],
        group: 1,
        packing: Packing::None,
        attributes: [(LIGHTNING_BINS.to_string(), bins.into())].into_iter().collect(),
    };
    let store = EventStore::new(objects.clone(), "events.zarr", spec).expect("a store");
    let mut findings = Vec::new();
    for (at, modality) in MODALITIES.into_iter().enumerate() {
        let cube = sevir.read(&event(sevir, "S1"), modality).expect("a cube");
        let mut writer = store.writer(at, 0, 1).expect("a writer");
        findings.push(Some(writer.event(&resize(cube, modality, SIZE).expect("a size")).expect("fits")));
        writer.finish().expect("written");
    }
    store.conclude(0, &[findings]).and_then(|()| store.publish()).expect("written");
    let reader = EventReader::open(objects, "events.zarr").expect("readable").expect("there");
    let options = LoaderOptions {
        modalities: MODALITIES.to_vec(),
        split: Split::Train,
        windows: WindowRule { stride: FRAMES, ..WindowRule::default() },
        batch: 1,
        seed: 0,
        symmetries: false,
        scale: Scale::Normalised,
        threads: 1,
        ahead: 1,
    };
    let batch = Loader::new(Arc::new(reader), options, &Cpu::device())
        .expect("a loader")
        .epoch(0)
        .next()
        .expect("one")
        .expect("a batch");
    let bits = |frames: std::ops::Range<usize>| {
        let of = |values: &Values| match values {
            Values::Scaled { values, .. } => {
                let chosen = &values[frames.start * SIZE * SIZE..frames.end * SIZE * SIZE];
                chosen.iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
            }
            _ => panic!("normalised"),
        };
        batch.values.iter().map(of).collect()
    };
    [bits(0..13), bits(13..25)]
}

/// First minutes of VIL and of infrared, as real rows have them.
const FIRST_MINUTES: [[i16; 2]; 3] = [[-118, -118], [-120, -124], [-122, -121]];

/// Seconds from the event to the last of 13 images, of the modality that was taken first.
fn last_image(first_minutes: [i16; 2]) -> f64 {
    60.0 * f64::from(first_minutes[0].min(first_minutes[1]) + 12 * 5)
}

/// Whether inputs and targets of the first window are the same, by modality, where the event changes after its last
/// image, and its flashes from some seconds on.
fn unchanged(first_minutes: [i16; 2], lightning: LightningBins, flashes_from: f64) -> [Vec<bool>; 2] {
    let [one, other] = [false, true].map(|other| {
        let folder = tempfile::tempdir().expect("a folder");
        write_event(folder.path(), other, first_minutes, flashes_from);
        first_window(&open(folder.path(), SevirOptions { lightning, ..SevirOptions::default() }), lightning)
    });
    [0, 1].map(|part| one[part].iter().zip(&other[part]).map(|(one, other)| one == other).collect())
}

#[test]
fn what_comes_after_the_last_image_changes_nothing_of_the_inputs() {
    for first_minutes in FIRST_MINUTES {
        for lightning in [LightningBins::After, LightningBins::Before] {
            let [inputs, targets] = unchanged(first_minutes, lightning, last_image(first_minutes) + 1.0);
            assert_eq!(inputs, [true; 3], "{lightning:?} {first_minutes:?}");
            assert_eq!(targets, [false; 3], "{lightning:?} {first_minutes:?}");
        }
    }
}

#[test]
fn lightning_of_the_inputs_ends_within_five_minutes_of_the_last_image() {
    for lightning in [LightningBins::After, LightningBins::Before] {
        let [inputs, _] = unchanged(FIRST_MINUTES[1], lightning, last_image(FIRST_MINUTES[1]) - 301.0);
        assert_eq!(inputs, [true, true, false], "{lightning:?}");
    }
}
