//! Keeps fields on a device from their packed bytes to whoever reads their values.
//!
//! What is asked of a device returns at once, so that the bytes of one field travel beside the work on another; it is
//! waited for where groups of packed values are added up, where quality control counts, and where values are brought back.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{DeviceChoice, Pipeline};
use crate::domain::{Field, Grid, Held, Quality};
use crate::sources::Chunk;
use crate::tensor::{Device, FieldMap, Memory, Opened, Tensor, TensorError};
use crate::transforms::normalise::Normaliser;
use crate::transforms::qc::Report;
use crate::transforms::regrid::Weights;
use crate::transforms::rotate::Rotation;

use super::RunError;
use super::totals::Shared;

/// Bytes of a field of HRRR, the largest that a source has: 1059 rows of 1799 values.
const FIELD_BYTES: usize = 4 * 1059 * 1799;
/// How often a field may lie on a device at one time: as it came, as a stage made it, and packed or on its way back.
const TIMES_HELD: usize = 3;
/// Bytes for what all fields share: buffers of copies, weights of a regridding, compiled kernels.
const SHARED_BYTES: usize = 256 << 20;

/// A device that fields are worked on; where it fails, the run ends.
#[derive(Clone)]
pub(super) struct OnDevice {
    device: Device,
    shared: Arc<Shared>,
}

/// A field's values on a device, and on the host once they were brought back.
struct Away {
    tensor: Tensor,
    here: Mutex<Option<Arc<Vec<f32>>>>,
}

/// Opens the device that a pipeline names. `auto` is the CPU, with the reason, where no GPU is there with room for its fields.
///
/// # Errors
/// Where a GPU that is named is missing, runs no kernels or has no room.
pub fn open_device(pipeline: &Pipeline) -> Result<Opened, RunError> {
    let opened = pipeline.device.open()?;
    let refused = opened.cuda.as_ref().map_or(Ok(()), |cuda| {
        let work = cuda.work()?;
        room(&cuda.name(), needed(pipeline), work.free_bytes, work.total_bytes)
    });
    match (refused, pipeline.device) {
        (Err(error), DeviceChoice::Auto) => Ok(Opened::cpu(Some(error.to_string()))),
        (refused, _) => Ok(refused.map(|()| opened)?),
    }
}

/// Bytes that the fields of a pipeline may take at one time.
fn needed(pipeline: &Pipeline) -> usize {
    let fields = pipeline.source().map_or(0, |source| source.window * source.variables.len());
    SHARED_BYTES + fields * TIMES_HELD * FIELD_BYTES
}

fn room(device: &str, needed: usize, free: usize, total: usize) -> Result<(), TensorError> {
    if free >= needed {
        return Ok(());
    }
    let megabytes = |bytes: usize| bytes / 1_000_000;
    let what = format!(
        "{} of its {} MB are free, and the fields of the pipeline may take {} MB: end what else runs there, or set \
         `window_slots` lower",
        megabytes(free),
        megabytes(total),
        megabytes(needed),
    );
    Err(TensorError::Device { device: device.into(), what })
}

/// A field's values, brought back where a device holds them.
///
/// # Errors
/// Where the device fails.
pub(super) fn values(field: &Field) -> Result<Arc<Vec<f32>>, TensorError> {
    let Some(away) = away(field) else { return Ok(field.values.clone()) };
    let mut here = away.here.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(values) = &*here {
        return Ok(values.clone());
    }
    let values = Arc::new(away.tensor.to_vec()?);
    Ok(here.insert(values).clone())
}

fn away(field: &Field) -> Option<&Away> {
    field.held.as_ref()?.0.downcast_ref()
}

/// The same field with values that a device holds.
fn held(field: &Field, tensor: Tensor) -> Field {
    let held = Held(Arc::new(Away { tensor, here: Mutex::default() }));
    Field { values: Arc::default(), held: Some(held), ..field.clone() }
}

