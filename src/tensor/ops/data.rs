//! What fields go through before and after a model: stored numbers, scores, quality control, regridding, counts, mirrors.

use crate::domain::Symmetry;
use crate::tensor::memory::zeroed;
use crate::tensor::{Buffer, DType, Device, HostMemory, Layout, Result, Shape, Slice, Tensor, TensorError};
use crate::transforms::lightning::Bins;

/// Channels in memory: `outer` times `channels` times `inner` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Elements of the dimensions before the channels.
    pub outer: usize,
    /// Channels.
    pub channels: usize,
    /// Elements of the dimensions behind.
    pub inner: usize,
}

/// Which values are good, and what stands for those that are not. NaN never is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality<'a> {
    /// The least good value.
    pub low: f32,
    /// The greatest good value.
    pub high: f32,
    /// Values that mean that there is none, such as -9999.
    pub sentinels: &'a [f32],
    /// What stands for a value that is not good: NaN or 0, say.
    pub replacement: f32,
}

/// Values that are mapped together: `outer` times the map's inputs times `inner` elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regridded {
    /// Fields before each other.
    pub outer: usize,
    /// Points of the source.
    pub inputs: usize,
    /// Points of the target.
    pub outputs: usize,
    /// Neighbours in memory that are mapped alike.
    pub inner: usize,
    /// Where NaN is left out: the least share of a target's weight that must be left. Else NaN spreads.
    pub least_valid: Option<f32>,
}

/// What stored numbers stand for. A missing one is 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Coding {
    /// 8 bits; 255 is missing: each by a table.
    U8(Box<[f32; 256]>),
    /// 16 bits, little-endian; −32768 is missing: number · factor + offset, each rounded on its own.
    I16 {
        /// What it is multiplied with.
        factor: f32,
        /// What is added to the product.
        offset: f32,
    },
}

/// Windows of square frames as they are stored, in memory of the host, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub struct StoredWindows<'a> {
    /// The numbers in order of window, frame, y and x.
    pub memory: &'a HostMemory,
    /// How the frames of each window are turned.
    pub turns: &'a [Symmetry],
    /// Frames of a window.
    pub frames: usize,
    /// Points along a side of a frame.
    pub size: usize,
    /// What the numbers stand for.
    pub coding: &'a Coding,
}

/// A sparse linear map of the points of a grid, on a device: rows of sources and weights by target.
#[derive(Clone, Debug)]
pub struct SparseMap {
    forward: SparseRows,
    backward: SparseRows,
}

/// Compressed rows on a device.
#[derive(Clone, Debug)]
pub(super) struct SparseRows {
    /// Where the taps of each output begin, and one past the last.
    offsets: Tensor,
    /// The input of each tap.
    sources: Tensor,
    /// Its weight, in f32.
    pub(super) weights: Tensor,
}

/// What a backend does to prepare fields.
pub trait Data {
    /// (x − mean) / deviation of each channel, or x · deviation + mean where `inverse`.
    fn standardise(
        &self,
        x: Slice<'_>,
        mean: Slice<'_>,
        deviation: Slice<'_>,
        sizes: Channels,
        inverse: bool,
    ) -> Result<Buffer>;
    /// Values that are good, others replaced; and as f32 1 where a value is good, else 0.
    fn quality(&self, x: Slice<'_>, quality: Quality<'_>) -> Result<(Buffer, Buffer)>;
    /// Stored numbers as what they stand for, turned, 0 where missing; and 1 where there is one, else 0. Both f32.
    fn decode(&self, windows: &StoredWindows<'_>) -> Result<(Buffer, Buffer)>;
    /// Σ weight · x over the taps (offsets, sources, weights) of every output.
    fn regrid(&self, x: Slice<'_>, taps: [Slice<'_>; 3], sizes: Regridded) -> Result<Buffer>;
    /// How many of the first points (x, y, t in f64) lie in each bin (t, y, x), as f32.
    fn bin(&self, points: &HostMemory, many: usize, bins: &Bins) -> Result<Buffer>;
}

