//! What a field is of and when (sections 1 and 4).

use chrono::NaiveDate;

use crate::domain::{Lead, Moment};

use super::Grib2Error;
use super::section::Section;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86400;

/// What section 4 says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) template: u16,
    pub(super) category: u8,
    pub(super) number: u8,
    pub(super) surface: u8,
    pub(super) level: f64,
    pub(super) lead: Lead,
    pub(super) window: Option<Lead>,
    pub(super) statistic: Option<u8>,
}

/// The reference time of section 1.
pub(super) fn cycle(section: &Section) -> Result<Moment, Grib2Error> {
    calendar(section, 13)
}

/// Reads section 4 of a message whose reference time is `cycle`.
pub(super) fn parse(section: &Section, cycle: Moment) -> Result<Product, Grib2Error> {
    let template = section.u16(8)?;
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
    Ok(Product {
        template,
        category: section.u8(10)?,
        number: section.u8(11)?,
        surface: section.u8(23)?,
        level: level(section)?,
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
