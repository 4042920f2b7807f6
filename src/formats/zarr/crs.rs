//! A grid as CF grid-mapping attributes, and exactly, as JSON.

use serde_json::{Map, Value, json};

use crate::domain::{Grid, Projection};

/// The attribute that holds the grid exactly.
const GRID: &str = "gustfront_grid";

/// The attributes of the grid-mapping variable (CF 1.11, appendix F) and the grid itself.
pub(super) fn attributes(grid: &Grid) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mapping = match grid.projection {
        Projection::LatLon => json!({
            "grid_mapping_name": "latitude_longitude",
            "longitude_of_prime_meridian": 0.0,
        }),
        Projection::Lambert { latitude_origin, parallels, longitude_origin } => json!({
            "grid_mapping_name": "lambert_conformal_conic",
            "standard_parallel": standard_parallel(parallels),
            "longitude_of_central_meridian": longitude_origin,
            "latitude_of_projection_origin": latitude_origin,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }),
        Projection::AzimuthalEqualArea { latitude_origin, longitude_origin } => json!({
            "grid_mapping_name": "lambert_azimuthal_equal_area",
            "longitude_of_projection_origin": longitude_origin,
            "latitude_of_projection_origin": latitude_origin,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }),
    };
    if let Value::Object(mapping) = mapping {
        attributes.extend(mapping);
    }
    attributes.insert("earth_radius".into(), grid.radius_m.into());
    attributes.insert(GRID.into(), exact(grid).into());
    attributes
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

    fn comes_back(projection: Projection) -> Map<String, Value> {
        let (x0, y0) = (-2_697_520.142_521_929, 0.1 + 0.2);
        let original =
            Grid { projection, earth: Earth::sphere(6_371_229.0), nx: 3, ny: 2, x0, y0, dx: 3000.0, dy: -1.0 / 3.0 };
        let attributes = attributes(&original);
        assert_eq!(grid(&attributes), Some(original));
        attributes
    }

    #[test]
    fn every_projection_comes_back_exactly_and_has_its_cf_name() {
        let lambert = |parallels| Projection::Lambert { latitude_origin: 38.5, parallels, longitude_origin: 262.5 };
        assert_eq!(comes_back(lambert([38.5, 38.5]))["standard_parallel"], json!(38.5));
        assert_eq!(comes_back(lambert([33.0, 45.0]))["standard_parallel"], json!([33.0, 45.0]));
        let area = Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 };
        assert_eq!(comes_back(area)["grid_mapping_name"], json!("lambert_azimuthal_equal_area"));
        assert_eq!(comes_back(Projection::LatLon)["earth_radius"], json!(6_371_229.0));
    }

    #[test]
    fn attributes_without_a_grid_hold_none() {
        assert_eq!(grid(&Map::new()), None);
        assert_eq!(grid(&Map::from_iter([(GRID.to_string(), json!("{}"))])), None);
    }
}
