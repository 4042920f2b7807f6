//! A grid as CF grid-mapping attributes, and exactly, as JSON.

use serde_json::{Map, Value, json};

use crate::domain::{Earth, Grid, Projection};

/// The attribute that holds the grid exactly.
const GRID: &str = "gustfront_grid";

/// The attributes of the grid-mapping variable (CF 1.11, appendix F) and the grid itself.
pub(super) fn attributes(grid: &Grid) -> Map<String, Value> {
    let mut attributes = Map::new();
    attributes.extend(plane(grid.projection, grid.earth));
    attributes.insert(GRID.into(), exact(grid).into());
    attributes
}

/// The attributes of a plane in which many grids lie.
pub(super) fn plane(projection: Projection, earth: Earth) -> Map<String, Value> {
    let mut attributes = Map::new();
    for part in [mapping(projection), figure(earth)] {
        if let Value::Object(part) = part {
            attributes.extend(part);
        }
    }
    attributes
}

fn mapping(projection: Projection) -> Value {
    match projection {
        // Gaussian rows have latitudes like any others.
        Projection::LatLon | Projection::Gaussian { .. } => json!({
            "grid_mapping_name": "latitude_longitude",
            "longitude_of_prime_meridian": 0.0,
        }),
        Projection::RotatedLatLon { south_pole: [latitude, longitude] } => json!({
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": -latitude,
            "grid_north_pole_longitude": (longitude + 180.0).rem_euclid(360.0),
            "north_pole_grid_longitude": 0.0,
        }),
        Projection::Mercator { latitude_true_scale } => json!({
            "grid_mapping_name": "mercator",
            "longitude_of_projection_origin": 0.0,
            "standard_parallel": latitude_true_scale,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }),
        Projection::PolarStereographic { latitude_origin, latitude_true_scale, longitude_origin } => json!({
            "grid_mapping_name": "polar_stereographic",
            "latitude_of_projection_origin": latitude_origin,
            "straight_vertical_longitude_from_pole": longitude_origin,
            "standard_parallel": latitude_true_scale,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }),
        Projection::Lambert { latitude_origin, parallels, longitude_origin } => {
            conic("lambert_conformal_conic", latitude_origin, parallels, longitude_origin)
        }
        Projection::Albers { latitude_origin, parallels, longitude_origin } => {
            conic("albers_conical_equal_area", latitude_origin, parallels, longitude_origin)
        }
        Projection::AzimuthalEqualArea { latitude_origin, longitude_origin } => json!({
            "grid_mapping_name": "lambert_azimuthal_equal_area",
            "longitude_of_projection_origin": longitude_origin,
            "latitude_of_projection_origin": latitude_origin,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }),
    }
}

fn conic(name: &str, latitude_origin: f64, parallels: [f64; 2], longitude_origin: f64) -> Value {
    json!({
        "grid_mapping_name": name,
        "standard_parallel": standard_parallel(parallels),
        "longitude_of_central_meridian": longitude_origin,
        "latitude_of_projection_origin": latitude_origin,
        "false_easting": 0.0,
        "false_northing": 0.0,
    })
}

fn figure(earth: Earth) -> Value {
    if earth.is_sphere() {
        return json!({ "earth_radius": earth.radius_m });
    }
    json!({ "semi_major_axis": earth.radius_m, "inverse_flattening": 1.0 / earth.flattening })
}

/// The grid that the attributes hold; `None` where they hold none.
pub(super) fn grid(attributes: &Map<String, Value>) -> Option<Grid> {
    serde_json::from_str(attributes.get(GRID)?.as_str()?).ok()
}

/// JSON in a text: an attribute that is an object cannot be copied into NetCDF.
fn exact(grid: &Grid) -> String {
    serde_json::to_string(grid).unwrap_or_default()
}

fn standard_parallel([first, second]: [f64; 2]) -> Value {
    if first == second { json!(first) } else { json!([first, second]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back_on(earth: Earth, projection: Projection) -> Map<String, Value> {
        let (x0, y0) = (-2_697_520.142_521_929, 0.1 + 0.2);
        let original = Grid { projection, earth, nx: 3, ny: 2, x0, y0, dx: 3000.0, dy: -1.0 / 3.0 };
        let attributes = attributes(&original);
        assert_eq!(grid(&attributes), Some(original));
        attributes
    }

    fn comes_back(projection: Projection) -> Map<String, Value> {
        comes_back_on(Earth::sphere(6_371_229.0), projection)
    }

    #[test]
    fn every_projection_comes_back_exactly_and_has_its_cf_name() {
        let (latitude_origin, longitude_origin) = (38.0, -98.0);
        let lambert = |parallels| Projection::Lambert { latitude_origin, parallels, longitude_origin };
        assert_eq!(comes_back(lambert([38.5, 38.5]))["standard_parallel"], json!(38.5));
        assert_eq!(comes_back(lambert([33.0, 45.0]))["standard_parallel"], json!([33.0, 45.0]));
        assert_eq!(comes_back(Projection::LatLon)["earth_radius"], json!(6_371_229.0));
        let pole =
            Projection::PolarStereographic { latitude_origin: 90.0, latitude_true_scale: 60.0, longitude_origin };
        for (projection, name) in [
            (Projection::LatLon, "latitude_longitude"),
            (Projection::Gaussian { rows: 8 }, "latitude_longitude"),
            (Projection::RotatedLatLon { south_pole: [-36.0, 245.0] }, "rotated_latitude_longitude"),
            (Projection::Mercator { latitude_true_scale: 20.0 }, "mercator"),
            (pole, "polar_stereographic"),
            (lambert([33.0, 45.0]), "lambert_conformal_conic"),
            (
                Projection::Albers { latitude_origin, parallels: [30.0; 2], longitude_origin },
                "albers_conical_equal_area",
            ),
            (Projection::AzimuthalEqualArea { latitude_origin, longitude_origin }, "lambert_azimuthal_equal_area"),
        ] {
            assert_eq!(comes_back(projection)["grid_mapping_name"], json!(name));
        }
    }

    #[test]
    fn an_ellipsoid_has_its_axis_and_flattening() {
        let earth = Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 };
        let attributes = comes_back_on(earth, Projection::LatLon);
        assert_eq!(attributes["semi_major_axis"], json!(6_378_137.0));
        assert!((attributes["inverse_flattening"].as_f64().expect("a number") - 298.257_223_563).abs() < 1e-9);
        assert!(!attributes.contains_key("earth_radius"));
    }

    #[test]
    fn a_grid_of_before_there_were_ellipsoids_is_read() {
        let text = r#"{"projection":{"type":"lat_lon"},"radius_m":6371229.0,"nx":3,"ny":2,"x0":0.0,"y0":1.0,"dx":1.0,"dy":1.0}"#;
        let found = grid(&Map::from_iter([(GRID.to_string(), json!(text))])).expect("a grid");
        assert_eq!(found.earth, Earth::sphere(6_371_229.0));
        assert_eq!(exact(&found), text);
    }

    #[test]
    fn attributes_without_a_grid_hold_none() {
        assert_eq!(grid(&Map::new()), None);
        assert_eq!(grid(&Map::from_iter([(GRID.to_string(), json!("{}"))])), None);
    }
}
