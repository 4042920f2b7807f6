//! What the threads of an epoch do: frames are unpacked, turned and scaled one by one, while a cache holds them.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::memory::{Numbers, Pool};
use super::{Batch, LoaderError, LoaderOptions, Sample, Scale, Values};
use crate::domain::{Level, Symmetry, occurrences};
use crate::formats::zarr::events::{Element, EventArray, EventReader, Normalisation, Scratch};
use crate::tensor::Coding;
use crate::transforms::vil;

/// What the threads of an epoch share.
pub(super) struct Work {
    pub(super) reader: Arc<EventReader>,
    pub(super) options: Arc<LoaderOptions>,
    pub(super) arrays: Arc<Vec<(usize, EventArray)>>,
    pub(super) pool: Arc<Pool>,
    pub(super) jobs: Vec<Vec<Sample>>,
}

/// A batch, or why there is none, and its number.
pub(super) type Numbered = (usize, Result<Batch, LoaderError>);

impl Work {
    /// Makes the batches whose numbers come, until no more come or nobody wants them.
    pub(super) fn run(&self, numbers: &Receiver<usize>, filled: &Sender<Numbered>, stop: &AtomicBool) {
        let mut scratch = Scratch::default();
        for number in numbers {
            if stop.load(Ordering::Relaxed) || filled.send((number, self.batch(number, &mut scratch))).is_err() {
                return;
            }
        }
    }

    fn batch(&self, number: usize, scratch: &mut Scratch) -> Result<Batch, LoaderError> {
        let samples = self.jobs.get(number).cloned().unwrap_or_default();
        let mut values = Vec::with_capacity(self.arrays.len());
        for (place, array) in self.arrays.iter() {
            let window = Windows { work: self, samples: &samples, place: *place, array };
            values.push(match (self.options.scale, array.element()) {
                (Scale::Stored, Element::U8) => Values::U8(window.stored(scratch)?),
                (Scale::Stored, Element::I16) => Values::I16(window.stored(scratch)?),
                (scale, _) if self.pool.device().is_host() => window.in_scale(scale, scratch)?,
                (scale, _) => window.coded(scale, scratch)?,
            });
        }
        let frames = self.options.windows.input + self.options.windows.target;
        let sizes = self.arrays.iter().map(|(_, array)| array.size).collect();
        Ok(Batch { number, samples, frames, sizes, values })
    }
}

/// One modality of the windows of a batch.
struct Windows<'a> {
    work: &'a Work,
    samples: &'a [Sample],
    place: usize,
    array: &'a EventArray,
}

