//! Lightning from the level 2 files of the Geostationary Lightning Mapper (LCFA: events, groups and flashes).
//!
//! The files are NetCDF-4, which is HDF5; numbers are packed by the CF conventions: whole numbers that may be meant
//! unsigned, times a scale, plus an offset.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;

use super::hdf5::{Element, Hdf5Error, Hdf5File, Value};

/// The attributes of a file that say when it begins and ends.
const COVERAGE: [&str; 2] = ["time_coverage_start", "time_coverage_end"];

/// What is taken for one strike of lightning, from coarse to fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Groups near each other in space and time: about one stroke of lightning that a person would count.
    Flash,
    /// Events side by side in one frame.
    Group,
    /// One pixel of one frame, of 2 ms.
    Event,
}

impl Level {
    /// How the names of its datasets begin.
    pub const fn label(self) -> &'static str {
        match self {
            Level::Flash => "flash",
            Level::Group => "group",
            Level::Event => "event",
        }
    }

    /// Several of them.
    pub const fn plural(self) -> &'static str {
        match self {
            Level::Flash => "flashes",
            Level::Group => "groups",
            Level::Event => "events",
        }
    }

    /// The dataset of its times: a flash is put where its first event is.
    const fn times(self) -> &'static str {
        match self {
            Level::Flash => "flash_time_offset_of_first_event",
            Level::Group => "group_time_offset",
            Level::Event => "event_time_offset",
        }
    }
}

/// One flash, group or event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strike {
    /// Seconds since 1970-01-01T00:00 UTC.
    pub seconds: f64,
    /// Degrees north; of a flash or group the centroid by energy.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Radiant energy in joules; NaN where it is missing.
    pub energy_j: f64,
    /// The quality flag, 0 where all is well; events have none of their own.
    pub quality: Option<u16>,
}

/// A file that was read: when it begins and ends, in seconds since 1970, and what it saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The first instant observed, and the one after the last.
    pub period: [f64; 2],
    /// Every strike, in the file's order.
    pub strikes: Vec<Strike>,
}

/// A file that does not hold lightning as the mapper's files do.
#[derive(Debug, thiserror::Error)]
pub enum GlmError {
    /// A dataset that is missing or cannot be read.
    #[error(transparent)]
    Hdf5(#[from] Hdf5Error),
    /// Datasets that should be of one length are not.
    #[error("`{dataset}` has {found} values, expected {expected} as `{other}` has")]
    Length {
        /// The dataset.
        dataset: String,
        /// Its values.
        found: usize,
        /// What was expected.
        expected: usize,
        /// The dataset that it should match.
        other: String,
    },
    /// Times without a beginning.
    #[error("the units of `{dataset}` are {found:?}, expected `milliseconds since 2018-07-02 04:33:00.000` or seconds")]
    Units {
        /// The dataset.
        dataset: String,
        /// What they are.
        found: String,
    },
    /// No time at which observation begins or ends.
    #[error("the attribute `{attribute}` is {found:?}, expected a time such as 2018-07-02T04:33:00.0Z")]
    Coverage {
        /// The attribute.
        attribute: &'static str,
        /// What it is.
        found: String,
    },
}

/// When a file begins and ends, and every strike of it.
///
/// # Errors
/// As [`strikes`]; a file that does not say when it begins and ends.
pub fn seen(file: &Hdf5File, level: Level) -> Result<Seen, GlmError> {
    let attributes = file.attributes("/")?;
    let end_of = |attribute: &'static str| {
        let found = attributes.get(attribute).and_then(Value::text).unwrap_or_default();
        instant(found).ok_or_else(|| GlmError::Coverage { attribute, found: found.to_string() })
    };
    Ok(Seen { period: [end_of(COVERAGE[0])?, end_of(COVERAGE[1])?], strikes: strikes(file, level)? })
}

/// Every strike of a file, in its order.
///
/// # Errors
/// A file without the datasets of the mapper's level 2, damaged ones, times without units.
pub fn strikes(file: &Hdf5File, level: Level) -> Result<Vec<Strike>, GlmError> {
    let name = |part: &str| format!("{}_{part}", level.label());
    let seconds = times(file, level.times())?;
    let of_length = |dataset: String| {
        let values = unpacked(file, &dataset)?;
        same_length(dataset, values.len(), level.times(), seconds.len()).map(|()| values)
    };
    let (latitude, longitude) = (of_length(name("lat"))?, of_length(name("lon"))?);
    let energy = of_length(name("energy"))?;
    let quality = if level == Level::Event { None } else { Some(of_length(name("quality_flag"))?) };
    let flag = |k: usize| quality.as_ref().and_then(|flags| flags.get(k)).map(|flag| *flag as u16);
    let places = latitude.into_iter().zip(longitude).zip(energy).zip(seconds);
    let strike = |(k, (((latitude, longitude), energy_j), seconds))| Strike {
        seconds,
        latitude,
        longitude,
        energy_j,
        quality: flag(k),
    };
    Ok(places.enumerate().map(strike).collect())
}