impl SparseMap {
    /// A map of `inputs` points: the sources and weights of target t are those from `offsets[t]` to `offsets[t + 1]`.
    ///
    /// # Errors
    /// Where offsets do not rise from 0 to the number of weights, a source is not below `inputs`, or there are more than
    /// 2³¹ − 1 of either.
    pub fn new(device: &Device, inputs: usize, offsets: &[u32], sources: &[u32], weights: &[f32]) -> Result<SparseMap> {
        let shape = Shape::from([offsets.len(), weights.len()]);
        let rises = offsets.first() == Some(&0) && offsets.is_sorted() && offsets.len() > 1;
        if !rises || offsets.last().is_none_or(|end| *end as usize != weights.len()) || sources.len() != weights.len() {
            let expected = format!("offsets from 0 to the number of weights, and {} sources", sources.len());
            return Err(TensorError::shape("sparse map", shape, expected));
        }
        if let Some(position) = sources.iter().position(|source| *source as usize >= inputs) {
            let index = i64::from(sources[position]);
            return Err(TensorError::Index { operation: "sparse map", index, position, limit: inputs });
        }
        if inputs.max(weights.len()) > i32::MAX as usize {
            let expected = format!("at most 2^31 − 1 inputs and weights, not {inputs} inputs");
            return Err(TensorError::shape("sparse map", shape, expected));
        }
        let (back_offsets, targets, back_weights) = transposed(inputs, offsets, sources, weights)?;
        Ok(SparseMap {
            forward: SparseRows::new(device, offsets, sources, weights)?,
            backward: SparseRows::new(device, &back_offsets, &targets, &back_weights)?,
        })
    }

    /// Points of the source.
    pub fn inputs(&self) -> usize {
        self.backward.offsets.len().saturating_sub(1)
    }

    /// Points of the target.
    pub fn outputs(&self) -> usize {
        self.forward.offsets.len().saturating_sub(1)
    }
}

/// Offsets, targets and weights.
type Transposed = (Vec<u32>, Vec<u32>, Vec<f32>);

