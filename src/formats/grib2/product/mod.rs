//! What a field is of and when (sections 1 and 4).

use chrono::NaiveDate;

use crate::domain::{Lead, Moment, Variable};

use super::Grib2Error;
use super::section::Section;

/// Code table 4.5: a surface without a level.
const ENTIRE_ATMOSPHERE: u8 = 10;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86400;

/// What section 4 says.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The template's number, without its `4.`.
    pub template: u16,
    /// Parameter category (code table 4.1).
    pub category: u8,
    /// Parameter number (code table 4.2).
    pub number: u8,
    /// The surface, or the lower or upper end of a layer; `None` where the product has none.
    pub first: Option<Surface>,
    /// The other end of a layer.
    pub second: Option<Surface>,
    /// When the field is of, or why that is not known.
    pub time: Result<Time, Grib2Error>,
    /// Which part of an ensemble the field is; `None` for a deterministic forecast.
    pub ensemble: Option<Ensemble>,
}

impl Product {
    /// Whether the field is of one moment, not of a statistical window.
    pub fn is_instantaneous(&self) -> bool {
        self.time.as_ref().is_ok_and(|time| time.window.is_none())
    }

    /// Whether the field lies on a variable's surface, not in a layer.
    pub fn is_at(&self, variable: &Variable) -> bool {
        let level = |s: Surface| s.level == variable.level || s.kind == ENTIRE_ATMOSPHERE;
        self.first.is_some_and(|s| s.kind == variable.surface && level(s)) && self.second.is_none()
    }
}

/// A fixed surface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surface {
    /// Code table 4.5.
    pub kind: u8,
    /// In the surface's own units; 0 where it has no level.
    pub level: f64,
}

/// When a field is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// How far after the cycle the field, or its statistical window, ends.
    pub lead: Lead,
    /// Length of the statistical window; `None` for a field of one moment.
    pub window: Option<Lead>,
    /// What was done over the window: 0 average, 1 accumulation, 2 maximum, 3 minimum (code table 4.10).
    pub statistic: Option<u8>,
}

/// Which part of an ensemble a field is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ensemble {
    /// One forecast (templates 4.1 and 4.11).
    Member {
        /// Control, perturbed up or down (code table 4.6).
        kind: u8,
        /// The perturbation's number.
        number: u8,
        /// Forecasts in the ensemble.
        size: u8,
    },
    /// Worked out from all or some members (templates 4.2 and 4.12).
    Derived {
        /// Mean, spread and so on (code table 4.7).
        kind: u8,
        /// Forecasts in the ensemble.
        size: u8,
    },
    /// A probability (templates 4.5 and 4.9).
    Probability {
        /// Of what with respect to the limits (code table 4.9).
        kind: u8,
        /// The lower limit, where it is given.
        lower: Option<f64>,
        /// The upper limit, where it is given.
        upper: Option<f64>,
    },
    /// A percentile (templates 4.6 and 4.10).
    Percentile {
        /// 0 to 100.
        percent: u8,
    },
}

/// The reference time of section 1.
pub(super) fn cycle(section: &Section) -> Result<Moment, Grib2Error> {
    calendar(section, 13)
}

/// Reads section 4 of a message whose reference time is `cycle`.
pub(super) fn parse(section: &Section, cycle: Moment) -> Result<Product, Grib2Error> {
    let template = section.u16(8)?;
    let time = match time(section, template, cycle) {
        Err(error @ Grib2Error::Damaged { .. }) => return Err(error),
        time => time,
    };
    let first = Surface { kind: section.u8(23)?, level: level(section)? };
    let (category, number) = (section.u8(10)?, section.u8(11)?);
    Ok(Product { template, category, number, first: Some(first), second: None, time, ensemble: None })
}

fn time(section: &Section, template: u16, cycle: Moment) -> Result<Time, Grib2Error> {
    let window = match template {
        0..=2 => None,
        8 => Some(35),
        11 => Some(38),
        12 => Some(37),
        other => {
            let what = format!("product template 4.{other}");
            return Err(section.unsupported(what, "4.0, 4.1, 4.2, 4.8, 4.11 or 4.12"));
        }
    };
    let start = section.i32(19)? * unit_seconds(section, 18)?;
    let window = window.map(|octet| interval(section, octet, cycle, start)).transpose()?;
    Ok(Time {
        lead: lead(section, window.map_or(start, |w| w.end))?,
        window: window.map(|w| lead(section, w.end - start)).transpose()?,
        statistic: window.map(|w| w.statistic),
    })
}

/// The end of a statistical interval, in seconds after the cycle, and what was done over it.
#[derive(Clone, Copy)]
struct Interval {
    end: i64,
    statistic: u8,
}

fn interval(section: &Section, octet: usize, cycle: Moment, start: i64) -> Result<Interval, Grib2Error> {
    let end = calendar(section, octet)?.0 as i64 - cycle.0 as i64;
    if end < start {
        let expected = format!("the interval to end after it starts, {start} s after the cycle, found {end} s");
        return Err(section.damaged(octet, expected));
    }
    Ok(Interval { end, statistic: section.u8(octet + 12)? })
}

fn lead(section: &Section, seconds: i64) -> Result<Lead, Grib2Error> {
    let minutes = u32::try_from(seconds / MINUTE).ok().filter(|_| seconds % MINUTE == 0);
    let found = || section.unsupported(format!("a forecast time of {seconds} s"), "whole minutes, not negative");
    minutes.map(Lead).ok_or_else(found)
}

/// Seconds of a unit of code table 4.4.
fn unit_seconds(section: &Section, octet: usize) -> Result<i64, Grib2Error> {
    match section.u8(octet)? {
        0 => Ok(MINUTE),
        1 => Ok(HOUR),
        2 => Ok(DAY),
        10 => Ok(3 * HOUR),
        11 => Ok(6 * HOUR),
        12 => Ok(12 * HOUR),
        13 => Ok(1),
        other => {
            let what = format!("time unit {other}");
            Err(section.unsupported(what, "minutes, hours, days, seconds or 3, 6, 12 hours"))
        }
    }
}

fn calendar(section: &Section, octet: usize) -> Result<Moment, Grib2Error> {
    let at = |i: usize| section.u8(octet + i).map(u32::from);
    let (year, month, day) = (section.u16(octet)?.into(), at(2)?, at(3)?);
    let (hour, minute, second) = (at(4)?, at(5)?, at(6)?);
    let time = NaiveDate::from_ymd_opt(year, month, day).and_then(|d| d.and_hms_opt(hour, minute, second));
    let found = format!("a time since 1970, found {year}-{month}-{day} {hour}:{minute}:{second}");
    time.and_then(Moment::from_naive).ok_or_else(|| section.damaged(octet, found))
}

/// The level of the first fixed surface; 0 where it has none.
fn level(section: &Section) -> Result<f64, Grib2Error> {
    match (section.u8(24)?, section.u32(25)?) {
        (u8::MAX, _) | (_, u32::MAX) => Ok(0.0),
        _ => Ok(section.i32(25)? as f64 / 10f64.powi(section.i8(24)?)),
    }
}
