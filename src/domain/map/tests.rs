//! Every map against PROJ, its own inverse, and small steps on the earth.

use proj4rs::proj::Proj;

use super::*;

/// The HRRR sphere.
const SPHERE: Earth = Earth::sphere(6_371_229.0);
const WGS84: Earth = Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 };

/// Latitude and longitude, and both on the globe turned so that its southern pole is at 36.08852° S 245.305142° E.
const TURNED: [(f64, f64, f64, f64); 4] = [
    (21.1, -122.7, -8.843156027440, -32.312044940992),
    (47.8, -60.9, 33.071321960545, 6.645497919167),
    (-33.3, 18.4, 141.958839830049, 7.935654236615),
    (89.0, 10.0, 1.024849152348, 36.653374747918),
];

fn lambert(latitude_origin: f64, parallels: [f64; 2], longitude_origin: f64) -> Projection {
    Projection::Lambert { latitude_origin, parallels, longitude_origin }
}

fn albers(latitude_origin: f64, parallels: [f64; 2], longitude_origin: f64) -> Projection {
    Projection::Albers { latitude_origin, parallels, longitude_origin }
}

fn azimuthal(latitude_origin: f64, longitude_origin: f64) -> Projection {
    Projection::AzimuthalEqualArea { latitude_origin, longitude_origin }
}

fn polar(latitude_origin: f64, latitude_true_scale: f64, longitude_origin: f64) -> Projection {
    Projection::PolarStereographic { latitude_origin, latitude_true_scale, longitude_origin }
}

/// Maps in metres, each as PROJ writes it without the earth.
fn metric() -> Vec<(Projection, &'static str)> {
    vec![
        (lambert(38.5, [38.5, 38.5], 262.5), "+proj=lcc +lat_0=38.5 +lat_1=38.5 +lat_2=38.5 +lon_0=-97.5"),
        (lambert(25.0, [33.0, 45.0], -95.0), "+proj=lcc +lat_0=25 +lat_1=33 +lat_2=45 +lon_0=-95"),
        (lambert(-30.0, [-25.0, -40.0], 20.0), "+proj=lcc +lat_0=-30 +lat_1=-25 +lat_2=-40 +lon_0=20"),
        (albers(23.0, [29.5, 45.5], -96.0), "+proj=aea +lat_0=23 +lat_1=29.5 +lat_2=45.5 +lon_0=-96"),
        (albers(-20.0, [-18.0, -36.0], 132.0), "+proj=aea +lat_0=-20 +lat_1=-18 +lat_2=-36 +lon_0=132"),
        (albers(40.0, [40.0, 40.0], 10.0), "+proj=aea +lat_0=40 +lat_1=40 +lat_2=40 +lon_0=10"),
        (azimuthal(38.0, -98.0), "+proj=laea +lat_0=38 +lon_0=-98"),
        (azimuthal(90.0, 10.0), "+proj=laea +lat_0=90 +lon_0=10"),
        (azimuthal(0.0, 0.0), "+proj=laea +lat_0=0 +lon_0=0"),
        (polar(90.0, 60.0, 249.0), "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=249"),
        (polar(90.0, 90.0, 0.0), "+proj=stere +lat_0=90 +lat_ts=90 +lon_0=0"),
        (polar(-90.0, -71.0, 20.0), "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=20"),
        (Projection::Mercator { latitude_true_scale: 20.0 }, "+proj=merc +lat_ts=20 +lon_0=0"),
        (Projection::Mercator { latitude_true_scale: 0.0 }, "+proj=merc +lat_ts=0 +lon_0=0"),
    ]
}

/// Every map on a sphere and on an ellipsoid, but for those that are no use there.
fn maps() -> Vec<(Map, String)> {
    let turned = Projection::RotatedLatLon { south_pole: [-36.088_52, 245.305_142] };
    let others = [Projection::LatLon, turned, Projection::Gaussian { rows: 96 }];
    let all = metric().into_iter().map(|(projection, _)| projection).chain(others);
    let both = all.flat_map(|projection| [SPHERE, WGS84].map(|earth| (projection, earth)));
    both.map(|(projection, earth)| (Map::new(projection, earth).expect("a map"), format!("{projection:?} {earth:?}")))
        .collect()
}

