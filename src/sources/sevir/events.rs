//! Rows of the catalogue that speak of the same event, brought together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Event;
use crate::sources::RejectReason;

use super::{Row, SetAside};

/// By how many degrees the corners of one event may differ from row to row: less than a metre.
const CORNER_DEGREES: f64 = 1e-6;

/// The events of some rows in order of time, then identifier, and what was set aside.
///
/// An event whose rows contradict each other, or which has two different rows of one modality, is set aside whole: which
/// row to believe cannot be known (SEVIR's own loader leaves such events out too). A row that says once more what another
/// says is left out alone. What a row is not there for, the event does not have.
pub fn group(rows: Vec<Row>) -> (Vec<Event>, Vec<SetAside>) {
    let mut by_id: BTreeMap<Arc<str>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_id.entry(row.id.clone()).or_default().push(row);
    }
    let (mut events, mut set_aside) = (Vec::new(), Vec::new());
    for rows in by_id.into_values() {
        match gather(rows, &mut set_aside) {
            Ok(event) => events.extend(event),
            Err(contradiction) => set_aside.push(contradiction),
        }
    }
    events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    set_aside.sort();
    (events, set_aside)
}

/// The event of rows of one identifier.
fn gather(rows: Vec<Row>, set_aside: &mut Vec<SetAside>) -> Result<Option<Event>, SetAside> {
    let mut rows = rows.into_iter();
    let Some(first) = rows.next() else { return Ok(None) };
    let line = first.line;
    let mut lines = BTreeMap::from([(first.modality, line)]);
    let mut event = Event {
        id: first.id,
        time: first.time,
        kind: first.kind,
        corners: first.corners,
        parts: BTreeMap::from([(first.modality, first.part)]),
    };
    for row in rows {
        let aside = |reason, detail| SetAside { line: row.line, event: row.id.to_string(), reason, detail };
        agree(&event, &row)
            .map_err(|what| aside(RejectReason::Contradiction, format!("{what}, unlike line {line}")))?;
        if event.kind.is_empty() {
            event.kind = row.kind.clone();
        }
        let Some(known) = event.parts.get(&row.modality) else {
            lines.insert(row.modality, row.line);
            event.parts.insert(row.modality, row.part);
            continue;
        };
        let other = lines.get(&row.modality).copied().unwrap_or(line);
        if *known != row.part {
            let detail = format!("line {other} is another row of {}; expected one", row.modality);
            return Err(aside(RejectReason::Duplicate, detail));
        }
        set_aside.push(aside(RejectReason::Duplicate, format!("line {other} says the same; the event is kept")));
    }
    Ok(Some(event))
}

/// Whether a row says of an event what others do; else what it says.
fn agree(event: &Event, row: &Row) -> Result<(), String> {
    if row.time != event.time {
        return Err(format!("its time is {}", row.time.calendar().format("%Y-%m-%d %H:%M:%S")));
    }
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= CORNER_DEGREES;
    if !event.corners.iter().zip(&row.corners).all(near) {
        return Err(format!("its corners are {:?}", row.corners));
    }
    if !row.kind.is_empty() && !event.kind.is_empty() && row.kind != event.kind {
        return Err(format!("its kind is `{}`", row.kind));
    }
    Ok(())
}
