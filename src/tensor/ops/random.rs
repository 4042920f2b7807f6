//! Random tensors and dropout whose numbers depend on a key alone, not on how work is shared out.

use crate::tensor::{Buffer, DType, Device, Layout, Result, Shape, Slice, Tensor, TensorError};

/// What random numbers depend on: [`crate::domain::Philox`] of the seed and the purpose, whose counter is these words
/// behind the place of a number in its tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RandomKey {
    /// The seed of a run.
    pub seed: u64,
    /// What the numbers are for; different purposes share no numbers.
    pub purpose: u32,
    /// Which of many: a sample, a step, an ensemble member.
    pub words: [u32; 3],
}

/// Where random numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Between 0 and 1, neither of them.
    Uniform,
    /// Normal of mean 0 and variance 1 (Box and Muller, 1958).
    Normal,
}

/// What a backend does for random numbers. Element i of a key is number i % 4 of the counter (i / 4, words…).
pub trait Random {
    /// `each` numbers of every key, one key after the other, as f32.
    fn random(&self, from: Distribution, keys: &[RandomKey], each: usize) -> Result<Buffer>;
    /// x / (1 − probability) where the uniform number of an element is not below `probability`, else 0.
    fn dropout(&self, x: Slice<'_>, probability: f32, key: RandomKey) -> Result<Buffer>;
}

/// The most numbers of one key: the first word of a counter counts them by fours.
const MOST: usize = 1 << 34;

impl RandomKey {
    /// The first of many.
    pub fn new(seed: u64, purpose: u32) -> RandomKey {
        RandomKey { seed, purpose, words: [0; 3] }
    }

    /// Another of many.
    pub fn with_words(self, words: [u32; 3]) -> RandomKey {
        RandomKey { words, ..self }
    }
}

impl Tensor {
    /// Standard normal numbers in f32, counted in logical order.
    ///
    /// # Errors
    /// Where the device is out of memory, or there would be more than 2³⁴ numbers.
    pub fn random_normal(device: &Device, shape: impl Into<Shape>, key: RandomKey) -> Result<Tensor> {
        random(device, Distribution::Normal, shape.into(), &[key])
    }

    /// Standard normal numbers in f32 with one key for each index of the first dimension: a sample's noise is the same
    /// whatever batch it is in.
    ///
    /// # Errors
    /// As [`Tensor::random_normal`], and where there is not one key an index.
    pub fn random_normal_batch(device: &Device, shape: impl Into<Shape>, keys: &[RandomKey]) -> Result<Tensor> {
        let shape = shape.into();
        if shape.first() != Some(&keys.len()) {
            return Err(TensorError::shape("random", shape, format!("as many samples as keys: {}", keys.len())));
        }
        random(device, Distribution::Normal, shape, keys)
    }

    /// Numbers uniform between 0 and 1 in f32, counted in logical order.
    ///
    /// # Errors
    /// As [`Tensor::random_normal`].
    pub fn random_uniform(device: &Device, shape: impl Into<Shape>, key: RandomKey) -> Result<Tensor> {
        random(device, Distribution::Uniform, shape.into(), &[key])
    }

