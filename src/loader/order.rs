//! Which windows come when: a shuffle that depends on the seed and the epoch alone.

use std::ops::Range;

use super::{LoaderError, LoaderOptions};
use crate::domain::{Modality, Philox, Symmetry};
use crate::formats::zarr::events::{EventArray, EventReader, SPLITS};
use crate::sources::sevir::Split;
use crate::transforms::frames::Window;

/// What the random numbers of the order and of the symmetries are for.
const ORDER: u32 = 0x4f52_4452;
const SYMMETRY: u32 = 0x5359_4d4d;

/// A window of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The event's place in the store.
    pub event: usize,
    /// Its frames: those a model sees, then those it is to foretell.
    pub frames: Range<usize>,
    /// By how many frames its lightning lies earlier: the last that a model sees is over when its last image is taken.
    /// Frames of lightning are of fixed five minutes and images are minutes earlier or later, so that the lightning of the
    /// same number of frame reaches beyond the image, and beyond the first that is to be foretold.
    pub lightning_lag: usize,
    /// How it is turned and mirrored.
    pub symmetry: Symmetry,
}

impl Sample {
    /// The frames of a modality, and how many before them no event has.
    pub fn frames_of(&self, modality: Modality) -> (usize, Range<usize>) {
        let lag = if modality == Modality::Lght { self.lightning_lag } else { 0 };
        let frames = self.frames.start.saturating_sub(lag)..self.frames.end.saturating_sub(lag);
        (self.frames.len() - frames.len(), frames)
    }
}

/// The windows of every event of the split that has all modalities, unturned, in the order of the store.
///
/// # Errors
/// Where no event has such windows.
pub fn samples(
    reader: &EventReader,
    arrays: &[(usize, EventArray)],
    options: &LoaderOptions,
) -> Result<Vec<Sample>, LoaderError> {
    let windows = options.windows.windows()?;
    let wanted = |event: &usize| is_of(reader, *event, options.split) && is_whole(reader, *event, arrays);
    let images: Vec<usize> =
        arrays.iter().filter(|(_, array)| array.modality != Modality::Lght).map(|(place, _)| *place).collect();
    let sample = |event: usize, window: &Window| Sample {
        event,
        frames: window.input.start..window.target.end,
        lightning_lag: reader.lightning_lag(event, &images, window.input.end - 1),
        symmetry: Symmetry::default(),
    };
    let of = |event: usize| windows.iter().map(move |window| sample(event, window));
    Ok((0..reader.events()).filter(wanted).flat_map(of).collect())
}

/// Events of a split that lack one of the modalities.
pub(super) fn left_out(reader: &EventReader, arrays: &[(usize, EventArray)], split: Split) -> usize {
    (0..reader.events()).filter(|event| is_of(reader, *event, split) && !is_whole(reader, *event, arrays)).count()
}

fn is_of(reader: &EventReader, event: usize, split: Split) -> bool {
    SPLITS.get(usize::from(reader.split(event))) == Some(&split.label())
}

fn is_whole(reader: &EventReader, event: usize, arrays: &[(usize, EventArray)]) -> bool {
    arrays.iter().all(|(place, _)| reader.has(event, *place))
}

/// The windows of an epoch in its order (Fisher and Yates, 1938), each with its symmetry.
pub(super) fn shuffled(samples: &[Sample], options: &LoaderOptions, epoch: u32) -> Vec<Sample> {
    let (order, symmetry) = (Philox::new(options.seed, ORDER), Philox::new(options.seed, SYMMETRY));
    let mut shuffled = samples.to_vec();
    for last in (1..shuffled.len()).rev() {
        let [low, high, ..] = order.words([last as u32, epoch, 0, 0]);
        let drawn = u64::from(low) | u64::from(high) << 32;
        // The high half of the product is uniform below last + 1 to within 2⁻³².
        let at = ((u128::from(drawn) * (last as u128 + 1)) >> 64) as usize;
        shuffled.swap(last, at);
    }
    if options.symmetries {
        for sample in &mut shuffled {
            let [word, ..] = symmetry.words([sample.event as u32, sample.frames.start as u32, epoch, 0]);
            sample.symmetry = Symmetry::new(word);
        }
    }
    shuffled
}
