//! Batches of event windows for training: shuffled by a seed, read ahead on threads, in the same order for any number of them.
//!
//! `examples/batches.rs` reads an epoch of a store and tells how fast.

mod batch;
mod batches;
mod memory;
mod order;
mod work;

pub use batch::{Batch, ModalityTensors, Values};
pub use batches::Batches;
pub use memory::Numbers;
pub use order::{Sample, samples};

use std::sync::Arc;

use crate::domain::Modality;
use crate::formats::zarr::ZarrError;
use crate::formats::zarr::events::{EventArray, EventReader};
use crate::sources::sevir::Split;
use crate::tensor::{Device, TensorError};
use crate::transforms::frames::{WindowError, WindowRule};

use memory::Pool;
use order::left_out;
use work::Work;

/// What the numbers of batches are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Whole numbers as they are stored.
    Stored,
    /// Around zero, as the store says: (x − shift) / scale.
    #[default]
    Normalised,
    /// VIL in kg m⁻², infrared in degrees Celsius, visible light as reflectance, lightning in flashes.
    Physical,
}

/// What batches are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// The modalities, in the order in which a batch has them.
    pub modalities: Vec<Modality>,
    /// The split whose events are taken.
    pub split: Split,
    /// How windows lie in an event.
    pub windows: WindowRule,
    /// Windows of a batch; what is left over at the end of an epoch is not used in it.
    pub batch: usize,
    /// The seed of order and symmetries.
    pub seed: u64,
    /// Turn and mirror windows at random.
    pub symmetries: bool,
    /// What the numbers are.
    pub scale: Scale,
    /// Threads that read.
    pub threads: usize,
    /// Batches that may be read and not yet used.
    pub ahead: usize,
}

impl Default for LoaderOptions {
    /// Batches of eight training windows of VIL, 13 frames in and 12 out, normalised, unturned, read ahead on two threads.
    fn default() -> Self {
        LoaderOptions {
            modalities: vec![Modality::Vil],
            split: Split::Train,
            windows: WindowRule::default(),
            batch: 8,
            seed: 0,
            symmetries: false,
            scale: Scale::default(),
            threads: 2,
            ahead: 4,
        }
    }
}

/// A loader that could not be made or go on.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ZarrError),
    /// No event has such windows.
    #[error(transparent)]
    Windows(#[from] WindowError),
    /// The device has no memory, or failed.
    #[error(transparent)]
    Device(#[from] TensorError),
    /// The options do not fit the store.
    #[error("{0}")]
    Options(String),
    /// The threads that read have ended without a word.
    #[error("the threads that read batches have ended; see the log")]
    Ended,
}

/// A store, and how batches are made of it.
#[derive(Debug)]
pub struct Loader {
    reader: Arc<EventReader>,
    options: Arc<LoaderOptions>,
    /// Positions of the modalities in the store.
    arrays: Arc<Vec<(usize, EventArray)>>,
    samples: Vec<Sample>,
    left_out: usize,
    pool: Arc<Pool>,
}

impl Loader {
    /// A loader of the windows of every event that is in the split and has all modalities, for batches that are used on
    /// a device. Where its memory is not the host's, numbers to be scaled stay as they are stored, in memory that it
    /// fetches them from by itself, and [`Batch::to`] scales, masks and turns them there.
    ///
    /// # Errors
    /// Where the store lacks a modality or its normalisation, or there is not one batch.
    pub fn new(reader: Arc<EventReader>, options: LoaderOptions, device: &Device) -> Result<Loader, LoaderError> {
        let place = |modality: &Modality| reader.arrays().iter().position(|array| array.modality == *modality);
        let mut arrays = Vec::new();
        for modality in &options.modalities {
            let at = place(modality).ok_or_else(|| LoaderError::Options(format!("the store has no {modality}")))?;
            let Some(array) = reader.arrays().get(at).copied() else { continue };
            if options.scale == Scale::Normalised && array.normalisation.is_none() {
                let text = format!("the store tells no normalisation of {modality}; expected one, or another scale");
                return Err(LoaderError::Options(text));
            }
            arrays.push((at, array));
        }
        let samples = samples(&reader, &arrays, &options)?;
        let left_out = left_out(&reader, &arrays, options.split);
        if options.batch == 0 || options.threads == 0 || options.ahead == 0 || samples.len() < options.batch {
            let text = format!(
                "{} windows of {} events ({left_out} lack a modality) for batches of {}, {} threads, {} batches ahead; \
                 expected at least one batch, and one of each",
                samples.len(),
                options.split,
                options.batch,
                options.threads,
                options.ahead
            );
            return Err(LoaderError::Options(text));
        }
        let pool = Pool::new(device);
        Ok(Loader { reader, options: Arc::new(options), arrays: Arc::new(arrays), samples, left_out, pool })
    }

    /// Events of the split that lack one of the modalities, and are in no batch.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.samples.len() / self.options.batch.max(1)
    }

    /// Bytes of a batch as it is stored.
    pub fn batch_bytes(&self) -> usize {
        self.arrays.iter().map(|(_, array)| self.options.batch * window_bytes(array, &self.options)).sum()
    }

    /// The batches of an epoch, being read from now on.
    pub fn epoch(&self, epoch: u32) -> Batches {
        let order = order::shuffled(&self.samples, &self.options, epoch);
        let jobs: Vec<Vec<Sample>> = order.chunks_exact(self.options.batch).map(<[Sample]>::to_vec).collect();
        Batches::start(Work {
            reader: self.reader.clone(),
            options: self.options.clone(),
            arrays: self.arrays.clone(),
            pool: self.pool.clone(),
            jobs,
        })
    }
}

/// Bytes of a window of one modality as it is stored.
fn window_bytes(array: &EventArray, options: &LoaderOptions) -> usize {
    (options.windows.input + options.windows.target) * array.points() * array.element().width()
}
