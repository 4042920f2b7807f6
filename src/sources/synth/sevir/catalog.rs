//! Rows of SEVIR's catalogue.

use super::place::SIDE_KM;
use super::plan::{Plan, minutes};
use crate::domain::{FRAMES, Modality};

/// The columns, in SEVIR's order.
const COLUMNS: [&str; 21] = [
    "id",
    "file_name",
    "file_index",
    "img_type",
    "time_utc",
    "minute_offsets",
    "episode_id",
    "event_id",
    "event_type",
    "llcrnrlat",
    "llcrnrlon",
    "urcrnrlat",
    "urcrnrlon",
    "proj",
    "size_x",
    "size_y",
    "height_m",
    "width_m",
    "data_min",
    "data_max",
    "pct_missing",
];
/// SEVIR's map, as the catalogue names it.
const PROJ: &str = "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere ";

/// One modality of one event in its file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The file, relative to the data folder.
    pub(super) file: String,
    /// The row in the file; 0 for lightning.
    pub(super) index: usize,
    /// The modality.
    pub(super) modality: Modality,
    /// The least and greatest value, decoded; of lightning 0 and the number of points.
    pub(super) range: [f64; 2],
}

/// The whole catalogue; `index_column` puts a column without a name before the others.
pub(super) fn text(rows: &[(&Plan, Entry)], index_column: bool) -> String {
    let lead = |text: String| if index_column { format!("{text},") } else { String::new() };
    let mut csv = format!("{}{}\n", lead(String::new()), COLUMNS.join(","));
    for (number, (event, entry)) in rows.iter().enumerate() {
        csv.push_str(&lead((1000 + number).to_string()));
        csv.push_str(&row(event, entry).join(","));
        csv.push('\n');
    }
    csv
}

fn row(event: &Plan, entry: &Entry) -> Vec<String> {
    let part = event.parts.get(&entry.modality);
    let is_dense = entry.modality != Modality::Lght;
    let offsets = part.filter(|_| is_dense).map_or(String::new(), |part| joined(&minutes(part)));
    let number = event.id.strip_prefix('S').and_then(|digits| digits.parse::<u32>().ok());
    let float = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:?}"));
    let [south, west, north, east] = event.place.corners().map(|degrees| format!("{degrees:?}"));
    let (size, side) = (entry.modality.size().to_string(), format!("{:?}", SIDE_KM * 1000.0));
    let missing = part.map_or(0.0, |part| part.missing.len() as f64 / FRAMES as f64);
    vec![
        event.id.clone(),
        entry.file.clone(),
        entry.index.to_string(),
        entry.modality.to_string(),
        event.time.calendar().format("%Y-%m-%d %H:%M:%S").to_string(),
        offsets,
        float(number.map(|number| f64::from(number / 5))),
        float(number.map(f64::from)),
        event.kind.to_string(),
        south,
        west,
        north,
        east,
        PROJ.to_string(),
        size.clone(),
        size,
        side.clone(),
        side,
        float(Some(entry.range[0])),
        float(Some(entry.range[1])),
        float(Some(missing)),
    ]
}

fn joined(minutes: &[i64]) -> String {
    minutes.iter().map(i64::to_string).collect::<Vec<_>>().join(":")
}
