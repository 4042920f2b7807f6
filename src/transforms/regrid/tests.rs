//! Identity, exactness, missing values, edges, the turn of the globe, and conservation, for every pair of projections.

use super::*;
use crate::domain::{Earth, Projection};

/// Radius of the HRRR sphere in metres.
const RADIUS: f64 = 6_371_229.0;

fn grid(projection: Projection, size: (usize, usize), first: (f64, f64), step: (f64, f64)) -> Grid {
    let (nx, ny) = size;
    Grid { projection, earth: Earth::sphere(RADIUS), nx, ny, x0: first.0, y0: first.1, dx: step.0, dy: step.1 }
}

fn lambert(size: (usize, usize), step: f64) -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    let first = (-0.5 * (size.0 - 1) as f64 * step, -0.5 * (size.1 - 1) as f64 * step);
    grid(projection, size, first, (step, step))
}

fn azimuthal(size: (usize, usize), step: f64, latitude_origin: f64) -> Grid {
    let projection = Projection::AzimuthalEqualArea { latitude_origin, longitude_origin: -98.0 };
    let first = (-0.5 * (size.0 - 1) as f64 * step, 0.5 * (size.1 - 1) as f64 * step);
    grid(projection, size, first, (step, -step))
}

fn latlon(size: (usize, usize), first: (f64, f64), step: (f64, f64)) -> Grid {
    grid(Projection::LatLon, size, first, step)
}

/// An ellipsoid much like WGS 84.
const ELLIPSOID: Earth = Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257 };

/// 1400 km each way around Kansas on an ellipsoid.
fn anchored(projection: Projection, first: (f64, f64)) -> Grid {
    Grid::anchored(projection, ELLIPSOID, first, (140, 140), (10_000.0, 10_000.0)).expect("a grid")
}

/// Large sources and, for each, a finer and a coarser target that lie wholly inside every source.
fn sources() -> Vec<Grid> {
    let (latitude_origin, longitude_origin) = (38.5, -98.0);
    let polar =
        Projection::PolarStereographic { latitude_origin: 90.0, latitude_true_scale: 60.0, longitude_origin: -98.0 };
    let turned = Projection::RotatedLatLon { south_pole: [-51.5, -98.0] };
    vec![
        lambert((140, 120), 10_000.0),
        azimuthal((140, 120), 10_000.0, 38.0),
        latlon((200, 140), (-107.0, 45.0), (0.1, -0.1)),
        Grid { earth: ELLIPSOID, ..latlon((200, 140), (-107.0, 45.0), (0.1, -0.1)) },
        Grid { earth: ELLIPSOID, ..azimuthal((140, 120), 10_000.0, 38.0) },
        Grid { earth: ELLIPSOID, ..grid(turned, (140, 120), (-7.0, 6.0), (0.1, -0.1)) },
        grid(turned, (140, 120), (353.0, -6.0), (0.1, 0.1)),
        grid(Projection::Gaussian { rows: 1800 }, (200, 140), (-107.0, 1350.0), (0.1, -1.0)),
        anchored(Projection::Mercator { latitude_true_scale: 38.5 }, (31.5, -106.0)),
        anchored(polar, (33.0, -104.0)),
        anchored(Projection::Albers { latitude_origin, parallels: [30.0, 45.0], longitude_origin }, (32.0, -105.0)),
        anchored(Projection::Lambert { latitude_origin, parallels: [30.0, 45.0], longitude_origin }, (32.0, -105.0)),
    ]
}

fn targets() -> [Grid; 6] {
    [
        lambert((90, 80), 4_000.0),
        lambert((9, 8), 47_000.0),
        azimuthal((90, 80), 4_000.0, 37.0),
        azimuthal((9, 8), 47_000.0, 37.0),
        latlon((90, 70), (-99.5, 37.2), (0.04, 0.04)),
        latlon((7, 5), (-99.5, 37.0), (0.5, 0.5)),
    ]
}

/// A field that varies over a few hundred kilometres.
fn waves(grid: &Grid) -> Vec<f32> {
    let all = grid.coordinates();
    let wave =
        |(latitude, longitude): (&f64, &f64)| (280.0 + 9.0 * (latitude * 2.1).sin() * (longitude * 1.7).cos()) as f32;
    all.latitude.iter().zip(&all.longitude).map(wave).collect()
}

fn regrid(source: &Grid, target: &Grid, method: Method, field: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; target.len()];
    Weights::new(source, target, method).expect("weights").apply(field, &mut result);
    result
}

const METHODS: [Method; 3] = [Method::Nearest, Method::Bilinear, Method::Conservative];

