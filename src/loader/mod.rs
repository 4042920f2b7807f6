//! Batches of event windows for training: shuffled by a seed, read ahead on threads, in the same order for any number of them.

mod order;
mod symmetry;

pub use order::{Sample, samples};
pub use symmetry::Symmetry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::domain::{Levels, MISSING_CODE, Modality};
use crate::formats::zarr::ZarrError;
use crate::formats::zarr::events::{Element, EventArray, EventReader, Normalisation};
use crate::transforms::frames::{WindowError, WindowRule};

/// What batches are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// The modalities, in the order in which a batch has them.
    pub modalities: Vec<Modality>,
    /// The split, as a position in [`crate::formats::zarr::events::SPLITS`].
    pub split: u8,
    /// How windows lie in an event.
    pub windows: WindowRule,
    /// Windows of a batch; what is left over at the end of an epoch is not used in it.
    pub batch: usize,
    /// The seed of order and symmetries.
    pub seed: u64,
    /// Turn and mirror windows at random.
    pub symmetries: bool,
    /// Give normalised numbers; else whole ones as they are stored.
    pub normalise: bool,
    /// Threads that read.
    pub threads: usize,
    /// Batches that may be read and not yet used.
    pub ahead: usize,
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
    /// The options do not fit the store.
    #[error("{0}")]
    Options(String),
    /// The threads that read have ended without a word.
    #[error("the threads that read batches have ended; see the log")]
    Ended,
}

/// The numbers of one modality: windows, frames, y, x.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// As they are stored, the missing value included.
    Stored(Levels),
    /// Normalised; 0 where missing, which `mask` tells apart.
    Normalised {
        /// The numbers.
        values: Vec<f32>,
        /// 1 where there is a number, 0 where it is missing.
        mask: Vec<u8>,
    },
}

/// Windows side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its number in the epoch, from 0.
    pub number: usize,
    /// The windows.
    pub samples: Vec<Sample>,
    /// By modality, in the order of the options.
    pub values: Vec<Values>,
}

/// A store, and how batches are made of it.
#[derive(Debug)]
pub struct Loader {
    reader: Arc<EventReader>,
    options: Arc<LoaderOptions>,
    /// Positions of the modalities in the store.
    arrays: Arc<Vec<(usize, EventArray)>>,
    samples: Vec<Sample>,
}

impl Loader {
    /// A loader of the windows of every event that is in the split and has all modalities.
    ///
    /// # Errors
    /// Where the store lacks a modality or its normalisation, or there is not one batch.
    pub fn new(reader: Arc<EventReader>, options: LoaderOptions) -> Result<Loader, LoaderError> {
        let place = |modality: &Modality| reader.arrays().iter().position(|array| array.modality == *modality);
        let mut arrays = Vec::new();
        for modality in &options.modalities {
            let at = place(modality).ok_or_else(|| LoaderError::Options(format!("the store has no {modality}")))?;
            let Some(array) = reader.arrays().get(at).copied() else { continue };
            if options.normalise && array.normalisation.is_none() {
                let text =
                    format!("the store tells no normalisation of {modality}; expected one, or normalise = false");
                return Err(LoaderError::Options(text));
            }
            arrays.push((at, array));
        }
        let samples = samples(&reader, &arrays, &options)?;
        if options.batch == 0 || options.threads == 0 || options.ahead == 0 || samples.len() < options.batch {
            let text = format!(
                "{} windows for batches of {}, {} threads, {} batches ahead; expected at least one batch, and one of each",
                samples.len(),
                options.batch,
                options.threads,
                options.ahead
            );
            return Err(LoaderError::Options(text));
        }
        Ok(Loader { reader, options: Arc::new(options), arrays: Arc::new(arrays), samples })
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
        let count = jobs.len();
        // Whoever takes a number has leave to read that batch; leave comes back as batches are used.
        let (leave, numbers) = bounded(count.max(1));
        let (filled, ready) = bounded(self.options.ahead);
        let stop = Arc::new(AtomicBool::new(false));
        let work = Arc::new(Work {
            reader: self.reader.clone(),
            options: self.options.clone(),
            arrays: self.arrays.clone(),
            jobs,
        });
        let threads = (0..self.options.threads)
            .map(|_| {
                let (work, numbers, filled, stop) = (work.clone(), numbers.clone(), filled.clone(), stop.clone());
                thread::spawn(move || work.run(&numbers, &filled, &stop))
            })
            .collect();
        let mut batches =
            Batches { leave: Some(leave), ready, waiting: BTreeMap::new(), next: 0, given: 0, count, stop, threads };
        (0..self.options.ahead).for_each(|_| batches.allow());
        batches
    }
}