impl Windows<'_> {
    /// Numbers of all windows, and of one.
    fn counts(&self) -> (usize, usize) {
        let windows = self.work.options.windows;
        let each = (windows.input + windows.target) * self.array.points();
        (self.samples.len() * each, each)
    }

    /// Numbers as they are stored, turned.
    fn stored<T: Level>(&self, scratch: &mut Scratch) -> Result<Numbers<T>, LoaderError> {
        let ((count, each), points) = (self.counts(), self.array.points());
        let mut numbers = self.work.pool.take::<T>(count, false)?;
        for (sample, window) in self.samples.iter().zip(numbers.fill()?.chunks_exact_mut(each)) {
            if sample.symmetry == Symmetry::default() {
                self.read(sample, scratch, window)?;
                window.iter_mut().for_each(|number| *number = number.native());
                continue;
            }
            let mut places = window.chunks_exact_mut(points);
            self.frames::<T>(sample, scratch, |frame| match (frame, places.next()) {
                (Some(frame), Some(out)) => sample.symmetry.place(frame, out, self.array.size, |from, to| {
                    from.iter().zip(to).for_each(|(from, to)| *to = from.native());
                }),
                (None, Some(out)) => out.fill(T::MISSING),
                (_, None) => (),
            })?;
        }
        Ok(numbers)
    }

    /// A window as it is stored, little-endian and not turned; what is not there is missing.
    fn read<T: Level>(&self, sample: &Sample, scratch: &mut Scratch, window: &mut [T]) -> Result<(), LoaderError> {
        let (lacking, frames) = sample.frames_of(self.array.modality);
        let (before, there) = window.split_at_mut((lacking * self.array.points()).min(window.len()));
        before.fill(T::MISSING.native());
        Ok(self.work.reader.read(sample.event, self.place, frames, scratch, bytemuck::cast_slice_mut(there))?)
    }

    /// Numbers that a device is to scale and turn.
    fn coded(&self, scale: Scale, scratch: &mut Scratch) -> Result<Values, LoaderError> {
        let line = self.line(scale);
        Ok(match self.array.element() {
            Element::U8 => {
                let of = |level| if scale == Scale::Physical { vil::table()[level] } else { on(line, level as u8) };
                Values::Coded {
                    bytes: self.as_they_are::<u8>(scratch)?,
                    coding: Coding::U8(Box::new(array::from_fn(of))),
                }
            }
            Element::I16 => {
                let (factor, offset) = line;
                Values::Coded { bytes: self.as_they_are::<i16>(scratch)?, coding: Coding::I16 { factor, offset } }
            }
        })
    }

    /// All windows as they are stored, for a device.
    fn as_they_are<T: Level>(&self, scratch: &mut Scratch) -> Result<Numbers<u8>, LoaderError> {
        let (count, each) = self.counts();
        let mut numbers = self.work.pool.take::<T>(count, true)?;
        for (sample, window) in self.samples.iter().zip(numbers.fill()?.chunks_exact_mut(each)) {
            self.read(sample, scratch, window)?;
        }
        Ok(numbers.into_bytes())
    }

    /// Factor and offset of numbers that lie on a line.
    fn line(&self, scale: Scale) -> (f32, f32) {
        // Cannot be otherwise: a loader is made with the normalisation that it needs, and VIL alone has no step.
        let one = Normalisation { shift: 0.0, scale: self.array.modality.step().map_or(1.0, |step| 1.0 / step) };
        let with = if scale == Scale::Normalised { self.array.normalisation.unwrap_or(one) } else { one };
        ((1.0 / with.scale) as f32, (-with.shift / with.scale) as f32)
    }

    /// Normalised numbers, or physical ones.
    fn in_scale(&self, scale: Scale, scratch: &mut Scratch) -> Result<Values, LoaderError> {
        let line = self.line(scale);
        match self.array.element() {
            Element::U8 if scale == Scale::Physical => {
                let liquid = vil::table();
                self.scaled(|level: u8| liquid[usize::from(level)], scratch)
            }
            Element::U8 => self.scaled(|level: u8| on(line, level), scratch),
            Element::I16 => self.scaled(|code: i16| on(line, code), scratch),
        }
    }

    /// What numbers stand for, 0 where they are missing.
    fn scaled<T: Level>(&self, number: impl Fn(T) -> f32, scratch: &mut Scratch) -> Result<Values, LoaderError> {
        let ((count, each), points) = (self.counts(), self.array.points());
        let (mut values, mut mask) =
            (self.work.pool.take::<f32>(count, true)?, self.work.pool.take::<u8>(count, false)?);
        let mut missing = 0;
        let (there, ones) = mask.fill_frames(count / points.max(1))?;
        let mut frames = values.fill()?.chunks_exact_mut(points).zip(there.chunks_exact_mut(points)).zip(ones);
        for sample in self.samples {
            self.frames::<T>(sample, scratch, |frame| {
                if let Some(((values, mask), ones)) = frames.next() {
                    missing += scaled(frame, values, (mask, ones), (sample.symmetry, self.array.size), &number);
                }
            })?;
        }
        debug_assert_eq!(each * self.samples.len(), count);
        Ok(Values::Scaled { values, mask, missing })
    }

    /// Hands out the frames of a window in order; `None` for one that is not there.
    fn frames<T: Level>(
        &self,
        sample: &Sample,
        scratch: &mut Scratch,
        mut take: impl FnMut(Option<&[T]>),
    ) -> Result<(), LoaderError> {
        let (lacking, frames) = sample.frames_of(self.array.modality);
        (0..lacking).for_each(|_| take(None));
        let take = |_, frame: Option<&[u8]>| take(frame.map(bytemuck::cast_slice));
        Ok(self.work.reader.each_frame(sample.event, self.place, frames, scratch, take)?)
    }
}

/// Where a number lies on a line; two roundings.
#[inline(always)]
fn on((factor, offset): (f32, f32), number: impl Into<f32>) -> f32 {
    number.into() * factor + offset
}

/// Brings a frame to its place turned and scaled, and keeps its mask true; how many points are missing.
fn scaled<T: Level>(
    frame: Option<&[T]>,
    values: &mut [f32],
    (mask, ones): (&mut [u8], &mut bool),
    (symmetry, size): (Symmetry, usize),
    number: impl Fn(T) -> f32,
) -> usize {
    let Some(frame) = frame else {
        values.fill(0.0);
        mask.fill(0);
        *ones = false;
        return mask.len();
    };
    symmetry.place(frame, values, size, |from, to| {
        for (level, to) in from.iter().zip(to) {
            *to = if level.native() == T::MISSING { 0.0 } else { number(level.native()) };
        }
    });
    let missing = occurrences(frame, T::MISSING.native());
    if missing > 0 {
        symmetry.place(frame, mask, size, |from, to| {
            from.iter().zip(to).for_each(|(level, to)| *to = u8::from(level.native() != T::MISSING));
        });
    } else if !*ones {
        mask.fill(1);
    }
    *ones = missing == 0;
    missing
}