impl OnDevice {
    pub(super) fn new(device: Device, shared: Arc<Shared>) -> Self {
        OnDevice { device, shared }
    }

    /// A field from its packed bytes; where it cannot be had, why.
    pub(super) fn unpack(&self, chunk: &Chunk) -> Result<Field, String> {
        let tensor = match Tensor::unpacked(&self.device, &chunk.message, &chunk.bytes) {
            Err(TensorError::Field(error)) => return Err(chunk.told(&error)),
            other => self.done(other)?,
        };
        Ok(held(&chunk.field()?, tensor))
    }

    /// Impossible values to missing.
    pub(super) fn check(&self, field: &Field, quality: &Quality) -> Result<(Field, Report), String> {
        let (values, report) = self.done(self.tensor(field)?.checked(quality))?;
        Ok((held(field, values), report))
    }

    /// A rotation's angle.
    pub(super) fn angle(&self, rotation: &Rotation, grid: &Grid) -> Result<[Tensor; 2], String> {
        let [cosine, sine] = rotation.cosine_and_sine().map(|part| Tensor::new(&self.device, [grid.ny, grid.nx], part));
        Ok([self.done(cosine)?, self.done(sine)?])
    }

    /// Both components of the wind, earth-relative.
    pub(super) fn rotate(&self, angle: &[Tensor; 2], u: &Field, v: &Field) -> Result<(Field, Field), String> {
        let [east, north] = self.done(self.tensor(u)?.rotated(&self.tensor(v)?, angle))?;
        Ok((held(u, east), held(v, north)))
    }

    /// The weights of a regridding.
    pub(super) fn map(&self, weights: &Weights, target: &Grid) -> Result<FieldMap, String> {
        self.done(FieldMap::new(&self.device, weights, target.ny, target.nx))
    }

    /// A field on another grid.
    pub(super) fn regrid(&self, map: &FieldMap, target: &Arc<Grid>, field: &Field) -> Result<Field, String> {
        let values = self.done(self.tensor(field)?.moved(map))?;
        Ok(Field { grid: target.clone(), ..held(field, values) })
    }

    /// A normaliser's mean and deviation.
    pub(super) fn scale(&self, normaliser: &Normaliser) -> Result<[Tensor; 2], String> {
        let [mean, deviation] = normaliser.mean_and_deviation().map(|value| Tensor::new(&self.device, [1], &[value]));
        Ok([self.done(mean)?, self.done(deviation)?])
    }

    /// A field of mean 0 and standard deviation 1.
    pub(super) fn normalise(&self, [mean, deviation]: &[Tensor; 2], field: &Field) -> Result<Field, String> {
        let tensor = self.tensor(field)?;
        let shape = tensor.shape();
        let one = self.done(tensor.reshape([1, 1, tensor.len()]))?;
        let scaled = self.done(one.standardise(mean, deviation).and_then(|scaled| scaled.reshape(shape)))?;
        Ok(held(field, scaled))
    }

    fn tensor(&self, field: &Field) -> Result<Tensor, String> {
        let upload = || Tensor::new(&self.device, [field.grid.ny, field.grid.nx], &field.values);
        away(field).map_or_else(|| self.done(upload()), |away| Ok(away.tensor.clone()))
    }

    /// An outcome, whose failure ends the run.
    fn done<T>(&self, outcome: Result<T, TensorError>) -> Result<T, String> {
        outcome.map_err(|error| {
            self.shared.fail(error.to_string());
            error.to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_room_is_named_with_what_to_do() {
        assert_eq!(room("cuda:0", 1_000, 1_000, 2_000), Ok(()));
        let error = room("cuda:0", 5_000_000_000, 700_000_000, 80_000_000_000).expect_err("no room").to_string();
        assert!(error.contains("700 of its 80000 MB") && error.contains("5000 MB"), "{error}");
        assert!(error.contains("window_slots"), "{error}");
    }
}
