//! What a catalogue of storm events holds: rows, events, modalities, years, missing pixels, and what a run would set aside.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Context;
use chrono::Datelike;
use gustfront::domain::{Event, Modality};
use gustfront::sources::sevir::{Catalog, RANDOM, Row, SetAside, group};
use serde_json::{Value, json};

use crate::cli::Exit;

/// Rows set aside that a text shows.
const LISTED: usize = 20;

/// Whether a file is a catalogue, by its name.
pub(super) fn is_one(file: &str) -> bool {
    file.ends_with(".csv")
}

/// Prints what a catalogue holds, as text or as one JSON object.
pub(super) fn print(file: &str, as_json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (objects, name) = super::place(file)?;
    let text = objects.get(name)?.context("there is no such catalogue; expected SEVIR's CATALOG.csv")?;
    let found = Found::of(Catalog::parse(file, &text)?);
    if as_json {
        writeln!(out, "{}", found.json(file))?;
    } else {
        found.text(file, out)?;
    }
    Ok(if found.set_aside.is_empty() { Exit::Done } else { Exit::Rejects })
}

/// What is told of a catalogue.
struct Found {
    rows: usize,
    events: Vec<Event>,
    modalities: BTreeMap<Modality, Share>,
    set_aside: Vec<SetAside>,
}

/// The rows of one modality.
#[derive(Default)]
struct Share {
    rows: usize,
    files: BTreeSet<String>,
    missing: f64,
    most_missing: f32,
}

impl Share {
    fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.files.insert(row.part.file.to_string());
        self.missing += f64::from(row.part.missing_share);
        self.most_missing = self.most_missing.max(row.part.missing_share);
    }

    fn mean_missing(&self) -> f64 {
        self.missing / self.rows as f64
    }
}

impl Found {
    fn of(catalog: Catalog) -> Found {
        let Catalog { rows, mut set_aside } = catalog;
        let mut modalities: BTreeMap<Modality, Share> = BTreeMap::new();
        rows.iter().for_each(|row| modalities.entry(row.modality).or_default().add(row));
        let count = rows.len() + set_aside.len();
        let (events, contradictions) = group(rows);
        set_aside.extend(contradictions);
        set_aside.sort();
        Found { rows: count, events, modalities, set_aside }
    }

    fn counted<K: Ord>(&self, of: impl Fn(&Event) -> K) -> BTreeMap<K, usize> {
        let mut counts = BTreeMap::new();
        self.events.iter().for_each(|event| *counts.entry(of(event)).or_default() += 1);
        counts
    }

    fn years(&self) -> BTreeMap<i32, usize> {
        self.counted(|event| event.time.calendar().year())
    }

    fn kinds(&self) -> BTreeMap<String, usize> {
        self.counted(|event| if event.kind.is_empty() { RANDOM.to_string() } else { event.kind.to_string() })
    }

    /// The times of the first and the last event.
    fn period(&self) -> Option<[String; 2]> {
        Some([self.events.first()?.time.to_string(), self.events.last()?.time.to_string()])
    }

    fn text(&self, file: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        let period = self.period().map_or(String::new(), |[first, last]| format!(", from {first} to {last}"));
        let aside = self.set_aside.len();
        writeln!(out, "{file}: SEVIR's catalogue, rows: {}, events: {}{period}", self.rows, self.events.len())?;
        writeln!(out, "years: {}", listed(self.years()))?;
        writeln!(out, "kinds: {}", listed(self.kinds()))?;
        let mut rows = vec![["modality", "rows", "files", "mean missing", "most missing"].map(String::from).to_vec()];
        let cells = |(modality, share): (&Modality, &Share)| {
            let shares = [share.mean_missing(), f64::from(share.most_missing)].map(|share| format!("{share:.4}"));
            let counts = [share.rows, share.files.len()].map(|count| count.to_string());
            [vec![modality.to_string()], counts.to_vec(), shares.to_vec()].concat()
        };
        rows.extend(self.modalities.iter().map(cells));
        super::table(&rows, out)?;
        writeln!(out, "a run would set aside: {aside}")?;
        for SetAside { line, event, reason, detail } in self.set_aside.iter().take(LISTED) {
            writeln!(out, "  line {line}  {event}  {reason}: {detail}")?;
        }
        if aside > LISTED {
            writeln!(out, "  … and {} more; --json lists all", aside - LISTED)?;
        }
        Ok(())
    }

    fn json(&self, file: &str) -> Value {
        let share = |(modality, share): (&Modality, &Share)| {
            json!({"modality": modality, "rows": share.rows, "files": share.files.len(),
                "mean_missing_share": share.mean_missing(), "most_missing_share": share.most_missing})
        };
        let aside = |aside: &SetAside| json!({"line": aside.line, "event": aside.event, "reason": aside.reason, "detail": aside.detail});
        json!({
            "file": file,
            "rows": self.rows,
            "events": self.events.len(),
            "period": self.period(),
            "years": self.years(),
            "kinds": self.kinds(),
            "modalities": self.modalities.iter().map(share).collect::<Vec<_>>(),
            "set_aside": self.set_aside.iter().map(aside).collect::<Vec<_>>(),
        })
    }
}

fn listed<K: std::fmt::Display>(counts: BTreeMap<K, usize>) -> String {
    counts.iter().map(|(key, count)| format!("{key}: {count}")).collect::<Vec<_>>().join(", ")
}