#[test]
fn a_grid_onto_itself_changes_nothing() {
    for source in sources() {
        let field = waves(&source);
        for method in METHODS {
            let result = regrid(&source, &source, method, &field);
            let worst = field.iter().zip(&result).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{method:?} {}: {worst}", source.describe());
        }
    }
}

#[test]
fn a_constant_stays_constant_and_every_inner_target_has_a_value() {
    for (source, target) in sources().iter().flat_map(|source| targets().map(|target| (source.clone(), target))) {
        for method in METHODS {
            let result = regrid(&source, &target, method, &vec![5.5; source.len()]);
            assert!(
                result.iter().all(|value| (value - 5.5).abs() < 1e-5),
                "{method:?} {} {}",
                source.describe(),
                target.describe()
            );
        }
    }
}

#[test]
fn bilinear_is_exact_for_a_plane_in_the_source() {
    for (source, target) in sources().iter().flat_map(|source| targets().map(|target| (source.clone(), target))) {
        let plane = |i: f64, j: f64| 3.0 + 0.25 * i - 0.125 * j;
        let field: Vec<f32> =
            (0..source.len()).map(|at| plane((at % source.nx) as f64, (at / source.nx) as f64) as f32).collect();
        let result = regrid(&source, &target, Method::Bilinear, &field);
        let all = target.coordinates();
        for (at, value) in result.iter().enumerate() {
            let (i, j) = source.index(all.latitude[at], all.longitude[at]).expect("on the map");
            assert!((f64::from(*value) - plane(i, j)).abs() < 2e-5, "{} {}", source.describe(), target.describe());
        }
    }
}

#[test]
fn conservative_keeps_the_integral_of_what_lies_inside() {
    for (source, target) in sources().iter().flat_map(|source| targets().map(|target| (source.clone(), target))) {
        let target = Grid { earth: source.earth, ..target };
        // A patch that vanishes towards the target's edge, so that both grids hold all of it.
        let middle = target.coordinates();
        let at = target.ny / 2 * target.nx + target.nx / 2;
        let (latitude, longitude) = (middle.latitude[at], middle.longitude[at]);
        let reach = 0.7;
        let all = source.coordinates();
        let patch = |at: usize| {
            let away = ((all.latitude[at] - latitude).powi(2) + (all.longitude[at] - longitude).powi(2)) / reach;
            if away < 1.0 { (100.0 * (1.0 - away).powi(2)) as f32 } else { 0.0 }
        };
        let field: Vec<f32> = (0..source.len()).map(patch).collect();
        let result = regrid(&source, &target, Method::Conservative, &field);
        let integral = |grid: &Grid, field: &[f32]| -> f64 {
            grid.areas_m2().iter().zip(field).map(|(area, value)| area * f64::from(*value)).sum()
        };
        let (before, after) = (integral(&source, &field), integral(&target, &result));
        assert!(
            (after / before - 1.0).abs() < 1e-6,
            "{} {}: {}",
            source.describe(),
            target.describe(),
            after / before - 1.0
        );
    }
}

#[test]
fn covered_is_the_share_of_a_cell_inside_the_source() {
    let source = latlon((10, 10), (0.5, 0.5), (1.0, 1.0));
    let target = latlon((3, 1), (-1.0, 5.0), (2.0, 2.0));
    let weights = Weights::new(&source, &target, Method::Conservative).expect("weights");
    assert_eq!(weights.covered().map(<[f32]>::len), Some(3));
    assert_eq!(weights.covered(), Some(&[0.0, 1.0, 1.0][..]));
    let half = latlon((1, 1), (0.0, 5.0), (2.0, 2.0));
    let weights = Weights::new(&source, &half, Method::Conservative).expect("weights");
    assert!((weights.covered().expect("shares")[0] - 0.5).abs() < 1e-6);
    assert_eq!(regrid(&source, &half, Method::Conservative, &vec![4.0; 100]), [4.0]);
    assert!(Weights::new(&source, &half, Method::Nearest).expect("weights").covered().is_none());
}

#[test]
fn cells_of_a_sphere_are_wholly_covered_by_those_of_an_ellipsoid() {
    let sphere = latlon((9, 160), (10.0, -79.5), (1.0, 1.0));
    let ellipsoid = Grid { earth: ELLIPSOID, ..sphere.clone() };
    for (source, target) in [(&sphere, &ellipsoid), (&ellipsoid, &sphere)] {
        let weights = Weights::new(source, target, Method::Conservative).expect("weights");
        let covered = weights.covered().expect("shares");
        assert!(covered.iter().all(|share| (share - 1.0).abs() < 1e-5), "{covered:?}");
    }
}

