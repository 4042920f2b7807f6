//! Stores as others see them: xarray and zarr-python, a reader that polls, and byte for byte after any order of writes.

mod common {
    pub(crate) mod dying;
    pub(crate) mod python;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::dying::Dying;
use common::python;
use gustfront::domain::{Earth, Grid, Lead, Moment, Projection, Slot};
use gustfront::formats::zarr::{ArraySpec, Store, StoreSpec, ZarrError};
use gustfront::storage::{FileStore, ObjectStore};
use serde_json::{Value, json};

const VARIABLES: [&str; 2] = ["t2m", "x_wind"];

fn objects(folder: &Path) -> Arc<dyn ObjectStore> {
    Arc::new(FileStore::new(folder.to_str().expect("a path")))
}

fn lambert(nx: usize, ny: usize) -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5; 2], longitude_origin: 262.5 };
    Grid {
        projection,
        earth: Earth::sphere(6_371_229.0),
        nx,
        ny,
        x0: -1_500_000.25,
        y0: 300_000.1,
        dx: 3000.0,
        dy: 3000.0,
    }
}

fn spec(grid: Grid) -> StoreSpec {
    let variable = |name: &str, units: &str, standard_name: &str| ArraySpec {
        name: name.into(),
        long_name: format!("synthetic {name}"),
        units: units.into(),
        standard_name: Some(standard_name.into()),
    };
    StoreSpec {
        title: "Synthetic numbers".into(),
        origin: Moment::from_ymdh(2018, 7, 22, 0).expect("a day"),
        step: Lead::hours(6),
        leads: [0, 1, 3].map(Lead::hours).to_vec(),
        grid: Arc::new(grid),
        variables: vec![variable("t2m", "K", "air_temperature"), variable("x_wind", "m s-1", "x_wind")],
        attributes: serde_json::from_value(json!({"institution": "tests", "levels": [1, 2]})).expect("a map"),
    }
}

/// The slot of the `init`-th init and the `lead`-th lead.
fn slot(spec: &StoreSpec, init: u64, lead: usize) -> Slot {
    Slot::new(Moment(spec.origin.0 + init * u64::from(spec.step.0) * 60), spec.leads[lead])
}

/// Values that no other variable or slot has; some are missing.
fn values(spec: &StoreSpec, variable: &str, slot: Slot) -> Vec<f32> {
    let base = 200.0 + (slot.cycle.0 / 3600 % 97) as f32 + slot.lead.0 as f32 / 7.0 + variable.len() as f32 * 1000.0;
    let value = |at: usize| if at % 11 == 5 { f32::NAN } else { base + (at as f32 * 0.37).sin() };
    (0..spec.grid.len()).map(value).collect()
}

fn write(store: &Store, variable: &str, slot: Slot) -> Result<(), ZarrError> {
    store.write(variable, slot, &values(store.spec(), variable, slot))
}

/// Every file below a folder.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let objects = objects(folder);
    let keys = objects.list("").expect("listed").into_iter().map(|object| object.key);
    keys.map(|key| (key.clone(), objects.get(&key).expect("read").expect("there").to_vec())).collect()
}

/// Writes a few slots of a store that grows to three days and compares it in Python.
fn python_agrees(grid: Grid, dimensions: [&str; 4], crs: Value) {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(grid);
    let store = Store::create_or_open(objects(folder.path()), "archive.zarr", &spec).expect("a store");
    let mut slots = Vec::new();
    for (init, lead, variables) in
        [(9, 2, &VARIABLES[..]), (0, 0, &VARIABLES), (1, 2, &VARIABLES), (4, 1, &VARIABLES[1..])]
    {
        for variable in variables {
            let slot = slot(&spec, init, lead);
            write(&store, variable, slot).expect("written");
            let bits: Vec<u32> = values(&spec, variable, slot).iter().map(|value| value.to_bits()).collect();
            slots.push(json!({"variable": variable, "init": init, "lead": lead, "bits": bits}));
        }
    }
    for (init, lead) in [(9, 2), (0, 0)] {
        store.publish(slot(&spec, init, lead)).expect("published");
    }
    let mut expected = expectation(&spec, dimensions);
    expected["slots"] = slots.into();
    expected["crs"] = crs;
    let file = folder.path().join("expected.json");
    std::fs::write(&file, expected.to_string()).expect("written");
    let store = folder.path().join("archive.zarr");
    let texts = [store.to_str(), file.to_str()].map(|path| path.expect("a path"));
    assert_eq!(python::run(python, "read_store.py", &texts).trim(), "same 7 slots");
}

