//! Encoded whole numbers of events to numbers around zero, and back: (x − shift) / scale.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::read_scaling_text;
use crate::domain::{Levels, MISSING_CODE, MISSING_LEVEL, Modality};

/// The name of the table that was published with SEVIR.
pub const PUBLISHED: &str = "sevir";

/// Stands for statistics of a backfill's own training events.
pub const OWN: &str = "own";

/// A table that cannot be read or used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScalingError {
    /// No such table or file.
    #[error("{0}")]
    Absent(String),
    /// The text is no such table.
    #[error("the scaling table `{name}`: {reason}")]
    Table {
        /// The table.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The table has no row for a modality, or one that cannot be used.
    #[error(
        "the scaling table ({origin}) has {found} for {modality}; expected a finite shift and a positive scale: \
         take the statistics over events that have it and in which it varies (a backfill does so of its training events \
         with statistics = \"own\")"
    )]
    Unusable {
        /// The modality.
        modality: Modality,
        /// What the table has.
        found: String,
        /// What the table says of itself.
        origin: String,
    },
}

/// What is taken from encoded values and what they are then divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// The encoded value that becomes 0: a mean.
    pub shift: f64,
    /// The encoded distance that becomes 1: a standard deviation.
    pub scale: f64,
    /// Values that the numbers were taken from; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Pixels that were missing and are in nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

impl Scaling {
    /// Fills `out` with scaled values; missing is NaN.
    ///
    /// # Panics
    /// Where the slices differ in length.
    pub fn apply(&self, levels: &Levels, out: &mut [f32]) {
        match levels {
            Levels::U8(values) => self.apply_to(values, MISSING_LEVEL, out),
            Levels::I16(values) => self.apply_to(values, MISSING_CODE, out),
        }
    }

    fn apply_to<T: Copy + PartialEq + Into<f32>>(&self, values: &[T], missing: T, out: &mut [f32]) {
        assert_eq!(values.len(), out.len(), "as many numbers as values");
        let (factor, offset) = ((1.0 / self.scale) as f32, (-self.shift / self.scale) as f32);
        for (value, out) in values.iter().zip(out) {
            *out = if *value == missing { f32::NAN } else { (*value).into() * factor + offset };
        }
    }

    /// Scaled values as VIL levels, the nearest ones from 0 to 254; NaN as missing.
    pub fn invert_to_levels(&self, values: &[f32]) -> Vec<u8> {
        let back = |value: &f32| self.encoded(*value).clamp(0.0, f32::from(MISSING_LEVEL - 1)) as u8;
        values.iter().map(|value| if value.is_nan() { MISSING_LEVEL } else { back(value) }).collect()
    }

    /// Scaled values as codes of 16 bits, the nearest ones from −32,767 to 32,767; NaN as missing.
    pub fn invert_to_codes(&self, values: &[f32]) -> Vec<i16> {
        let back = |value: &f32| self.encoded(*value).clamp(f32::from(MISSING_CODE + 1), f32::from(i16::MAX)) as i16;
        values.iter().map(|value| if value.is_nan() { MISSING_CODE } else { back(value) }).collect()
    }

    fn encoded(&self, value: f32) -> f32 {
        (f64::from(value) * self.scale + self.shift).round() as f32
    }
}

/// The scaling of every modality, and what it was taken from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingTable {
    /// What the numbers were taken from, for people.
    pub source: String,
    /// A row for each modality.
    #[serde(default)]
    pub modalities: BTreeMap<Modality, Scaling>,
}

impl ScalingTable {
    /// The table of a name, [`PUBLISHED`], or else the file of that name.
    ///
    /// # Errors
    /// No such table or file, or text that is no such table.
    pub fn read(name: &str) -> Result<Self, ScalingError> {
        let text = read_scaling_text(name).map_err(ScalingError::Absent)?;
        Self::from_toml(&text).map_err(|reason| ScalingError::Table { name: name.into(), reason })
    }

