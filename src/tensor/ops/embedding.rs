//! Places and times as sines and cosines of many periods (Vaswani et al., 2017).

use crate::tensor::memory::reserved;
use crate::tensor::{Device, Result, Shape, Tensor, TensorError};

/// How times become numbers, as diffusers' `get_timestep_embedding`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeEmbedding {
    /// Numbers a time.
    pub size: usize,
    /// Whether cosines come before sines.
    pub flip_sin_to_cos: bool,
    /// What the number of periods is lowered by before they are spread up to the longest.
    pub downscale_freq_shift: f32,
    /// What phases are multiplied by.
    pub scale: f32,
    /// The longest period over 2π.
    pub max_period: f32,
}

impl TimeEmbedding {
    /// Sines before cosines, a shift of 1 and a longest period of 10000: diffusers' defaults.
    pub fn new(size: usize) -> TimeEmbedding {
        TimeEmbedding { size, flip_sin_to_cos: false, downscale_freq_shift: 1.0, scale: 1.0, max_period: 10_000.0 }
    }
}

impl Tensor {
    /// Times as (times, size) numbers in f32. Phases are worked out in f32 step by step as diffusers has it, for models
    /// that were trained with them; an odd size ends in a zero.
    ///
    /// # Errors
    /// Where the shift leaves no periods, or the device is out of memory.
    pub fn time_embedding(device: &Device, times: &[f32], how: TimeEmbedding) -> Result<Tensor> {
        let (half, shape) = (how.size / 2, Shape::from([times.len(), how.size]).countable("time_embedding")?);
        let spread = half as f32 - how.downscale_freq_shift;
        if half > 0 && (spread.is_nan() || spread <= 0.0) {
            let expected = format!("a size of more than twice the shift of {}", how.downscale_freq_shift);
            return Err(TensorError::shape("time_embedding", shape, expected));
        }
        let mut values = reserved(shape.len())?;
        if shape.is_empty() {
            return Tensor::new(device, shape, &values);
        }
        let slope = -f64::from(how.max_period).ln() as f32;
        let frequency = |i: usize| (slope * i as f32 / spread).exp();
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        for time in times {
            let phases = frequencies.iter().map(|frequency| how.scale * (time * frequency));
            let (sines, cosines): (Vec<f32>, Vec<f32>) = phases.map(f32::sin_cos).unzip();
            let order = if how.flip_sin_to_cos { [cosines, sines] } else { [sines, cosines] };
            values.extend(order.into_iter().flatten());
            values.resize(values.len().next_multiple_of(how.size.max(1)), 0.0);
        }
        Tensor::new(device, shape, &values)
    }

    /// Places on a line as (places, size) numbers: sines before cosines of periods up to 2π·10000, worked out in f64, as
    /// the masked autoencoder's `get_1d_sincos_pos_embed_from_grid` (He et al., 2022).
    ///
    /// # Errors
    /// Where the size is odd, or the device is out of memory.
    pub fn position_embedding(device: &Device, places: &[f64], size: usize) -> Result<Tensor> {
        let shape = Shape::from([places.len(), size]).countable("position_embedding")?;
        if !size.is_multiple_of(2) {
            return Err(TensorError::shape("position_embedding", shape, "an even size"));
        }
        let mut values = reserved(shape.len())?;
        places.iter().for_each(|place| values.extend(waves(*place, size)));
        Tensor::new(device, shape, &values)
    }

    /// The places of a grid, row by row, as (rows·columns, size) numbers: half of them tell the column, the other half
    /// behind them the row, as the masked autoencoder's `get_2d_sincos_pos_embed` without a class token.
    ///
    /// # Errors
    /// Where the size is no multiple of 4, or the device is out of memory.
    pub fn position_embedding_2d(device: &Device, rows: usize, columns: usize, size: usize) -> Result<Tensor> {
        Shape::from([rows, columns, size]).countable("position_embedding_2d")?;
        let shape = Shape::from([rows * columns, size]);
        if !size.is_multiple_of(4) {
            return Err(TensorError::shape("position_embedding_2d", shape, "a size that is a multiple of 4"));
        }
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| [column, row]));
        let mut values = reserved(shape.len())?;
        if !shape.is_empty() {
            places.flatten().for_each(|place| values.extend(waves(place as f64, size / 2)));
        }
        Tensor::new(device, shape, &values)
    }
}

/// Sines, then cosines, of a place.
fn waves(place: f64, size: usize) -> impl Iterator<Item = f32> {
    let half = size / 2;
    let phase = move |i: usize| place / 10_000f64.powf(i as f64 / half as f64);
    let sines = (0..half).map(move |i| phase(i).sin() as f32);
    sines.chain((0..half).map(move |i| phase(i).cos() as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn an_odd_size_ends_in_a_zero() {
        let found = Tensor::time_embedding(&Cpu::device(), &[0.0, 2.0], TimeEmbedding::new(5)).expect("numbers");
        let values = found.to_vec().expect("values");
        assert_eq!((found.shape(), values[4], values[9]), (Shape::from([2, 5]), 0.0, 0.0));
        assert_eq!(values[..4], [0.0, 0.0, 1.0, 1.0]);
        assert!((values[5] - 2f32.sin()).abs() < 1e-6 && (values[6] - 2e-4).abs() < 1e-8, "{values:?}");
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let device = Cpu::device();
        assert!(Tensor::time_embedding(&device, &[1.0], TimeEmbedding::new(2)).is_err());
        assert!(Tensor::position_embedding(&device, &[1.0], 3).is_err());
        assert!(Tensor::position_embedding_2d(&device, 2, 2, 6).is_err());
    }
}