/// The batches of one epoch, in order.
#[derive(Debug)]
pub struct Batches {
    leave: Option<Sender<usize>>,
    ready: Receiver<(usize, Result<Batch, LoaderError>)>,
    /// Batches that were ready before their turn.
    waiting: BTreeMap<usize, Result<Batch, LoaderError>>,
    next: usize,
    /// Batches that may be read so far.
    given: usize,
    count: usize,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Batches {
    /// Lets one more batch be read.
    fn allow(&mut self) {
        if self.given < self.count
            && let Some(leave) = &self.leave
        {
            // There is room for every number, and the threads wait for them.
            let _ = leave.try_send(self.given);
            self.given += 1;
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        while !self.waiting.contains_key(&self.next) {
            match self.ready.recv() {
                Ok((number, batch)) => drop(self.waiting.insert(number, batch)),
                Err(_) => return Some(Err(LoaderError::Ended)),
            }
        }
        let batch = self.waiting.remove(&self.next);
        self.next += 1;
        self.allow();
        batch
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.leave = None;
        while self.ready.try_recv().is_ok() {}
        let (_, none) = bounded(0);
        self.ready = none;
        for thread in self.threads.drain(..) {
            // A thread that panicked has been told on standard error.
            let _ = thread.join();
        }
    }
}

/// What the threads of an epoch share.
struct Work {
    reader: Arc<EventReader>,
    options: Arc<LoaderOptions>,
    arrays: Arc<Vec<(usize, EventArray)>>,
    jobs: Vec<Vec<Sample>>,
}

impl Work {
    fn run(&self, numbers: &Receiver<usize>, filled: &Sender<(usize, Result<Batch, LoaderError>)>, stop: &AtomicBool) {
        for number in numbers {
            if stop.load(Ordering::Relaxed) || filled.send((number, self.batch(number))).is_err() {
                return;
            }
        }
    }

    fn batch(&self, number: usize) -> Result<Batch, LoaderError> {
        let samples = self.jobs.get(number).cloned().unwrap_or_default();
        let mut values = Vec::with_capacity(self.arrays.len());
        for (place, array) in self.arrays.iter() {
            let levels = self.levels(&samples, *place, array)?;
            values.push(match array.normalisation.filter(|_| self.options.normalise) {
                Some(normalisation) => normalised(&levels, normalisation),
                None => Values::Stored(levels),
            });
        }
        Ok(Batch { number, samples, values })
    }

    /// One modality of all windows of a batch.
    fn levels(&self, samples: &[Sample], place: usize, array: &EventArray) -> Result<Levels, LoaderError> {
        let each = window_bytes(array, &self.options) / array.element().width();
        let mut levels = match array.element() {
            Element::U8 => Levels::U8(vec![0; samples.len() * each]),
            Element::I16 => Levels::I16(vec![0; samples.len() * each]),
        };
        match &mut levels {
            Levels::U8(values) => {
                for (sample, values) in samples.iter().zip(values.chunks_exact_mut(each)) {
                    self.reader.read(sample.event, place, sample.frames.clone(), values)?;
                    sample.symmetry.apply(values, array.size);
                }
            }
            Levels::I16(values) => {
                for (sample, values) in samples.iter().zip(values.chunks_exact_mut(each)) {
                    let (lacking, frames) = sample.frames_of(array.modality);
                    let (before, there) = values.split_at_mut(lacking * array.points());
                    before.fill(MISSING_CODE.to_le());
                    self.reader.read(sample.event, place, frames, bytemuck::cast_slice_mut(there))?;
                    values.iter_mut().for_each(|value| *value = i16::from_le(*value));
                    sample.symmetry.apply(values, array.size);
                }
            }
        }
        Ok(levels)
    }
}

/// Bytes of a window of one modality as it is stored.
fn window_bytes(array: &EventArray, options: &LoaderOptions) -> usize {
    (options.windows.input + options.windows.target) * array.points() * array.element().width()
}

fn normalised(levels: &Levels, with: Normalisation) -> Values {
    let (factor, offset) = ((1.0 / with.scale) as f32, (-with.shift / with.scale) as f32);
    let (values, mask): (Vec<f32>, Vec<u8>) = match levels {
        Levels::U8(stored) => {
            let there = |value: &u8| *value != u8::MAX;
            let number = |value: &u8| if there(value) { f32::from(*value) * factor + offset } else { 0.0 };
            (stored.iter().map(number).collect(), stored.iter().map(|value| u8::from(there(value))).collect())
        }
        Levels::I16(stored) => {
            let there = |value: &i16| *value != i16::MIN;
            let number = |value: &i16| if there(value) { f32::from(*value) * factor + offset } else { 0.0 };
            (stored.iter().map(number).collect(), stored.iter().map(|value| u8::from(there(value))).collect())
        }
    };
    Values::Normalised { values, mask }
}