#[test]
fn targets_outside_the_source_are_missing() {
    let source = lambert((20, 20), 10_000.0);
    let far = latlon((4, 3), (10.0, 40.0), (1.0, 1.0));
    let globe = latlon((360, 181), (-180.0, -90.0), (1.0, 1.0));
    for method in METHODS {
        assert!(regrid(&source, &far, method, &waves(&source)).iter().all(|value| value.is_nan()), "{method:?}");
        let all = globe.coordinates();
        let result = regrid(&source, &globe, method, &waves(&source));
        for (at, value) in result.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            assert!(
                (all.latitude[at] - 38.5).abs() < 2.5 && (all.longitude[at] + 97.5).abs() < 2.5,
                "{method:?} {value}"
            );
        }
        assert!(result.iter().any(|value| !value.is_nan()), "{method:?}");
    }
}

#[test]
fn missing_sources_follow_each_method_s_rule() {
    let source = latlon((2, 2), (0.0, 0.0), (1.0, 1.0));
    let field = [f32::NAN, 2.0, 4.0, 8.0];
    let at = |x: f64, y: f64, method| regrid(&source, &latlon((1, 1), (x, y), (0.5, 0.5)), method, &field)[0];
    assert!(at(0.2, 0.2, Method::Nearest).is_nan());
    assert_eq!(at(0.8, 0.2, Method::Nearest), 2.0);
    assert!(at(0.2, 0.2, Method::Bilinear).is_nan());
    assert!((at(0.5, 0.5, Method::Bilinear) - 14.0 / 3.0).abs() < 1e-6);
    assert!(at(0.0, 0.0, Method::Conservative).is_nan());
    assert!((at(0.5, 0.0, Method::Conservative) - 2.0).abs() < 1e-6);
}

#[test]
fn a_globe_has_no_seam() {
    for first in [0.0, -180.0] {
        let globe = latlon((72, 37), (first, -90.0), (5.0, 5.0));
        let cosine = |longitude: f64| longitude.to_radians().cos();
        let field: Vec<f32> = globe.coordinates().longitude.iter().map(|longitude| cosine(*longitude) as f32).collect();
        let target = latlon((144, 5), (first - 3.7, -5.0), (2.5, 2.5));
        for (method, tolerance) in METHODS.into_iter().zip([0.045, 0.002, 0.025]) {
            let result = regrid(&globe, &target, method, &field);
            for (value, longitude) in result.iter().zip(target.coordinates().longitude) {
                let error = (f64::from(*value) - cosine(longitude)).abs();
                assert!(error < tolerance, "{method:?} {longitude}: {value} {error}");
            }
        }
    }
}

#[test]
fn the_whole_globe_is_conserved_to_the_poles() {
    let regular = latlon((72, 36), (2.5, -87.5), (5.0, 5.0));
    let gaussian = grid(Projection::Gaussian { rows: 36 }, (72, 36), (0.0, 35.0), (5.0, -1.0));
    for globe in [regular.clone(), Grid { earth: ELLIPSOID, ..regular }, gaussian] {
        let field: Vec<f32> = (0..globe.len()).map(|at| ((at * 7919) % 101) as f32).collect();
        let target = Grid { earth: globe.earth, ..latlon((90, 46), (0.0, 90.0), (4.0, -4.0)) };
        let result = regrid(&globe, &target, Method::Conservative, &field);
        let integral = |grid: &Grid, field: &[f32]| -> f64 {
            grid.areas_m2().iter().zip(field).map(|(area, value)| area * f64::from(*value)).sum()
        };
        let relative = integral(&target, &result) / integral(&globe, &field) - 1.0;
        assert!(relative.abs() < 1e-6, "{} {relative}", globe.describe());
    }
}

#[test]
fn one_row_or_one_column_is_a_source_too() {
    let point = latlon((1, 1), (10.0, 10.0), (1.0, 1.0));
    let row = latlon((3, 1), (10.0, 10.0), (1.0, 1.0));
    let column = latlon((1, 3), (10.0, 10.0), (1.0, 1.0));
    for method in METHODS {
        assert_eq!(regrid(&point, &point, method, &[7.0]), [7.0]);
        assert_eq!(regrid(&row, &row, method, &[7.0, 8.0, 9.0]), [7.0, 8.0, 9.0]);
        assert_eq!(regrid(&column, &column, method, &[7.0, 8.0, 9.0]), [7.0, 8.0, 9.0]);
    }
}

#[test]
fn a_grid_that_cannot_be_used_is_refused() {
    let good = latlon((2, 2), (0.0, 0.0), (1.0, 1.0));
    let bad = latlon((0, 2), (0.0, 0.0), (1.0, 1.0));
    for method in METHODS {
        assert!(Weights::new(&good, &bad, method).is_err() && Weights::new(&bad, &good, method).is_err());
    }
}
