//! The metadata of a store of events, and what is found of a shard.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::layout::ArrayLayout;
use super::super::metadata::{CONVENTIONS, group, text};
use super::Findings;
use super::catalogue::{self, auxiliary, plane};
use super::shard::ZSTD_LEVEL;
use super::spec::{EventArray, EventStoreSpec, Packing};
use super::times::lightning_attributes;
use crate::domain::{FRAMES, Modality};

/// The layout that this program writes and reads.
pub(super) const FORMAT_VERSION: u64 = 1;
/// The root's attribute that holds it.
pub(super) const VERSION: &str = "gustfront_event_store_version";
/// Attributes of an array: a model is given (x - shift) / scale.
pub(super) const SHIFT: &str = "normalisation_shift";
pub(super) const SCALE: &str = "normalisation_scale";
/// Which modalities of an event are there.
pub const PRESENT: &str = "present";
/// Missing points by event, modality and frame.
pub const MISSING_POINTS: &str = "missing_points";
/// What stands for the missing points of what is not there.
const UNKNOWN: i32 = -1;

/// The key and bytes of every metadata document, the root's last.
pub(super) fn metadata(spec: &EventStoreSpec) -> Vec<(String, Bytes)> {
    let mut layouts: Vec<ArrayLayout> = spec.arrays.iter().map(|array| frames(spec, array)).collect();
    layouts.extend(found(spec));
    layouts.extend(catalogue::layouts(spec));
    let document = |layout: &ArrayLayout| (format!("{}/zarr.json", layout.name), text(&layout.document()));
    let mut documents: Vec<_> = layouts.iter().map(document).collect();
    documents.push(("zarr.json".into(), text(&group(attributes(spec), &layouts))));
    documents
}

/// The objects that say what was found of a shard, `present` last.
pub(super) fn conclusions(spec: &EventStoreSpec, shard: u64, findings: &[Vec<Findings>]) -> Vec<(String, Bytes)> {
    let rows = |event: usize| {
        (0..spec.arrays.len()).map(move |array| findings.get(event).and_then(|row| row.get(array).copied().flatten()))
    };
    let all: Vec<Findings> = (0..spec.group).flat_map(rows).collect();
    let counts = |found: &Findings| match found {
        Some(counts) => counts.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        None => [UNKNOWN; FRAMES],
    };
    let missing: Vec<u8> = all.iter().flat_map(counts).flat_map(i32::to_le_bytes).collect();
    let present: Vec<u8> = all.iter().map(|found| u8::from(found.is_some())).collect();
    vec![
        (format!("{MISSING_POINTS}/c/{shard}/0/0"), missing.into()),
        (format!("{PRESENT}/c/{shard}/0"), present.into()),
    ]
}

fn attributes(spec: &EventStoreSpec) -> Map<String, Value> {
    let mut attributes = Map::new();
    attributes.insert("Conventions".into(), CONVENTIONS.into());
    attributes.insert("title".into(), spec.title.as_str().into());
    attributes.extend(spec.attributes.clone());
    attributes.insert(VERSION.into(), FORMAT_VERSION.into());
    attributes
}

fn frames(spec: &EventStoreSpec, array: &EventArray) -> ArrayLayout {
    let side = array.size as u64;
    let [y, x] = plane(spec, array.size);
    ArrayLayout {
        name: array.modality.to_string(),
        dimensions: vec!["event", "frame", y, x],
        shape: vec![spec.events.len() as u64, FRAMES as u64, side, side],
        chunk: vec![spec.group as u64, FRAMES as u64, side, side],
        data_type: array.element().name(),
        fill: array.element().missing().into(),
        codecs: sharded(side, spec.packing, array.element().width()),
        attributes: describe(spec, array),
    }
}

/// Frames are inner chunks.
fn sharded(side: u64, packing: Packing, width: usize) -> Value {
    let bytes = if width == 1 {
        json!({"name": "bytes"})
    } else {
        json!({"name": "bytes", "configuration": {"endian": "little"}})
    };
    let codecs = match packing {
        Packing::None => json!([bytes]),
        Packing::Zstd => {
            json!([bytes, {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": false}}])
        }
    };
    json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 1, side, side],
        "codecs": codecs,
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }}])
}

/// What an array says of itself: units as CF has them, what is missing, how a model is given it.
fn describe(spec: &EventStoreSpec, array: &EventArray) -> Map<String, Value> {
    let step = array.modality.step();
    let celsius = |channel: &str| {
        json!({"long_name": format!("brightness temperature, {channel}"),
        "standard_name": "brightness_temperature", "units": "degree_Celsius", "scale_factor": step})
    };
    let own = match array.modality {
        Modality::Vis => json!({"long_name": "reflectance at 0.64 µm", "units": "1", "scale_factor": step}),
        Modality::Ir069 => celsius("6.9 µm (water vapour)"),
        Modality::Ir107 => celsius("10.7 µm (window)"),
        Modality::Vil => json!({"long_name": "vertically integrated liquid, encoded", "units": "1",
            "comment": "kg m-2: 0 up to 5, (x - 2) / 90.66 up to 18, exp((x - 83.9) / 38.9) up to 254"}),
        Modality::Lght => json!({"long_name": "lightning flashes in five minutes", "units": "1",
            "native_points": Modality::Lght.size()}),
    };
    let mut attributes = match own {
        Value::Object(attributes) => attributes,
        _ => Map::new(),
    };
    if array.modality == Modality::Lght {
        attributes.extend(lightning_attributes(spec));
    }
    attributes.insert("_FillValue".into(), array.element().missing().into());
    attributes.insert("grid_mapping".into(), catalogue::CRS.into());
    attributes.insert("coordinates".into(), auxiliary(spec, array.size).into());
    if let Some(normalisation) = array.normalisation {
        attributes.insert(SHIFT.into(), normalisation.shift.into());
        attributes.insert(SCALE.into(), normalisation.scale.into());
    }
    attributes
}

/// The arrays that [`conclusions`] fill.
fn found(spec: &EventStoreSpec) -> [ArrayLayout; 2] {
    let (events, group, arrays) = (spec.events.len() as u64, spec.group as u64, spec.arrays.len() as u64);
    let plain =
        |name: &str, longer: Option<u64>, data_type, fill: Value, codecs: Value, attributes: Value| ArrayLayout {
            name: name.into(),
            dimensions: ["event", "modality"].into_iter().chain(longer.map(|_| "frame")).collect(),
            shape: [events, arrays].into_iter().chain(longer).collect(),
            chunk: [group, arrays].into_iter().chain(longer).collect(),
            data_type,
            fill,
            codecs,
            attributes: attributes.as_object().cloned().unwrap_or_default(),
        };
    let little = json!([{"name": "bytes", "configuration": {"endian": "little"}}]);
    [
        plain(
            PRESENT,
            None,
            "int8",
            json!(0),
            json!([{"name": "bytes"}]),
            json!({
                "long_name": "whether the modality of this event is there",
                "flag_values": [0, 1],
                "flag_meanings": "absent present",
            }),
        ),
        plain(
            MISSING_POINTS,
            Some(FRAMES as u64),
            "int32",
            json!(UNKNOWN),
            little,
            json!({
                "long_name": "missing points of the frame; -1 where the modality is not there",
                "units": "1",
            }),
        ),
    ]
}