fn same_length(dataset: String, found: usize, other: &str, expected: usize) -> Result<(), GlmError> {
    if found == expected {
        return Ok(());
    }
    Err(GlmError::Length { dataset, found, expected, other: other.to_string() })
}

/// How the numbers of a dataset stand for values, by the CF conventions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packing {
    scale: f64,
    offset: f64,
    turn: f64,
    fill: Option<f64>,
}

impl Packing {
    /// The packing that the attributes of a dataset speak of.
    pub fn of(element: &Element, attributes: &BTreeMap<String, Value>) -> Packing {
        let number = |key: &str| attributes.get(key).and_then(Value::number);
        let is_unsigned = attributes.get("_Unsigned").and_then(Value::text) == Some("true");
        Packing {
            scale: number("scale_factor").unwrap_or(1.0),
            offset: number("add_offset").unwrap_or(0.0),
            turn: if is_unsigned { turn(element) } else { 0.0 },
            fill: number("_FillValue"),
        }
    }

    /// Whether values are other numbers than those that are stored.
    pub fn changes(&self) -> bool {
        (self.scale, self.offset, self.turn) != (1.0, 0.0, 0.0)
    }

    /// The value that a stored number stands for; NaN where it is missing.
    pub fn value(&self, stored: f64) -> f64 {
        match self.fill {
            Some(fill) if stored == fill => f64::NAN,
            _ => (if stored < 0.0 { stored + self.turn } else { stored }) * self.scale + self.offset,
        }
    }
}

/// The values of a dataset as the CF conventions unpack them; missing ones are NaN.
///
/// # Errors
/// No such dataset, or one that holds no numbers.
pub fn unpacked(file: &Hdf5File, name: &str) -> Result<Vec<f64>, Hdf5Error> {
    let (dataset, attributes) = (file.dataset(name)?, file.attributes(name)?);
    let packing = Packing::of(&dataset.element, &attributes);
    Ok(dataset.numbers(0..dataset.length())?.into_iter().map(|stored| packing.value(stored)).collect())
}

/// Whether datasets of these names are those of the mapper's level 2.
pub fn is_lightning(names: &[&str]) -> bool {
    [Level::Flash, Level::Group, Level::Event].iter().all(|level| names.contains(&level.times()))
}

/// What is added to a negative number that is meant unsigned.
fn turn(element: &Element) -> f64 {
    match element {
        Element::I8 => 256.0,
        Element::I16 => 65_536.0,
        Element::I32 => 4_294_967_296.0,
        _ => 0.0,
    }
}

/// Times in seconds since 1970.
fn times(file: &Hdf5File, name: &str) -> Result<Vec<f64>, GlmError> {
    let attributes = file.attributes(name)?;
    let units = attributes.get("units").and_then(Value::text).unwrap_or_default();
    let (unit_seconds, start) =
        since(units).ok_or_else(|| GlmError::Units { dataset: name.to_string(), found: units.to_string() })?;
    Ok(unpacked(file, name)?.into_iter().map(|time| start + unit_seconds * time).collect())
}

/// The length of a unit in seconds, and the time in seconds since 1970 that `units` counts from.
fn since(units: &str) -> Option<(f64, f64)> {
    let (unit, start) = units.split_once(" since ")?;
    let unit_seconds = match unit {
        "milliseconds" => 1e-3,
        "seconds" => 1.0,
        _ => return None,
    };
    Some((unit_seconds, instant(start)?))
}

/// A time of UTC in seconds since 1970.
fn instant(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches(['Z', 'z']).replace('T', " ");
    let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(time.and_utc().timestamp_micros() as f64 * 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_where_the_units_say() {
        assert_eq!(since("seconds since 1970-01-02 00:00:00"), Some((1.0, 86_400.0)));
        assert_eq!(since("milliseconds since 2000-01-01T12:00:00.500Z"), Some((1e-3, 946_728_000.5)));
        for units in ["", "seconds", "days since 1970-01-01 00:00:00", "seconds since noon"] {
            assert_eq!(since(units), None, "{units}");
        }
    }
}
