//! What a Zarr store of storm events holds.

use std::io::{self, Write};

use gustfront::formats::zarr::events::{EventArray, EventReader, LIGHTNING_BINS, Normalisation, SPLITS};
use gustfront::storage::ObjectStore;
use serde_json::{Map, Value, json};

/// Attributes of a store that are told as they are.
const TOLD: [&str; 4] = ["source", "pipeline", "normalisation", LIGHTNING_BINS];
/// How the source of a store begins that holds nothing observed.
const SYNTHETIC: &str = "SYNTHETIC";

/// Prints what a store holds, as a table or as one JSON object: how many events by modality and by split, when they were,
/// how their frames are packed, and what readers are told to normalise with.
pub(super) fn print(
    location: &str,
    store: &EventReader,
    objects: &dyn ObjectStore,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let times = store.times()?;
    let period = times.iter().min().zip(times.iter().max());
    let splits = SPLITS.iter().enumerate().map(|(at, name)| (*name, of_split(store, at)));
    let found = Found {
        store,
        bytes: objects.list("")?.iter().map(|meta| meta.size).sum(),
        period: period.map(|(first, last)| [first.to_string(), last.to_string()]),
        splits: splits.filter(|(_, events)| *events > 0).collect(),
        rows: store.arrays().iter().enumerate().map(|(at, array)| Row::of(store, at, *array)).collect(),
    };
    if as_json { Ok(writeln!(out, "{}", found.json(location))?) } else { Ok(found.text(location, out)?) }
}

/// What is told of a store.
struct Found<'a> {
    store: &'a EventReader,
    /// Of all objects.
    bytes: u64,
    /// The times of the first and the last event.
    period: Option<[String; 2]>,
    splits: Vec<(&'static str, usize)>,
    rows: Vec<Row>,
}

impl Found<'_> {
    fn json(&self, location: &str) -> Value {
        let split = |(name, events): &(&str, usize)| ((*name).to_string(), Value::from(*events));
        let mut line = json!({
            "store": location,
            "events": self.store.events(),
            "bytes": self.bytes,
            "period": self.period,
            "splits": self.splits.iter().map(split).collect::<Map<_, _>>(),
            "codec": self.store.packing().label(),
            "shard_events": self.store.group(),
            "synthetic": is_synthetic(self.store),
            "modalities": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        TOLD.iter().for_each(|key| line[*key] = attribute(self.store, key).into());
        line
    }

    fn text(&self, location: &str, out: &mut dyn Write) -> io::Result<()> {
        let store = self.store;
        let splits: Vec<String> = self.splits.iter().map(|(name, events)| format!("{name}: {events}")).collect();
        let period = self.period.as_ref().map_or(String::new(), |[first, last]| format!(", from {first} to {last}"));
        let (megabytes, codec) = (self.bytes as f64 / 1e6, store.packing().label());
        writeln!(out, "{location}: storm events: {} ({}){period}", store.events(), splits.join(", "))?;
        writeln!(out, "{megabytes:.1} MB, codec: {codec}, events of a shard: {}", store.group())?;
        for (key, text) in TOLD.iter().filter_map(|key| Some((key, attribute(store, key)?))) {
            writeln!(out, "{key}: {text}")?;
        }
        if is_synthetic(store) {
            writeln!(out, "nothing in it was observed")?;
        }
        let mut table = vec![["modality", "points", "events", "shift", "scale"].map(String::from).to_vec()];
        table.extend(self.rows.iter().map(Row::cells));
        super::table(&table, out)
    }
}

/// One modality, and how many events have it.
struct Row {
    array: EventArray,
    events: usize,
}

impl Row {
    fn of(store: &EventReader, at: usize, array: EventArray) -> Row {
        Row { array, events: (0..store.events()).filter(|event| store.has(*event, at)).count() }
    }

    fn cells(&self) -> Vec<String> {
        let EventArray { modality, size, normalisation } = self.array;
        let told = |of: fn(Normalisation) -> f64| normalisation.map_or("-".to_string(), |with| of(with).to_string());
        let counts = [modality.to_string(), format!("{size}×{size}"), self.events.to_string()];
        [counts.to_vec(), vec![told(|with| with.shift), told(|with| with.scale)]].concat()
    }

    fn json(&self) -> Value {
        let EventArray { modality, size, normalisation } = self.array;
        json!({"modality": modality, "points": size, "events": self.events,
            "shift": normalisation.map(|with| with.shift), "scale": normalisation.map(|with| with.scale)})
    }
}

fn attribute<'a>(store: &'a EventReader, key: &str) -> Option<&'a str> {
    store.attributes().get(key).and_then(Value::as_str)
}

fn is_synthetic(store: &EventReader) -> bool {
    attribute(store, "source").is_some_and(|source| source.starts_with(SYNTHETIC))
}

fn of_split(store: &EventReader, split: usize) -> usize {
    (0..store.events()).filter(|event| usize::from(store.split(*event)) == split).count()
}
