//! The tables that come with the program: variables, grids, colours, statistics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use crate::domain::{Grid, Variable};

const VARIABLES: &str = include_str!("../../config/variables.toml");
const GRIDS: &str = include_str!("../../config/grids.toml");
const COLOURS: &str = include_str!("../../config/colours.toml");
const STATISTICS_HRRR: &str = include_str!("../../config/statistics/hrrr.toml");
const STATISTICS_SEVIR: &str = include_str!("../../config/statistics/sevir.toml");

/// Every variable by name.
#[derive(Clone, Debug)]
pub struct VariableTable(BTreeMap<String, Arc<Variable>>);

impl VariableTable {
    /// A variable by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Variable>> {
        self.0.get(name)
    }

    /// Every variable, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Variable>> {
        self.0.values()
    }

    /// Every name, for a message.
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The variables table, `config/variables.toml`.
pub fn variables() -> &'static VariableTable {
    static TABLE: LazyLock<VariableTable> = LazyLock::new(|| {
        let mut rows: BTreeMap<String, Variable> = built_in("variables.toml", VARIABLES);
        rows.iter_mut().for_each(|(name, row)| row.name = name.as_str().into());
        VariableTable(rows.into_iter().map(|(name, row)| (name, Arc::new(row))).collect())
    });
    &TABLE
}

/// The grids table, `config/grids.toml`.
pub(super) fn grids() -> &'static BTreeMap<String, Arc<Grid>> {
    static TABLE: LazyLock<BTreeMap<String, Arc<Grid>>> = LazyLock::new(|| built_in("grids.toml", GRIDS));
    &TABLE
}

/// A grid of `config/grids.toml` by its name, or else of a file that is written as a table of it is.
///
/// # Errors
/// Where the name is neither, or the file holds no grid: says what was expected.
pub fn read_grid(name: &str) -> Result<Arc<Grid>, String> {
    if let Some(grid) = grids().get(name) {
        return Ok(grid.clone());
    }
    let names: Vec<&str> = grids().keys().map(String::as_str).collect();
    let text = std::fs::read_to_string(name).map_err(|error| {
        format!("`{name}` is neither a grid, of {}, nor a file that can be read: {error}", names.join(" and "))
    })?;
    let grid: Grid = toml::from_str(&text).map_err(|error| format!("`{name}` holds no grid: {error}"))?;
    grid.check().map_err(|error| format!("`{name}`: {error}"))?;
    Ok(Arc::new(grid))
}

/// The colour tables, `config/colours.toml`, unparsed.
pub fn colour_tables_text() -> &'static str {
    COLOURS
}

/// A table of statistics of states that comes with the program, or else the file of that name.
///
/// # Errors
/// Where the name is neither: says what was looked for.
pub fn read_table_text(name: &str) -> Result<String, String> {
    built_in_or_file(name, "hrrr", STATISTICS_HRRR)
}

/// The table of shifts and scales of SEVIR's encoded values, `sevir`, or else the file of that name.
///
/// # Errors
/// As [`read_table_text`].
pub fn read_scaling_text(name: &str) -> Result<String, String> {
    built_in_or_file(name, "sevir", STATISTICS_SEVIR)
}

fn built_in_or_file(name: &str, built_in: &str, text: &str) -> Result<String, String> {
    if name == built_in {
        return Ok(text.to_string());
    }
    std::fs::read_to_string(Path::new(name))
        .map_err(|e| format!("`{name}` is neither the built-in table `{built_in}` nor a file that can be read: {e}"))
}

/// A table compiled into the program.
fn built_in<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> T {
    match toml::from_str(text) {
        Ok(table) => table,
        // Cannot fail: the table is part of the program, and a test parses each.
        Err(error) => unreachable!("the built-in table {name} is broken: {error}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn built_in_tables_parse_and_wind_components_name_each_other() {
        let table = super::variables();
        for variable in table.iter().filter(|v| v.wind.is_some()) {
            let partner = variable.wind_partner.as_deref().and_then(|p| table.get(p)).expect("a partner");
            assert_eq!(partner.wind_partner.as_deref(), Some(&*variable.name));
        }
        assert!(!super::grids().is_empty());
    }
}