/// The taps of every source, targets in order.
fn transposed(inputs: usize, offsets: &[u32], sources: &[u32], weights: &[f32]) -> Result<Transposed> {
    let mut starts: Vec<u32> = zeroed(inputs + 2)?;
    sources.iter().for_each(|source| starts[*source as usize + 2] += 1);
    (2..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
    let (mut targets, mut turned) = (vec![0; sources.len()], vec![0.0; weights.len()]);
    for (target, range) in offsets.windows(2).enumerate() {
        for tap in range[0] as usize..range[1] as usize {
            let next = &mut starts[sources[tap] as usize + 1];
            (targets[*next as usize], turned[*next as usize]) = (target as u32, weights[tap]);
            *next += 1;
        }
    }
    starts.truncate(inputs + 1);
    Ok((starts, targets, turned))
}

impl SparseRows {
    pub(super) fn new(device: &Device, offsets: &[u32], sources: &[u32], weights: &[f32]) -> Result<Self> {
        let indices = |values: &[u32]| {
            let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
            Tensor::indices(device, [values.len()], &values)
        };
        let weights = Tensor::new(device, [weights.len()], weights)?;
        Ok(SparseRows { offsets: indices(offsets)?, sources: indices(sources)?, weights })
    }

    pub(super) fn taps(&self) -> [Slice<'_>; 3] {
        [self.offsets.slice(), self.sources.slice(), self.weights.slice()]
    }
}

impl Coding {
    /// Bytes of a stored number.
    pub fn bytes(&self) -> usize {
        match self {
            Coding::U8(_) => size_of::<u8>(),
            Coding::I16 { .. } => size_of::<i16>(),
        }
    }
}

impl Tensor {
    /// What stored windows stand for as (windows, frames, y, x), and a mask of the same shape: 1 where there is a number,
    /// 0 where it is missing and the value is 0. The bits are the same on every device; one whose memory is not the
    /// host's fetches the bytes beside its work, and this does not wait for it.
    ///
    /// # Errors
    /// Where there are not as many bytes as the windows have, or the device is out of memory.
    pub fn decoded(device: &Device, windows: &StoredWindows<'_>) -> Result<(Tensor, Tensor)> {
        let shape = Shape::from([windows.turns.len(), windows.frames, windows.size, windows.size]);
        let (shape, width) = (shape.countable("decoded")?, windows.coding.bytes());
        if shape.len() * width != windows.memory.len() {
            return Err(TensorError::Length { shape, found: windows.memory.len() / width });
        }
        let (values, mask) = device.decode(windows)?;
        let tensor = |buffer| Tensor::dense(device, buffer, shape, Layout::Rows, DType::F32);
        Ok((tensor(values), tensor(mask)))
    }

    /// (x − mean) / deviation of fields (N, C, …), each channel with its own of (C) means and standard deviations.
    /// These are numbers of the data, not of a network: they get no gradient.
    ///
    /// # Errors
    /// Where there are not as many means and deviations as channels, or they want a gradient.
    pub fn standardise(&self, mean: &Tensor, deviation: &Tensor) -> Result<Tensor> {
        self.scored("standardise", mean, deviation, false)
    }

    /// x · deviation + mean of fields (N, C, …): the inverse of [`Tensor::standardise`].
    ///
    /// # Errors
    /// As [`Tensor::standardise`].
    pub fn unstandardise(&self, mean: &Tensor, deviation: &Tensor) -> Result<Tensor> {
        self.scored("unstandardise", mean, deviation, true)
    }

    fn scored(&self, name: &'static str, mean: &Tensor, deviation: &Tensor, inverse: bool) -> Result<Tensor> {
        self.expect_numbers(name)?;
        let [batch, channels, ref rest @ ..] = *self.shape.sizes() else {
            return Err(TensorError::shape(name, self.shape, "fields (N, C, …)"));
        };
        for of in [mean, deviation] {
            of.expect_no_gradient(name, "means and deviations that want no gradient: detach() gives such")?;
            self.detach().to_dtype(of.dtype)?.expect_same_kind(name, of)?;
            if of.shape.sizes() != [channels] {
                return Err(TensorError::shapes(name, self.shape, of.shape, "one number a channel"));
            }
        }
        let inside: usize = rest.iter().product();
        let inner = if self.layout == Layout::Channels && self.shape.rank() == 4 { 1 } else { inside };
        let sizes = Channels { outer: batch * inside / inner.max(1), channels, inner };
        let (x, mean, deviation) = (self.detach(), mean.detach(), deviation.detach());
        let buffer = x.device.standardise(x.slice(), mean.slice(), deviation.slice(), sizes, inverse)?;
        let layout = self.layout;
        let pull = move |dy: &Tensor| {
            let (dy, zeros) = (dy.to_layout(layout)?, mean.mul_scalar(0.0)?);
            let buffer = dy.device.standardise(dy.slice(), zeros.slice(), deviation.slice(), sizes, inverse)?;
            Ok(vec![Some(dy.derive(buffer, dy.shape, layout))])
        };
        Ok(x.derive(buffer, self.shape, self.layout).record(name, [self], pull))
    }

    /// Good values, others replaced; and a mask in f32, 1 where a value is good. Gradients flow to good values alone.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn quality_controlled(&self, quality: Quality<'_>) -> Result<(Tensor, Tensor)> {
        self.expect_numbers("quality_controlled")?;
        let (values, mask) = self.device.quality(self.slice(), quality)?;
        let mask = Tensor::dense(&self.device, mask, self.shape, self.layout, DType::F32);
        let (kept, dtype) = (mask.clone(), self.dtype);
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.to_dtype(DType::F32)?.mul(&kept)?.to_dtype(dtype)?)]);
        let values = self.derive(values, self.shape, self.layout);
        Ok((values.record("quality_controlled", [self], pull), mask))
    }

    /// Fields (N, C, H, W) on a grid of `rows` by `columns` points by a sparse map.
    ///
    /// With `least_valid` NaN is left out and the other weights are scaled up to the same sum, where they hold more
    /// than that share of it and else the result is NaN; such a result has no gradient.
    ///
    /// # Errors
    /// Where the map is of other numbers of points, or on another device.
    pub fn regrid(&self, map: &SparseMap, rows: usize, columns: usize, least_valid: Option<f32>) -> Result<Tensor> {
        self.expect_numbers("regrid")?;
        self.expect_same_device("regrid", &map.forward.weights)?;
        let [batch, channels, height, width] = self.sizes("regrid")?;
        if (height.saturating_mul(width), rows.saturating_mul(columns)) != (map.inputs(), map.outputs()) {
            let expected = format!("a map of {} to {} points", map.inputs(), map.outputs());
            return Err(TensorError::shapes("regrid", self.shape, Shape::from([rows, columns]), expected));
        }
        let (layout, from) = (self.layout, self.shape);
        let (outer, inner) = if layout == Layout::Channels { (batch, channels) } else { (batch * channels, 1) };
        let sizes = Regridded { outer, inputs: map.inputs(), outputs: map.outputs(), inner, least_valid };
        let buffer = self.device.regrid(self.slice(), map.forward.taps(), sizes)?;
        let result = self.derive(buffer, Shape::from([batch, channels, rows, columns]), layout);
        if least_valid.is_some() {
            return Ok(result);
        }
        let (back, sizes) = (map.backward.clone(), Regridded { inputs: sizes.outputs, outputs: sizes.inputs, ..sizes });
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(layout)?;
            Ok(vec![Some(dy.derive(dy.device.regrid(dy.slice(), back.taps(), sizes)?, from, layout))])
        };
        Ok(result.record("regrid", [self], pull))
    }

    /// How many of the first `many` points in memory of the host, x, y and t in f64, lie in each bin (t, y, x), such as
    /// strokes of lightning. Points outside or with NaN are left out. The counts are the same on every device; one whose
    /// memory is not the host's fetches the points beside its work, and this does not wait for it.
    ///
    /// # Errors
    /// Where there are fewer points, a step is 0 or not a number, or the device is out of memory.
    pub fn binned(device: &Device, points: &HostMemory, many: usize, bins: &Bins) -> Result<Tensor> {
        let (shape, held) = (Shape::from(bins.count).countable("binned")?, points.len() / size_of::<[f64; 3]>());
        if many > held {
            return Err(TensorError::Length { shape: Shape::from([many, 3]), found: 3 * held });
        }
        if bins.step.iter().any(|step| *step == 0.0 || !step.is_finite()) {
            return Err(TensorError::shape("binned", shape, format!("steps that are not 0, not {:?}", bins.step)));
        }
        Ok(Tensor::dense(device, device.bin(points, many, bins)?, shape, Layout::Rows, DType::F32))
    }

    /// Fields (N, C, …) mirrored along a dimension, with the sign of `reversed` channels turned, as wind across the
    /// mirror turns: `names` has one name a channel.
    ///
    /// # Errors
    /// Where there is no such dimension, or `names` are not as many as channels, or lack one that is reversed.
    pub fn mirrored(&self, dimension: isize, names: &[&str], reversed: &[&str]) -> Result<Tensor> {
        self.expect_numbers("mirrored")?;
        let missing = reversed.iter().find(|name| !names.contains(name));
        if self.shape.get(1) != Some(&names.len()) || missing.is_some() {
            let expected = format!("channels {names:?}, among them {reversed:?}");
            return Err(TensorError::shape("mirrored", self.shape, expected));
        }
        let signs: Vec<f32> = names.iter().map(|name| if reversed.contains(name) { -1.0 } else { 1.0 }).collect();
        let mut shape = vec![1; self.shape.rank()];
        shape[1] = names.len();
        let signs = Tensor::new(&self.device, Shape::of("mirrored", &shape)?, &signs)?.to_dtype(self.dtype)?;
        self.shape.dimension("mirrored", dimension)?;
        self.flip(dimension)?.mul(&signs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn maps_that_point_outside_are_refused() {
        let device = Cpu::device();
        let map = |offsets: &[u32], sources: &[u32]| SparseMap::new(&device, 4, offsets, sources, &[1.0, 1.0]);
        assert!(map(&[0, 2], &[0, 3]).is_ok());
        let error = map(&[0, 2], &[0, 4]).expect_err("four inputs");
        assert_eq!(error, TensorError::Index { operation: "sparse map", index: 4, position: 1, limit: 4 });
        for offsets in [&[0, 1][..], &[1, 2], &[0, 2, 1, 2], &[2], &[]] {
            assert!(map(offsets, &[0, 1]).is_err(), "{offsets:?}");
        }
        let x = Tensor::zeros(&device, [1, 2, 2, 3]).expect("zeros");
        let error = x.regrid(&map(&[0, 2], &[0, 3]).expect("a map"), 1, 1, None).expect_err("six inputs").to_string();
        assert!(error.starts_with("regrid of [1, 2, 2, 3] and [1, 1]"), "{error}");
        let x = Tensor::zeros(&Cpu::device(), [1, 2, 2, 2]).expect("zeros");
        let error = x.regrid(&map(&[0, 2], &[0, 3]).expect("a map"), 1, 1, None).expect_err("two devices");
        assert!(matches!(error, TensorError::Devices { .. }), "{error}");
    }

    #[test]
    fn missing_values_are_left_out_where_enough_is_left() {
        let device = Cpu::device();
        let map =
            SparseMap::new(&device, 3, &[0, 3, 5, 5], &[0, 1, 2, 1, 2], &[0.5, 0.25, 0.25, 0.9, 0.1]).expect("a map");
        let x = Tensor::new(&device, [1, 1, 1, 3], &[2.0, f32::NAN, 8.0]).expect("values");
        let y = x.regrid(&map, 1, 3, Some(0.5)).and_then(|y| y.to_vec()).expect("values");
        assert_eq!(y[0], 4.0);
        assert!(y[1].is_nan() && y[2].is_nan(), "{y:?}");
        let y = x.regrid(&map, 1, 3, None).and_then(|y| y.to_vec()).expect("values");
        assert!(y[0].is_nan() && y[2] == 0.0, "{y:?}");
    }

    #[test]
    fn windows_of_another_length_are_refused() {
        let (device, turns) = (Cpu::device(), [Symmetry::default(); 2]);
        let (memory, coding) = (HostMemory::plain(36).expect("memory"), Coding::I16 { factor: 1.0, offset: 0.0 });
        let windows = StoredWindows { memory: &memory, turns: &turns, frames: 1, size: 3, coding: &coding };
        assert!(Tensor::decoded(&device, &windows).is_ok());
        let error = Tensor::decoded(&device, &StoredWindows { frames: 2, ..windows }).expect_err("too few");
        assert_eq!(error, TensorError::Length { shape: Shape::from([2, 2, 3, 3]), found: 18 });
    }

    #[test]
    fn points_are_counted_in_their_bins() {
        let device = Cpu::device();
        #[rustfmt::skip]
        let points = [
            0.0, 9.9, 0.0,
            0.9, 8.1, 0.5,
            1.0, 8.0, 1.0,
            -0.1, 9.0, 0.0,
            0.5, f64::NAN, 0.0,
            0.5, 9.0, 2.0,
            0.5, 9.0, 0.0,
        ];
        let mut memory = device.host_memory(7 * size_of::<[f64; 3]>()).expect("memory");
        memory.bytes_mut().expect("bytes").copy_from_slice(bytemuck::cast_slice(&points));
        let bins = Bins { origin: [0.0, 10.0, 0.0], step: [1.0, -1.0, 1.0], count: [2, 2, 2] };
        let counts = |many, bins| Tensor::binned(&device, &memory, many, &bins).and_then(|y| y.to_vec());
        assert_eq!(counts(6, bins), Ok(vec![1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        assert!(counts(7, Bins { step: [0.0; 3], ..bins }).is_err());
        let error = TensorError::Length { shape: Shape::from([8, 3]), found: 21 };
        assert_eq!(counts(8, bins), Err(error));
    }

    #[test]
    fn means_that_want_a_gradient_are_refused() {
        let plain = Tensor::full(&Cpu::device(), [2], 1.0).expect("ones");
        let (x, wanting) = (plain.reshape([1, 2]).expect("fields"), plain.with_gradient());
        for refused in [x.standardise(&wanting, &plain), x.unstandardise(&plain, &wanting)] {
            assert!(refused.expect_err("a gradient").to_string().contains("want no gradient"));
        }
        assert!(crate::tensor::no_grad(|| x.standardise(&wanting, &wanting)).is_ok());
    }

    #[test]
    fn bad_values_are_replaced_and_masked() {
        let x = Tensor::new(&Cpu::device(), [6], &[1.0, -9999.0, f32::NAN, 5.0, 2.0, 11.0]).expect("values");
        let quality = Quality { low: -1e4, high: 10.0, sentinels: &[-9999.0, 5.0], replacement: 0.0 };
        let (values, mask) = x.quality_controlled(quality).expect("values");
        assert_eq!(values.to_vec(), Ok(vec![1.0, 0.0, 0.0, 0.0, 2.0, 0.0]));
        assert_eq!(mask.to_vec(), Ok(vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
        let (values, _) = x.quality_controlled(Quality { replacement: f32::NAN, ..quality }).expect("values");
        assert!(values.to_vec().expect("values")[1].is_nan());
    }

    #[test]
    fn winds_across_the_mirror_turn() {
        let x = Tensor::new(&Cpu::device(), [1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]).expect("values");
        let y = x.mirrored(-1, &["u", "t"], &["u"]).and_then(|y| y.to_vec());
        assert_eq!(y, Ok(vec![-2.0, -1.0, 4.0, 3.0]));
        let error = x.mirrored(7, &["u", "t"], &["u"]).expect_err("four dimensions").to_string();
        assert!(error.starts_with("mirrored of [1, 2, 1, 2]"), "{error}");
        assert!(x.mirrored(-1, &["u", "t"], &["v"]).is_err() && x.mirrored(-1, &["u"], &["u"]).is_err());
    }
}
