//! SEVIR's catalogue, one modality of one event a row: rows that cannot be read or used are set aside with their line.

use std::collections::HashMap;
use std::str;
use std::sync::Arc;

use chrono::NaiveDateTime;
use csv::{ReaderBuilder, StringRecord};

use crate::domain::{FRAMES, Modality, Moment, Part};
use crate::sources::{RejectReason, SourceError};

/// Columns without which nothing can be read, whatever else there is and in whatever order.
const NEEDED: [&str; 11] = [
    "id",
    "file_name",
    "file_index",
    "img_type",
    "time_utc",
    "minute_offsets",
    "llcrnrlat",
    "llcrnrlon",
    "urcrnrlat",
    "urcrnrlon",
    "pct_missing",
];
/// Minutes from an event's time to its first frame and from one frame to the next, if no scan is early, late or lost.
const FIRST_MINUTE: i16 = -120;
const MINUTES_A_FRAME: i16 = 5;
/// By how many minutes a frame may be off that. The rows of 2019 are off by 4 at their beginning and by 12 at the end
/// of a row in which scans were lost.
const MOST_OFF: i16 = 20;
/// 2100-01-01T00:00 UTC: times of events are before it, so that they can be stored in nanoseconds.
pub const LATEST: Moment = Moment(4_102_444_800);
/// What the column `proj` must say, in any order: [`crate::domain::Event::PROJECTION`] on SEVIR's sphere.
const PROJECTION: [(&str, f64); 3] = [("+lat_0=", 38.0), ("+lon_0=", -98.0), ("+a=", 6_370_997.0)];

/// One row: one modality of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its line, from 1, which is the header's.
    pub line: usize,
    /// The event's identifier.
    pub id: Arc<str>,
    /// The time that offsets are counted from.
    pub time: Moment,
    /// The kind of storm reported; empty for a random place.
    pub kind: Arc<str>,
    /// Latitude and longitude of the lower left corner, then of the upper right one, in degrees.
    pub corners: [f64; 4],
    /// What was observed.
    pub modality: Modality,
    /// Where it is.
    pub part: Part,
}

/// A row, or an event by one of its rows, that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetAside {
    /// The line of the row, from 1, which is the header's.
    pub line: usize,
    /// The event's identifier, as far as it can be read.
    pub event: String,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was expected, for people.
    pub detail: String,
}

/// The rows of a catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Rows that can be used, in the order of the file.
    pub rows: Vec<Row>,
    /// Rows that cannot.
    pub set_aside: Vec<SetAside>,
}

impl Catalog {
    /// Reads a catalogue; `location` is for messages.
    ///
    /// A row is a line: SEVIR has no line breaks within quotes, so that a stray quote costs its own line only. Lines end
    /// in LF or CR LF; in CR where there is no LF.
    ///
    /// # Errors
    /// Where there is no header, it lacks a column that is needed or names one twice, or no row follows.
    pub fn parse(location: &str, text: &[u8]) -> Result<Self, SourceError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
        let mut lines = text.split(|byte| *byte == end).enumerate();
        let bad = |reason| SourceError::Catalog { location: location.into(), reason };
        let header = lines.next().map_or(Ok(StringRecord::new()), |(_, line)| fields(line)).map_err(bad)?;
        let columns = Columns::new(&header).map_err(bad)?;
        let mut shared = Shared::default();
        let mut catalog = Catalog::default();
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            catalog.push(at + 1, line, &columns, &mut shared);
        }
        if catalog.rows.is_empty() && catalog.set_aside.is_empty() {
            return Err(bad("the catalogue has no rows; expected one a modality of an event behind its header".into()));
        }
        Ok(catalog)
    }

    fn push(&mut self, line: usize, text: &[u8], columns: &Columns, shared: &mut Shared) {
        let record = fields(text);
        let event = record.as_ref().map_or("", |record| columns.get(record, "id")).to_string();
        match record.and_then(|record| columns.row(line, &record, shared)) {
            Ok(row) => self.rows.push(row),
            Err(detail) => self.set_aside.push(SetAside { line, event, reason: RejectReason::BadRow, detail }),
        }
    }
}

