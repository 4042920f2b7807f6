//! The arithmetic of the transforms, bound to their options and tables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{RegridMethod, RegridOptions, RegridTarget, ScoreOptions, variables};
use crate::domain::{Absence, Field, Grid, Item, Quality, Requirement};
use crate::telemetry::metrics;
use crate::tensor::{FieldMap, Tensor};
use crate::transforms::normalise::Normaliser;
use crate::transforms::regrid::{Method, Weights};
use crate::transforms::rotate::Rotation;
use crate::transforms::{qc, statistics::StatisticsTable};
use crate::verify::{ScoreLine, score};

use super::on_device::{OnDevice, values};
use super::totals::Shared;

/// Square metres in a square kilometre.
const KM2: f64 = 1e6;

/// Something made once for a grid and used for every field on it, by all workers.
#[derive(Debug)]
pub(super) struct PerGrid<T>(Mutex<Option<(Arc<Grid>, Arc<T>)>>);

impl<T> Default for PerGrid<T> {
    fn default() -> Self {
        PerGrid(Mutex::new(None))
    }
}

impl<T> PerGrid<T> {
    fn get(&self, grid: &Arc<Grid>, make: impl FnOnce() -> Result<T, String>) -> Result<Arc<T>, String> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = made.as_ref().filter(|(known, _)| known == grid) {
            return Ok(value.clone());
        }
        let value = Arc::new(make()?);
        *made = Some((grid.clone(), value.clone()));
        Ok(value)
    }
}

/// Sets impossible values missing and counts them.
pub(super) fn quality(shared: Arc<Shared>, device: Option<OnDevice>) -> impl Fn(Field) -> Item {
    let check = move |mut field: Field, quality: &Quality| match &device {
        Some(device) => device.check(&field, quality).map_err(|reason| absent(&field, reason)),
        None => {
            let report = qc::check(Arc::make_mut(&mut field.values).as_mut_slice(), quality);
            Ok((field, report))
        }
    };
    move |field| {
        let Some(variable) = variables().get(&field.variable) else { return Item::Field(field) };
        let (field, report) = match check(field, &variable.quality) {
            Ok(checked) => checked,
            Err(absent) => return absent,
        };
        let constant = if report.constant { field.grid.len() } else { 0 };
        let counts = [("sentinel", report.sentinel), ("out_of_range", report.out_of_range), ("constant", constant)];
        for (reason, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            tracing::debug!(variable = &*field.variable, slot = %field.slot, reason, count, "values set missing");
            metrics().qc_values.with_label_values(&[&field.variable, reason]).inc_by(count as u64);
            shared.count(|t| *t.quality.entry(format!("{} {reason}", field.variable)).or_default() += count as u64);
        }
        Item::Field(field)
    }
}

/// A regridding with its weights.
#[derive(Debug)]
pub(super) struct Regridding {
    target: Arc<Grid>,
    weights: Weights,
    /// The weights on the device.
    map: Option<FieldMap>,
}

/// Moves a field to the target grid.
pub(super) fn regrid(
    options: RegridOptions,
    weights: Arc<PerGrid<Regridding>>,
    device: Option<OnDevice>,
) -> impl Fn(Field) -> Item {
    let change = move |field: &Field| {
        let made = weights.get(&field.grid, || regridding(&options, &field.grid, device.as_ref()))?;
        match device.as_ref().zip(made.map.as_ref()) {
            Some((device, map)) => device.regrid(map, &made.target, field),
            None => {
                let mut values = vec![f32::NAN; made.target.len()];
                made.weights.apply(&field.values, &mut values);
                Ok(Field { grid: made.target.clone(), ..field.with_values(values) })
            }
        }
    };
    move |field| change(&field).map_or_else(|reason| absent(&field, reason), Item::Field)
}

fn regridding(options: &RegridOptions, source: &Arc<Grid>, device: Option<&OnDevice>) -> Result<Regridding, String> {
    let target = match &options.target {
        RegridTarget::Covering(step) => Arc::new(source.covering_latlon(*step).map_err(|e| e.to_string())?),
        RegridTarget::Named(_, grid) => grid.clone(),
    };
    let method = match options.method {
        RegridMethod::Nearest => Method::Nearest,
        RegridMethod::Bilinear => Method::Bilinear,
        RegridMethod::Conservative => Method::Conservative,
    };
    let weights = Weights::new(source, &target, method).map_err(|e| e.to_string())?;
    tracing::info!(from = source.describe(), to = target.describe(), ?method, "regridding weights computed");
    let map = device.map(|device| device.map(&weights, &target)).transpose()?;
    Ok(Regridding { target, weights, map })
}

