//! Real flashes of the lightning mapper on an event's grid and on a globe, against pyproj and a plain count.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gustfront::domain::{Earth, Event, Grid, Moment, Projection};
use gustfront::formats::glm::{Level, Strike, strikes};
use gustfront::formats::hdf5::Hdf5File;
use gustfront::storage::FileStore;
use gustfront::tensor::{Cpu, Device, Tensor};
use gustfront::transforms::lightning::{TimeBins, places};
use serde_json::json;

use super::{data, python};

/// 2018-07-02T04:33:00 UTC, where the first of the files begins.
const START: Moment = Moment(1_530_505_980);

/// Every flash or group of the three files; `None`, with a printed reason, where there are none.
fn real(level: Level) -> Option<Vec<Strike>> {
    let folder = data::folder()?.join("glm");
    let objects = Arc::new(FileStore::new(folder.to_str().expect("a path")));
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    names.sort();
    let read = |name: &std::ffi::OsString| {
        let file = Hdf5File::open(objects.clone(), name.to_str().expect("a name")).expect("a file");
        strikes(&file, level).expect("lightning")
    };
    Some(names.iter().flat_map(read).collect())
}

/// How many strikes are in each bin.
fn count(device: &Device, grid: &Grid, times: TimeBins, strikes: &[Strike]) -> Vec<f32> {
    let points: Vec<[f64; 3]> = places(grid, strikes.iter().copied()).expect("a grid").collect();
    let mut memory = device.host_memory(points.len() * size_of::<[f64; 3]>()).expect("memory");
    memory.bytes_mut().expect("bytes").copy_from_slice(bytemuck::cast_slice(&points));
    let counts = Tensor::binned(device, &memory, points.len(), &times.around(grid));
    counts.and_then(|counts| counts.to_vec()).expect("counts")
}

#[test]
fn real_flashes_are_counted_where_and_when_they_are() {
    let Some(flashes) = real(Level::Flash) else { return };
    let Some(python) = python::python() else { return };
    let earth = Earth::sphere(6_370_997.0);
    let globe = Grid { projection: Projection::LatLon, earth, nx: 360, ny: 181, x0: 0.0, y0: 90.0, dx: 1.0, dy: -1.0 };
    let laea =
        Grid { projection: Event::PROJECTION, nx: 60, ny: 50, x0: -2.4e6, y0: -2e6, dx: 8e4, dy: 8e4, ..globe.clone() };
    let (folder, device) = (tempfile::tempdir().expect("a folder"), Cpu::device());
    for (name, grid) in [("globe", &globe), ("laea", &laea)] {
        for bins in [
            TimeBins { start: START, seconds: 20, count: 3 },
            TimeBins { start: Moment(START.0 + 7), seconds: 9, count: 4 },
        ] {
            let counts = count(&device, grid, bins, &flashes);
            assert!((1.0..=flashes.len() as f32).contains(&counts.iter().sum()));
            let counts: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
            let places: Vec<[f64; 3]> = flashes.iter().map(|f| [f.seconds, f.latitude, f.longitude]).collect();
            let case = json!({
                "grid": grid, "laea": name == "laea", "flashes": places, "counts": counts,
                "start": bins.start.0, "seconds": bins.seconds, "bins": bins.count,
            });
            let file = folder.path().join("case.json");
            fs::write(&file, case.to_string()).expect("a file");
            let printed = python::run(python, "check_events.py", &["glm", file.to_str().expect("a path")]);
            println!("{name}: {printed}");
        }
    }
}

#[test]
fn there_are_more_groups_than_flashes_and_all_are_of_these_minutes() {
    let (Some(flashes), Some(groups)) = (real(Level::Flash), real(Level::Group)) else { return };
    assert!(flashes.len() > 100 && groups.len() > flashes.len());
    // A flash is put where its first event is, which may lie in the file before.
    assert!(flashes.iter().all(|flash| (flash.seconds - START.0 as f64 - 30.0).abs() < 40.0));
}

/// A grid of one degree over the Gulf and the Caribbean, from a file; what no file observed whole is missing, not zero.
#[test]
fn the_command_writes_counts_that_xarray_opens() {
    let Some(input) = data::folder().map(|folder| folder.join("glm")) else { return };
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (grid, output) = (folder.path().join("grid.toml"), folder.path().join("lightning.zarr"));
    let sizes = "radius_m = 6371229.0\nnx = 70\nny = 50\nx0 = -120.0\ny0 = 5.0\ndx = 1.0\ndy = 1.0\n";
    fs::write(&grid, format!("{sizes}projection = {{ type = \"lat_lon\" }}\n")).expect("written");
    let run = |input: &Path, minutes: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gustfront"));
        command.args(["lightning", "--step-minutes", minutes, "--grid"]).arg(&grid);
        let ended = command.arg("--input").arg(input).arg("--output").arg(&output).output().expect("it runs");
        let told = [ended.stdout, ended.stderr].concat();
        (ended.status.code().expect("a code"), String::from_utf8_lossy(&told).into_owned())
    };
    let (code, told) = run(&input, "5");
    assert!(code == 2 && told.contains("no step of 5 minutes is observed whole by its 3 files"), "{told}");
    assert!(run(folder.path(), "1").1.contains("check --input"));
    let (code, told) = run(&input, "1");
    assert!(code == 0 && told.contains("files read: 3, steps written: 1") && told.contains("\n  device: "), "{told}");
    let store = output.to_str().expect("a path");
    println!("{}", python::run(python, "check_events.py", &["lightning", store, input.to_str().expect("a path")]));
    let doubled = folder.path().join("doubled");
    fs::create_dir(&doubled).expect("a folder");
    for (at, entry) in fs::read_dir(&input).expect("files").enumerate() {
        let name = doubled.join(format!("{at}_GLM-L2-LCFA.nc"));
        fs::copy(entry.expect("a file").path(), &name).expect("copied");
        fs::copy(&name, name.with_file_name(format!("{at}_GLM-L2-LCFA_again.nc"))).expect("copied");
    }
    fs::write(doubled.join("GLM-L2-LCFA_broken.nc"), "no file").expect("written");
    let (code, told) = run(&doubled, "1");
    assert!(code == 1 && told.matches("overlaps the file before").count() == 3, "{told}");
    assert!(told.contains("set aside: GLM-L2-LCFA_broken.nc"), "{told}");
}