/// The fields of one line.
fn fields(line: &[u8]) -> Result<StringRecord, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = str::from_utf8(line).map_err(|error| format!("not UTF-8 text: {error}"))?;
    let mut reader =
        ReaderBuilder::new().has_headers(false).buffer_capacity(line.len() + 1).from_reader(text.as_bytes());
    let record = reader.records().next().unwrap_or_else(|| Ok(StringRecord::new()));
    record.map_err(|error| error.to_string())
}

/// Texts that many rows have in common, once each.
#[derive(Default)]
struct Shared(HashMap<String, Arc<str>>);

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(found) = self.0.get(text) {
            return found.clone();
        }
        let made: Arc<str> = text.into();
        self.0.insert(text.into(), made.clone());
        made
    }
}

/// Where each column is.
struct Columns {
    places: HashMap<String, usize>,
    count: usize,
}

impl Columns {
    fn new(header: &StringRecord) -> Result<Self, String> {
        let names: Vec<&str> = header.iter().map(str::trim).filter(|name| !name.is_empty()).collect();
        let is_twice = |name: &&&str| names.iter().filter(|other| other == name).count() > 1;
        if let Some(name) = names.iter().find(is_twice) {
            return Err(format!("the catalogue's first line names the column `{name}` twice; expected once"));
        }
        let places: HashMap<String, usize> =
            header.iter().enumerate().map(|(at, name)| (name.trim().to_string(), at)).collect();
        let lost: Vec<&str> = NEEDED.into_iter().filter(|name| !places.contains_key(*name)).collect();
        if lost.is_empty() {
            return Ok(Columns { places, count: header.len() });
        }
        let found = header.iter().take(30).collect::<Vec<_>>().join(", ");
        Err(format!("the catalogue lacks the columns {}; its first line is `{found}`", lost.join(", ")))
    }

    /// A column of a record; empty where there is no such column.
    fn get<'a>(&self, record: &'a StringRecord, name: &str) -> &'a str {
        self.places.get(name).and_then(|at| record.get(*at)).unwrap_or("").trim()
    }

    fn row(&self, line: usize, record: &StringRecord, shared: &mut Shared) -> Result<Row, String> {
        if record.len() != self.count {
            return Err(format!("{} fields, not the {} of the header", record.len(), self.count));
        }
        let get = |name| self.get(record, name);
        let modality: Modality = get("img_type").parse()?;
        check_size(modality, get("size_x"), get("size_y"))?;
        check_projection(get("proj"))?;
        let part = Part {
            file: shared.text(file(get("file_name"))?),
            index: whole(get("file_index")).ok_or_else(|| wrong("file_index", get("file_index"), "a row number"))?,
            minutes: minutes(modality, get("minute_offsets"))?,
            missing_share: missing_share(modality, get("pct_missing"))?,
        };
        Ok(Row {
            line,
            id: shared.text(identifier(get("id"))?),
            time: time(get("time_utc"))?,
            kind: shared.text(get("event_type")),
            corners: corners(["llcrnrlat", "llcrnrlon", "urcrnrlat", "urcrnrlon"].map(get))?,
            modality,
            part,
        })
    }
}

fn wrong(column: &str, found: &str, expected: &str) -> String {
    format!("{column} is `{found}`; expected {expected}")
}

