//! Synthetic SEVIR as h5py sees it, damaged on purpose where asked, and told by `gustfront inspect`.

mod common {
    pub(crate) mod python;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::python;
use gustfront::domain::{Modality, Moment};
use gustfront::formats::hdf5::{Hdf5File, Hdf5Writer, Storage};
use gustfront::sources::synth::{SevirOptions, SevirStorage, SynthError, write_sevir};
use gustfront::storage::FileStore;
use serde_json::Value;

const SMALL: [Modality; 3] = [Modality::Vil, Modality::Ir107, Modality::Lght];

fn options() -> SevirOptions {
    SevirOptions {
        events: 3,
        seed: 3,
        from: Moment::from_ymdh(2018, 3, 1, 0).expect("a day"),
        to: Moment::from_ymdh(2019, 12, 1, 0).expect("a day"),
        modalities: SMALL.into_iter().collect(),
        storage: SevirStorage::Mixed,
        index_column: true,
        flaws: false,
        force: false,
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file");
                found.insert(path.strip_prefix(folder).expect("inside").to_path_buf(), bytes);
            }
        }
    }
    found
}

#[test]
fn a_seed_gives_the_same_bytes_and_nothing_is_written_over() {
    let options = SevirOptions { events: 1, modalities: [Modality::Vil, Modality::Lght].into(), ..options() };
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    for folder in [&first, &second] {
        write_sevir(folder.path(), &options, &mut |_| true).expect("events");
    }
    assert!(files(first.path()) == files(second.path()));
    let error = write_sevir(first.path(), &options, &mut |_| true).expect_err("a folder that is taken").to_string();
    assert!(error.contains("what is in it"), "{error}");
    let other = SevirOptions { seed: 4, force: true, ..options };
    write_sevir(second.path(), &other, &mut |_| true).expect("forced");
    assert!(files(first.path()) != files(second.path()));
}

#[test]
fn what_was_not_finished_is_taken_away_and_flaws_need_something_to_damage() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("sevir");
    let options = SevirOptions { modalities: [Modality::Lght].into(), ..options() };
    let mut begun = 0;
    let stopped = write_sevir(&folder, &options, &mut |done| {
        begun += files(&folder).len();
        done < 1
    });
    assert!(matches!(stopped, Err(SynthError::Stopped(1))), "{stopped:?}");
    assert!(begun > 0 && !folder.exists(), "{begun}");
    let flawed = SevirOptions { flaws: true, ..options.clone() };
    let error = write_sevir(&folder, &flawed, &mut |_| true).expect_err("nothing to damage").to_string();
    assert!(error.contains("vil is needed") && !folder.exists(), "{error}");
    let vil = SevirOptions { events: 1, modalities: [Modality::Vil].into(), ..flawed.clone() };
    let error = write_sevir(&folder, &vil, &mut |_| true).expect_err("nothing to cut").to_string();
    assert!(error.contains("expected another modality") && !folder.exists(), "{error}");
    let late = Moment::from_ymdh(2200, 1, 1, 0).expect("a day");
    for (from, to) in [(options.from, options.from), (options.to, options.from), (options.from, late)] {
        let error = write_sevir(&folder, &SevirOptions { from, to, ..options.clone() }, &mut |_| true);
        let error = error.expect_err("no such period").to_string();
        assert!(error.contains("more than one day") && error.contains("2100-01-01T00:00Z"), "{error}");
    }
    let error = write_sevir(Path::new("s3://bucket/x"), &options, &mut |_| true).expect_err("no folder").to_string();
    assert!(error.contains("is no folder") && !Path::new("s3:").exists(), "{error}");
}

#[test]
fn flaws_cut_a_file_of_a_modality_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let modalities = [Modality::Vil, Modality::Lght].into();
    let options = SevirOptions { flaws: true, events: 2, modalities, ..options() };
    let summary = write_sevir(folder.path(), &options, &mut |_| true).expect("events");
    assert!(summary.flaws.iter().any(|flaw| flaw.contains("LGHT") && flaw.ends_with("cut short")), "{summary:?}");
}

#[test]
fn h5py_finds_the_layout_of_sevir_and_one_storm_in_all_modalities() {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let summary = write_sevir(folder.path(), &options(), &mut |_| true).expect("events");
    let told = python::run(python, "check_sevir.py", &[folder.path().to_str().expect("a path")]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["rows"], summary.rows);
    assert_eq!(told["files"], summary.files);
    // Pixels of heavy rain have colder tops than the rest, and most flashes are near heavy rain.
    assert!(told["colder_by_degrees"].as_f64().expect("a number") > 10.0, "{told}");
    assert!(told["flashes_near_rain"].as_f64().expect("a number") > 0.8, "{told}");
    assert!(told["flashes"].as_u64().expect("a number") > 100, "{told}");
    assert!(told["without_flashes"].as_u64().expect("a number") > 0, "{told}");
    assert!(told["greatest_level"].as_u64().expect("a number") > 180, "{told}");
}

