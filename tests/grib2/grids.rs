//! Every grid definition of the decoder suite: where its points are, or why that is not known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gustfront::domain::{Grid, Lead, Moment, Slot};
use gustfront::formats::grib2::{Encode, Grib2Error, encode, headers};
use serde_json::Value;

use crate::data::{folder, manifest, read};
use crate::python;
use crate::round_trip::variable;

/// Degrees by which a coordinate may differ from the reference.
const TOLERANCE: f64 = 1e-5;
/// Bytes of section 0.
const INDICATOR_LENGTH: usize = 16;

mod table;

use table::{GRIDS, Reference, Row};

/// A section 3 as it is in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Definition(Vec<u8>);

/// Every different section 3 of the suite with the first file that has it, in the manifest's order.
fn definitions(folder: &Path) -> Vec<(String, Definition)> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for file in manifest(folder).files.iter().filter(|f| f.path.starts_with("decoder-suite/")) {
        let Some(bytes) = read(folder, &file.path) else { continue };
        let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"GRIB") && bytes.get(at + 7) == Some(&2));
        for definition in starts.flat_map(|start| sections_3(&bytes[start..])) {
            if seen.insert(definition.clone()) {
                found.push((file.path.trim_start_matches("decoder-suite/").to_string(), definition));
            }
        }
    }
    found
}

/// The sections 3 of the message at the start of some bytes, which may be cut short.
fn sections_3(bytes: &[u8]) -> Vec<Definition> {
    let (mut found, mut at) = (Vec::new(), INDICATOR_LENGTH);
    while let Some([a, b, c, d, number]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<5>()) {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some(section) = bytes.get(at..at + length).filter(|s| s.len() >= 5 && (1..8).contains(number)) else {
            break;
        };
        if *number == 3 {
            found.push(Definition(section.to_vec()));
        }
        at += length;
    }
    found
}

impl Definition {
    /// A message of zeros on this grid: the values of the real one may be packed in any way.
    fn message(&self) -> Vec<u8> {
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 18).expect("a day"), Lead(0));
        let (variable, values) = (variable(), [0.0; 1]);
        let grid = one_point();
        let template = encode(&Encode::new(slot, &variable, &grid, &values, 0)).expect("a message");
        let (mut message, mut at) = (template[..INDICATOR_LENGTH].to_vec(), INDICATOR_LENGTH);
        while !template[at..].starts_with(b"7777") {
            let length = u32::from_be_bytes(template[at..at + 4].try_into().expect("four bytes")) as usize;
            let mut section = template[at..at + length].to_vec();
            match section[4] {
                3 => section = self.0.clone(),
                5 => section[5..9].copy_from_slice(&self.0[6..10]),
                _ => (),
            }
            message.extend(section);
            at += length;
        }
        message.extend(b"7777");
        let length = message.len() as u64;
        message[8..16].copy_from_slice(&length.to_be_bytes());
        message
    }

    fn grid(&self) -> Result<Grid, Grib2Error> {
        let message = headers(&self.message())?.remove(0);
        message.grid.map(|grid| (*grid).clone())
    }
}

fn one_point() -> Grid {
    let text = r#"{"projection":{"type":"lat_lon"},"radius_m":6371229.0,"nx":1,"ny":1,"x0":0,"y0":1,"dx":1,"dy":1}"#;
    serde_json::from_str(text).expect("a grid")
}

#[test]
fn every_grid_of_the_suite_is_understood_or_named() {
    let Some(folder) = folder() else { return };
    let found = definitions(&folder);
    for (path, definition) in &found {
        let Some((_, name, reference)) = expectation(path, definition) else {
            panic!("{path} has a grid that is not in the table: {:?}", definition.grid().map(|g| g.describe()))
        };
        match (definition.grid(), reference) {
            (Ok(grid), Reference::Refused(_)) => panic!("{path}: {} is understood", grid.describe()),
            (Ok(grid), _) => assert_eq!(grid.describe(), *name, "{path}"),
            (Err(error), Reference::Refused(reason)) => assert!(error.to_string().contains(reason), "{path}: {error}"),
            (Err(error), _) => panic!("{path}: {error}"),
        }
    }
    assert_eq!(found.len(), GRIDS.len(), "every row of the table is a grid of the suite");
}