    /// Reads a table; what is wrong is told with its line.
    ///
    /// # Errors
    /// Text that is no such table, unknown keys included.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The table as TOML; numbers read back to the same bits.
    pub fn to_toml(&self) -> String {
        let mut text = format!("source = {}\n", toml::Value::from(self.source.as_str()));
        for (modality, row) in &self.modalities {
            let number = toml::Value::from;
            text +=
                &format!("\n[modalities.{modality}]\nshift = {}\nscale = {}\n", number(row.shift), number(row.scale));
            let count =
                |name, count: Option<u64>| count.map_or_else(String::new, |count| format!("{name} = {count}\n"));
            text += &(count("count", row.count) + &count("missing", row.missing));
        }
        text
    }

    /// The scaling of a modality.
    ///
    /// # Errors
    /// No row, or one that cannot be used: what to do is told.
    pub fn of(&self, modality: Modality) -> Result<Scaling, ScalingError> {
        let unusable = |found| ScalingError::Unusable { modality, found, origin: self.source.clone() };
        let row = *self.modalities.get(&modality).ok_or_else(|| unusable("no row".into()))?;
        if row.shift.is_finite() && (row.scale as f32).is_normal() && row.scale > 0.0 {
            return Ok(row);
        }
        Err(unusable(format!("a shift of {} and a scale of {}", row.shift, row.scale)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers_are_there() {
        let table = ScalingTable::read(PUBLISHED).expect("a table");
        let numbers = |modality| table.of(modality).map(|row| (row.shift, row.scale));
        assert_eq!(numbers(Modality::Vil), Ok((33.44, 47.54)));
        assert_eq!(numbers(Modality::Ir069), Ok((-3683.58, 1174.68)));
        assert_eq!(numbers(Modality::Ir107), Ok((-1552.80, 2562.43)));
        assert_eq!(numbers(Modality::Lght), Ok((0.02990, 0.60517)));
        let message = numbers(Modality::Vis).expect_err("none was published").to_string();
        assert!(message.contains("no row for vis") && message.contains("take the statistics"), "{message}");
    }

    #[test]
    fn encoded_values_come_back() {
        let table = ScalingTable::read(PUBLISHED).expect("a table");
        let levels: Vec<u8> = (0..=255).collect();
        let mut scaled = vec![0.0; 256];
        let vil = table.of(Modality::Vil).expect("a row");
        vil.apply(&Levels::U8(levels.clone()), &mut scaled);
        assert!((scaled[81] - (81.0 - 33.44) / 47.54).abs() < 1e-6 && scaled[255].is_nan());
        assert_eq!(vil.invert_to_levels(&scaled), levels);
        let codes: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let mut scaled = vec![0.0; codes.len()];
        let ir = table.of(Modality::Ir107).expect("a row");
        ir.apply(&Levels::I16(codes.clone()), &mut scaled);
        assert!(scaled[0].is_nan());
        assert_eq!(ir.invert_to_codes(&scaled), codes);
    }

    #[test]
    fn a_table_reads_back_and_mistakes_are_told() {
        let row = Scaling { shift: 0.1 + 0.2, scale: 1.0 / 3.0, count: Some(7), missing: Some(0) };
        let table = ScalingTable { source: "two \"events\"".into(), modalities: [(Modality::Vis, row)].into() };
        assert_eq!(ScalingTable::from_toml(&table.to_toml()), Ok(table));
        for bad in ["sauce = 1", "source = 1", "source = \"\"\n[modalities.radar]\nshift = 1\nscale = 1"] {
            assert!(ScalingTable::from_toml(bad).is_err(), "{bad}");
        }
        let flat = Scaling { shift: 3.0, scale: 0.0, count: None, missing: None };
        let table = ScalingTable { source: "one event".into(), modalities: [(Modality::Vil, flat)].into() };
        assert!(table.of(Modality::Vil).expect_err("no scale").to_string().contains("scale of 0"));
    }
}
