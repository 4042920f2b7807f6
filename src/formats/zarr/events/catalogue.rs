//! What is known of events beforehand, as coordinate arrays: their metadata and their values, one chunk each.

use serde_json::{Map, Value, json};

use super::super::crs;
use super::super::layout::{ArrayLayout, plain};
use super::spec::{CatalogueEvent, EventStoreSpec, SPLITS};
use super::times::lightning_minutes;
use crate::domain::{Event, FRAMES, Grid, Modality};

/// The grid-mapping variable.
pub(super) const CRS: &str = "crs";
/// What stands for an offset that the catalogue does not state.
pub(super) const NO_OFFSET: i16 = i16::MIN;
/// Units of times.
const EPOCH: &str = "seconds since 1970-01-01";

/// Names of the dimensions of a frame, y first: plain where all modalities are of one size.
pub(super) fn plane(spec: &EventStoreSpec, size: usize) -> [&'static str; 2] {
    if spec.arrays.iter().all(|array| array.size == size) {
        return ["y", "x"];
    }
    match size {
        48 => ["y_48", "x_48"],
        192 => ["y_192", "x_192"],
        384 => ["y_384", "x_384"],
        _ => ["y_768", "x_768"],
    }
}

/// The auxiliary coordinates of a modality.
pub(super) fn auxiliary(spec: &EventStoreSpec, size: usize) -> String {
    let [y, x] = plane(spec, size);
    format!("time split kind projection_{y} projection_{x}")
}