/// The row of the table: a file with several grids has several, told apart by their names.
fn expectation(path: &str, definition: &Definition) -> Option<&'static Row> {
    let name = definition.grid().map_or(String::new(), |grid| grid.describe());
    GRIDS.iter().find(|(file, row, _)| *file == path && *row == name)
}

#[test]
fn coordinates_are_those_of_the_references() {
    let (Some(folder), Some(python)) = (folder(), python::python()) else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let (mut cases, mut arguments): (Vec<(String, Grid)>, Vec<String>) = (Vec::new(), Vec::new());
    for (number, (path, definition)) in definitions(&folder).into_iter().enumerate() {
        let who = match expectation(&path, &definition) {
            Some((_, _, Reference::EcCodes)) => "eccodes",
            Some((_, _, Reference::Proj(why))) => said("proj", &path, why),
            Some((_, _, Reference::Corners(why))) => said("corners", &path, why),
            _ => continue,
        };
        let file: PathBuf = scratch.path().join(format!("{number}.grib2"));
        std::fs::write(&file, definition.message()).expect("written");
        arguments.extend([who.to_string(), file.to_str().expect("a path").to_string()]);
        cases.push((path, definition.grid().expect("a grid")));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = python::run(python, "read_grid.py", &arguments);
    assert_eq!(printed.lines().count(), cases.len());
    for (line, (path, grid)) in printed.lines().zip(&cases) {
        let worst = compare(path, grid, &serde_json::from_str(line).expect("JSON"));
        println!("{path}: {}: worst {worst:.1e}°", grid.describe());
    }
}

/// Prints why ecCodes is not asked.
fn said(reference: &'static str, path: &str, why: &str) -> &'static str {
    println!("{path}: {reference}, because {why}");
    reference
}

/// The largest difference in degrees.
fn compare(path: &str, grid: &Grid, expected: &Value) -> f64 {
    let points: Vec<(usize, f64, f64)> = serde_json::from_value(expected["points"].clone()).expect("points");
    let negative = expected["scanning"].as_u64().expect("a mode") & 0x80 != 0;
    assert_eq!(expected["nx"], grid.nx, "{path}");
    assert!(points.len() >= grid.len().min(1000), "{path}: {} points", points.len());
    let mut worst = 0.0f64;
    for (at, latitude, longitude) in points {
        let (i, j) = (at % grid.nx, at / grid.nx);
        let i = if negative { grid.nx - 1 - i } else { i };
        let (x, y) = grid.xy(i, j);
        let found = grid.to_geographic(x, y).unwrap_or_else(|| panic!("{path}: point {at} is off the map"));
        let turn = (found.1 - longitude + 180.0).rem_euclid(360.0) - 180.0;
        // Meridians meet at a pole.
        let turn = if latitude.abs() == 90.0 { 0.0 } else { turn };
        let difference = (found.0 - latitude).abs().max(turn.abs());
        assert!(difference < TOLERANCE, "{path} point {at}: {found:?}, expected {latitude} {longitude}");
        worst = worst.max(difference);
    }
    worst
}

#[test]
fn what_was_read_can_be_written() {
    let Some(folder) = folder() else { return };
    let understood = definitions(&folder).into_iter().filter_map(|(path, d)| Some((path, d.grid().ok()?)));
    let (mut written, variable) = (0, variable());
    for (path, grid) in understood {
        // The first corner of it: the same section but for its size.
        let grid = Grid { nx: grid.nx.min(5), ny: grid.ny.min(4), ..grid };
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 18).expect("a day"), Lead(0));
        let values = vec![1.0; grid.len()];
        let bytes = encode(&Encode::new(slot, &variable, &grid, &values, 0)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let message = headers(&bytes).expect("headers").remove(0);
        let back = message.grid.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(
            (back.nx, back.ny, back.describe().split(' ').next()),
            (grid.nx, grid.ny, grid.describe().split(' ').next())
        );
        let (all, wanted) = (back.coordinates(), grid.coordinates());
        for at in 0..grid.len() {
            // Corners and steps are written in millionths of a degree.
            let near = |a: f64, b: f64| ((a - b + 180.0).rem_euclid(360.0) - 180.0).abs() < 2e-6;
            let east = near(all.longitude[at], wanted.longitude[at]) || wanted.latitude[at].abs() == 90.0;
            assert!(near(all.latitude[at], wanted.latitude[at]) && east, "{path} point {at}: {back:?} {grid:?}");
        }
        written += 1;
    }
    println!("{written} grids written and read back");
}