#[test]
fn both_ways_agree_with_proj4rs_and_return() {
    for earth in [SPHERE, WGS84] {
        // The ellipsoid's latitudes are iterated there to 1e-10.
        let (figure, metres) = match earth.flattening {
            0.0 => (format!("+R={} +units=m +no_defs", earth.radius_m), 1e-6),
            _ => ("+ellps=WGS84 +units=m +no_defs".to_string(), 1e-3),
        };
        let degrees = Proj::from_proj_string(&format!("+proj=longlat {figure}")).expect("degrees");
        for (projection, text) in metric() {
            let map = Map::new(projection, earth).expect("a map");
            let proj = Proj::from_proj_string(&format!("{text} {figure}")).expect("a projection");
            for (latitude, longitude) in [(21.1, -122.7), (-33.3, 18.4), (47.8, -60.9), (38.5, -97.5), (60.0, 100.0)] {
                let (x, y) = map.forward(latitude, longitude).expect("on the map");
                let mut point = (f64::to_radians(longitude), f64::to_radians(latitude), 0.0);
                proj4rs::transform::transform(&degrees, &proj, &mut point).expect("on the map");
                // As far as 30 000 km from the origin.
                let close = |found: f64, wanted: f64| (found - wanted).abs() < metres * wanted.abs().max(1e7) / 1e7;
                assert!(close(x, point.0) && close(y, point.1), "{text} {earth:?}: {x} {y} {point:?}");
            }
        }
    }
}

#[test]
fn every_map_returns() {
    for (map, text) in maps() {
        for (latitude, longitude) in [(21.1, -122.7), (-33.3, 18.4), (47.8, -60.9), (38.5, -97.5), (60.0, 100.0)] {
            let (x, y) = map.forward(latitude, longitude).expect("on the map");
            let (back_latitude, back_longitude) = map.inverse(x, y).expect("on the map");
            assert!((back_latitude - latitude).abs() < 1e-9, "{text}: {back_latitude} {latitude}");
            assert!((back_longitude - longitude).abs() < 1e-9, "{text}: {back_longitude} {longitude}");
        }
    }
}

#[test]
fn a_turned_globe_is_that_of_pyproj() {
    // pyproj 3.7.2: ob_tran of longlat with o_lat_p = 36.08852, o_lon_p = 0, lon_0 = 245.305142.
    let map = Map::new(Projection::RotatedLatLon { south_pole: [-36.088_52, 245.305_142] }, SPHERE).expect("a map");
    for (latitude, longitude, x, y) in TURNED {
        let (found_x, found_y) = map.forward(latitude, longitude).expect("on the map");
        assert!((found_x - x).abs() < 1e-9 && (found_y - y).abs() < 1e-9, "{found_x} {found_y}");
    }
}

#[test]
fn convergence_is_the_direction_of_a_small_step_north() {
    for (map, text) in maps() {
        for (latitude, longitude) in [(21.1, -122.7), (-33.3, 18.4), (47.8, -60.9)] {
            let (x, y) = map.forward(latitude - 1e-5, longitude).expect("on the map");
            let (north_x, north_y) = map.forward(latitude + 1e-5, longitude).expect("on the map");
            let shrink = if matches!(map.plane, Plane::Rotated(_)) { y.to_radians().cos() } else { 1.0 };
            let expected = ((x - north_x) * shrink).atan2(north_y - y);
            assert!((map.convergence(latitude, longitude) - expected).abs() < 1e-7, "{text} {latitude} {longitude}");
        }
    }
}

