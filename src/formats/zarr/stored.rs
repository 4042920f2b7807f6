//! Reads what a store holds out of its root group's metadata.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::coordinates::CRS;
use super::metadata::{FORMAT_VERSION, LEADS, ORIGIN, STEP, VERSION};
use super::spec::OWN_PREFIX;
use super::{ArraySpec, StoreSpec, ZarrError, crs};
use crate::domain::{Lead, Moment};

/// What the root group's metadata says.
pub(super) struct Stored {
    pub(super) spec: StoreSpec,
    /// Length of the init axis.
    pub(super) inits: u64,
}

#[derive(Deserialize)]
struct Root {
    #[serde(default)]
    attributes: Map<String, Value>,
    consolidated_metadata: Option<Consolidated>,
}

#[derive(Deserialize)]
struct Consolidated {
    metadata: Map<String, Value>,
}

/// Reads the root's metadata document; `store` and `key` are for the message.
pub(super) fn read(document: &[u8], store: &str, key: &str) -> Result<Stored, ZarrError> {
    let wrong = |reason: String| ZarrError::Metadata { store: store.to_string(), key: key.to_string(), reason };
    let root: Root = serde_json::from_slice(document).map_err(|e| wrong(e.to_string()))?;
    let found = root.attributes.get(VERSION).and_then(Value::as_u64);
    let found = found.ok_or_else(|| wrong(format!("the attribute `{VERSION}` is missing")))?;
    if found != FORMAT_VERSION {
        return Err(ZarrError::Version { store: store.to_string(), found, expected: FORMAT_VERSION });
    }
    interpret(root).map_err(wrong)
}

fn interpret(root: Root) -> Result<Stored, String> {
    let arrays = root.consolidated_metadata.ok_or("there is no consolidated metadata")?.metadata;
    let crs_attributes = arrays.get(CRS).and_then(|array| array["attributes"].as_object());
    let grid = crs_attributes.and_then(crs::grid).ok_or("the array `crs` holds no grid")?;
    let shape = arrays.get("init_time").and_then(|array| array["shape"][0].as_u64());
    let spec = StoreSpec {
        title: root.attributes.get("title").and_then(Value::as_str).unwrap_or_default().to_string(),
        origin: origin(&root.attributes)?,
        step: Lead(minutes(root.attributes.get(STEP)).ok_or(format!("the attribute `{STEP}` is no number"))?),
        leads: leads(&root.attributes)?,
        grid: Arc::new(grid),
        variables: arrays.iter().filter_map(|(name, array)| variable(name, array)).collect(),
        attributes: root.attributes.into_iter().filter(|(name, _)| is_given(name)).collect(),
    };
    let inits = shape.ok_or("the array `init_time` has no shape")?;
    match spec.mistake() {
        Some(mistake) => Err(mistake),
        None => Ok(Stored { spec, inits }),
    }
}

fn origin(attributes: &Map<String, Value>) -> Result<Moment, String> {
    let text = attributes.get(ORIGIN).and_then(Value::as_str).unwrap_or_default();
    text.parse().map_err(|e| format!("the attribute `{ORIGIN}`: {e}"))
}

fn leads(attributes: &Map<String, Value>) -> Result<Vec<Lead>, String> {
    let list = attributes.get(LEADS).and_then(Value::as_array);
    let leads = list.and_then(|list| list.iter().map(|lead| minutes(Some(lead)).map(Lead)).collect());
    leads.ok_or(format!("the attribute `{LEADS}` is no list of minutes"))
}

fn minutes(value: Option<&Value>) -> Option<u32> {
    u32::try_from(value?.as_u64()?).ok()
}

/// The variables are the arrays that have a grid mapping.
fn variable(name: &str, array: &Value) -> Option<ArraySpec> {
    let attributes = array["attributes"].as_object()?;
    attributes.get("grid_mapping")?;
    let text = |key: &str| attributes.get(key).and_then(Value::as_str).map(str::to_string);
    Some(ArraySpec {
        name: name.into(),
        long_name: text("long_name").unwrap_or_default(),
        units: text("units").unwrap_or_default(),
        standard_name: text("standard_name"),
    })
}

fn is_given(name: &str) -> bool {
    !matches!(name, "Conventions" | "title") && !name.starts_with(OWN_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::documents;
    use super::super::store::tests::small_spec;
    use super::*;

    fn root(spec: &StoreSpec, inits: u64) -> String {
        let (_, bytes) = documents(spec, inits).pop().expect("the root is last");
        String::from_utf8(bytes.to_vec()).expect("JSON is text")
    }

    #[test]
    fn what_is_stored_comes_back_and_is_stored_the_same_again() {
        let spec = small_spec().as_stored();
        let text = root(&spec, 48);
        let stored = read(text.as_bytes(), "here", "zarr.json").expect("our own metadata");
        assert_eq!((stored.spec.clone(), stored.inits), (spec, 48));
        assert_eq!(root(&stored.spec, stored.inits), text);
    }

    #[test]
    fn other_metadata_is_refused_with_a_reason() {
        let text = root(&small_spec().as_stored(), 24);
        let reason = |text: &str| match read(text.as_bytes(), "here", "zarr.json") {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(
            reason(&text.replace("\"gustfront_format_version\": 1", "\"gustfront_format_version\": 2"))
                .contains("version 2")
        );
        assert!(reason(&text.replace(VERSION, "version")).contains("is missing"));
        assert!(reason(&text.replace("gustfront_grid", "grid")).contains("holds no grid"));
        assert!(reason(&text.replace(LEADS, "leads")).contains("no list of minutes"));
        assert!(reason(&text.replace(ORIGIN, "start")).contains(ORIGIN));
        assert!(reason(&text.replace("\"grid_mapping\"", "\"mapping\"")).contains("one or more variables"));
        assert!(reason(&text[..text.len() / 2]).contains("not the metadata"));
        assert!(reason("{}").contains("is missing"));
        assert!(reason("[1]").contains("not the metadata"));
    }
}
