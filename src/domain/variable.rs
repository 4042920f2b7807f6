//! What a variable is: its names, units and codes, and which values can be true.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which component of the wind a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindPart {
    /// Along the grid's x axis, or eastward once rotated; `with` names the other component.
    #[serde(rename = "u")]
    U,
    /// Along the grid's y axis, or northward once rotated.
    #[serde(rename = "v")]
    V,
}

/// Which values of a variable can be true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The lowest and highest value that can occur, in the variable's units.
    pub range: Option<[f32; 2]>,
    /// Values that stand for missing.
    #[serde(default)]
    pub sentinels: Vec<f32>,
    /// A field with one value everywhere cannot be true and is missing.
    #[serde(default)]
    pub constant_is_missing: bool,
}

/// One row of the variables table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The name used in configs, archives and scores.
    #[serde(skip)]
    pub name: Arc<str>,
    /// A title for people.
    pub long_name: String,
    /// Units as CF writes them.
    pub units: String,
    /// CF standard name as published (for winds: along the grid's axes).
    pub standard_name: Option<String>,
    /// CF standard name after rotation to earth-relative (winds only).
    pub standard_name_earth: Option<String>,
    /// Which wind component this is.
    pub wind: Option<WindPart>,
    /// The other wind component.
    pub wind_partner: Option<String>,
    /// `VAR:level` as an NCEP index writes it, such as `TMP:2 m above ground`.
    pub index: String,
    /// GRIB2 discipline, parameter category and parameter number.
    pub grib: [u8; 3],
    /// GRIB2 type of the first fixed surface (code table 4.5).
    pub surface: u8,
    /// Level of the first fixed surface in the surface's own units.
    #[serde(default)]
    pub level: f64,
    /// Decimal places that a GRIB2 message keeps, in the variable's units.
    #[serde(default)]
    pub decimal_digits: i16,
    /// Which values can be true.
    #[serde(default)]
    pub quality: Quality,
    /// The field's colour table, by name.
    pub colours: String,
}

impl Variable {
    /// The title for people; of a wind component, whether it is along the grid's axes or earth-relative.
    pub fn title(&self, earth_winds: bool) -> String {
        let rotated = if earth_winds { self.standard_name_earth.as_deref() } else { None };
        match rotated {
            Some(name) => {
                let part = self.long_name.split(',').next().unwrap_or_default();
                format!("{part}, {}", name.replace('_', " "))
            }
            None => self.long_name.clone(),
        }
    }
}