/// A whole number, also written as `3.0`.
fn whole<T: TryFrom<i64>>(text: &str) -> Option<T> {
    let digits = text.trim_end_matches('0').strip_suffix('.').filter(|_| text.contains('.')).unwrap_or(text);
    digits.parse::<i64>().ok().and_then(|number| T::try_from(number).ok())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Identifiers are names of datasets too.
fn identifier(text: &str) -> Result<&str, String> {
    let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fine.then_some(text).ok_or_else(|| wrong("id", text, "letters and digits"))
}

/// A path below the data folder that stays there.
fn file(text: &str) -> Result<&str, String> {
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
    let fine = !text.split('/').any(odd);
    fine.then_some(text).ok_or_else(|| wrong("file_name", text, "a path below the data folder"))
}

fn time(whole_text: &str) -> Result<Moment, String> {
    let text = whole_text.strip_suffix('Z').unwrap_or(whole_text);
    let read = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let found = read("%Y-%m-%d %H:%M:%S%.f").or_else(|| read("%Y-%m-%dT%H:%M:%S%.f"));
    let found = found.and_then(Moment::from_naive).filter(|time| *time < LATEST);
    found.ok_or_else(|| wrong("time_utc", whole_text, "a UTC time from 1970 to 2099 such as 2019-06-10 23:26:15"))
}

/// The minutes of the frames. Real rows repeat one where a scan was lost, so they never fall but need not rise.
fn minutes(modality: Modality, text: &str) -> Result<Option<[i16; FRAMES]>, String> {
    if modality == Modality::Lght {
        return Ok(None);
    }
    let expected = format!(
        "{FRAMES} whole minutes that never fall, with colons between, each within {MOST_OFF} of its place from \
         {FIRST_MINUTE} on every {MINUTES_A_FRAME}"
    );
    let numbers: Option<Vec<i16>> = text.split(':').map(|minute| whole(minute.trim())).collect();
    let rising = numbers.filter(|numbers| numbers.is_sorted()).and_then(|numbers| numbers.try_into().ok());
    let plausible = rising.filter(|numbers: &[i16; FRAMES]| {
        let places = (0..).map(|frame| FIRST_MINUTE + MINUTES_A_FRAME * frame);
        numbers.iter().zip(places).all(|(minute, place)| minute.abs_diff(place) <= MOST_OFF.unsigned_abs())
    });
    plausible.map(Some).ok_or_else(|| wrong("minute_offsets", text, &expected))
}

/// Lightning's column may be empty: there are no pixels to be missing.
fn missing_share(modality: Modality, text: &str) -> Result<f32, String> {
    if modality == Modality::Lght && text.is_empty() {
        return Ok(0.0);
    }
    let share = number(text).filter(|share| (0.0..=1.0).contains(share));
    share.map(|share| share as f32).ok_or_else(|| wrong("pct_missing", text, "a share from 0 to 1"))
}

fn corners(texts: [&str; 4]) -> Result<[f64; 4], String> {
    let bad =
        || wrong("the corners", &texts.join(", "), "latitude and longitude in degrees, lower left before upper right");
    let [south, west, north, east] = texts.map(number);
    let (Some(south), Some(west), Some(north), Some(east)) = (south, west, north, east) else { return Err(bad()) };
    let inside = south >= -90.0 && north <= 90.0 && west >= -180.0 && east <= 180.0;
    if inside && south < north && west < east { Ok([south, west, north, east]) } else { Err(bad()) }
}

fn check_size(modality: Modality, x: &str, y: &str) -> Result<(), String> {
    let fine = |text: &str| text.is_empty() || whole(text) == Some(modality.size());
    if fine(x) && fine(y) {
        return Ok(());
    }
    Err(format!("size_x and size_y are `{x}` and `{y}`; expected {} for {modality}", modality.size()))
}

fn check_projection(text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let says = |(key, value): (&str, f64)| {
        words.iter().any(|word| word.strip_prefix(key).and_then(number).is_some_and(|found| found == value))
    };
    if text.is_empty() || (words.contains(&"+proj=laea") && PROJECTION.into_iter().all(says)) {
        return Ok(());
    }
    Err(wrong("proj", text, "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_have_a_point() {
        assert_eq!(whole::<usize>("12"), Some(12));
        assert_eq!(whole::<usize>("100.0"), Some(100));
        assert_eq!(whole::<i16>("-120.000"), Some(-120));
        assert_eq!(whole::<usize>("100"), Some(100));
        for bad in ["", ".", "-", "1.5", "-1", "1e2", "nan", "."] {
            assert_eq!(whole::<usize>(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_projection_is_read_word_by_word() {
        assert!(check_projection("+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere ").is_ok());
        assert!(check_projection("+a=6370997 +lon_0=-98.0 +lat_0=38 +proj=laea").is_ok());
        assert!(check_projection("").is_ok());
        assert!(check_projection("+proj=laea +lat_0=38 +lon_0=-97 +units=m +a=6370997.0").is_err());
        assert!(check_projection("+proj=lcc +lat_0=38 +lon_0=-98 +a=6370997.0").is_err());
    }
}
