//! What a field is of and when (sections 1 and 4).

use serde::Serialize;

use crate::domain::{Lead, Moment, Variable};

use super::Grib2Error;
use super::section::Section;

pub(super) mod layout;
mod parts;
mod time;

pub(super) use time::cycle;

/// Code table 4.5: a surface without a level.
const ENTIRE_ATMOSPHERE: u8 = 10;
/// An octet that is not given.
pub(super) const MISSING: u8 = u8::MAX;

/// What section 4 says.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The template's number, without its `4.`.
    pub template: u16,
    /// Parameter category (code table 4.1).
    pub category: u8,
    /// Parameter number (code table 4.2).
    pub number: u8,
    /// What made the field; `None` where the template is not known.
    pub process: Option<Process>,
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

/// What made a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Analysis, forecast, ensemble forecast and so on (code table 4.3).
    pub kind: u8,
    /// The centre's number for the background process; 255 where it is not given.
    pub background: u8,
    /// The centre's number for the process; 255 where it is not given.
    pub model: u8,
    /// How long after the cycle observations were still taken in, where that is given.
    pub cutoff: Option<Lead>,
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
    /// Length of the statistical window, which may begin before the cycle; `None` for a field of one moment.
    pub window: Option<Lead>,
    /// What was done over the window: 0 average, 1 accumulation, 2 maximum, 3 minimum (code table 4.10).
    pub statistic: Option<u8>,
}

/// Which part of an ensemble a field is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "part")]
pub enum Ensemble {
    /// One forecast (templates 4.1 and 4.11).
    Member {
        /// Control, perturbed up or down (code table 4.6).
        kind: u8,
        /// The perturbation's number.
        number: u8,
        /// Forecasts in the ensemble; 255 where it is not given.
        size: u8,
    },
    /// Worked out from all or some members (templates 4.2 and 4.12).
    Derived {
        /// Mean, spread and so on (code table 4.7).
        kind: u8,
        /// Forecasts in the ensemble; 255 where it is not given.
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

/// Reads section 4 of a message whose reference time is `cycle`.
///
/// Of a template that is not known, category and number are read and nothing else.
pub(super) fn parse(section: &Section, cycle: Moment) -> Result<Product, Grib2Error> {
    let template = section.u16(8)?;
    let (category, number) = (section.u8(10)?, section.u8(11)?);
    let Some(layout) = layout::of(template) else {
        let time = Err(section.unsupported(format!("product template 4.{template}"), layout::KNOWN));
        let (process, first, second, ensemble) = (None, None, None, None);
        return Ok(Product { template, category, number, process, first, second, time, ensemble });
    };
    let time = match time::parse(section, layout, cycle) {
        Err(error @ Grib2Error::Damaged { .. }) => return Err(error),
        time => time,
    };
    let [first, second] = parts::surfaces(section, layout)?;
    let (process, ensemble) = (Some(parts::process(section, layout)?), parts::ensemble(section, layout)?);
    Ok(Product { template, category, number, process, first, second, time, ensemble })
}
