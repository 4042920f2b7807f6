//! Sections 1 and 4: what the field is of and when.

use chrono::{Datelike, Timelike};

use crate::domain::Moment;

use super::super::product::layout::{self, Layout, Part};
use super::super::product::{Ensemble, MISSING};
use super::{Encode, Window, signed};

/// Version of the master tables the codes are from.
const MASTER_TABLES: u8 = 2;
/// Codes from 192 on are local ones.
const LOCAL_TABLES: u8 = 1;
/// Reference time: start of the forecast (code table 1.2).
const START_OF_FORECAST: u8 = 1;
/// Production status: research (code table 1.3).
const RESEARCH: u8 = 2;
/// Most decimal places a level or a limit is written with.
const MAX_DIGITS: u8 = 6;
/// Successive times have the same start of the forecast, whose time grows (code table 4.11).
const SAME_START: u8 = 2;
/// Units of time (code table 4.4).
const MINUTE: u8 = 0;
const HOUR: u8 = 1;

/// Section 1 without its length and number.
pub(super) fn identification(field: &Encode) -> Vec<u8> {
    let mut octets = field.centre.to_be_bytes().to_vec();
    octets.extend_from_slice(&[0, 0, MASTER_TABLES, LOCAL_TABLES, START_OF_FORECAST]);
    octets.extend_from_slice(&calendar(field.slot.cycle));
    octets.extend_from_slice(&[RESEARCH, data_type(field.ensemble)]);
    octets
}

/// Type of data (code table 1.4): forecast, control or perturbed forecast, both, event probability.
fn data_type(ensemble: Option<Ensemble>) -> u8 {
    match ensemble {
        None => 1,
        Some(Ensemble::Member { kind: 0 | 1, .. }) => 3,
        Some(Ensemble::Member { .. }) => 4,
        Some(Ensemble::Derived { .. } | Ensemble::Percentile { .. }) => 5,
        Some(Ensemble::Probability { .. }) => 8,
    }
}

/// Type of generating process (code table 4.3): forecast, ensemble forecast, probability forecast.
fn process(ensemble: Option<Ensemble>) -> u8 {
    match ensemble {
        None => 2,
        Some(Ensemble::Probability { .. }) => 5,
        Some(_) => 4,
    }
}

/// A moment as seven octets.
fn calendar(moment: Moment) -> [u8; 7] {
    let time = moment.calendar();
    let [high, low] = (time.year() as u16).to_be_bytes();
    let [month, day, hour] = [time.month(), time.day(), time.hour()].map(|n| n as u8);
    [high, low, month, day, hour, time.minute() as u8, time.second() as u8]
}

/// Section 4 without its length and number.
pub(super) fn octets(field: &Encode) -> Result<Vec<u8>, String> {
    let (variable, layout) = (field.variable, layout(field)?);
    let (unit, start, length) = times(field)?;
    let mut octets = vec![0, 0];
    octets.extend_from_slice(&layout.template.to_be_bytes());
    octets.extend_from_slice(&[variable.grib[1], variable.grib[2], process(field.ensemble), 0, MISSING, 0, 0, 0, unit]);
    octets.extend_from_slice(&start.to_be_bytes());
    octets.push(variable.surface);
    octets.extend_from_slice(&scaled(variable.level)?);
    octets.extend_from_slice(&[MISSING, 0, 0, 0, 0, 0]);
    octets.extend_from_slice(&part(field.ensemble)?);
    if let Some(window) = field.window {
        octets.extend_from_slice(&interval(field, window, unit, length));
    }
    Ok(octets)
}

/// The template for the part of an ensemble, of one moment or of an interval.
fn layout(field: &Encode) -> Result<&'static Layout, String> {
    let template = match field.ensemble.map(|e| part_of(&e)).unwrap_or(Part::Whole) {
        Part::Whole => [0, 8],
        Part::Member => [1, 11],
        Part::Derived => [2, 12],
        Part::Probability => [5, 9],
        Part::Percentile => [6, 10],
    };
    let template = template[usize::from(field.window.is_some())];
    layout::of(template).ok_or_else(|| format!("its product template 4.{template} is not known"))
}

fn part_of(ensemble: &Ensemble) -> Part {
    match ensemble {
        Ensemble::Member { .. } => Part::Member,
        Ensemble::Derived { .. } => Part::Derived,
        Ensemble::Probability { .. } => Part::Probability,
        Ensemble::Percentile { .. } => Part::Percentile,
    }
}

/// The unit of time, the forecast time or the interval's start, and the interval's length.
pub(super) fn times(field: &Encode) -> Result<(u8, u32, u32), String> {
    let (lead, length) = (field.slot.lead.0, field.window.map_or(0, |w| w.length.0));
    let start = lead.checked_sub(length).ok_or_else(|| {
        format!("a window of {length} min that ends {lead} min after the cycle; expected one that begins at the cycle or later")
    })?;
    Ok(match start % 60 == 0 && length % 60 == 0 {
        true => (HOUR, start / 60, length / 60),
        false => (MINUTE, start, length),
    })
}

/// The part of an ensemble, as its template has it.
fn part(ensemble: Option<Ensemble>) -> Result<Vec<u8>, String> {
    Ok(match ensemble {
        None => Vec::new(),
        Some(Ensemble::Member { kind, number, size }) => vec![kind, number, size],
        Some(Ensemble::Derived { kind, size }) => vec![kind, size],
        Some(Ensemble::Probability { kind, lower, upper }) => {
            [&[MISSING, MISSING, kind][..], &limit(lower)?, &limit(upper)?].concat()
        }
        Some(Ensemble::Percentile { percent: percent @ 0..=100 }) => vec![percent],
        Some(Ensemble::Percentile { percent }) => return Err(format!("percentile {percent}; expected 0 to 100")),
    })
}

fn limit(limit: Option<f64>) -> Result<[u8; 5], String> {
    limit.map_or(Ok([MISSING; 5]), scaled)
}

/// The end of the interval and what was done over it: one time range.
fn interval(field: &Encode, window: Window, unit: u8, length: u32) -> Vec<u8> {
    let mut octets = calendar(field.slot.valid()).to_vec();
    octets.push(1);
    octets.extend_from_slice(&[0; 4]);
    octets.extend_from_slice(&[window.statistic, SAME_START, unit]);
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(&[MISSING, 0, 0, 0, 0]);
    octets
}

/// A number as a decimal scale factor and four octets.
fn scaled(number: f64) -> Result<[u8; 5], String> {
    let scaled = |digits: u8| number * 10f64.powi(digits.into());
    let whole = |digits: &u8| (scaled(*digits) - scaled(*digits).round()).abs() <= 1e-9 * scaled(*digits).abs();
    let digits = (0..=MAX_DIGITS).find(whole).unwrap_or(MAX_DIGITS);
    match scaled(digits).round() {
        value if value.abs() < f64::from(i32::MAX) => {
            let [a, b, c, d] = signed(value);
            Ok([digits, a, b, c, d])
        }
        _ => Err(format!("the level or limit {number} does not fit; expected at most {} with its decimals", i32::MAX)),
    }
}
