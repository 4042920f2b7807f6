//! One field of a file as a picture.

use std::path::Path;

use anyhow::Context;
use gustfront::config;
use gustfront::formats::png::{Picture, draw as draw_png, tables};

use super::grib2::Content;

/// The colours of a variable that the table does not know.
const OTHER_COLOURS: &str = "generic";

/// Draws field `number`, counted from 1, of the file that `bytes` are into the file `png`.
pub(super) fn draw(content: &Content, bytes: &[u8], number: usize, png: &Path) -> anyhow::Result<()> {
    let count = content.fields.len();
    let field = number.checked_sub(1).and_then(|n| content.fields.get(n));
    let field = field.with_context(|| format!("there is no field {number}; expected 1 to {count}"))?;
    let message = bytes.get(field.bytes.clone()).unwrap_or_default();
    let values = field.message.decode(message).with_context(|| format!("field {number}"))?;
    let colour_tables = tables(config::colour_tables_text())?;
    let colours = field.variable().map_or(OTHER_COLOURS, |v| &v.colours);
    let colours = colour_tables.get(colours).with_context(|| format!("there is no colour table `{colours}`"))?;
    let (slot, origin) = (field.message.slot()?, &field.message.origin);
    let grid = field.message.grid.clone().with_context(|| format!("field {number} cannot be placed"))?;
    let picture = draw_png(&Picture {
        title: &field.variable().map_or_else(|| format!("{} {}", field.name(), field.level()), |v| v.long_name.clone()),
        subtitle: &format!("init {} · lead {} · valid {}", slot.cycle, slot.lead, slot.valid()),
        note: origin.starts_with("SYNTHETIC").then_some(origin),
        units: field.variable().map_or("", |v| &v.units),
        grid: &grid,
        values: &values,
        colours,
    })?;
    std::fs::write(png, picture).with_context(|| format!("{} cannot be written", png.display()))
}
