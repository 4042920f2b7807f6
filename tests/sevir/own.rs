//! Stores that are normalised by their own training events: recomputed, for any processes, gone on with, and refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gustfront::domain::FRAMES;
use gustfront::formats::zarr::events::{Element, EventReader, Scratch};
use gustfront::storage::FileStore;

use super::common::program::{gustfront, text};
use super::common::trees::{assert_same, ledger};
use super::{SMALL, folder, in_one_go, objects};

const OWN: [&str; 2] = ["--set", "transforms.normalised.statistics=own"];
/// The events before 2019, of which two are in the first shard.
const TRAINING: usize = 2;

fn reader(output: &Path) -> EventReader {
    let objects = Arc::new(FileStore::new(text(output)));
    EventReader::open(objects, "sevir.zarr").expect("readable").expect("there")
}

/// Mean and standard deviation of what the training events have of a modality.
fn recomputed(reader: &EventReader, array: usize) -> (f64, f64) {
    let kind = reader.arrays()[array];
    let width = kind.element().width();
    let mut values: Vec<f64> = Vec::new();
    for event in 0..TRAINING {
        let mut bytes = vec![0; FRAMES * kind.points() * width];
        reader.read(event, array, 0..FRAMES, &mut Scratch::default(), &mut bytes).expect("frames");
        let number = |bytes: &[u8]| match kind.element() {
            Element::U8 => i16::from(bytes[0]),
            Element::I16 => i16::from_le_bytes([bytes[0], bytes[1]]),
        };
        let there = bytes.chunks_exact(width).map(number).filter(|number| *number != kind.element().missing());
        values.extend(there.map(f64::from));
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

#[test]
fn own_statistics_are_those_of_the_training_events_whatever_ran() {
    let (folder, input) = folder();
    let (alone, _) = in_one_go(folder.path(), &input, "alone", &OWN, &[0]);
    let store = reader(&alone);
    for (at, array) in store.arrays().iter().enumerate() {
        let (mean, deviation) = recomputed(&store, at);
        let found = array.normalisation.expect("a normalisation");
        assert!((found.shift - mean).abs() < 1e-9 * mean.abs().max(1.0), "{array:?}, recomputed {mean}");
        assert!((found.scale - deviation).abs() < 1e-9 * deviation, "{array:?}, recomputed {deviation}");
    }
    let expected = objects(&alone);
    let root = String::from_utf8_lossy(&expected["sevir.zarr/zarr.json"]).into_owned();
    assert!(root.contains("statistics of the training events of this store"), "{root}");
    let two = [&OWN[..], &["--workers", "2", "--processes", "2"]].concat();
    for (name, more) in [("four", [&OWN[..], &["--workers", "4"]].concat()), ("two-by-two", two)] {
        let (output, _) = in_one_go(folder.path(), &input, name, &more, &[0]);
        assert_same(&objects(&output), &expected, name);
        assert_eq!(ledger(&output), ledger(&alone), "{name}");
    }
    // As a run that was killed before its last shard and its publication leaves it.
    fs::remove_file(alone.join("sevir.zarr/zarr.json")).expect("removed");
    let last =
        fs::read_dir(alone.join("ledger/events")).expect("records").map(|file| file.expect("a file").path()).max();
    fs::remove_file(last.expect("a record")).expect("removed");
    let (_, report) = in_one_go(folder.path(), &input, "alone", &OWN, &[0]);
    assert_eq!(report["shards_committed"], 1);
    assert_same(&objects(&alone), &expected, "gone on with");
}

#[test]
fn a_store_without_training_events_cannot_be_normalised_by_its_own() {
    let (folder, input) = folder();
    let output = folder.path().join("output");
    let run = |more: &[&str]| {
        let fixed = ["run", "pipelines/sevir_backfill.toml", "--metrics", "off", "--input", text(&input)];
        gustfront(&[&fixed[..], &["--output", text(&output)], &SMALL, &OWN, more].concat())
    };
    let told = run(&["--set", "sources.sevir.years=2019"]).with(64).err;
    assert!(told.contains("none of the 5 events is a training event with vil, ir107, lght"), "{told}");
    assert!(!output.exists());
    // The only training event has no flash: its counts do not vary.
    let told = run(&["--set", "sources.sevir.to=2018-05-31T00"]).with(2).err;
    assert!(told.contains("nothing is published: all values of lght in the training events"), "{told}");
    assert!(told.contains("with another --output, take more training events") && !told.contains("= \"own\""), "{told}");
    let told = gustfront(&["status", "pipelines/sevir_backfill.toml", "--output", text(&output)]).with(0).out;
    assert!(told.contains("every shard is there, but nothing is published"), "{told}");
    assert!(!output.join("sevir.zarr/zarr.json").exists());
}
