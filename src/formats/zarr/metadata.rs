//! The metadata documents of a store: one an array, and the root group's, which holds copies of all of them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::StoreSpec;
use super::coordinates::{self, CRS, auxiliary, dimensions};
use super::layout::{ArrayLayout, Cut, sharded};

/// The layout that this program writes and reads.
pub(super) const FORMAT_VERSION: u64 = 1;

/// The conventions that the attributes keep.
pub(super) const CONVENTIONS: &str = "CF-1.11";

/// Names of the root's own attributes.
pub(super) const VERSION: &str = "gustfront_format_version";
pub(super) const ORIGIN: &str = "gustfront_origin";
pub(super) const STEP: &str = "gustfront_step_minutes";
pub(super) const LEADS: &str = "gustfront_lead_minutes";

/// Every array of a store with an init axis of `inits`, variables first.
pub(super) fn layouts(spec: &StoreSpec, inits: u64) -> Vec<ArrayLayout> {
    let variables = (0..spec.variables.len()).map(|at| variable(spec, at, inits));
    variables.chain(coordinates::layouts(spec, inits)).collect()
}

/// The key and bytes of every metadata document, the root's last.
pub(super) fn documents(spec: &StoreSpec, inits: u64) -> Vec<(String, Bytes)> {
    let layouts = layouts(spec, inits);
    let key = |layout: &ArrayLayout| format!("{}/zarr.json", layout.name);
    let mut documents: Vec<_> = layouts.iter().map(|l| (key(l), text(&l.document()))).collect();
    documents.push(("zarr.json".into(), text(&root(spec, &layouts))));
    documents
}

fn variable(spec: &StoreSpec, at: usize, inits: u64) -> ArrayLayout {
    let (variable, grid) = (&spec.variables[at], &*spec.grid);
    let (y, x) = (Cut::of(grid.ny), Cut::of(grid.nx));
    let mut attributes = Map::new();
    attributes.insert("long_name".into(), variable.long_name.as_str().into());
    attributes.insert("units".into(), variable.units.as_str().into());
    if let Some(standard_name) = &variable.standard_name {
        attributes.insert("standard_name".into(), standard_name.as_str().into());
    }
    attributes.insert("grid_mapping".into(), CRS.into());
    attributes.insert("coordinates".into(), auxiliary(grid).into());
    ArrayLayout {
        name: variable.name.to_string(),
        dimensions: dimensions(grid),
        shape: vec![inits, spec.leads.len() as u64, grid.ny as u64, grid.nx as u64],
        chunk: vec![1, 1, y.shard as u64, x.shard as u64],
        data_type: "float32",
        fill: json!("NaN"),
        codecs: sharded(y, x),
        attributes,
    }
}

fn root(spec: &StoreSpec, layouts: &[ArrayLayout]) -> Value {
    group(root_attributes(spec), layouts)
}

/// The document of a group, with copies of its arrays' documents.
pub(super) fn group(attributes: Map<String, Value>, layouts: &[ArrayLayout]) -> Value {
    let arrays: Map<String, Value> = layouts.iter().map(|l| (l.name.clone(), l.document())).collect();
    json!({
        "attributes": attributes,
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": false, "metadata": arrays},
        "node_type": "group",
    })
}

fn root_attributes(spec: &StoreSpec) -> Map<String, Value> {
    let mut attributes = Map::new();
    attributes.insert("Conventions".into(), CONVENTIONS.into());
    attributes.insert("title".into(), spec.title.as_str().into());
    attributes.extend(spec.attributes.clone());
    attributes.insert(VERSION.into(), FORMAT_VERSION.into());
    attributes.insert(ORIGIN.into(), spec.origin.to_string().into());
    attributes.insert(STEP.into(), spec.step.0.into());
    attributes.insert(LEADS.into(), spec.leads.iter().map(|lead| Value::from(lead.0)).collect());
    attributes
}

/// A document as it is stored.
pub(super) fn text(document: &Value) -> Bytes {
    let mut text = format!("{document:#}");
    text.push('\n');
    text.into()
}