fn expectation(spec: &StoreSpec, dimensions: [&str; 4]) -> Value {
    let grid = &*spec.grid;
    let variable =
        |v: &ArraySpec| json!({"long_name": v.long_name, "units": v.units, "standard_name": v.standard_name});
    let (x, y): (Vec<f64>, Vec<f64>) =
        ((0..grid.nx).map(|i| grid.xy(i, 0).0).collect(), (0..grid.ny).map(|j| grid.xy(0, j).1).collect());
    let mut coordinates = json!({dimensions[2]: y, dimensions[3]: x});
    let geographic = grid.coordinates();
    if let Projection::Gaussian { .. } = grid.projection {
        let rows: Vec<f64> = geographic.latitude.iter().step_by(grid.nx).copied().collect();
        coordinates[dimensions[2]] = rows.into();
    } else if grid.projection != Projection::LatLon {
        coordinates["latitude"] = geographic.latitude.into();
        coordinates["longitude"] = geographic.longitude.into();
    }
    json!({
        "dimensions": dimensions,
        "nx": grid.nx,
        "ny": grid.ny,
        "inits": (0..12).map(|init| slot(spec, init, 0).cycle.calendar().format("%Y-%m-%dT%H:%M:%S").to_string()).collect::<Vec<_>>(),
        "lead_minutes": spec.leads.iter().map(|lead| lead.0).collect::<Vec<_>>(),
        "variables": spec.variables.iter().map(|v| (v.name.to_string(), variable(v))).collect::<serde_json::Map<_, _>>(),
        "attributes": {"title": "Synthetic numbers", "institution": "tests", "levels": [1, 2],
            "source": "Gustfront", "gustfront_format_version": 1},
        "published": [[9, 2], [0, 0]],
        "coordinates": coordinates,
    })
}

#[test]
fn python_reads_a_lambert_store() {
    let crs = json!({"grid_mapping_name": "lambert_conformal_conic", "standard_parallel": 38.5,
        "longitude_of_central_meridian": 262.5, "latitude_of_projection_origin": 38.5, "earth_radius": 6_371_229.0});
    python_agrees(lambert(7, 5), ["init_time", "lead_time", "y", "x"], crs);
}

#[test]
fn python_reads_shards_that_are_padded() {
    let projection = Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 };
    let grid = Grid { projection, earth: Earth::sphere(6_370_997.0), ..lambert(6, 401) };
    let crs = json!({"grid_mapping_name": "lambert_azimuthal_equal_area", "longitude_of_projection_origin": -98.0,
        "latitude_of_projection_origin": 38.0, "earth_radius": 6_370_997.0});
    python_agrees(grid, ["init_time", "lead_time", "y", "x"], crs);
}

#[test]
fn python_reads_a_lat_lon_store() {
    let (x0, y0) = (237.28, 47.8);
    let grid = Grid { projection: Projection::LatLon, x0, y0, dx: 0.03, dy: -0.03, ..lambert(9, 6) };
    let crs = json!({"grid_mapping_name": "latitude_longitude", "earth_radius": 6_371_229.0});
    python_agrees(grid, ["init_time", "lead_time", "latitude", "longitude"], crs);
}

#[test]
fn python_reads_a_gaussian_store_on_an_ellipsoid() {
    let earth = Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 };
    let projection = Projection::Gaussian { rows: 64 };
    let grid = Grid { projection, earth, x0: 100.0, y0: 40.0, dx: 2.8125, dy: -1.0, ..lambert(9, 6) };
    let crs = json!({"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6_378_137.0,
        "inverse_flattening": 1.0 / (1.0 / 298.257_223_563)});
    python_agrees(grid, ["init_time", "lead_time", "latitude", "longitude"], crs);
}

#[test]
fn python_reads_a_store_of_a_turned_globe() {
    let projection = Projection::RotatedLatLon { south_pole: [-36.0, 190.0] };
    let grid = Grid { projection, x0: -2.0, y0: 1.0, dx: 0.5, dy: 0.25, ..lambert(9, 6) };
    let crs = json!({"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 36.0,
        "grid_north_pole_longitude": 10.0, "earth_radius": 6_371_229.0});
    python_agrees(grid, ["init_time", "lead_time", "y", "x"], crs);
}

/// Every variable of every slot of three days, but for a few that never came.
fn work(spec: &StoreSpec) -> Vec<(&'static str, Slot)> {
    let places = (0..12).flat_map(|init| (0..3).map(move |lead| (init, lead)));
    let whole = places.filter(|(init, lead)| *init != 5 && (init + *lead as u64) % 7 != 3);
    whole.flat_map(|(init, lead)| VARIABLES.map(|variable| (variable, slot(spec, init, lead)))).collect()
}

fn write_all(store: &Store, work: Vec<(&str, Slot)>) {
    for (variable, slot) in &work {
        write(store, variable, *slot).expect("written");
    }
    for (_, slot) in work {
        store.publish(slot).expect("published");
    }
}

