//! What is inside an HDF5 file: its kind, datasets, ids, value ranges and attributes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use gustfront::domain::Modality;
use gustfront::formats::glm::{self, Packing};
use gustfront::formats::hdf5::{Dataset, Element, Hdf5Error, Hdf5File, Layout, Value};
use gustfront::sources::sevir::refusal;
use serde_json::json;

use super::hdf5_keyed::Keyed;
use crate::cli::Exit;

/// The first bytes of an HDF5 file.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Where the signature may be: at the beginning, or behind a block of the user's.
const SIGNATURE_PLACES: [usize; 4] = [0, 512, 1024, 2048];
/// Bytes of a dataset that are looked through for its least and greatest value.
const LOOKED_THROUGH: u64 = 64 << 20;
/// Rows that are looked at where all would be too many.
const SAMPLED_ROWS: u64 = 3;
/// Datasets that a table lists.
const LISTED: usize = 200;
/// Letters of an attribute that a table shows.
const SHOWN: usize = 120;

/// Whether a file is HDF5 by its name or, on this machine, by its content.
pub(super) fn is_hdf5(file: &str) -> bool {
    let named = [".h5", ".hdf5", ".nc"].iter().any(|ending| file.ends_with(ending));
    named || (!file.contains("://") && begins_so(Path::new(file)))
}

fn begins_so(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).map(|file| std::io::Read::take(file, 4096));
    let read = read.and_then(|mut head_of| std::io::Read::read_to_end(&mut head_of, &mut head));
    read.is_ok() && SIGNATURE_PLACES.iter().any(|at| head.get(*at..at + 8) == Some(&SIGNATURE[..]))
}

/// Prints what a file holds, as a table or as one JSON object a line.
pub(super) fn print(file: &str, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let opened = open(file)?;
    let names = opened.names()?;
    let content = match Keyed::of(&opened, &names) {
        Some(keyed) => Content::Keyed(keyed),
        None => Content::Listed(names.iter().map(|name| Row::of(&opened, name)).collect()).judged(file, &opened),
    };
    let attributes = opened.attributes("/").unwrap_or_default();
    match (json, &content) {
        (true, Content::Keyed(keyed)) => writeln!(out, "{}", keyed.json(file, opened.size()))?,
        (true, Content::Listed(rows)) => rows.iter().try_for_each(|row| writeln!(out, "{}", row.json(file)))?,
        (false, _) => print_text(file, &opened, &content, &attributes, out)?,
    }
    Ok(if content.is_damaged() { Exit::Rejects } else { Exit::Done })
}

fn open(file: &str) -> anyhow::Result<Hdf5File> {
    let (objects, name) = super::place(file)?;
    Ok(Hdf5File::open(objects, name)?)
}

/// What is told of a file.
enum Content {
    /// Every dataset.
    Listed(Vec<Row>),
    /// Thousands of small ones together.
    Keyed(Keyed),
}

impl Content {
    fn is_damaged(&self) -> bool {
        match self {
            Content::Listed(rows) => rows.iter().any(|row| row.fault.is_some() || row.refused.is_some()),
            Content::Keyed(keyed) => keyed.is_damaged(),
        }
    }

    /// With what a run would refuse of dense SEVIR.
    fn judged(mut self, file: &str, opened: &Hdf5File) -> Content {
        let name = file.rsplit('/').next().unwrap_or(file);
        if let Content::Listed(rows) = &mut self
            && let Some(modality) = dense(rows).map(|(_, modality)| modality)
            && let Some(row) = rows.iter_mut().find(|row| row.name == modality.label())
        {
            row.refused = refusal(name, opened, modality);
        }
        self
    }

    /// What kind of file it is, for a person who was handed it.
    fn kind(&self, attributes: &BTreeMap<String, Value>) -> String {
        let rows = match self {
            Content::Keyed(_) => return "lightning keyed by event, as SEVIR has it".into(),
            Content::Listed(rows) => rows,
        };
        if let Some(row) = rows.iter().find(|row| row.refused.is_some()) {
            return format!("like dense SEVIR, {}, and a run would refuse it", row.name);
        }
        if let Some((row, _)) = dense(rows) {
            return format!("dense SEVIR, {}, events: {}", row.name, row.shape.first().copied().unwrap_or_default());
        }
        if glm::is_lightning(&rows.iter().map(|row| &*row.name).collect::<Vec<_>>()) {
            return "lightning of the Geostationary Lightning Mapper, level 2 (LCFA)".into();
        }
        let of_netcdf = |row: &Row| row.attributes.contains_key("_Netcdf4Dimid");
        let is_netcdf = attributes.contains_key("Conventions")
            || attributes.contains_key("Metadata_Conventions")
            || rows.iter().any(of_netcdf);
        if is_netcdf { "NetCDF-4".into() } else { "HDF5".into() }
    }
}

