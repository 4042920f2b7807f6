//! What a Zarr store holds.

use std::io::Write;

use anyhow::{Context, bail};
use gustfront::formats::zarr::events::EventReader;
use gustfront::formats::zarr::{ArrayDescription, Description, describe};
use gustfront::storage::{S3Options, open_existing};

use super::{events, folder};

/// Prints a store's arrays and what is published, as tables or as one JSON object.
pub(super) fn print(location: &str, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let objects = open_existing(location, &S3Options::default())?;
    let description = match describe(objects.clone(), "") {
        Ok(description) => description,
        Err(error) => match EventReader::open(objects.clone(), "") {
            Ok(Some(store)) => return events::print(location, &store, &*objects, json, out),
            _ => match folder::guess(location, &*objects)? {
                Some(guess) => bail!("{guess}"),
                None => return Err(error.into()),
            },
        },
    };
    if json {
        let text = serde_json::to_string(&description).context("the description cannot be written as JSON")?;
        return Ok(writeln!(out, "{text}")?);
    }
    headline(&description, out)?;
    let mut rows = vec![["array", "type", "dimensions", "shape", "units", "title"].map(String::from).to_vec()];
    rows.extend(description.arrays.iter().map(row));
    super::table(&rows, out)?;
    writeln!(out)?;
    let mut rows = vec![["published init", "leads"].map(String::from).to_vec()];
    rows.extend(description.published.iter().map(|i| vec![i.init_time.clone(), hours(&i.lead_minutes)]));
    Ok(super::table(&rows, out)?)
}

fn headline(description: &Description, out: &mut dyn Write) -> std::io::Result<()> {
    let Description { store, title, origin, step_minutes, inits, grid, format_version, .. } = description;
    writeln!(out, "{store}: {title}")?;
    writeln!(out, "grid: {}; format version {format_version}", grid.describe())?;
    writeln!(out, "{inits} inits from {origin} every {step_minutes} min, leads {}", hours(&description.lead_minutes))?;
    writeln!(out)
}

fn row(array: &ArrayDescription) -> Vec<String> {
    let shape: Vec<String> = array.shape.iter().map(u64::to_string).collect();
    vec![
        array.name.clone(),
        array.data_type.clone(),
        array.dimensions.join(", "),
        shape.join("×"),
        array.units.clone().unwrap_or_default(),
        array.long_name.clone().unwrap_or_default(),
    ]
}

/// Leads as `f00 f01 f02h15`.
fn hours(minutes: &[u32]) -> String {
    minutes.iter().map(|m| gustfront::domain::Lead(*m).to_string()).collect::<Vec<_>>().join(" ")
}
