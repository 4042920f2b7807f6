//! The catalogue, lightning counts and resized frames against Python that follows the rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gustfront::domain::{Cube, Event, FRAMES, Levels, MISSING_CODE, MISSING_LEVEL, Modality, Philox};
use gustfront::sources::sevir::{Catalog, LightningBins, count_lightning, group};
use gustfront::transforms::resize::resize;
use serde_json::{Value, json};

use super::files::Line;
use super::{data, python};

/// The events of the real catalogue; `None`, with a printed reason, where there is none.
fn real() -> Option<Vec<Event>> {
    let file = data::folder()?.join("sevir/CATALOG.csv");
    let catalog = Catalog::parse("the catalogue", &fs::read(file).expect("a catalogue")).expect("rows");
    assert_eq!((catalog.rows.len(), catalog.set_aside.len()), (3102, 0));
    let (events, set_aside) = group(catalog.rows);
    assert!(set_aside.is_empty());
    Some(events)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn the_real_catalogue_is_what_a_plain_reading_finds() {
    let Some(events) = real() else { return };
    let mut counts: BTreeMap<Modality, usize> = BTreeMap::new();
    events.iter().flat_map(|event| event.parts.keys()).for_each(|modality| *counts.entry(*modality).or_default() += 1);
    let of = |modality| counts[&modality];
    assert_eq!(Modality::ALL.map(of), [214, 729, 728, 851, 580]);
    assert_eq!(events.len(), 1302);
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.json");
    let told: Vec<Value> = events.iter().map(as_json).collect();
    fs::write(&file, json!(told).to_string()).expect("a file");
    let catalog = data::folder().expect("as before").join("sevir/CATALOG.csv");
    let printed = python::run(python, "check_sevir.py", &["groups", text(&catalog), text(&file)]);
    assert!(printed.starts_with("1302 events"), "{printed}");
}

fn as_json(event: &Event) -> Value {
    let parts = event.parts.iter().map(|(modality, part)| {
        let minutes = part.minutes.map(|minutes| minutes.to_vec());
        (modality.to_string(), json!([part.file, part.index, minutes, part.missing_share]))
    });
    let parts: serde_json::Map<String, Value> = parts.collect();
    json!({ "id": event.id, "time": event.time.0, "kind": event.kind, "corners": event.corners, "parts": parts })
}

#[test]
fn offsets_of_the_real_catalogue_are_read_as_they_are() {
    let Some(events) = real() else { return };
    let minutes = || events.iter().flat_map(|event| event.parts.values()).filter_map(|part| part.minutes);
    let firsts: std::collections::BTreeSet<i16> = minutes().map(|minutes| minutes[0]).collect();
    assert_eq!((firsts.first(), firsts.last()), (Some(&-124), Some(&-118)));
    let repeated = minutes().filter(|minutes| minutes.windows(2).any(|pair| pair[0] == pair[1])).count();
    assert_eq!(repeated, 33);
}

#[test]
fn the_grid_of_a_real_event_ends_in_its_upper_right_corner() {
    let Some(events) = real() else { return };
    for event in &events {
        let grid = event.grid(384).expect("a grid");
        let (x, y) = grid.xy(383, 383);
        let (latitude, longitude) = grid.to_geographic(x + grid.dx / 2.0, y + grid.dy / 2.0).expect("on the map");
        let [_, _, north, east] = event.corners;
        assert!((latitude - north).abs() < 1e-9 && (longitude - east).abs() < 1e-9, "{}", event.id);
    }
}

/// Points at edges, beyond them and anywhere.
fn points() -> Vec<[f64; 5]> {
    let times = [-7200.0, -7200.1, -7199.9, -6900.0, -1e9, 0.0, -0.0, 7199.9, 7200.0, 7200.1, 7500.0, 1e9];
    let places = [0.0, -0.0, -1e-9, 0.5, 47.0, 47.999_999, 48.0, 48.5, -3.0, 1e18];
    let all = (0..times.len() * 100).map(|at| [times[at / 100], 38.0, -98.0, places[at / 10 % 10], places[at % 10]]);
    let near = |edge: i32| [-1e-9, 0.0, 1e-9].map(|more| [f64::from(edge) + more, 38.0, -98.0, 5.0, 7.0]);
    let edges = (-7200..=7200).step_by(300).flat_map(near);
    let philox = Philox::new(11, 3);
    let random = (0..20_000_u32).map(|at| {
        let [t, x, y, _] = philox.uniform([at, 0, 0, 0]);
        [t * 15_600.0 - 7800.0, 38.0, -98.0, x * 52.0 - 2.0, y * 52.0 - 2.0]
    });
    all.chain(edges).chain(random).collect()
}

#[test]
fn lightning_counts_are_those_of_the_rule() {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for (bins, name) in [(LightningBins::After, "after"), (LightningBins::Before, "before")] {
        for points in [points(), Vec::new()] {
            let counts = count_lightning(&points.concat(), bins);
            let file = folder.path().join("case.json");
            let case = json!({ "bins": name, "points": points, "counts": counts });
            fs::write(&file, case.to_string()).expect("a file");
            println!("{}", python::run(python, "check_sevir.py", &["counts", text(&file)]));
        }
    }
}

/// Frames of random values, of which a share is missing in patches.
fn frames(size: usize, missing: f64, least: i32, most: i32) -> Vec<i32> {
    let philox = Philox::new(size as u64, 9);
    let value = |at: usize| {
        let (frame, y, x) = (at / (size * size), at / size % size, at % size);
        let [draw, ..] = philox.uniform([at as u32, 0, 0, 0]);
        let [patch, ..] = philox.uniform([(x / 3) as u32, (y / 2) as u32, frame as u32, 1]);
        // Every third frame misses nothing.
        if patch < missing && frame % 3 != 0 { None } else { Some(least + ((most - least + 1) as f64 * draw) as i32) }
    };
    (0..FRAMES * size * size).map(|at| value(at).unwrap_or(i32::MAX)).collect()
}

#[test]
fn resized_frames_are_those_of_numpy() {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let whole = |modality| if modality == Modality::Lght { 0.0 } else { 0.2 };
    for (modality, from, to, kind) in [
        (Modality::Ir069, 24, 48, "bilinear"),
        (Modality::Vil, 20, 40, "bilinear"),
        (Modality::Ir107, 12, 29, "bilinear"),
        (Modality::Vis, 48, 24, "mean"),
        (Modality::Vil, 36, 12, "mean"),
        (Modality::Lght, 6, 48, "repeat"),
    ] {
        let (least, most, hole) = match modality {
            Modality::Vil => (0, 254, i32::from(MISSING_LEVEL)),
            _ => (-32_767, 32_767, i32::from(MISSING_CODE)),
        };
        let source = frames(from, whole(modality), least, most);
        let source: Vec<i32> = source.into_iter().map(|value| if value == i32::MAX { hole } else { value }).collect();
        let levels = match modality {
            Modality::Vil => Levels::U8(source.iter().map(|value| *value as u8).collect()),
            _ => Levels::I16(source.iter().map(|value| *value as i16).collect()),
        };
        let resized = resize(Cube { size: from, levels }, modality, to).expect("a size");
        let target: Vec<i32> = match &resized.levels {
            Levels::U8(values) => values.iter().map(|value| i32::from(*value)).collect(),
            Levels::I16(values) => values.iter().map(|value| i32::from(*value)).collect(),
        };
        let case =
            json!({ "kind": kind, "missing": hole, "source": nested(&source, from), "target": nested(&target, to) });
        let file = folder.path().join("case.json");
        fs::write(&file, case.to_string()).expect("a file");
        println!("{}", python::run(python, "check_sevir.py", &["resize", text(&file)]));
    }
}

fn nested(values: &[i32], size: usize) -> Vec<Vec<&[i32]>> {
    values.chunks(size * size).map(|frame| frame.chunks(size).collect()).collect()
}

#[test]
fn a_row_that_is_written_is_the_row_that_is_read() {
    let line = Line::new("R19061023267550", "2019-06-10 23:26:15", Modality::Lght, 0);
    let catalog = Catalog::parse("here", super::files::catalog(&[line]).as_bytes()).expect("a catalogue");
    let row = &catalog.rows[0];
    assert_eq!((&*row.id, row.time.0, row.part.minutes), ("R19061023267550", 1_560_209_175, None));
    assert_eq!((&*row.kind, row.corners), ("", [29.5, -100.25, 33.0, -96.5]));
}