#[test]
fn any_order_on_any_threads_and_a_second_run_make_the_same_bytes() {
    let spec = spec(lambert(30, 20));
    let made = |write: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path());
        bytes_of(folder.path())
    };
    let open = |folder: &Path| Store::create_or_open(objects(folder), "", &spec).expect("a store");
    let mut work = work(&spec);
    let forward = made(&|folder| write_all(&open(folder), work.clone()));
    assert_eq!(forward.keys().filter(|key| key.starts_with("t2m/c/")).count(), work.len() / 2);

    work.reverse();
    let backward = made(&|folder| write_all(&open(folder), work.clone()));
    assert!(forward == backward, "the order of writes shows");

    let threads = made(&|folder| {
        let store = open(folder);
        let share = |first: usize| work.iter().skip(first).step_by(4).copied().collect::<Vec<_>>();
        std::thread::scope(|scope| {
            for share in [0, 1, 2, 3].map(share) {
                scope.spawn(|| write_all(&store, share));
            }
        });
    });
    assert!(forward == threads, "the number of threads shows");

    let twice = made(&|folder| {
        write_all(&open(folder), work[..work.len() / 3].to_vec());
        write_all(&open(folder), work.clone());
    });
    assert!(forward == twice, "the second run shows");
}

#[test]
fn a_run_that_ends_after_any_write_and_is_run_again_makes_the_same_bytes() {
    let spec = spec(lambert(5, 4));
    let work = [(0, 0), (6, 1), (1, 2)].map(|(init, lead)| slot(&spec, init, lead));
    let run = |objects: Arc<dyn ObjectStore>| -> Result<(), ZarrError> {
        let store = Store::create_or_open(objects, "archive", &spec)?;
        work.iter().try_for_each(|slot| write_whole(&store, *slot))
    };
    let whole = tempfile::tempdir().expect("a folder");
    run(objects(whole.path())).expect("a whole run");
    let (expected, mut puts) = (bytes_of(whole.path()), 0);
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let first = run(Arc::new(Dying::after(puts, objects(folder.path()))));
        assert_consistent(folder.path());
        run(objects(folder.path())).expect("the second run");
        assert!(bytes_of(folder.path()) == expected, "after {puts} writes");
        if first.is_ok() {
            break;
        }
        puts += 1;
    }
    assert!(puts > 40, "{puts} writes: the axis grew");
}

/// What any reader may rely on: a day of the axis has its times, a flagged slot has every variable.
fn assert_consistent(folder: &Path) -> usize {
    let objects = objects(folder);
    let Some(store) = Store::open(objects.clone(), "archive").expect("whole metadata") else { return 0 };
    let description = gustfront::formats::zarr::describe(objects.clone(), "archive").expect("described");
    for day in 0..description.inits / 4 {
        for key in [format!("archive/init_time/c/{day}"), format!("archive/valid_time/c/{day}/0")] {
            assert!(objects.head(&key).expect("looked at").is_some(), "{key}");
        }
    }
    let spec = store.spec();
    let slots = (0..description.inits).flat_map(|init| (0..3).map(move |lead| slot(spec, init, lead)));
    let flagged: Vec<_> = slots.filter(|slot| store.published(*slot).expect("a flag or none")).collect();
    for (variable, slot) in flagged.iter().flat_map(|slot| VARIABLES.map(|variable| (variable, *slot))) {
        let found = store.read(variable, slot).expect("a whole shard").expect("a shard");
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(values(spec, variable, slot)), "{variable} {slot}");
    }
    flagged.len()
}

#[test]
fn a_reader_that_polls_finds_every_flagged_slot_whole() {
    let spec = spec(lambert(60, 50));
    let folder = tempfile::tempdir().expect("a folder");
    let store = &Store::create_or_open(objects(folder.path()), "archive", &spec).expect("a store");
    let slots: Vec<_> = (0..48).flat_map(|init| (0..3).map(move |lead| (init, lead))).collect();
    let slots: Vec<_> = slots.into_iter().map(|(init, lead)| slot(&spec, init, lead)).collect();
    let seen = std::thread::scope(|scope| {
        let share = |first: usize| slots.iter().skip(first).step_by(3).copied().collect::<Vec<_>>();
        let write_share = |share: Vec<Slot>| share.into_iter().try_for_each(|slot| write_whole(store, slot));
        let writers = [0, 1, 2].map(share).map(|share| scope.spawn(move || write_share(share)));
        let mut seen = Vec::new();
        while !writers.iter().all(|writer| writer.is_finished()) {
            seen.push(assert_consistent(folder.path()));
        }
        writers.into_iter().for_each(|writer| writer.join().expect("no panic").expect("written"));
        seen
    });
    assert_eq!(assert_consistent(folder.path()), slots.len());
    assert!(seen.iter().any(|count| (1..slots.len()).contains(count)), "the reader saw nothing half written: {seen:?}");
}

fn write_whole(store: &Store, slot: Slot) -> Result<(), ZarrError> {
    VARIABLES.iter().try_for_each(|variable| write(store, variable, slot))?;
    store.publish(slot)
}
