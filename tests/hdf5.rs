//! HDF5 as h5py writes it: every value by both ways of reading, the bytes that are fetched for some, damage of any kind.

mod common {
    pub(crate) mod counting;
    pub(crate) mod python;
}

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use common::counting::Counting;
use common::python;
use gustfront::domain::Philox;
use gustfront::formats::glm::{self, Level};
use gustfront::formats::hdf5::{Dataset, Element, Hdf5Error, Hdf5File, Layout, Value};
use gustfront::storage::FileStore;
use serde_json::Value as Json;

const LIGHTNING: &str = "../shared/data/glm";
const READ_EITHER_WAY: [&str; 5] = ["early.h5", "late.h5", "userblock.h5", "lightning.h5", "crossing.h5"];

fn objects(folder: &Path) -> Arc<FileStore> {
    Arc::new(FileStore::new(folder.to_str().expect("a path")))
}

/// The file by the reference library, then by byte ranges.
fn both(folder: &Path, name: &str) -> [Hdf5File; 2] {
    let by_library = Hdf5File::open(objects(folder), name).expect("a file for the library");
    [by_library, Hdf5File::open_by_ranges(objects(folder), name).expect("a file for ranges")]
}

/// A folder of files that h5py wrote, and what they hold; `None` without Python.
fn written() -> Option<(tempfile::TempDir, Json)> {
    let python = python::python()?;
    let folder = tempfile::tempdir().expect("a folder");
    python::run(python, "write_hdf5.py", &[folder.path().to_str().expect("a path")]);
    let expected = fs::read(folder.path().join("expected.json")).expect("written");
    Some((folder, serde_json::from_slice(&expected).expect("JSON")))
}

fn numbers(value: &Json) -> Vec<u64> {
    value.as_array().expect("a list").iter().map(|size| size.as_u64().expect("a size")).collect()
}

/// Everything that [`Dataset`] says of itself.
fn told(dataset: &Dataset) -> String {
    let Dataset { name, shape, element, layout, filters, .. } = dataset;
    format!("{name} {shape:?} {element:?} {layout:?} {filters:?}")
}

fn check_layout(dataset: &Dataset, expected: &Json) {
    let name = &dataset.name;
    assert_eq!(dataset.shape, numbers(&expected["shape"]), "{name}");
    match &dataset.layout {
        Layout::Chunked { shape } => assert_eq!(*shape, numbers(&expected["chunks"]), "{name}"),
        _ => assert!(expected["chunks"].is_null(), "{name}"),
    }
    let filters = dataset.filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(level) = expected["gzip"].as_u64() {
        assert!(filters.contains(&format!("gzip {level}")), "{name}: {filters}");
    }
    for filter in ["shuffle", "fletcher32"] {
        assert_eq!(filters.contains(filter), expected[filter].as_bool().expect("a flag"), "{name}: {filters}");
    }
}

/// Some ranges of rows: all, each alone, the middle, none.
fn ranges(length: u64) -> Vec<Range<u64>> {
    let single = (0..length.min(7)).map(|row| row..row + 1);
    single.chain([0..length, length / 3..length - length / 4, length..length]).collect()
}

fn check_values(folder: &Path, dataset: &Dataset, expected: &Json) {
    let name = &dataset.name;
    if let Some(texts) = expected["texts"].as_array() {
        let texts: Vec<&str> = texts.iter().map(|text| text.as_str().expect("a text").trim_end_matches(' ')).collect();
        for rows in ranges(dataset.length()) {
            let found = dataset.texts(rows.clone()).unwrap_or_else(|error| panic!("{name} {rows:?}: {error}"));
            let found: Vec<&str> = found.iter().map(|text| text.trim_end_matches(' ')).collect();
            assert_eq!(found, texts[rows.start as usize..rows.end as usize], "{name} {rows:?}");
        }
        return;
    }
    assert_eq!(dataset.element.to_string(), expected["type"].as_str().expect("a type"), "{name}");
    let bytes = fs::read(folder.join(expected["values"].as_str().expect("a file"))).expect("the values");
    let row = bytes.len() / dataset.length().max(1) as usize;
    for rows in ranges(dataset.length()) {
        let found = dataset.bytes(rows.clone()).unwrap_or_else(|error| panic!("{name} {rows:?}: {error}"));
        assert_eq!(found, bytes[rows.start as usize * row..rows.end as usize * row], "{name} {rows:?}");
    }
}