#[test]
fn what_is_damaged_on_purpose_is_noticed_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let modalities = [Modality::Vil, Modality::Ir107].into();
    let options = SevirOptions { flaws: true, storage: SevirStorage::Chunked, modalities, ..options() };
    let summary = write_sevir(folder.path(), &options, &mut |_| true).expect("events");
    assert_eq!(summary.flaws.len(), 2, "{:?}", summary.flaws);
    let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let (mut unreadable, mut damaged, mut fine) = (0, 0, 0);
    for name in files(folder.path()).keys().filter(|name| name.extension().is_some_and(|e| e == "h5")) {
        let name = name.to_str().expect("a name");
        let Ok(file) = Hdf5File::open(objects.clone(), name) else {
            assert!(name.contains("IR107"), "{name}");
            unreadable += 1;
            continue;
        };
        let dense = file.names().expect("names").into_iter().find(|name| name != "id").expect("a dense dataset");
        let (dense, ids) = (file.dataset(&dense).expect("a dataset"), file.dataset("id").expect("ids"));
        let ids = ids.texts(0..ids.length()).expect("ids");
        for (row, id) in ids.iter().enumerate() {
            let is_read = dense.bytes(row as u64..row as u64 + 1).is_ok();
            assert_eq!(is_read, id != "S000000", "{name} {id}");
            *(if is_read { &mut fine } else { &mut damaged }) += 1;
        }
    }
    assert_eq!((unreadable, damaged), (1, 1));
    assert!(fine > 2, "{fine}");
}

fn inspected(arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gustfront")).arg("inspect").args(arguments).output().expect("it runs");
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn inspect_tells_what_a_file_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let modalities = [Modality::Vil, Modality::Lght].into();
    let one = SevirOptions { events: 1, storage: SevirStorage::Contiguous, modalities, ..options() };
    write_sevir(folder.path(), &one, &mut |_| true).expect("an event");
    for name in files(folder.path()).keys().filter(|name| name.extension().is_some_and(|e| e == "h5")) {
        let path = folder.path().join(name);
        let path = path.to_str().expect("a path");
        let (code, text) = inspected(&[path]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("origin: SYNTHETIC"), "{text}");
        let (_, json) = inspected(&["--json", path]);
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        if path.contains("LGHT") {
            assert!(text.contains("lightning keyed by event") && text.contains("events: 1"), "{text}");
            assert_eq!(lines[0]["events"], 1);
        } else {
            assert!(text.contains("dense SEVIR, vil, events: 1") && text.contains("1×384×384×49"), "{text}");
            assert!(text.contains("uint8") && text.contains("contiguous"), "{text}");
            let vil = lines.iter().find(|line| line["dataset"] == "vil").expect("a line");
            assert_eq!((&vil["shape"], &vil["min"]), (&serde_json::json!([1, 384, 384, 49]), &Value::from(0.0)));
        }
    }
    inspect_tells_what_a_catalogue_holds(&folder.path().join("CATALOG.csv"));
    inspect_tells_what_a_run_refuses(folder.path());
    let broken = folder.path().join("broken.h5");
    fs::write(&broken, b"\x89HDF\r\n\x1a\n and no more").expect("written");
    assert_eq!(inspected(&[broken.to_str().expect("a path")]).0, 2);
}

/// The catalogue of one event with two modalities, then with a row that cannot be.
fn inspect_tells_what_a_catalogue_holds(catalog: &Path) {
    let path = catalog.to_str().expect("a path");
    let (code, text) = inspected(&[path]);
    assert!(code == 0 && text.contains("SEVIR's catalogue, rows: 2, events: 1, from 201"), "{text}");
    let mut rows = fs::read_to_string(catalog).expect("rows");
    let bad = rows.lines().last().expect("a row").replace(",lght,", ",radar,");
    rows.push_str(&bad);
    fs::write(catalog, rows).expect("written");
    let (code, json) = inspected(&["--json", path]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["rows"], &json["events"]), (1, &3.into(), &1.into()), "{json}");
    assert_eq!(json["set_aside"][0]["line"], 4, "{json}");
    let modalities: Vec<&Value> =
        json["modalities"].as_array().expect("a list").iter().map(|m| &m["modality"]).collect();
    assert_eq!(modalities, ["vil", "lght"]);
    let years: u64 = json["years"].as_object().expect("years").values().filter_map(Value::as_u64).sum();
    assert_eq!(years, 1, "{json}");
}

/// Levels of 384 points a side under the name of a channel, and no identifiers.
fn inspect_tells_what_a_run_refuses(folder: &Path) {
    let path = folder.join("SEVIR_IR069_STORMEVENTS.h5");
    let writer = Hdf5Writer::create(&path).expect("a file");
    drop(writer.dense::<u8>("ir069", &[1, 384, 384, 49], &Storage::Contiguous).expect("a dataset"));
    writer.close().expect("written");
    let path = path.to_str().expect("a path");
    let (code, text) = inspected(&[path]);
    let refused = "`ir069` is 1×384×384×49; expected events×192×192×49";
    assert!(code == 1 && text.contains("a run would refuse it") && text.contains(refused), "{text}");
    let (_, json) = inspected(&["--json", path]);
    assert!(json.contains(refused), "{json}");
}
