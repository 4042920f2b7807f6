//! Visible light from its files to a store: means of four pixels, what is missing of them, and events without it.

use std::fs;
use std::sync::Arc;

use gustfront::domain::{FRAMES, Modality};
use gustfront::formats::zarr::events::{EventReader, Scratch};
use gustfront::storage::FileStore;

use super::common::program::text;
use super::common::storms::EVENTS;
use super::files::{Line, catalog, write_dense};
use super::in_one_go;

const MISSING: i16 = i16::MIN;
/// Points along a side, in the store.
const SIZE: usize = 384;
/// The frame that is missing altogether.
const DARK: usize = 7;

/// A pixel of the file: single ones are missing, and all four of some cells.
fn pixel(y: usize, x: usize, frame: usize) -> i16 {
    let cell = (y / 2 * 7 + x / 2 * 5 + frame).is_multiple_of(193);
    let alone = (y * 31 + x * 17 + frame).is_multiple_of(101);
    if cell || alone || frame == DARK { MISSING } else { ((y * 7 + x * 13 + frame * 29) % 20_011) as i16 - 10_000 }
}

/// The mean of those of four pixels that are there, halves upwards.
fn mean(y: usize, x: usize, frame: usize) -> i16 {
    let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| pixel(2 * y + down, 2 * x + right, frame));
    let there: Vec<i32> = four.into_iter().filter(|value| *value != MISSING).map(i32::from).collect();
    if there.is_empty() {
        return MISSING;
    }
    (f64::from(there.iter().sum::<i32>()) / there.len() as f64 + 0.5).floor() as i16
}

#[test]
fn visible_light_is_stored_as_means_of_the_pixels_that_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("sevir");
    fs::create_dir_all(&input).expect("a folder");
    let ids = [EVENTS[0].0, EVENTS[1].0];
    let line = |at: usize, modality| Line::new(EVENTS[at].0, EVENTS[at].1, modality, at);
    // The second event has no row of visible light, and the file has none of it.
    let lines = [line(0, Modality::Vil), line(1, Modality::Vil), line(0, Modality::Vis)];
    fs::write(input.join("CATALOG.csv"), catalog(&lines)).expect("a catalogue");
    let file = |modality: Modality| input.join(format!("data/{modality}/2019/SEVIR.h5"));
    write_dense(&file(Modality::Vil), Modality::Vil, &ids, |event, y, x, frame| ((y + x + frame + event) % 250) as u8);
    write_dense(&file(Modality::Vis), Modality::Vis, &ids[..1], |_, y, x, frame| pixel(y, x, frame));
    let size = format!("transforms.resized.size={SIZE}");
    let more = [
        ["--set", "sources.sevir.modalities=[\"vil\", \"vis\"]"],
        ["--set", &size],
        ["--set", "transforms.normalised.statistics=own"],
    ];
    let (output, report) = in_one_go(folder.path(), &input, "output", more.as_flattened(), &[0]);
    assert_eq!((&report["stored"]["vil"], &report["stored"]["vis"]), (&2.into(), &1.into()), "{report}");
    let reader = EventReader::open(Arc::new(FileStore::new(text(&output))), "sevir.zarr").expect("readable");
    let reader = reader.expect("a store");
    assert_eq!([reader.has(0, 1), reader.has(1, 1)], [true, false]);
    let mut bytes = vec![0; FRAMES * SIZE * SIZE * 2];
    reader.read(0, 1, 0..FRAMES, &mut Scratch::default(), &mut bytes).expect("frames");
    for (at, found) in bytes.chunks_exact(2).enumerate() {
        let (frame, y, x) = (at / (SIZE * SIZE), at / SIZE % SIZE, at % SIZE);
        let found = i16::from_le_bytes([found[0], found[1]]);
        assert_eq!(found, mean(y, x, frame), "frame {frame}, row {y}, column {x}");
    }
    reader.read(1, 1, 0..FRAMES, &mut Scratch::default(), &mut bytes).expect("frames");
    assert!(bytes.chunks_exact(2).all(|found| i16::from_le_bytes([found[0], found[1]]) == MISSING));
}
