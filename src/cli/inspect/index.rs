//! The lines of an index file.

use std::io::Write;

use gustfront::formats::grib2::{IndexEntry, parse_index};
use serde_json::json;

/// Prints every line with the bytes of its message, as a table or as one JSON object a line.
pub(super) fn print(file: &str, text: &[u8], json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let object = file.strip_suffix(".idx").unwrap_or(file);
    // Without the object only the last message's end is unknown.
    let size = std::fs::metadata(object).ok().map(|m| m.len());
    let entries = parse_index(text, size.unwrap_or(u64::MAX))?;
    let end = |entry: &IndexEntry| Some(entry.range.end).filter(|end| size.is_some() || *end != u64::MAX);
    if json {
        for entry in &entries {
            writeln!(out, "{}", line(file, entry, end(entry)))?;
        }
        return Ok(());
    }
    writeln!(out, "{file}: {} lines", entries.len())?;
    let titles = ["message", "offset", "bytes", "cycle", "variable", "level", "window"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    rows.extend(entries.iter().map(|entry| row(entry, end(entry))));
    Ok(super::table(&rows, out)?)
}

fn number(entry: &IndexEntry) -> String {
    entry.sub.map_or(entry.message.to_string(), |sub| format!("{}.{sub}", entry.message))
}

fn row(entry: &IndexEntry, end: Option<u64>) -> Vec<String> {
    vec![
        number(entry),
        entry.range.start.to_string(),
        end.map_or("to the end".into(), |end| (end - entry.range.start).to_string()),
        entry.cycle.to_string(),
        entry.variable.clone(),
        entry.level.clone(),
        entry.window.clone(),
    ]
}

fn line(file: &str, entry: &IndexEntry, end: Option<u64>) -> serde_json::Value {
    json!({
        "file": file,
        "message": number(entry),
        "offset": entry.range.start,
        "end": end,
        "cycle": entry.cycle.to_string(),
        "variable": entry.variable,
        "level": entry.level,
        "window": entry.window,
    })
}