#[test]
fn every_value_of_every_layout_is_what_h5py_wrote() {
    let Some((folder, expected)) = written() else { return };
    let mut checked = 0;
    for (file, datasets) in
        expected.as_object().expect("files").iter().filter(|(file, _)| READ_EITHER_WAY.contains(&file.as_str()))
    {
        let [by_library, by_ranges] = both(folder.path(), file);
        assert_eq!(by_library.names().expect("names"), by_ranges.names().expect("names"), "{file}");
        for (name, expected) in datasets.as_object().expect("datasets") {
            let [first, second] = [&by_library, &by_ranges].map(|f| f.dataset(name).expect("a dataset"));
            assert_eq!(told(&first), told(&second), "{file}");
            check_layout(&first, expected);
            check_values(folder.path(), &first, expected);
            check_values(folder.path(), &second, expected);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn attributes_are_the_same_either_way() {
    let Some((folder, _)) = written() else { return };
    for file in ["early.h5", "late.h5"] {
        for opened in both(folder.path(), file) {
            let of_file = opened.attributes("/").expect("attributes");
            assert_eq!(of_file["origin"].text(), Some("made for a test"), "{file}");
            assert_eq!(of_file["count"].number(), Some(5.0), "{file}");
            let of_dataset = opened.attributes("contiguous_i16").expect("attributes");
            assert_eq!(of_dataset["scale_factor"].number(), Some(f64::from(0.01_f32)), "{file}");
            assert_eq!(of_dataset["units"].text(), Some("degree_Celsius"), "{file}");
            assert_eq!(of_dataset["corners"], Value::Numbers(vec![1.5, -2.0, 3.0]), "{file}");
            assert!(opened.attributes("group/inner").expect("a group").is_empty());
            assert!(opened.attributes("nothing").is_err());
        }
    }
}

#[test]
fn what_cannot_be_meant_is_an_error_that_names_it() {
    let Some((folder, _)) = written() else { return };
    for opened in both(folder.path(), "early.h5") {
        let error = opened.dataset("vil").err().expect("no such dataset");
        assert!(matches!(&error, Hdf5Error::NoDataset { .. }) && error.to_string().contains("early.h5"), "{error}");
        let dataset = opened.dataset("contiguous_i16").expect("a dataset");
        let error = dataset.rows::<u8>(0..1).expect_err("the wrong type").to_string();
        assert!(error.contains("holds int16, expected uint8"), "{error}");
        let error = dataset.rows::<i16>(4..6).expect_err("beyond the end").to_string();
        assert!(error.contains("has 5 rows"), "{error}");
        assert!(dataset.texts(0..1).is_err());
        assert!(opened.dataset("texts").expect("a dataset").rows::<u8>(0..1).is_err());
        assert_eq!(opened.dataset("id").expect("ids").element, Element::Text(10));
    }
    let absent = Hdf5File::open(objects(folder.path()), "absent.h5").err().expect("no such file");
    assert!(absent.to_string().contains("absent.h5"), "{absent}");
}

#[test]
fn values_in_other_files_are_refused_and_links_within_one_are_followed() {
    let Some((folder, _)) = written() else { return };
    let here = vec![777_i16; 24];
    for name in ["elsewhere.h5", "elsewhere_late.h5"] {
        for opened in both(folder.path(), &format!("{name}.soft.h5")) {
            assert!(opened.names().expect("names").contains(&"here".to_string()), "{name}");
            for link in ["here", "soft", "again"] {
                assert_eq!(opened.dataset(link).expect("followed").rows::<i16>(0..4).expect("values"), here, "{link}");
            }
            for link in ["lost", "round"] {
                let error = opened.dataset(link).err().expect("leads nowhere");
                assert!(matches!(error, Hdf5Error::NoDataset { .. }), "{name} {link}: {error}");
            }
        }
        for opened in both(folder.path(), name) {
            for (dataset, layout) in [("external", Layout::External), ("virtual", Layout::Virtual)] {
                let dataset = opened.dataset(dataset).expect("its header");
                assert_eq!(dataset.layout, layout);
                let error = dataset.rows::<i16>(1..2).expect_err("values elsewhere");
                assert!(matches!(error, Hdf5Error::Unsupported { .. }), "{error}");
                assert!(error.to_string().contains("one file alone"), "{error}");
            }
        }
        for opened in both(folder.path(), &format!("{name}.linked.h5")) {
            assert_eq!(opened.dataset("soft").expect("followed").rows::<i16>(0..4).expect("values"), here);
            for link in ["other", "gone"] {
                let error = opened.dataset(link).err().expect("another file");
                assert!(matches!(error, Hdf5Error::Unsupported { .. }), "{name} {link}: {error}");
                assert!(error.to_string().contains("link to"), "{error}");
                assert!(opened.attributes(link).is_err(), "{name} {link}");
            }
        }
    }
}

#[test]
fn what_was_never_written_is_an_error_unless_the_file_says_what_stands_there() {
    let Some((folder, _)) = written() else { return };
    for name in ["elsewhere.h5", "elsewhere_late.h5"] {
        for opened in both(folder.path(), name) {
            let open = |name: &str| opened.dataset(name).expect("its header");
            for (dataset, rows) in [("never", 0..4), ("never", 2..3), ("never_chunked", 0..1), ("in_part", 0..2)] {
                let error = open(dataset).rows::<i16>(rows.clone()).expect_err("nothing there");
                assert!(matches!(error, Hdf5Error::Unwritten { .. }), "{dataset} {rows:?}: {error}");
                assert!(!open(dataset).is_written(&rows).expect("an index"), "{dataset} {rows:?}");
            }
            assert!(open("never").rows::<i16>(2..2).expect("nothing asked for").is_empty());
            assert_eq!(open("in_part").rows::<i16>(1..3).expect("written"), [5; 12]);
            assert_eq!(open("in_part").fill().expect("an index"), None);
            let filled = open("filled");
            assert_eq!(filled.fill().expect("an index"), Some(&i16::MIN.to_le_bytes()[..]));
            assert_eq!(filled.rows::<i16>(0..2).expect("filled"), [[i16::MIN; 6], [5; 6]].concat());
        }
    }
}

#[test]
fn chunks_across_events_are_fetched_once_and_cut_one_by_one() {
    let Some((folder, _)) = written() else { return };
    let counting = Arc::new(Counting::new(objects(folder.path())));
    let file = Hdf5File::open_by_ranges(counting.clone(), "crossing.h5").expect("a file");
    for name in ["shared", "plain"] {
        let dataset = file.dataset(name).expect("a dataset");
        dataset.rows::<u8>(0..1).expect("an event");
        let first = counting.bytes();
        (1..17).for_each(|row| drop(dataset.rows::<u8>(row..row + 1).expect("an event")));
        assert_eq!(counting.bytes(), first, "{name}: the next events of the same chunks");
        dataset.rows::<u8>(17..18).expect("an event");
        assert!(counting.bytes() > first, "{name}: other chunks");
    }
    for opened in both(folder.path(), "crossing.h5") {
        let many = opened.dataset("many").expect("a dataset").rows::<u8>(70..71).expect("an event");
        assert!(many.iter().enumerate().all(|(k, value)| usize::from(*value) == k / (12 * 96 * 2) + 1));
        let error = opened.dataset("huge").expect("its header").rows::<u8>(0..1).expect_err("too large").to_string();
        assert!(error.contains("300×1000×1000") && error.contains("256 MB"), "{error}");
    }
}

/// The bytes are those that a folder gives through a store that counts them; a bucket is asked for the same ranges.
#[test]
fn one_event_costs_its_own_bytes_and_a_little_structure() {
    let Some((folder, _)) = written() else { return };
    let python = python::python().expect("there was one a moment ago");
    python::run(python, "write_large_hdf5.py", &[folder.path().to_str().expect("a path")]);
    let counting = Arc::new(Counting::new(objects(folder.path())));
    let large = Hdf5File::open_by_ranges(counting.clone(), "large.h5").expect("a file");
    let event = 64 * 64 * 49;
    for (name, index) in [("contiguous", 0), ("chunked", 200 * (20 << 10))] {
        let dataset = large.dataset(name).expect("a dataset");
        let before = counting.bytes();
        dataset.rows::<u8>(0..1).expect("an event");
        let first = counting.bytes() - before;
        // The places of an event's 49 chunks are 3 kB of an index whose pieces lie between the chunks.
        assert!(first <= event + index, "{name}: {first} bytes for the first event");
        let before = counting.bytes();
        dataset.rows::<u8>(101..102).expect("an event");
        let cost = counting.bytes() - before;
        assert!(cost <= event && cost > event / 20, "{name}: {cost} bytes for an event of {event}");
    }
    assert!(counting.bytes() < 5 << 20, "{} of {} bytes", counting.bytes(), large.size());
    assert!(large.size() > 40 << 20, "{}", large.size());
    let flashes = Hdf5File::open_by_ranges(counting.clone(), "flashes.h5").expect("a file");
    let points = |id: &str| {
        let before = counting.bytes();
        let found = flashes.dataset(id).and_then(|dataset| dataset.rows::<f64>(0..500));
        (found.map(|points| points[0]).ok(), counting.bytes() - before)
    };
    let [first, second, absent] = ["S700700", "S701300", "S999999"].map(points);
    // The names' tree lies in small pieces between the tables; it is fetched once.
    assert!(first.0 == Some(700.0) && first.1 < flashes.size() / 4, "{first:?} of {}", flashes.size());
    assert!(second.0 == Some(1300.0) && second.1 <= 500 * 40 + (32 << 10), "{second:?}");
    assert!(absent.0.is_none() && absent.1 <= 32 << 10, "{absent:?}");
}

#[test]
fn an_event_among_thousands_is_found_without_the_others() {
    let Some((folder, expected)) = written() else { return };
    let file = Hdf5File::open_by_ranges(objects(folder.path()), "lightning.h5").expect("a file");
    let dataset = file.dataset("S701100").expect("an event");
    check_values(folder.path(), &dataset, &expected["lightning.h5"]["S701100"]);
    let empty = file.dataset("S700011").expect("an event without lightning");
    assert_eq!((empty.shape.clone(), empty.rows::<f64>(0..0).expect("nothing")), (vec![0, 5], Vec::new()));
    for opened in both(folder.path(), "lightning.h5") {
        let datasets: Vec<Dataset> =
            opened.names().expect("names").iter().map(|name| opened.dataset(name).expect("one of them")).collect();
        assert_eq!(datasets.len() as u64, expected["counts"]["datasets"]);
        assert_eq!(datasets.iter().filter(|d| d.length() == 0).count() as u64, expected["counts"]["empty"]);
    }
}

#[test]
fn a_file_that_another_holds_or_that_may_only_be_read_is_read() {
    let Some((folder, expected)) = written() else { return };
    let path = folder.path().join("early.h5");
    let held = File::options().read(true).write(true).open(&path).expect("a file");
    held.lock().expect("the lock that a writer takes");
    let mut permissions = fs::metadata(&path).expect("a file").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("a file that may only be read");
    for opened in both(folder.path(), "early.h5") {
        let dataset = opened.dataset("events_i16").expect("a dataset");
        check_values(folder.path(), &dataset, &expected["early.h5"]["events_i16"]);
    }
}

#[test]
fn the_newest_format_is_read_by_the_library_and_refused_by_ranges() {
    let Some((folder, expected)) = written() else { return };
    let file = Hdf5File::open(objects(folder.path()), "latest.h5").expect("a file");
    // The library has no plug-in for lzf.
    for (name, expected) in expected["latest.h5"].as_object().expect("datasets").iter().filter(|(n, _)| *n != "lzf") {
        check_values(folder.path(), &file.dataset(name).expect("a dataset"), expected);
    }
    let by_ranges = Hdf5File::open_by_ranges(objects(folder.path()), "latest.h5").expect("a file");
    let error = by_ranges.dataset("frames_u8").err().expect("a layout of HDF5 2.0").to_string();
    assert!(error.contains("is there") && error.contains("HDF5 2.0") && error.contains("h5repack"), "{error}");
}

/// Reads all that can be read, whatever comes of it.
fn read_everything(file: &Hdf5File) {
    let _ = file.attributes("/");
    for name in file.names().unwrap_or_default() {
        let Ok(dataset) = file.dataset(&name) else { continue };
        let rows = dataset.length().min(4);
        let _ = (dataset.numbers(0..rows), dataset.texts(0..rows), dataset.bytes(0..rows));
        let _ = file.attributes(&name);
    }
}

fn read_damaged(folder: &Path, bytes: &[u8]) -> [bool; 2] {
    fs::write(folder.join("damaged.h5"), bytes).expect("written");
    let opened = [
        Hdf5File::open(objects(folder), "damaged.h5").ok(),
        Hdf5File::open_by_ranges(objects(folder), "damaged.h5").ok(),
    ];
    opened.iter().flatten().for_each(read_everything);
    opened.map(|file| file.is_some())
}

#[test]
fn cuts_and_flips_are_errors_and_no_panics() {
    let Some((folder, _)) = written() else { return };
    for name in ["early.h5", "late.h5"] {
        let whole = fs::read(folder.path().join(name)).expect("a file");
        for cut in (0..25).map(|k| whole.len() * k / 25) {
            assert_eq!(read_damaged(folder.path(), &whole[..cut]), [false; 2], "{name} cut at {cut}");
        }
        let random = Philox::new(11, 1);
        for k in 0..100 {
            let [place, bits, near, ..] = random.words([k, 0, 0, 0]).map(|word| word as usize);
            let mut damaged = whole.clone();
            // Every third near the beginning, where all structure starts.
            let at = place % if near % 3 == 0 { 2048 } else { damaged.len() };
            damaged[at] ^= 1 << (bits % 8);
            read_damaged(folder.path(), &damaged);
        }
    }
}

#[test]
fn a_flip_under_a_checksum_or_in_a_compressed_chunk_is_told() {
    let Some((folder, _)) = written() else { return };
    let opened = &both(folder.path(), "early.h5")[0];
    let whole = fs::read(folder.path().join("early.h5")).expect("a file");
    let row = opened.dataset("summed_f64").expect("a dataset").bytes(0..1).expect("a row");
    let at = whole.windows(24).position(|bytes| bytes == &row[..24]).expect("unpacked in the file");
    let mut damaged = whole;
    damaged[at + 5] ^= 16;
    fs::write(folder.path().join("flipped.h5"), damaged).expect("written");
    for opened in both(folder.path(), "flipped.h5") {
        let dataset = opened.dataset("summed_f64").expect("a dataset");
        let error = dataset.rows::<f64>(0..1).expect_err("a wrong sum").to_string();
        assert!(error.contains("checksum") && error.contains("summed_f64"), "{error}");
        assert!(dataset.rows::<f64>(7..9).is_ok());
    }
}

#[test]
fn lightning_of_the_mapper_is_what_h5py_unpacks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIGHTNING);
    if !folder.is_dir() {
        println!("skipped: no {LIGHTNING}");
        return;
    }
    let Some(python) = python::python() else { return };
    let out = tempfile::tempdir().expect("a folder");
    let arguments = [folder.to_str().expect("a path"), out.path().to_str().expect("a path")];
    let names = python::run(python, "read_glm.py", &arguments);
    assert_eq!(names.lines().count(), 3, "{names}");
    for name in names.lines() {
        for opened in both(&folder, name) {
            for level in [Level::Flash, Level::Group, Level::Event] {
                let strikes = glm::strikes(&opened, level).expect("lightning");
                let expected = fs::read(out.path().join(format!("{name}.{}", level.label()))).expect("unpacked");
                let expected: Vec<f64> =
                    expected.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
                assert_eq!(strikes.len() * 5, expected.len(), "{name}");
                assert!(strikes.len() > 100, "{name}");
                for (strike, expected) in strikes.iter().zip(expected.chunks(5)) {
                    let quality = strike.quality.map_or(-1.0, f64::from);
                    let found = [strike.latitude, strike.longitude, strike.energy_j, quality];
                    assert_eq!(found, expected[1..], "{name}");
                    assert!((strike.seconds - expected[0]).abs() < 1e-6, "{name}: {strike:?} {expected:?}");
                }
            }
        }
    }
}
