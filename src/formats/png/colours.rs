//! Colour tables: which colour stands for which value, read from TOML and checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::PngError;

/// Stops a table may have, so that every colour gets a place in the picture's palette.
pub(super) const MOST_STOPS: usize = 48;

/// A colour: red, green and blue, 0 to 255 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rgb(pub [u8; 3]);

/// Whether colours blend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Style {
    /// A colour holds from its stop up to the next.
    Steps,
    /// Colours blend from stop to stop.
    Continuous,
}

/// What the stops' numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Span {
    /// Values.
    #[default]
    Fixed,
    /// Parts, 0 to 1, of what lies between the field's least and greatest value.
    Range,
    /// Parts, −1 to 1, of the field's greatest magnitude.
    Symmetric,
}

/// Which colour stands for which value; only tables that make sense can be read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ColourTable {
    pub(super) style: Style,
    pub(super) span: Span,
    pub(super) below: Option<Rgb>,
    /// Ascending; at least one, two where colours blend.
    pub(super) stops: Vec<(f32, Rgb)>,
    /// None, or one a stop.
    pub(super) names: Vec<String>,
}

/// A table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    style: Style,
    #[serde(default)]
    scale: Span,
    below: Option<Rgb>,
    stops: Vec<(f32, Rgb)>,
    #[serde(default)]
    names: Vec<String>,
}

/// Reads named colour tables from the text of a TOML file.
pub fn tables(text: &str) -> Result<BTreeMap<String, ColourTable>, PngError> {
    Ok(toml::from_str(text)?)
}

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let [_, r, g, b] = number.ok_or_else(|| format!("`{text}` is no colour; expected `#rrggbb`"))?.to_be_bytes();
        Ok(Rgb([r, g, b]))
    }
}

impl TryFrom<Raw> for ColourTable {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let values: Vec<f32> = raw.stops.iter().map(|stop| stop.0).collect();
        let least = if raw.style == Style::Continuous { 2 } else { 1 };
        if !(least..=MOST_STOPS).contains(&values.len()) {
            return Err(format!("{} stops; expected {least} to {MOST_STOPS}", values.len()));
        }
        if values.iter().any(|v| !v.is_finite()) || values.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(format!("the stops {values:?} do not ascend; expected each to be greater than the one before"));
        }
        if !raw.names.is_empty() && (raw.names.len() != values.len() || raw.style != Style::Steps) {
            return Err(format!("{} names; expected one a stop, in a table of steps", raw.names.len()));
        }
        check_span(raw.scale, &values)?;
        let Raw { style, scale: span, below, stops, names } = raw;
        Ok(ColourTable { style, span, below, stops, names })
    }
}

fn check_span(span: Span, values: &[f32]) -> Result<(), String> {
    let expected = match span {
        Span::Fixed => return Ok(()),
        Span::Range => (0.0, 1.0),
        Span::Symmetric => (-1.0, 1.0),
    };
    let ends = (values.first().copied(), values.last().copied());
    let fits = ends == (Some(expected.0), Some(expected.1));
    fits.then_some(()).ok_or_else(|| format!("relative stops go from {} to {}", expected.0, expected.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = include_str!("../../../config/colours.toml");
    const VARIABLES: &str = include_str!("../../../config/variables.toml");

    #[test]
    fn every_variable_has_its_colours() {
        let tables = tables(TABLES).expect("our own tables");
        let variables: BTreeMap<String, toml::Table> = toml::from_str(VARIABLES).expect("our own variables");
        for (name, variable) in variables {
            let colours = variable["colours"].as_str().expect("a name");
            assert!(tables.contains_key(colours), "{name}: there is no table `{colours}`");
        }
        assert!(tables.contains_key("difference") && tables.contains_key("generic"));
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        let refused = |body: &str, reason: &str| {
            let error = tables(&format!("[table]\n{body}")).expect_err(body).to_string();
            assert!(error.contains(reason), "{error}");
        };
        refused("style = 'steps'\nstops = []", "0 stops");
        refused("style = 'continuous'\nstops = [[1.0, '#000000']]", "expected 2 to");
        refused("style = 'steps'\nstops = [[2.0, '#000000'], [2.0, '#ffffff']]", "do not ascend");
        refused("style = 'steps'\nstops = [[nan, '#000000']]", "do not ascend");
        refused("style = 'steps'\nstops = [[2.0, '#00000g']]", "#rrggbb");
        refused("style = 'steps'\nstops = [[2.0, '#000000']]\nnames = ['a', 'b']", "one a stop");
        refused("style = 'steps'\nscale = 'range'\nstops = [[0.5, '#000000']]", "from 0 to 1");
        refused("style = 'steps'\nsteps = []", "unknown field");
    }
}
