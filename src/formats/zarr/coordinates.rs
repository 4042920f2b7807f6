//! The coordinate arrays of a store: their metadata and their values.

use serde_json::{Map, Value, json};

use super::axis::{init_time, inits_per_day};
use super::layout::{ArrayLayout, packed, plain};
use super::{StoreSpec, crs};
use crate::domain::{Grid, Projection, Slot};

/// The array of flags.
pub(super) const PUBLISHED: &str = "published";
/// The grid-mapping variable.
pub(super) const CRS: &str = "crs";
const INIT_TIME: &str = "init_time";
const LEAD_TIME: &str = "lead_time";
const VALID_TIME: &str = "valid_time";
const LATITUDE: &str = "latitude";
const LONGITUDE: &str = "longitude";
const X: &str = "x";
const Y: &str = "y";

/// Units of every time in a store.
const EPOCH: &str = "seconds since 1970-01-01";

/// Whether a name is taken by a coordinate, the flags or the grid mapping.
pub(super) fn is_coordinate(name: &str) -> bool {
    [PUBLISHED, CRS, INIT_TIME, LEAD_TIME, VALID_TIME, LATITUDE, LONGITUDE, X, Y].contains(&name)
}

/// Whether every row has one latitude and every column one longitude that the axes can hold.
fn is_geographic(grid: &Grid) -> bool {
    matches!(grid.projection, Projection::LatLon | Projection::Gaussian { .. })
}

/// Names of the two dimensions of the grid, y first.
pub(super) fn plane(grid: &Grid) -> [&'static str; 2] {
    if is_geographic(grid) { [LATITUDE, LONGITUDE] } else { [Y, X] }
}

/// Names of all four dimensions.
pub(super) fn dimensions(grid: &Grid) -> Vec<&'static str> {
    let [y, x] = plane(grid);
    vec![INIT_TIME, LEAD_TIME, y, x]
}

/// The auxiliary coordinates of a variable, as its attribute `coordinates` lists them.
pub(super) fn auxiliary(grid: &Grid) -> &'static str {
    if is_geographic(grid) { "valid_time" } else { "latitude longitude valid_time" }
}

/// The flags and the coordinates for an init axis of `inits`.
pub(super) fn layouts(spec: &StoreSpec, inits: u64) -> Vec<ArrayLayout> {
    let mut layouts = vec![flags(spec, inits)];
    layouts.extend(times(spec, inits));
    layouts.extend(places(&spec.grid));
    layouts
}

/// Keys and bytes of the coordinates that never change.
pub(super) fn fixed_chunks(spec: &StoreSpec) -> Vec<(String, Vec<u8>)> {
    let grid = &*spec.grid;
    let [y, x] = plane(grid);
    let line = |first: f64, step: f64, count: usize| (0..count).map(|at| first + at as f64 * step).collect::<Vec<_>>();
    let minutes = spec.leads.iter().map(|lead| i64::from(lead.0)).flat_map(i64::to_le_bytes).collect();
    vec![
        (format!("{LEAD_TIME}/c/0"), minutes),
        (format!("{y}/c/0"), float_bytes(&rows(grid, line(grid.y0, grid.dy, grid.ny)))),
        (format!("{x}/c/0"), float_bytes(&line(grid.x0, grid.dx, grid.nx))),
    ]
}

/// The axis along y: Gaussian rows are given by their latitudes.
fn rows(grid: &Grid, y: Vec<f64>) -> Vec<f64> {
    if !matches!(grid.projection, Projection::Gaussian { .. }) {
        return y;
    }
    y.into_iter().map(|y| grid.to_geographic(grid.x0, y).map_or(f64::NAN, |(latitude, _)| latitude)).collect()
}

/// Latitudes and longitudes of every point where the grid's plane is not made of them: keys and values to be packed.
pub(super) fn geographic_chunks(grid: &Grid) -> Vec<(String, Vec<f64>)> {
    if is_geographic(grid) {
        return Vec::new();
    }
    let points = grid.coordinates();
    vec![(format!("{LATITUDE}/c/0/0"), points.latitude), (format!("{LONGITUDE}/c/0/0"), points.longitude)]
}

