//! What a folder or prefix is that is no finished store, and what to inspect instead.

use gustfront::domain::Modality;
use gustfront::storage::{ObjectStore, StorageError};
use serde_json::Value;

/// The root's metadata of a store, and of each array in it.
const METADATA: &str = "zarr.json";

/// What is at a location, in words that end with what is expected; `None` where nothing is known of it.
///
/// # Errors
/// Where it cannot be looked at.
pub(super) fn guess(location: &str, objects: &dyn ObjectStore) -> Result<Option<String>, StorageError> {
    let here = location.trim_end_matches('/');
    let above = here.rsplit_once('/').map_or("the folder above", |(above, _)| above);
    if let Some(bytes) = objects.get(METADATA)? {
        let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let is_array = document["node_type"] == "array";
        return Ok(is_array.then(|| format!("this is one array of a Zarr store; expected the whole: {above}")));
    }
    let folders = objects.list_folders("")?;
    let names = || folders.iter().map(|folder| folder.trim_end_matches('/'));
    if objects.head("CATALOG.csv")?.is_some() {
        return Ok(Some(format!(
            "these are SEVIR's files; expected one of them, such as {here}/CATALOG.csv or an HDF5 file below {here}/data"
        )));
    }
    if let Some(store) = names().find(|name| name.ends_with(".zarr")) {
        return Ok(Some(format!("this is an output; expected a store in it: {here}/{store}")));
    }
    if names().any(|name| name.parse::<Modality>().is_ok()) {
        return Ok(Some(format!(
            "this is a store of storm events that is not complete: its {METADATA} comes last; expected a complete one, \
             and `gustfront status PIPELINE.toml --output {above}` tells how far it is"
        )));
    }
    if names().eq(["c"]) {
        return Ok(Some(format!("this is one array of a store that is not complete; expected the whole: {above}")));
    }
    let object = names().find(|name| name.starts_with("hrrr."));
    Ok(object.map(|day| format!("these are HRRR's objects; expected a file, such as one below {here}/{day}/conus")))
}
