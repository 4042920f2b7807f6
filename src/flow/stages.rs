//! The arithmetic of the transforms, bound to their options and tables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{RegridMethod, RegridOptions, RegridTarget, ScoreOptions, variables};
use crate::domain::{Absence, Field, Grid, Item, Requirement};
use crate::telemetry::metrics;
use crate::transforms::normalise::Normaliser;
use crate::transforms::regrid::{Method, Weights};
use crate::transforms::rotate::Rotation;
use crate::transforms::{qc, statistics::StatisticsTable};
use crate::verify::{ScoreLine, score};

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
pub(super) fn quality(shared: Arc<Shared>) -> impl Fn(Field) -> Item {
    move |mut field| {
        let Some(variable) = variables().get(&field.variable) else { return Item::Field(field) };
        let values = Arc::make_mut(&mut field.values);
        let report = qc::check(values, &variable.quality);
        let constant = if report.constant { values.len() } else { 0 };
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
}

/// Moves a field to the target grid.
pub(super) fn regrid(options: RegridOptions, weights: Arc<PerGrid<Regridding>>) -> impl Fn(Field) -> Item {
    move |field| {
        let made = weights.get(&field.grid, || regridding(&options, &field.grid));
        or_absent(&field, made, |regridding| {
            let mut values = vec![f32::NAN; regridding.target.len()];
            regridding.weights.apply(&field.values, &mut values);
            Field { grid: regridding.target.clone(), ..field.with_values(values) }
        })
    }
}

fn regridding(options: &RegridOptions, source: &Arc<Grid>) -> Result<Regridding, String> {
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
    Ok(Regridding { target, weights })
}

/// Turns both components of the wind to earth-relative.
pub(super) fn rotation(rotations: Arc<PerGrid<Rotation>>) -> impl Fn(&Field, &Field) -> Result<(Field, Field), String> {
    move |u, v| {
        let rotation = rotations.get(&u.grid, || Rotation::to_earth(&u.grid).map_err(|e| e.to_string()))?;
        let (east, north) = rotation.apply(&u.values, &v.values);
        Ok((u.with_values(east), v.with_values(north)))
    }
}

/// Normalises a field with the table's mean and standard deviation.
pub(super) fn normalise(
    names: &[Arc<str>],
    table: &StatisticsTable,
) -> Result<impl Fn(Field) -> Item + Clone + use<>, String> {
    let normaliser = |name: &Arc<str>| Ok((name.clone(), Normaliser::new(name, table).map_err(|e| e.to_string())?));
    let made: BTreeMap<Arc<str>, Normaliser> = names.iter().map(normaliser).collect::<Result<_, String>>()?;
    Ok(move |mut field: Field| {
        if let Some(normaliser) = made.get(&field.variable) {
            normaliser.apply(Arc::make_mut(&mut field.values).as_mut_slice());
        }
        Item::Field(field)
    })
}

/// Scores a forecast against its truth.
pub(super) fn compare(
    model: &str,
    options: ScoreOptions,
    areas: Arc<PerGrid<Vec<f64>>>,
) -> impl Fn(&Field, &Field) -> Option<ScoreLine> + use<> {
    let model: Arc<str> = model.into();
    move |forecast, truth| {
        let area = |grid: &Grid| Ok(grid.areas_m2().into_iter().map(|area| area / KM2).collect());
        let area = areas.get(&truth.grid, || area(&truth.grid)).ok().filter(|_| forecast.grid == truth.grid)?;
        let _timer = metrics().time("score");
        metrics().passed("score", 0, 1, 4 * forecast.values.len() as u64);
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
            scores: score(&forecast.values, &truth.values, &area, thresholds),
        })
    }
}

fn or_absent<T>(field: &Field, made: Result<T, String>, change: impl FnOnce(T) -> Field) -> Item {
    match made {
        Ok(made) => Item::Field(change(made)),
        Err(reason) => Item::Absent(Absence {
            variable: field.variable.clone(),
            slot: field.slot,
            requirement: Requirement::Required,
            reason: reason.into(),
        }),
    }
}
