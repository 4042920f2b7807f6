//! Images that a convolution reads: as they are, or normalised on the way.

use crate::tensor::cpu::norm_factors::Factors;
use crate::tensor::cpu::norm_kernels::Pattern;
use crate::tensor::ops::elementwise::Map;

use super::window::{Image, Window};

/// Numbers of a pattern where there are few channels.
const PATTERN: usize = 256;

/// All images of a batch.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    pub(super) norm: Option<&'a Norm>,
}

/// A normalisation of images, and a function of it.
pub(super) struct Norm {
    pub(super) factors: Factors,
    pub(super) activation: Option<Map>,
    /// Whether the level rounds a·b + c once.
    pub(super) fused: bool,
}

/// One image of a batch.
pub(super) struct Reader<'a> {
    image: Image<'a>,
    norm: Option<(Pattern<'a>, Option<Map>)>,
    /// Room for a pattern.
    line: &'a mut [f32],
}

impl<'a> Source<'a> {
    pub(super) fn image(&self, index: usize) -> Image<'a> {
        let len = self.rows * self.columns * self.channels;
        let values = &self.values[index * len..(index + 1) * len];
        Image { values, rows: self.rows, columns: self.columns, channels: self.channels }
    }

    /// Numbers of a pattern of the channels' factors.
    fn pattern(&self) -> usize {
        self.channels * (PATTERN / self.channels).max(1)
    }

    /// Numbers that a reader takes for its factors.
    pub(super) fn scratch_len(&self) -> usize {
        if self.norm.is_some() { 5 * self.pattern() } else { 0 }
    }

    /// The reader of an image, with scratch of [`Source::scratch_len`].
    #[inline(always)]
    pub(super) fn reader(&self, index: usize, scratch: &'a mut [f32]) -> Reader<'a> {
        let image = self.image(index);
        let Some(norm) = self.norm else { return Reader { image, norm: None, line: scratch } };
        let (factors, line) = scratch.split_at_mut(4 * self.pattern());
        let channels = index * self.channels..(index + 1) * self.channels;
        let (forward, addend) = (norm.factors.forward(), norm.factors.addend());
        let pattern = Pattern::adding(forward, addend, channels, norm.fused, factors);
        Reader { image, norm: Some((pattern, norm.activation)), line }
    }
}

impl Reader<'_> {
    /// A window of the image, 0 outside, and how far its rows lie apart: in the image where nothing is done to it, or in
    /// `to`, side by side.
    #[inline(always)]
    pub(super) fn window<'w>(&'w mut self, window: &Window, to: &'w mut [f32]) -> (&'w [f32], usize) {
        let channels = self.image.channels;
        if self.norm.is_none() && self.image.holds(window) {
            return self.image.part(window);
        }
        for (index, to) in to.chunks_exact_mut(window.columns * channels).take(window.rows).enumerate() {
            let (before, from, after) = self.image.row(window, index);
            let (outside, rest) = to.split_at_mut(before * channels);
            let (inside, behind) = rest.split_at_mut(rest.len() - after * channels);
            outside.fill(0.0);
            behind.fill(0.0);
            match &self.norm {
                Some((pattern, activation)) => pattern.apply(from, *activation, self.line, inside),
                None => inside.copy_from_slice(from),
            }
        }
        (to, window.columns * channels)
    }
}
