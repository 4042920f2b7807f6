//! What a Zarr store of storm events holds.

use std::io::Write;

use gustfront::formats::zarr::events::{EventArray, EventReader, SPLITS};
use serde_json::{Value, json};

/// Prints how many events there are, by modality and by split, as a table or as one JSON object.
pub(super) fn print(location: &str, store: &EventReader, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let modalities: Vec<(String, usize, usize)> =
        store.arrays().iter().enumerate().map(|(at, array)| row(store, at, array)).collect();
    let splits = SPLITS.iter().enumerate().map(|(split, name)| (*name, of_split(store, split)));
    let splits: Vec<(&str, usize)> = splits.filter(|(_, count)| *count > 0).collect();
    if as_json {
        let of =
            |(name, size, count): &(String, usize, usize)| json!({"modality": name, "points": size, "events": count});
        let splits: serde_json::Map<String, Value> =
            splits.iter().map(|(n, count)| ((*n).into(), (*count).into())).collect();
        let modalities: Vec<Value> = modalities.iter().map(of).collect();
        let line = json!({"store": location, "events": store.events(), "splits": splits, "modalities": modalities});
        return Ok(writeln!(out, "{line}")?);
    }
    let splits: Vec<String> = splits.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    writeln!(out, "{location}: storm events: {} ({})", store.events(), splits.join(", "))?;
    let mut rows = vec![["modality", "points", "events"].map(String::from).to_vec()];
    rows.extend(
        modalities.into_iter().map(|(name, size, count)| vec![name, format!("{size}×{size}"), count.to_string()]),
    );
    Ok(super::table(&rows, out)?)
}

/// The name of a modality, the points along a side of its frames, and how many events have it.
fn row(store: &EventReader, at: usize, array: &EventArray) -> (String, usize, usize) {
    let events = (0..store.events()).filter(|event| store.has(*event, at)).count();
    (array.modality.to_string(), array.size, events)
}

fn of_split(store: &EventReader, split: usize) -> usize {
    (0..store.events()).filter(|event| usize::from(store.split(*event)) == split).count()
}