/// A rotation with its angle on the device.
#[derive(Debug)]
pub(super) struct Turning {
    rotation: Rotation,
    angle: Option<[Tensor; 2]>,
}

/// Turns both components of the wind to earth-relative.
pub(super) fn rotation(
    turnings: Arc<PerGrid<Turning>>,
    device: Option<OnDevice>,
) -> impl Fn(&Field, &Field) -> Result<(Field, Field), String> {
    move |u, v| {
        let made = turnings.get(&u.grid, || turning(&u.grid, device.as_ref()))?;
        if let Some((device, angle)) = device.as_ref().zip(made.angle.as_ref()) {
            return device.rotate(angle, u, v);
        }
        let (east, north) = made.rotation.apply(&u.values, &v.values);
        Ok((u.with_values(east), v.with_values(north)))
    }
}

fn turning(grid: &Grid, device: Option<&OnDevice>) -> Result<Turning, String> {
    let rotation = Rotation::to_earth(grid).map_err(|e| e.to_string())?;
    let angle = device.map(|device| device.angle(&rotation, grid)).transpose()?;
    Ok(Turning { rotation, angle })
}

/// Normalises a field with the table's mean and standard deviation.
pub(super) fn normalise(
    names: &[Arc<str>],
    table: &StatisticsTable,
    device: Option<OnDevice>,
) -> Result<impl Fn(Field) -> Item + Clone + use<>, String> {
    let scaling = |name: &Arc<str>| {
        let normaliser = Normaliser::new(name, table).map_err(|e| e.to_string())?;
        let scale = device.as_ref().map(|device| device.scale(&normaliser)).transpose()?;
        Ok((name.clone(), (normaliser, scale)))
    };
    let made: BTreeMap<Arc<str>, _> = names.iter().map(scaling).collect::<Result<_, String>>()?;
    Ok(move |mut field: Field| {
        let Some((normaliser, scale)) = made.get(&field.variable) else { return Item::Field(field) };
        if let Some((device, scale)) = device.as_ref().zip(scale.as_ref()) {
            let scaled = device.normalise(scale, &field);
            return scaled.map_or_else(|reason| absent(&field, reason), Item::Field);
        }
        normaliser.apply(Arc::make_mut(&mut field.values).as_mut_slice());
        Item::Field(field)
    })
}

/// Scores a forecast against its truth.
pub(super) fn compare(
    model: &str,
    options: ScoreOptions,
    areas: Arc<PerGrid<Vec<f64>>>,
    shared: Arc<Shared>,
) -> impl Fn(&Field, &Field) -> Option<ScoreLine> + use<> {
    let model: Arc<str> = model.into();
    move |forecast, truth| {
        let area = |grid: &Grid| Ok(grid.areas_m2().into_iter().map(|area| area / KM2).collect());
        let area = areas.get(&truth.grid, || area(&truth.grid)).ok().filter(|_| forecast.grid == truth.grid)?;
        let _timer = metrics().time("score");
        metrics().passed("score", 0, 1, 4 * forecast.grid.len() as u64);
        let here = |field| values(field).map_err(|error| shared.fail(error.to_string())).ok();
        let (forecast_values, truth_values) = (here(forecast)?, here(truth)?);
        let thresholds = options.thresholds.get(&forecast.variable).map_or(&[][..], Vec::as_slice);
        let variable = variables().get(&forecast.variable)?;
        Some(ScoreLine {
            init: forecast.slot.cycle,
            lead: forecast.slot.lead,
            valid: forecast.slot.valid(),
            model: model.clone(),
            variable: forecast.variable.clone(),
            units: variable.units.as_str().into(),
            origin: truth.provenance.origin.as_str().into(),
            scores: score(&forecast_values, &truth_values, &area, thresholds),
        })
    }
}

fn absent(field: &Field, reason: String) -> Item {
    Item::Absent(Absence {
        variable: field.variable.clone(),
        slot: field.slot,
        requirement: Requirement::Required,
        reason: reason.into(),
    })
}
