//! Linear maps of one axis: which inputs each output is made of, and with what weights.

use crate::tensor::{Result, Shape, TensorError};

/// A sparse linear map from the inputs of an axis to its outputs, as compressed rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// Number of inputs.
    pub inputs: usize,
    /// Where each output's taps begin, and one past the last: one more than there are outputs.
    pub offsets: Vec<u32>,
    /// The input of each tap.
    pub sources: Vec<u32>,
    /// The weight of each tap, never 0.
    pub weights: Vec<f32>,
}

/// What lies outside a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    /// A number.
    Constant(f32),
    /// The grid mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// The outermost elements repeated.
    Replicate,
}

impl Taps {
    /// Taps of every output in turn; those of weight 0 are left out.
    fn from_outputs<I: IntoIterator<Item = (usize, f64)>>(
        inputs: usize,
        outputs: usize,
        of: impl Fn(usize) -> I,
    ) -> Taps {
        let mut taps = Taps { inputs, offsets: vec![0], sources: Vec::new(), weights: Vec::new() };
        for output in 0..outputs {
            for (source, weight) in of(output).into_iter().filter(|(_, weight)| *weight != 0.0) {
                taps.sources.push(source as u32);
                taps.weights.push(weight as f32);
            }
            taps.offsets.push(taps.sources.len() as u32);
        }
        taps
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The inputs of an output, and their weights.
    pub fn of(&self, output: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[output] as usize..self.offsets[output + 1] as usize;
        (&self.sources[range.clone()], &self.weights[range])
    }

    /// The map of gradients: from outputs back to inputs.
    pub fn transposed(&self) -> Taps {
        let mut lists = vec![Vec::new(); self.inputs];
        for output in 0..self.outputs() {
            let (sources, weights) = self.of(output);
            for (source, weight) in sources.iter().zip(weights) {
                lists[*source as usize].push((output, f64::from(*weight)));
            }
        }
        Taps::from_outputs(self.outputs(), self.inputs, |input| lists[input].iter().copied())
    }

    /// Linear interpolation; `step` is how far apart outputs lie, in inputs.
    ///
    /// With `align_corners` the first and last outputs lie on the first and last inputs, else outputs and inputs are
    /// cells that fill the same interval, and those beyond the first and last centres take these.
    pub(crate) fn linear(inputs: usize, outputs: usize, step: f64, align_corners: bool) -> Taps {
        let last = inputs.saturating_sub(1);
        Taps::from_outputs(inputs, outputs, |output| {
            let at = if align_corners { output as f64 * step } else { (output as f64 + 0.5) * step - 0.5 };
            let at = at.clamp(0.0, last as f64);
            let low = (at as usize).min(last);
            let weight = if low == last { 0.0 } else { at - low as f64 };
            [(low, 1.0 - weight), ((low + 1).min(last), weight)]
        })
    }

    /// The input whose cell an output's lower edge lies in, in f32; `step` is how far apart outputs lie, in inputs.
    pub(crate) fn nearest(inputs: usize, outputs: usize, step: f32) -> Taps {
        let source = |output: usize| (output as f32 * step) as usize;
        Taps::from_outputs(inputs, outputs, |output| [(source(output).min(inputs.saturating_sub(1)), 1.0)])
    }

    /// Means of windows of `kernel` inputs, `stride` apart; padding counts as zeros.
    pub(crate) fn windows(inputs: usize, outputs: usize, kernel: usize, stride: usize, padding: usize) -> Taps {
        let weight = 1.0 / kernel as f64;
        Taps::from_outputs(inputs, outputs, |output| {
            let start = (output * stride).saturating_sub(padding);
            let end = (output * stride + kernel).saturating_sub(padding).min(inputs);
            (start..end).map(move |input| (input, weight))
        })
    }

    /// Means of parts of nearly equal length: output o is made of the inputs from ⌊o·n/m⌋ to ⌈(o+1)·n/m⌉.
    pub(crate) fn parts(inputs: usize, outputs: usize) -> Taps {
        Taps::from_outputs(inputs, outputs, |output| {
            let (start, end) = (output * inputs / outputs, ((output + 1) * inputs).div_ceil(outputs));
            (start..end).map(move |input| (input, 1.0 / (end - start) as f64))
        })
    }

    /// The inputs moved by `before`, with `outputs` in all: negative is cropped, what is missing is padded.
    pub(crate) fn shifted(inputs: usize, outputs: usize, before: isize, padding: Padding) -> Taps {
        let last = inputs as isize - 1;
        Taps::from_outputs(inputs, outputs, |output| {
            let at = output as isize - before;
            let source = match padding {
                Padding::Constant(_) => at,
                Padding::Replicate => at.clamp(0, last),
                Padding::Reflect if at < 0 => -at,
                Padding::Reflect if at > last => 2 * last - at,
                Padding::Reflect => at,
            };
            (0..=last).contains(&source).then_some((source as usize, 1.0))
        })
    }
}

/// Inputs and outputs are numbered as i32 indices are.
const LARGEST: usize = i32::MAX as usize;

/// The error that a map of rows and columns has no inputs, no outputs, or too many.
pub(crate) fn expect_sizes(operation: &'static str, from: [usize; 2], to: [usize; 2]) -> Result<()> {
    if from.iter().chain(&to).any(|size| !(1..=LARGEST).contains(size)) {
        let expected = format!("sizes from 1 to {LARGEST}");
        return Err(TensorError::shapes(operation, Shape::from(from), Shape::from(to), expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(taps: &Taps, output: usize) -> Vec<(u32, f32)> {
        let (sources, weights) = taps.of(output);
        sources.iter().copied().zip(weights.iter().copied()).collect()
    }

    #[test]
    fn doubling_takes_quarters() {
        let taps = Taps::linear(3, 6, 0.5, false);
        assert_eq!(of(&taps, 0), [(0, 1.0)]);
        assert_eq!(of(&taps, 1), [(0, 0.75), (1, 0.25)]);
        assert_eq!(of(&taps, 5), [(2, 1.0)]);
        assert_eq!(of(&taps.transposed(), 0), [(0, 1.0), (1, 0.75), (2, 0.25)]);
    }

    #[test]
    fn aligned_corners_stay() {
        let taps = Taps::linear(4, 7, 0.5, true);
        assert_eq!(of(&taps, 6), [(3, 1.0)]);
        assert_eq!(of(&taps, 3), [(1, 0.5), (2, 0.5)]);
        assert_eq!(of(&Taps::linear(1, 2, 0.0, true), 1), [(0, 1.0)]);
    }

    #[test]
    fn parts_cover_every_input() {
        let taps = Taps::parts(5, 3);
        assert_eq!(of(&taps, 1), [(1, 1.0 / 3.0), (2, 1.0 / 3.0), (3, 1.0 / 3.0)]);
        assert_eq!(of(&taps, 2), [(3, 0.5), (4, 0.5)]);
    }

    #[test]
    fn padding_mirrors_repeats_or_is_empty() {
        let sources = |padding| -> Vec<Option<u32>> {
            let taps = Taps::shifted(3, 7, 2, padding);
            (0..7).map(|output| of(&taps, output).first().map(|tap| tap.0)).collect()
        };
        assert_eq!(sources(Padding::Reflect), [2, 1, 0, 1, 2, 1, 0].map(Some));
        assert_eq!(sources(Padding::Replicate), [0, 0, 0, 1, 2, 2, 2].map(Some));
        assert_eq!(sources(Padding::Constant(1.0)), [None, None, Some(0), Some(1), Some(2), None, None]);
    }
}