    /// Zero with a probability, else x / (1 − probability); the key says where. Elements are counted as they lie
    /// channels-last. The gradient draws the same numbers again, so that nothing is kept.
    ///
    /// # Errors
    /// Where the probability is not in [0, 1), or there are more than 2³⁴ elements.
    pub fn dropout(&self, probability: f32, key: RandomKey) -> Result<Tensor> {
        self.expect_numbers("dropout")?;
        if !(0.0..1.0).contains(&probability) || self.len() > MOST {
            let expected = format!("a probability in [0, 1), not {probability}, and at most 2^34 elements");
            return Err(TensorError::shape("dropout", self.shape, expected));
        }
        let drop = move |x: &Tensor| -> Result<Tensor> {
            let x = x.detach().to_layout(Layout::Channels)?;
            let buffer = x.device.dropout(x.slice(), probability, key)?;
            Ok(x.derive(buffer, x.shape, Layout::Channels))
        };
        Ok(drop(self)?.record("dropout", [self], move |dy| Ok(vec![Some(drop(dy)?)])))
    }
}

fn random(device: &Device, from: Distribution, shape: Shape, keys: &[RandomKey]) -> Result<Tensor> {
    let shape = shape.countable("random")?;
    let each = shape.len() / keys.len().max(1);
    if each > MOST {
        return Err(TensorError::shape("random", shape, "at most 2^34 numbers a key"));
    }
    Ok(Tensor::dense(device, device.random(from, keys, each)?, shape, Layout::Rows, DType::F32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Philox;
    use crate::tensor::{Cpu, Level};

    const KEY: RandomKey = RandomKey { seed: 0xDEAD_BEEF_0123_4567, purpose: 9, words: [4, 5, 6] };

    /// The furthest of `len` numbers from those that the domain's generator gives in f64.
    fn worst(level: Level, from: Distribution, len: usize) -> f64 {
        let device = Cpu::with_level(level);
        let philox = Philox::new(KEY.seed, KEY.purpose);
        let found = random(&device, from, Shape::from([len]), &[KEY]).and_then(|x| x.to_vec()).expect("numbers");
        let wanted = |i: usize| {
            let counter = [(i / 4) as u32, 4, 5, 6];
            let four = if from == Distribution::Normal { philox.normal(counter) } else { philox.uniform(counter) };
            four[i % 4]
        };
        let errors = found.iter().enumerate().map(|(i, x)| {
            let wanted = wanted(i);
            (f64::from(*x) - wanted).abs() / wanted.abs().max(0.01)
        });
        errors.fold(0.0, f64::max)
    }

    /// Many enough that uniform numbers come within 2⁻¹⁹ of 0 and 1.
    #[test]
    fn numbers_are_those_of_the_domain() {
        for level in Level::available() {
            for from in [Distribution::Uniform, Distribution::Normal] {
                let worst = worst(level, from, 500_003);
                assert!(worst < 1e-6, "{level:?} {from:?}: {worst}");
            }
        }
    }

    #[test]
    fn numbers_do_not_depend_on_the_batch() {
        let device = Cpu::device();
        let key = |sample| RandomKey::new(3, 1).with_words([sample, 7, 0]);
        let batch = Tensor::random_normal_batch(&device, [3, 5, 7], &[key(8), key(2), key(8)]).expect("numbers");
        let values = batch.to_vec().expect("values");
        let alone = Tensor::random_normal(&device, [5, 7], key(2)).and_then(|x| x.to_vec()).expect("values");
        assert_eq!(values[35..70], alone);
        assert_eq!(values[..35], values[70..]);
        assert_ne!(values[..35], values[35..70]);
        assert!(Tensor::random_normal_batch(&device, [2, 5], &[key(1)]).is_err());
    }

    #[test]
    fn dropout_keeps_the_mean_and_its_gradient_the_places() {
        let device = Cpu::device();
        let x = Tensor::full(&device, [2, 3, 101, 103], 2.0).expect("twos").with_gradient();
        let y = x.dropout(0.25, KEY).expect("some");
        let mean = y.mean(&[], false).and_then(|y| y.item()).expect("a mean");
        assert!((mean - 2.0).abs() < 0.02, "{mean}");
        y.sum(&[], false).and_then(|y| y.backward()).expect("a gradient");
        let gradient = x.gradient().expect("a gradient").mul_scalar(2.0).and_then(|x| x.to_vec());
        assert_eq!(gradient, y.to_vec());
        let rows = x.detach().to_layout(Layout::Rows).and_then(|x| x.dropout(0.25, KEY)).and_then(|y| y.to_vec());
        assert_eq!(rows, y.to_vec());
        assert_eq!(x.dropout(0.0, KEY).and_then(|y| y.to_vec()), x.to_vec());
        assert!(x.dropout(1.0, KEY).is_err() && x.dropout(f32::NAN, KEY).is_err());
    }
}
