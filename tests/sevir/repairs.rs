//! Stores that are gone on with after something was lost or came: never fewer events than before, and told as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gustfront::domain::Modality;
use gustfront::formats::zarr::events::{EventReader, Scratch};
use gustfront::storage::FileStore;
use serde_json::{Value, json};

use super::common::program::{gustfront, text};
use super::common::storms::EVENTS;
use super::common::trees::assert_same;
use super::files::{Line, catalog, write_dense};
use super::{in_one_go, objects};

/// Radar alone, in two shards, normalised by the training events.
const RADAR: [&str; 10] = [
    "--set",
    "sources.sevir.modalities=[\"vil\"]",
    "--set",
    "sources.sevir.shard_events=4",
    "--set",
    "transforms.resized.size=96",
    "--set",
    "sinks.events.codec=none",
    "--set",
    "transforms.normalised.statistics=own",
];
/// Events of the catalogue; those of 2018 are for training.
const TAKEN: usize = 5;

/// The file of an event.
fn file(input: &Path, event: usize) -> PathBuf {
    input.join(format!("data/vil/{event}.h5"))
}

/// A catalogue of five events with a file each.
fn one_by_one(folder: &Path) -> PathBuf {
    let input = folder.join("sevir");
    fs::create_dir_all(&input).expect("a folder");
    let line = |at: usize| {
        let (id, time) = EVENTS[at];
        Line { file: format!("vil/{at}.h5"), ..Line::new(id, time, Modality::Vil, 0) }
    };
    fs::write(input.join("CATALOG.csv"), catalog(&(0..TAKEN).map(line).collect::<Vec<_>>())).expect("a catalogue");
    for (at, (id, _)) in EVENTS.iter().enumerate().take(TAKEN) {
        let value = |_, y, x, frame| ((y / 3 + x / 2 + 5 * frame) % 90 + 30 * at) as u8;
        write_dense(&file(&input, at), Modality::Vil, &[id], value);
    }
    input
}

fn away(file: &Path) -> PathBuf {
    file.with_extension("away")
}

fn take_away(file: &Path) {
    fs::rename(file, away(file)).expect("taken away");
}

fn bring_back(file: &Path) {
    fs::rename(away(file), file).expect("brought back");
}

fn run(folder: &Path, input: &Path, name: &str, code: i32) -> (PathBuf, Value) {
    in_one_go(folder, input, name, &RADAR, &[code])
}

fn status(output: &Path) -> (String, Value) {
    let told = |more: &[&str]| {
        let status = ["status", "pipelines/sevir_backfill.toml", "--output", text(output)];
        gustfront(&[&status[..], more].concat()).with(0).out
    };
    (told(&[]), serde_json::from_str(&told(&["--json"])).expect("JSON"))
}

#[test]
fn what_a_store_holds_stays_while_its_files_are_away_and_so_does_its_normalisation() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = one_by_one(folder.path());
    let (reference, _) = run(folder.path(), &input, "reference", 0);
    take_away(&file(&input, 1));
    let (output, report) = run(folder.path(), &input, "output", 1);
    let (before, present) = (objects(&output), "sevir.zarr/present/c/0/0");
    assert_eq!((&report["rejected_by_reason"], &before[present][..]), (&json!({"missing_data": 1}), &[1, 0, 1, 1][..]));
    bring_back(&file(&input, 1));
    [2, 3].iter().for_each(|event| take_away(&file(&input, *event)));
    let (_, report) = run(folder.path(), &input, "output", 1);
    let left = &report["shards_left"][0];
    assert_eq!(
        (&left["shard"], &left["lost"]["event"], &left["lost"]["reason"]),
        (&0.into(), &"S803".into(), &"missing_data".into())
    );
    assert_same(&objects(&output), &before, "left as it is");
    [2, 3].iter().for_each(|event| bring_back(&file(&input, *event)));
    let (_, report) = run(folder.path(), &input, "output", 0);
    let (now, whole, root) =
        (objects(&output), objects(&reference), ["sevir.zarr/zarr.json", "sevir.zarr/vil/zarr.json"]);
    assert_eq!(
        (&now[present], &now["sevir.zarr/vil/c/0/0/0/0"]),
        (&whole[present], &whole["sevir.zarr/vil/c/0/0/0/0"])
    );
    assert_eq!(root.map(|key| &now[key]), root.map(|key| &before[key]), "models may have been trained with it");
    let kept = &report["normalisations_kept"][0];
    let shift = |numbers: &Value| numbers[0].as_f64().expect("a number");
    // Every value of the event that came is 30 more than those of the other training event.
    assert_eq!(kept["modality"], "vil");
    assert!((shift(&kept["now"]) - shift(&kept["published"]) - 15.0).abs() < 1.0, "{kept}");
}

#[test]
fn an_object_that_is_gone_is_an_error_is_told_and_is_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = one_by_one(folder.path());
    let (output, _) = run(folder.path(), &input, "output", 0);
    let (whole, store) = (objects(&output), output.join("sevir.zarr"));
    fs::remove_dir_all(store.join("vil/c/1")).expect("removed");
    let reader = EventReader::open(Arc::new(FileStore::new(text(&output))), "sevir.zarr").expect("readable");
    let mut frame = vec![0; 96 * 96];
    let mut read = |event| reader.as_ref().expect("there").read(event, 0, 3..4, &mut Scratch::default(), &mut frame);
    let told = read(4).expect_err("gone").to_string();
    assert!(
        told.contains("vil/c/1/0/0/0") && told.contains("event 4") && told.contains("run the backfill again"),
        "{told}"
    );
    read(3).expect("of another shard");
    let (told, json) = status(&output);
    assert!(told.contains("visible, but damaged") && told.contains("shard 1: vil is gone"), "{told}");
    assert_eq!((&json["complete"], &json["shards_damaged"]), (&false.into(), &json!({"1": ["vil"]})));
    // What cannot be written anew is told, every time.
    take_away(&file(&input, 4));
    let (_, report) = run(folder.path(), &input, "output", 1);
    assert_eq!((&report["shards_left"][0]["gone"], &report["shards_committed"]), (&json!(["vil"]), &0.into()));
    bring_back(&file(&input, 4));
    let (_, report) = run(folder.path(), &input, "output", 0);
    assert_eq!((&report["shards_committed"], &report["shards_committed_before"]), (&1.into(), &1.into()));
    assert_same(&objects(&output), &whole, "written anew");
    assert!(status(&output).0.contains(": complete\n"), "{}", status(&output).0);
    // Without its root a store is not visible, whatever the ledger says.
    fs::remove_file(store.join("zarr.json")).expect("removed");
    let (told, json) = status(&output);
    assert!(told.contains("every shard is there, but nothing is published") && !told.contains("complete"), "{told}");
    assert_eq!([&json["complete"], &json["published"]], [&false, &false]);
    run(folder.path(), &input, "output", 0);
    assert_same(&objects(&output), &whole, "visible again");
    for option in ["title=another", "codec=zstd"] {
        let fixed = ["run", "pipelines/sevir_backfill.toml", "--metrics", "off", "--input", text(&input)];
        let other = ["--output", text(&output), "--set", option];
        let told = gustfront(&[&fixed[..], &RADAR, &other].concat()).with(64).err;
        assert!(told.contains("was made by another pipeline") && told.contains("events: was "), "{told}");
    }
    assert_same(&objects(&output), &whole, "refused");
}
