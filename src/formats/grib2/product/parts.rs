//! Section 4 apart from its times: the process, the surfaces, the part of an ensemble.

use crate::domain::Lead;

use super::super::Grib2Error;
use super::super::section::Section;
use super::layout::{Layout, Part};
use super::{Ensemble, MISSING, Process, Surface};

/// What made the field.
pub(super) fn process(section: &Section, layout: &Layout) -> Result<Process, Grib2Error> {
    let octet = layout.process;
    let cutoff = match (section.u16(octet + 3)?, section.u8(octet + 5)?) {
        (u16::MAX, _) => None,
        (hours, MISSING) => Some(Lead::hours(hours.into())),
        (hours, minutes) => Some(Lead(u32::from(hours) * 60 + u32::from(minutes))),
    };
    let (kind, background, model) = (section.u8(octet)?, section.u8(octet + 1)?, section.u8(octet + 2)?);
    Ok(Process { kind, background, model, cutoff })
}

/// The first and the second surface; `None` for one that the field does not have.
pub(super) fn surfaces(section: &Section, layout: &Layout) -> Result<[Option<Surface>; 2], Grib2Error> {
    if !layout.surfaces {
        return Ok([None, None]);
    }
    let [first, second] = layout.surface_octets();
    Ok([surface(section, first)?, surface(section, second)?])
}

fn surface(section: &Section, octet: usize) -> Result<Option<Surface>, Grib2Error> {
    let (kind, level) = (section.u8(octet)?, scaled(section, octet + 1)?);
    Ok((kind != MISSING).then_some(Surface { kind, level: level.unwrap_or(0.0) }))
}

/// A decimal scale factor and a scaled value; `None` where one of them is missing.
fn scaled(section: &Section, octet: usize) -> Result<Option<f64>, Grib2Error> {
    match (section.u8(octet)?, section.u32(octet + 1)?) {
        (MISSING, _) | (_, u32::MAX) => Ok(None),
        _ => Ok(Some(section.i32(octet + 1)? as f64 / 10f64.powi(section.i8(octet)?))),
    }
}

/// Which part of an ensemble the field is.
pub(super) fn ensemble(section: &Section, layout: &Layout) -> Result<Option<Ensemble>, Grib2Error> {
    let octet = layout.part_octet();
    let at = |offset: usize| section.u8(octet + offset);
    Ok(match layout.part {
        Part::Whole => None,
        Part::Member => Some(Ensemble::Member { kind: at(0)?, number: at(1)?, size: at(2)? }),
        Part::Derived => Some(Ensemble::Derived { kind: at(0)?, size: at(1)? }),
        Part::Probability => {
            let (lower, upper) = (scaled(section, octet + 3)?, scaled(section, octet + 8)?);
            Some(Ensemble::Probability { kind: at(2)?, lower, upper })
        }
        Part::Percentile => Some(Ensemble::Percentile { percent: at(0)? }),
    })
}