/// Keys and bytes of the times of the `day`-th day of the init axis.
pub(super) fn day_chunks(spec: &StoreSpec, day: u64) -> Vec<(String, Vec<u8>)> {
    let per_day = inits_per_day(spec);
    let inits: Vec<_> = (day * per_day..(day + 1) * per_day).map(|init| init_time(spec, init)).collect();
    let valid = inits.iter().flat_map(|init| spec.leads.iter().map(|lead| Slot::new(*init, *lead).valid().0));
    vec![
        (format!("{INIT_TIME}/c/{day}"), inits.iter().flat_map(|init| init.0.to_le_bytes()).collect()),
        (format!("{VALID_TIME}/c/{day}/0"), valid.flat_map(u64::to_le_bytes).collect()),
    ]
}

fn flags(spec: &StoreSpec, inits: u64) -> ArrayLayout {
    let attributes = object(json!({
        "long_name": "whether everything of this init and lead is written",
        "flag_values": [0, 1],
        "flag_meanings": "not_yet_whole whole",
        "coordinates": VALID_TIME,
    }));
    ArrayLayout {
        name: PUBLISHED.into(),
        dimensions: vec![INIT_TIME, LEAD_TIME],
        shape: vec![inits, spec.leads.len() as u64],
        chunk: vec![1, 1],
        data_type: "int8",
        fill: json!(0),
        codecs: json!([{"name": "bytes"}]),
        attributes,
    }
}

fn times(spec: &StoreSpec, inits: u64) -> [ArrayLayout; 3] {
    let (per_day, leads) = (inits_per_day(spec), spec.leads.len() as u64);
    let time = |standard_name: &str, long_name: &str| json!({"standard_name": standard_name, "long_name": long_name, "units": EPOCH, "calendar": "proleptic_gregorian"});
    // xarray decodes minutes into durations only where `dtype` asks for it.
    let lead = json!({"standard_name": "forecast_period", "long_name": "time since the forecast's start",
        "units": "minutes", "dtype": "timedelta64[ns]"});
    let init = time("forecast_reference_time", "start of the forecast");
    let valid = time("time", "time the values are valid at");
    [
        integers(INIT_TIME, &[INIT_TIME], &[inits], &[per_day], init),
        integers(LEAD_TIME, &[LEAD_TIME], &[leads], &[leads], lead),
        integers(VALID_TIME, &[INIT_TIME, LEAD_TIME], &[inits, leads], &[per_day, leads], valid),
    ]
}

fn places(grid: &Grid) -> Vec<ArrayLayout> {
    let latitude = json!({"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"});
    let longitude = json!({"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"});
    let ([y, x], [ny, nx]) = (plane(grid), [grid.ny as u64, grid.nx as u64]);
    let mut places = if is_geographic(grid) {
        let axis = |mut attributes: Value, axis: &str| {
            attributes["axis"] = axis.into();
            attributes
        };
        vec![line(y, ny, axis(latitude, "Y")), line(x, nx, axis(longitude, "X"))]
    } else {
        let turned = matches!(grid.projection, Projection::RotatedLatLon { .. });
        let [y_name, x_name, units] = if turned {
            ["grid_latitude", "grid_longitude", "degrees"]
        } else {
            ["projection_y_coordinate", "projection_x_coordinate", "m"]
        };
        let along = |axis: &str, standard_name: &str| json!({"standard_name": standard_name, "long_name": standard_name.replace('_', " "), "units": units, "axis": axis});
        let square = |name, attributes| floats(name, &[y, x], &[ny, nx], packed(size_of::<f64>()), attributes);
        vec![
            line(y, ny, along("Y", y_name)),
            line(x, nx, along("X", x_name)),
            square(LATITUDE, latitude),
            square(LONGITUDE, longitude),
        ]
    };
    places.push(integers(CRS, &[], &[], &[], Value::Object(crs::attributes(grid))));
    places
}

fn integers(name: &str, dimensions: &[&'static str], shape: &[u64], chunk: &[u64], attributes: Value) -> ArrayLayout {
    ArrayLayout {
        name: name.into(),
        dimensions: dimensions.to_vec(),
        shape: shape.to_vec(),
        chunk: chunk.to_vec(),
        data_type: "int64",
        fill: json!(0),
        codecs: plain(),
        attributes: object(attributes),
    }
}

fn line(name: &'static str, length: u64, attributes: Value) -> ArrayLayout {
    floats(name, &[name], &[length], plain(), attributes)
}

fn floats(name: &str, dimensions: &[&'static str], shape: &[u64], codecs: Value, attributes: Value) -> ArrayLayout {
    ArrayLayout {
        name: name.into(),
        dimensions: dimensions.to_vec(),
        shape: shape.to_vec(),
        chunk: shape.to_vec(),
        data_type: "float64",
        fill: json!("NaN"),
        codecs,
        attributes: object(attributes),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn float_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
