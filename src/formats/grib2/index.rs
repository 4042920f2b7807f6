//! Index files beside GRIB2 objects, a line a field, as wgrib2 writes them.

use std::ops::Range;

use crate::domain::Moment;

use super::Grib2Error;
use super::error::excerpt;

/// One line of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The message's number in the object, from 1.
    pub message: u32,
    /// The field's number in its message, from 1, where a message has several.
    pub sub: Option<u32>,
    /// The message's bytes in the object.
    pub range: Range<u64>,
    /// The reference time.
    pub cycle: Moment,
    /// The variable, such as `TMP`.
    pub variable: String,
    /// The level, such as `2 m above ground`.
    pub level: String,
    /// The time or window, such as `anl` or `1 hour fcst`.
    pub window: String,
}

/// Reads the index of an object of `object_size` bytes: `msg[.sub]:offset:d=YYYYMMDDHH:VAR:level:window:[extra]`.
pub fn parse_index(text: &[u8], object_size: u64) -> Result<Vec<IndexEntry>, Grib2Error> {
    let mut entries: Vec<IndexEntry> = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let refused = |expected| Grib2Error::Index { line: number + 1, expected, found: excerpt(line) };
        let entry = entry(line).map_err(refused)?;
        check_order(entries.last(), &entry, object_size).map_err(refused)?;
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(Grib2Error::Index { line: 1, expected: "at least one line", found: excerpt(text) });
    }
    close_ranges(&mut entries, object_size);
    Ok(entries)
}

/// One line, its range still without an end; the error says what was expected.
fn entry(line: &[u8]) -> Result<IndexEntry, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "text in UTF-8")?;
    if text.contains(char::is_control) {
        return Err("text without control characters");
    }
    let mut parts = text.splitn(7, ':');
    let mut next = || parts.next().ok_or("message:offset:d=YYYYMMDDHH:VAR:level:window:");
    let (number, offset, date) = (next()?, next()?, next()?);
    let (variable, level, window) = (next()?.into(), next()?.into(), next()?.into());
    let (message, sub) = match number.split_once('.') {
        Some((message, sub)) => (message, Some(digits(sub).ok_or("digits after the message's number")?)),
        None => (number, None),
    };
    let message = digits(message).ok_or("a message's number first")?;
    let offset = digits(offset).ok_or("an offset in bytes second")?;
    let cycle = date.strip_prefix("d=").and_then(cycle).ok_or("d=YYYYMMDDHH third")?;
    Ok(IndexEntry { message, sub, range: offset..offset, cycle, variable, level, window })
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn cycle(text: &str) -> Option<Moment> {
    let plain = matches!(text.len(), 10 | 12) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Offsets ascend inside the object; fields of one message share one.
fn check_order(last: Option<&IndexEntry>, entry: &IndexEntry, object_size: u64) -> Result<(), &'static str> {
    let offset = entry.range.start;
    let same_message = |last: &IndexEntry| last.range.start == offset && last.message == entry.message;
    match last {
        _ if offset >= object_size => Err("an offset inside the object"),
        Some(last) if offset <= last.range.start && !same_message(last) => Err("offsets that ascend"),
        _ => Ok(()),
    }
}

/// A message ends where the next one begins, the last one with the object.
fn close_ranges(entries: &mut [IndexEntry], object_size: u64) {
    let (mut end, mut after) = (object_size, object_size);
    for entry in entries.iter_mut().rev() {
        if entry.range.start < after {
            (end, after) = (after, entry.range.start);
        }
        entry.range.end = end;
    }
}