/// The dataset that bears the name of a dense modality, beside identifiers or of as many dimensions as SEVIR's.
fn dense(rows: &[Row]) -> Option<(&Row, Modality)> {
    let has_ids = rows.iter().any(|row| row.name == "id");
    let named = |row: &Row| row.name.parse().ok().filter(|modality| *modality != Modality::Lght);
    rows.iter().filter(|row| has_ids || row.shape.len() == 4).find_map(|row| Some((row, named(row)?)))
}

fn print_text(
    file: &str,
    opened: &Hdf5File,
    content: &Content,
    attributes: &BTreeMap<String, Value>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{file}: {}, {:.1} MB", content.kind(attributes), opened.size() as f64 / 1e6)?;
    for (name, value) in attributes {
        writeln!(out, "{name}: {}", shown(value))?;
    }
    match content {
        Content::Keyed(keyed) => keyed.print(out)?,
        Content::Listed(rows) => table(rows, out)?,
    }
    Ok(())
}

fn table(rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    let titles = ["dataset", "type", "shape", "layout", "filters", "min", "max", "of", "units"];
    let mut cells = vec![titles.map(String::from).to_vec()];
    cells.extend(rows.iter().take(LISTED).map(Row::cells));
    super::table(&cells, out)?;
    if rows.len() > LISTED {
        writeln!(out, "… and {} more; --json lists all", rows.len() - LISTED)?;
    }
    for row in rows.iter().take(LISTED) {
        if !row.examples.is_empty() {
            writeln!(out, "{}: {}", row.name, row.examples.join(", "))?;
        }
        if let Some(fault) = &row.fault {
            writeln!(out, "{}: {fault}", row.name)?;
        }
        if let Some(refused) = &row.refused {
            writeln!(out, "a run would set its events aside: {refused}")?;
        }
    }
    Ok(())
}

/// One dataset.
struct Row {
    name: String,
    element: String,
    shape: Vec<u64>,
    shape_text: String,
    layout: String,
    chunk: Option<Vec<u64>>,
    filters: Vec<String>,
    /// The least and greatest value, and of how many rows out of how many.
    range: Option<Span>,
    /// Whether those are not the stored numbers but what these stand for, by `scale_factor`, `add_offset`, `_Unsigned`.
    packed: bool,
    /// Whether some values were never written, so that there is no such range.
    unwritten: bool,
    /// The first few texts.
    examples: Vec<String>,
    attributes: BTreeMap<String, Value>,
    fault: Option<String>,
    /// Why a run would set aside the events in it.
    refused: Option<String>,
}

impl Row {
    fn of(file: &Hdf5File, name: &str) -> Row {
        let dataset = match file.dataset(name) {
            Ok(dataset) => dataset,
            Err(error) => return Row::unreadable(name, error.to_string()),
        };
        let attributes = file.attributes(name).unwrap_or_default();
        let packing = Packing::of(&dataset.element, &attributes);
        let (mut range, mut examples, mut fault, mut unwritten) = (None, Vec::new(), None, false);
        match dataset.element {
            Element::Text(_) | Element::VariableText => match dataset.texts(0..dataset.length().min(5)) {
                Ok(texts) => examples = texts,
                Err(Hdf5Error::Unwritten { .. }) => unwritten = true,
                Err(error) => fault = Some(error.to_string()),
            },
            Element::Other(_) => (),
            _ => match span(&dataset, packing) {
                Ok(found) => range = found,
                Err(Hdf5Error::Unwritten { .. }) => unwritten = true,
                Err(error) => fault = Some(error.to_string()),
            },
        }
        let chunk = if let Layout::Chunked { shape } = &dataset.layout { Some(shape.clone()) } else { None };
        Row {
            name: name.to_string(),
            element: dataset.element.to_string(),
            shape_text: dataset.shape_text(),
            layout: dataset.layout.to_string(),
            filters: dataset.filters.iter().map(ToString::to_string).collect(),
            attributes,
            shape: dataset.shape,
            chunk,
            range,
            packed: packing.changes(),
            unwritten,
            examples,
            fault,
            refused: None,
        }
    }

