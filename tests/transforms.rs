//! Grid coordinates, wind rotation and regridding against pyproj and scipy, for every pair of projections.

mod common {
    #[allow(dead_code)]
    pub(crate) mod python;
}

use std::fs;
use std::path::Path;

use common::python;
use gustfront::domain::{Earth, Grid, Projection};
use gustfront::transforms::regrid::{Method, Weights};
use gustfront::transforms::rotate::Rotation;
use serde_json::{Value, json};

/// Radius of the HRRR sphere in metres.
const HRRR_RADIUS: f64 = 6_371_229.0;
/// Radius of the SEVIR sphere in metres.
const SEVIR_RADIUS: f64 = 6_370_997.0;

fn hrrr() -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    Grid::anchored(projection, Earth::sphere(HRRR_RADIUS), (21.138123, 237.280472), (1799, 1059), (3000.0, 3000.0))
        .expect("a grid")
}

/// A grid of each projection around a place, `half` kilometres to each side.
fn around(latitude: f64, longitude: f64, half: f64, step: f64) -> [Grid; 3] {
    let points = (2.0 * half / step) as usize;
    let (degrees, parallels) = (step / 111.0, [30.0, 46.0]);
    let plane = |projection, radius_m, dy: f64| {
        let away = half * 1000.0 * 1.0137;
        let middle =
            Grid { projection, earth: Earth::sphere(radius_m), nx: 1, ny: 1, x0: 0.0, y0: 0.0, dx: 1.0, dy: 1.0 };
        let (x, y) = middle.to_plane(latitude, longitude).expect("on the map");
        let (x0, y0) = (x - away, y - away * dy.signum());
        Grid {
            projection,
            earth: Earth::sphere(radius_m),
            nx: points,
            ny: points - 3,
            x0,
            y0,
            dx: step * 1000.0,
            dy: dy * 1000.0,
        }
    };
    let lambert = Projection::Lambert { latitude_origin: 38.5, parallels, longitude_origin: 262.5 };
    let azimuthal = Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 };
    let latlon = Grid {
        projection: Projection::LatLon,
        earth: Earth::sphere(HRRR_RADIUS),
        nx: points + 5,
        ny: points,
        x0: longitude - half / 111.0 * 1.27,
        y0: latitude + half / 111.0,
        dx: degrees * 1.25,
        dy: -degrees,
    };
    [plane(lambert, HRRR_RADIUS, step), plane(azimuthal, SEVIR_RADIUS, -step), latlon]
}

/// A rough field of 0 to 12 with a hole in it; for nearest, each point's own index.
fn field(grid: &Grid, method: Method) -> Vec<f32> {
    let value = |at: usize| match method {
        Method::Nearest => at as f32,
        _ => ((at as u32).wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 * 12.0,
    };
    let hole = |at: usize| (at % grid.nx * 2).abs_diff(grid.nx) < 9 && (at / grid.nx * 2).abs_diff(grid.ny) < 7;
    (0..grid.len()).map(|at| if hole(at) { f32::NAN } else { value(at) }).collect()
}

fn write<const N: usize, T: Copy>(folder: &Path, name: &str, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> String {
    let all: Vec<u8> = values.iter().flat_map(|value| bytes(*value)).collect();
    fs::write(folder.join(name), all).expect("written");
    name.to_string()
}

fn coordinates(folder: &Path, name: &str, grid: &Grid) -> Value {
    let all = grid.coordinates();
    json!({
        "kind": "coordinates", "name": format!("coordinates {name}: {}", grid.describe()), "grid": grid,
        "latitude": write(folder, &format!("{name}-latitude"), &all.latitude, f64::to_le_bytes),
        "longitude": write(folder, &format!("{name}-longitude"), &all.longitude, f64::to_le_bytes),
    })
}

fn rotation(folder: &Path, name: &str, grid: &Grid) -> Value {
    let rotation = Rotation::to_earth(grid).expect("a rotation");
    let (east, north) = rotation.apply(&vec![7.0; grid.len()], &vec![-3.0; grid.len()]);
    json!({
        "kind": "rotation", "name": format!("rotation {name}: {}", grid.describe()), "grid": grid, "wind": [7.0, -3.0],
        "east": write(folder, &format!("{name}-east"), &east, f32::to_le_bytes),
        "north": write(folder, &format!("{name}-north"), &north, f32::to_le_bytes),
    })
}

fn regrid(folder: &Path, name: &str, source: &Grid, target: &Grid, method: Method) -> Value {
    let weights = Weights::new(source, target, method).expect("weights");
    let (field, mut result) = (field(source, method), vec![0.0; target.len()]);
    weights.apply(&field, &mut result);
    json!({
        "kind": "regrid", "name": format!("{method:?}: {} to {}", source.describe(), target.describe()),
        "method": method, "source": source, "target": target,
        "field": write(folder, &format!("{name}-field"), &field, f32::to_le_bytes),
        "result": write(folder, &format!("{name}-result"), &result, f32::to_le_bytes),
        "covered": write(folder, &format!("{name}-covered"), weights.covered().unwrap_or(&[]), f32::to_le_bytes),
    })
}

/// Runs the independent check over the cases; it fails with the cases that disagree.
fn compare(folder: &Path, cases: &[Value]) {
    let Some(python) = python::python() else { return };
    fs::write(folder.join("cases.json"), serde_json::to_vec(cases).expect("json")).expect("written");
    println!("{}", python::run(python, "check_transforms.py", &[folder.to_str().expect("a path")]));
}

#[test]
fn coordinates_and_rotated_winds_agree_with_pyproj() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let [lambert, azimuthal, latlon] = around(41.0, -90.0, 300.0, 10.0);
    let cases = [
        coordinates(path, "hrrr", &hrrr()),
        coordinates(path, "lambert", &lambert),
        coordinates(path, "azimuthal", &azimuthal),
        coordinates(path, "latlon", &latlon),
        rotation(path, "hrrr", &hrrr()),
        rotation(path, "lambert", &lambert),
        rotation(path, "azimuthal", &azimuthal),
    ];
    compare(path, &cases);
}

#[test]
fn every_regridding_agrees_with_an_independent_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cases = Vec::new();
    for (s, source) in around(41.0, -90.0, 300.0, 10.0).iter().enumerate() {
        // Around the hole in the source, and across its eastern edge; finer and coarser.
        let places = [(41.0, -90.0, 90.0, 7.0), (41.0, -86.4, 200.0, 25.0)];
        for (p, (latitude, longitude, half, step)) in places.into_iter().enumerate() {
            for (t, target) in around(latitude, longitude, half, step).iter().enumerate() {
                for method in [Method::Nearest, Method::Bilinear, Method::Conservative] {
                    let name = format!("{s}{p}{t}-{method:?}");
                    cases.push(regrid(folder.path(), &name, source, target, method));
                }
            }
        }
    }
    compare(folder.path(), &cases);
}