/// Sizes of frames, each once, ascending.
fn sizes(spec: &EventStoreSpec) -> Vec<usize> {
    let mut sizes: Vec<usize> = spec.arrays.iter().map(|array| array.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The metadata of every coordinate.
pub(super) fn layouts(spec: &EventStoreSpec) -> Vec<ArrayLayout> {
    let (events, arrays) = (spec.events.len(), spec.arrays.len());
    let flags: Vec<usize> = (0..SPLITS.len()).collect();
    let mut layouts = vec![
        texts(
            "event",
            "event",
            events,
            json!({"long_name": "SEVIR's identifier of the event", "cf_role": "timeseries_id"}),
        ),
        texts("modality", "modality", arrays, json!({"long_name": "what was observed"})),
        texts("kind", "event", events, json!({"long_name": "kind of storm reported; empty for a random place"})),
        array(
            "time",
            &["event"],
            &[events],
            "int64",
            json!(0),
            json!({"standard_name": "time",
            "long_name": "time that the frames' offsets are counted from", "units": EPOCH, "calendar": "proleptic_gregorian"}),
        ),
        array(
            "split",
            &["event"],
            &[events],
            "int8",
            json!(0),
            json!({"long_name": "what the event is used for",
            "flag_values": flags, "flag_meanings": SPLITS.join(" ")}),
        ),
        array(
            "corners",
            &["event", "corner"],
            &[events, 4],
            "float64",
            json!("NaN"),
            json!({"units": "degrees",
            "long_name": "latitude and longitude of the lower left corner, then of the upper right one"}),
        ),
        array(
            "frame_offset",
            &["event", "modality", "frame"],
            &[events, arrays, FRAMES],
            "int16",
            json!(NO_OFFSET),
            json!({
            "long_name": "time of the frame after the event's time, of images as the catalogue states it", "units": "minutes",
            "dtype": "timedelta64[ns]", "_FillValue": NO_OFFSET}),
        ),
        array(CRS, &[], &[], "int64", json!(0), Value::Object(plane_attributes(spec))),
    ];
    layouts.extend(sizes(spec).into_iter().flat_map(|size| places(spec, size)));
    layouts
}

/// Offsets within an event, and the place in the plane, along both sides of a frame.
fn places(spec: &EventStoreSpec, size: usize) -> Vec<ArrayLayout> {
    let along = |name: &'static str, letter: &str, edge: &str| {
        let offset =
            json!({"long_name": format!("distance of the point's centre from the event's {edge} edge"), "units": "m"});
        let place = json!({"standard_name": format!("projection_{letter}_coordinate"),
            "long_name": format!("{letter} coordinate of projection"), "units": "m", "axis": letter.to_uppercase()});
        [
            array(name, &[name], &[size], "float64", json!("NaN"), offset),
            array(
                &format!("projection_{name}"),
                &["event", name],
                &[spec.events.len(), size],
                "float64",
                json!("NaN"),
                place,
            ),
        ]
    };
    let [y, x] = plane(spec, size);
    along(y, "y", "southern").into_iter().chain(along(x, "x", "western")).collect()
}

/// Keys and bytes of every coordinate's one chunk.
pub(super) fn chunks(spec: &EventStoreSpec) -> Vec<(String, Vec<u8>)> {
    let events = || spec.events.iter().map(|entry| &*entry.event);
    let seconds = |event: &Event| i64::try_from(event.time.0).unwrap_or(i64::MAX).to_le_bytes();
    let modalities: Vec<&str> = spec.arrays.iter().map(|array| array.modality.label()).collect();
    let corners: Vec<f64> = events().flat_map(|event| event.corners).collect();
    let mut chunks = vec![
        ("event/c/0".to_string(), text_bytes(&events().map(|event| &*event.id).collect::<Vec<_>>())),
        ("modality/c/0".into(), text_bytes(&modalities)),
        ("kind/c/0".into(), text_bytes(&events().map(|event| &*event.kind).collect::<Vec<_>>())),
        ("time/c/0".into(), events().flat_map(seconds).collect()),
        ("split/c/0".into(), spec.events.iter().map(|entry: &CatalogueEvent| entry.split).collect()),
        ("corners/c/0/0".into(), float_bytes(&corners)),
        (
            "frame_offset/c/0/0/0".into(),
            events().flat_map(|event| offsets(spec, event)).flat_map(i16::to_le_bytes).collect(),
        ),
    ];
    for size in sizes(spec) {
        let [y, x] = plane(spec, size);
        let grids: Vec<Option<Grid>> = events().map(|event| event.grid(size).ok()).collect();
        let inside = |step: f64| (0..size).map(move |at| (at as f64 + 0.5) * step);
        let step = grids.iter().flatten().next().map_or(f64::NAN, |grid| grid.dx);
        let along = |grid: &Option<Grid>, axis: fn(&Grid) -> (f64, f64)| {
            let (first, step) = grid.as_ref().map_or((f64::NAN, f64::NAN), axis);
            (0..size).map(move |at| first + at as f64 * step).collect::<Vec<f64>>()
        };
        let ys: Vec<f64> = grids.iter().flat_map(|grid| along(grid, |grid| (grid.y0, grid.dy))).collect();
        let xs: Vec<f64> = grids.iter().flat_map(|grid| along(grid, |grid| (grid.x0, grid.dx))).collect();
        for (name, places) in [(y, ys), (x, xs)] {
            chunks.push((format!("{name}/c/0"), float_bytes(&inside(step).collect::<Vec<_>>())));
            chunks.push((format!("projection_{name}/c/0/0"), float_bytes(&places)));
        }
    }
    chunks
}

/// The grid mapping that all events share; an event's corner that is not on the map has no part in it.
fn plane_attributes(spec: &EventStoreSpec) -> Map<String, Value> {
    let grid = spec.events.iter().find_map(|entry| entry.event.grid(1).ok());
    grid.map_or_else(Map::new, |grid| crs::plane(grid.projection, grid.earth))
}

fn offsets(spec: &EventStoreSpec, event: &Event) -> Vec<i16> {
    let of = |modality: Modality| match event.parts.get(&modality) {
        Some(_) if modality == Modality::Lght => lightning_minutes(),
        part => part.and_then(|part| part.minutes).unwrap_or([NO_OFFSET; FRAMES]),
    };
    spec.arrays.iter().flat_map(|array| of(array.modality)).collect()
}

fn array(
    name: &str,
    dimensions: &[&'static str],
    shape: &[usize],
    data_type: &'static str,
    fill: Value,
    attributes: Value,
) -> ArrayLayout {
    let shape: Vec<u64> = shape.iter().map(|length| *length as u64).collect();
    ArrayLayout {
        name: name.into(),
        dimensions: dimensions.to_vec(),
        chunk: shape.clone(),
        shape,
        data_type,
        fill,
        codecs: if data_type == "int8" { json!([{"name": "bytes"}]) } else { plain() },
        attributes: attributes.as_object().cloned().unwrap_or_default(),
    }
}

fn texts(name: &str, dimension: &'static str, length: usize, attributes: Value) -> ArrayLayout {
    let codecs = json!([{"name": "vlen-utf8", "configuration": {}}]);
    ArrayLayout { codecs, ..array(name, &[dimension], &[length], "string", json!(""), attributes) }
}

/// Texts of any length: how many, then the length and the bytes of each, lengths in 32 bits (numcodecs, `vlen-utf8`).
fn text_bytes(texts: &[&str]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = length(texts.len()).to_vec();
    for text in texts {
        bytes.extend(length(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn float_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