    fn unreadable(name: &str, fault: String) -> Row {
        Row {
            name: name.to_string(),
            element: "?".into(),
            shape: Vec::new(),
            shape_text: "?".into(),
            layout: "?".into(),
            chunk: None,
            filters: Vec::new(),
            range: None,
            packed: false,
            unwritten: false,
            examples: Vec::new(),
            attributes: BTreeMap::new(),
            fault: Some(fault),
            refused: None,
        }
    }

    fn cells(&self) -> Vec<String> {
        let end = |k: usize| self.range.map_or("-".into(), |(range, _)| number(range[k]));
        let of = match self.range {
            _ if self.unwritten => "never written".into(),
            None => "-".into(),
            Some((_, [looked, all])) if looked == all => "all".to_string(),
            Some((_, [looked, all])) => format!("{looked} of {all} rows"),
        };
        vec![
            self.name.clone(),
            if self.packed { format!("{}, packed", self.element) } else { self.element.clone() },
            self.shape_text.clone(),
            self.layout.clone(),
            if self.filters.is_empty() { "-".into() } else { self.filters.join(", ") },
            end(0),
            end(1),
            of,
            self.attributes.get("units").map(shown).unwrap_or_default(),
        ]
    }

    fn json(&self, file: &str) -> serde_json::Value {
        let attributes: BTreeMap<&str, serde_json::Value> =
            self.attributes.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
        json!({
            "file": file,
            "dataset": self.name,
            "type": self.element,
            "shape": self.shape,
            "layout": self.layout,
            "chunk": self.chunk,
            "filters": self.filters,
            "min": self.range.map(|(range, _)| range[0]).filter(|v| v.is_finite()),
            "max": self.range.map(|(range, _)| range[1]).filter(|v| v.is_finite()),
            "packed": self.packed,
            "never_written": self.unwritten,
            "rows_looked_at": self.range.map(|(_, [looked, _])| looked),
            "examples": self.examples,
            "attributes": attributes,
            "error": self.fault,
            "refused": self.refused,
        })
    }
}

/// The least and greatest value, and of how many rows out of how many.
type Span = ([f64; 2], [u64; 2]);

/// `None` where there is no value but NaN.
fn span(dataset: &Dataset, packing: Packing) -> Result<Option<Span>, Hdf5Error> {
    let length = dataset.length();
    let row_bytes = dataset.shape.iter().skip(1).product::<u64>() * dataset.element.size().unwrap_or(1) as u64;
    let is_small = length.saturating_mul(row_bytes) <= LOOKED_THROUGH;
    let rows: Vec<u64> =
        if is_small { Vec::new() } else { (0..SAMPLED_ROWS).map(|k| k * (length - 1) / (SAMPLED_ROWS - 1)).collect() };
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    let mut look = |rows: std::ops::Range<u64>| -> Result<(), Hdf5Error> {
        let values = dataset.numbers(rows)?.into_iter().map(|stored| packing.value(stored));
        range = values.fold(range, |[low, high], value| [low.min(value), high.max(value)]);
        Ok(())
    };
    if is_small {
        look(0..length)?
    } else {
        rows.iter().try_for_each(|row| look(*row..row + 1))?
    }
    let looked = if is_small { length } else { rows.len() as u64 };
    Ok((range[0] <= range[1]).then_some((range, [looked, length])))
}

/// A number for a person: whole ones as they are, others to seven digits.
pub(super) fn number(value: f64) -> String {
    let digits = 6 - value.abs().log10().floor().clamp(-6.0, 6.0) as i32;
    match value {
        _ if value.fract() == 0.0 || !value.is_finite() => value.to_string(),
        _ if value.abs() < 1e-4 => format!("{value:.6e}"),
        _ => format!("{value:.*}", digits.max(0) as usize),
    }
}

/// An attribute for a person: cut where it is long.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Texts(texts) => texts.join(", "),
        Value::Number(value) => number(*value),
        Value::Numbers(numbers) => numbers.iter().map(|value| number(*value)).collect::<Vec<_>>().join(", "),
        Value::Other(class) => format!("({class})"),
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => json!(text),
        Value::Texts(texts) => json!(texts),
        Value::Number(number) => json!(number),
        Value::Numbers(numbers) => json!(numbers),
        Value::Other(class) => json!({ "type": class }),
    }
}