#[test]
fn the_scale_of_areas_is_that_of_a_small_piece_of_the_earth() {
    for (map, text) in maps() {
        for (latitude, longitude) in [(21.1f64, -122.7f64), (-33.3, 18.4), (47.8, -60.9)] {
            let at = |north: f64, east: f64| map.forward(latitude + north, longitude + east).expect("on the map");
            let step = 1e-4;
            let (west, east, south, north) = (at(0.0, -step), at(0.0, step), at(-step, 0.0), at(step, 0.0));
            let plane = (east.0 - west.0) * (north.1 - south.1) - (east.1 - west.1) * (north.0 - south.0);
            let sine = |north: f64| (latitude + north).to_radians().sin();
            let earth = map.earth().band_m2(sine(-step), sine(step)) * (2.0 * step).to_radians();
            let (x, y) = at(0.0, 0.0);
            let scale = map.area_scale(x, y).expect("on the map");
            assert!((plane * scale / earth - 1.0).abs() < 1e-6, "{text} {latitude}: {} {scale}", earth / plane);
        }
    }
}

#[test]
fn the_pole_of_a_polar_map_has_the_scale_around_it() {
    for earth in [SPHERE, WGS84] {
        for pole in [90.0, -90.0] {
            let map = Map::new(polar(pole, pole * 2.0 / 3.0, 10.0), earth).expect("a map");
            let (at, near) = (map.area_scale(0.0, 0.0).expect("a scale"), map.area_scale(5.0, 5.0).expect("a scale"));
            assert!((at / near - 1.0).abs() < 1e-9, "{at} {near}");
            assert_eq!(map.inverse(0.0, 0.0).expect("the pole").0, pole);
            assert_eq!(map.forward(pole, 77.0), Some((0.0, 0.0)));
            assert_eq!(map.forward(-pole, 77.0), None);
        }
    }
}

#[test]
fn what_makes_no_map_is_refused_with_its_reason() {
    for projection in [
        lambert(38.5, [30.0, -30.0], 0.0),
        lambert(38.5, [90.0, 90.0], 0.0),
        lambert(f64::NAN, [30.0, 30.0], 0.0),
        albers(0.0, [30.0, -30.0], 0.0),
        albers(0.0, [30.0, 91.0], 0.0),
        azimuthal(91.0, 0.0),
        polar(60.0, 60.0, 0.0),
        polar(90.0, -90.0, 0.0),
        polar(90.0, 60.0, f64::NAN),
        Projection::Mercator { latitude_true_scale: 90.0 },
        Projection::RotatedLatLon { south_pole: [f64::NAN, 0.0] },
        Projection::Gaussian { rows: 7 },
    ] {
        assert!(
            matches!(Map::new(projection, SPHERE), Err(GridError::Projection(_, reason)) if reason.contains("must"))
        );
    }
    for earth in [Earth::sphere(0.0), Earth { flattening: -0.1, ..SPHERE }, Earth { flattening: f64::NAN, ..SPHERE }] {
        assert!(Map::new(Projection::LatLon, earth).is_err(), "{earth:?}");
    }
}

#[test]
fn places_off_the_map_have_no_answer() {
    let cone = Map::new(lambert(38.5, [38.5, 38.5], 262.5), SPHERE).expect("a map");
    assert_eq!(cone.forward(-90.0, 0.0), None);
    assert_eq!(cone.forward(f64::NAN, 0.0), None);
    assert_eq!(cone.inverse(0.0, 4e7), None);
    let disc = Map::new(azimuthal(0.0, 0.0), SPHERE).expect("a map");
    assert_eq!(disc.forward(0.0, 180.0), None);
    assert_eq!(disc.inverse(2.1 * SPHERE.radius_m, 0.0), None);
    assert_eq!(disc.inverse(0.0, 0.0), Some((0.0, 0.0)));
    let mercator = Map::new(Projection::Mercator { latitude_true_scale: 20.0 }, SPHERE).expect("a map");
    assert_eq!(mercator.forward(90.0, 0.0), None);
    let albers = Map::new(albers(23.0, [29.5, 45.5], -96.0), SPHERE).expect("a map");
    assert_eq!(albers.inverse(0.0, 4e7), None);
}
