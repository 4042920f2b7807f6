//! When a field is of: reference time, forecast time, statistical interval.

use chrono::NaiveDate;

use crate::domain::{Lead, Moment};

use super::super::Grib2Error;
use super::super::section::Section;
use super::Time;
use super::layout::Layout;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86400;

/// The reference time of section 1.
pub(in super::super) fn cycle(section: &Section) -> Result<Moment, Grib2Error> {
    let [year, month, day, hour, minute, second] = clock(section, 13)?;
    let found = format!("a time since 1970, found {year}-{month}-{day} {hour}:{minute}:{second}");
    calendar(section, 13)?.ok_or_else(|| section.damaged(13, found))
}

/// Lead, window and statistic of a field whose reference time is `cycle`.
pub(super) fn parse(section: &Section, layout: &Layout, cycle: Moment) -> Result<Time, Grib2Error> {
    let start = section.i32(layout.forecast_time())? * unit_seconds(section, layout.unit())?;
    let Some(octet) = layout.interval else {
        return Ok(Time { lead: lead(section, start)?, window: None, statistic: None });
    };
    let (end, window) = match section.u8(octet + 7)? {
        1 => one_range(section, octet, start, cycle)?,
        ranges => several_ranges(section, octet, start, cycle, ranges)?,
    };
    let (lead, window) = (lead(section, end)?, lead(section, window)?);
    Ok(Time { lead, window: Some(window), statistic: Some(section.u8(octet + 12)?) })
}

/// End and length in seconds of an interval of one time range.
///
/// The forecast time is the interval's start (template 4.8, octets 19 to 22), the range's length (octets 50 to 53)
/// leads to its end, and the calendar says the end too (octets 35 to 41). Where they disagree, an end inside the
/// range is believed: the US National Digital Forecast Database wrote the end as forecast time too, and writes 0
/// for a start before the cycle. An end elsewhere is that of a message whose reference time was changed. Where the
/// length says no time at all (the Canadian Meteorological Centre wrote negative ones), the calendar alone is believed.
fn one_range(section: &Section, octet: usize, start: i64, cycle: Moment) -> Result<(i64, i64), Grib2Error> {
    let said = calendar(section, octet)?.map(|end| seconds_between(cycle, end));
    let length = section.u32(octet + 15)?;
    if length > i32::MAX as u32 {
        let end = said.ok_or_else(|| section.damaged(octet + 15, format!("a length of time, found {length}")))?;
        return Ok((end, (end - start).abs()));
    }
    let length = i64::from(length) * unit_seconds(section, octet + 14)?;
    let inside = said.filter(|end| (start..start + length).contains(end));
    Ok((inside.unwrap_or(start + length), length))
}

/// End and length in seconds of an interval of several time ranges: the end's calendar time alone says them.
fn several_ranges(
    section: &Section,
    octet: usize,
    start: i64,
    cycle: Moment,
    ranges: u8,
) -> Result<(i64, i64), Grib2Error> {
    let said = calendar(section, octet)?.map(|end| seconds_between(cycle, end));
    said.filter(|end| *end >= start).map(|end| (end, end - start)).ok_or_else(|| {
        let what = format!("an interval of {ranges} time ranges that does not say its end");
        section.unsupported(what, "one time range, or the end of the whole interval after its start")
    })
}

fn seconds_between(cycle: Moment, end: Moment) -> i64 {
    end.0 as i64 - cycle.0 as i64
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

/// Year, month, day, hour, minute and second in seven octets.
fn clock(section: &Section, octet: usize) -> Result<[u32; 6], Grib2Error> {
    let at = |i: usize| section.u8(octet + i).map(u32::from);
    Ok([section.u16(octet)?.into(), at(2)?, at(3)?, at(4)?, at(5)?, at(6)?])
}

/// The calendar time in seven octets; `None` where there is no such time since 1970.
fn calendar(section: &Section, octet: usize) -> Result<Option<Moment>, Grib2Error> {
    let [year, month, day, hour, minute, second] = clock(section, octet)?;
    let day = NaiveDate::from_ymd_opt(year as i32, month, day);
    Ok(day.and_then(|d| d.and_hms_opt(hour, minute, second)).and_then(Moment::from_naive))
}
