//! How far a prediction is from its target: penalties of each pair of elements, their mean, and its gradient.

use crate::tensor::ops::elementwise::Broadcast;
use crate::tensor::ops::fft::Norm;
use crate::tensor::{Buffer, DType, Result, Shape, Slice, Tensor, TensorError};

/// What a prediction x costs beside its target t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// (x − t)².
    Squared,
    /// |x − t|; the gradient at 0 is 0.
    Absolute,
    /// ½(x − t)² up to a distance of δ above 0, beyond it δ(|x − t| − ½δ) (Huber, 1964).
    Huber(f32),
    /// [`Penalty::Huber`] of β divided by β; [`Penalty::Absolute`] for β = 0. β is not negative.
    SmoothAbsolute(f32),
    /// −p·t·ln σ(x) − (1 − t)·ln(1 − σ(x)) with the weight p of what is there, 0 or more: x are logits, t are in [0, 1].
    CrossEntropy(f32),
}

/// What every element counts in a mean. Weights broadcast to the prediction and have no gradient; an element of weight
/// 0 is left out whatever its values are, NaN included.
#[derive(Clone, Copy, Debug, Default)]
pub enum Weighting<'a> {
    /// All alike.
    #[default]
    Equal,
    /// Σ w · penalty / number of elements.
    Scaled(&'a Tensor),
    /// Σ w · penalty / Σ w: a mask of 0 and 1 gives the mean of what is there. 0, and gradients of 0, where Σ w is not above
    /// 0: of no elements, of weights of 0, and of negative ones that outweigh the others.
    Averaged(&'a Tensor),
}

impl Penalty {
    /// The error that its number is out of its range.
    fn expect_fine(self) -> Result<()> {
        let fine = |number: f32, least: bool, name: &'static str, expected: &'static str| {
            TensorError::unless(least && number.is_finite(), "loss", (name, number.into()), expected)
        };
        match self {
            Penalty::Squared | Penalty::Absolute => Ok(()),
            Penalty::Huber(delta) => fine(delta, delta > 0.0, "a Huber penalty's δ", "a finite number above 0"),
            Penalty::SmoothAbsolute(beta) => {
                fine(beta, beta >= 0.0, "a smooth penalty's β", "a finite number, 0 or more")
            }
            Penalty::CrossEntropy(positive) => {
                fine(positive, positive >= 0.0, "a cross entropy's weight", "a finite number, 0 or more")
            }
        }
    }
}

/// Weights for a backend, and how they meet the elements.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The weights.
    pub values: Slice<'a>,
    /// `x` steps through the elements, `y` through the weights.
    pub broadcast: &'a Broadcast,
}

/// What a backend does for losses.
pub trait Loss {
    /// Σ weight · penalty(x, t) over all elements, one f32 whatever the dtype of `x`.
    fn loss_sum(&self, op: Penalty, x: Slice<'_>, target: Slice<'_>, weights: Option<Weights<'_>>) -> Result<Buffer>;
    /// dy · weight · ∂penalty/∂x, and ∂t as well where asked; `dy` is one f32.
    fn loss_grad(
        &self,
        op: Penalty,
        operands: [Slice<'_>; 2],
        weights: Option<Weights<'_>>,
        dy: Slice<'_>,
        of_target: bool,
    ) -> Result<(Buffer, Option<Buffer>)>;
}

/// Weights held for a gradient.
struct Held {
    values: Tensor,
    broadcast: Broadcast,
}

impl Held {
    fn weights(&self) -> Weights<'_> {
        Weights { values: self.values.slice(), broadcast: &self.broadcast }
    }
}

impl Tensor {
    /// The mean of a penalty over all elements, as one number: NaN where there are none, as in PyTorch.
    ///
    /// # Errors
    /// Where the target has another shape, the weights do not broadcast to it or want a gradient, the penalty's number is
    /// out of its range, or dtypes or devices differ.
    pub fn loss(&self, penalty: Penalty, target: &Tensor, weighting: Weighting<'_>) -> Result<Tensor> {
        penalty.expect_fine()?;
        self.expect_same_kind("loss", target)?;
        if self.shape != target.shape {
            return Err(TensorError::shapes("loss", self.shape, target.shape, "a target of the prediction's shape"));
        }
        let (x, t) = (self.detach(), target.detach().to_layout(self.layout)?);
        let (held, scale) = self.weighting(weighting)?;
        let sum = x.device.loss_sum(penalty, x.slice(), t.slice(), held.as_ref().map(Held::weights))?;
        let sum = Tensor::dense(&x.device, sum, Shape::from([]), x.layout, DType::F32);
        let result = sum.mul(&scale)?.to_dtype(self.dtype)?;
        let of_target = target.wants_gradient();
        let pull = move |dy: &Tensor| {
            let dy = dy.to_dtype(DType::F32)?.mul(&scale)?;
            let weights = held.as_ref().map(Held::weights);
            let (dx, dt) = x.device.loss_grad(penalty, [x.slice(), t.slice()], weights, dy.slice(), of_target)?;
            let tensor = |buffer| x.derive(buffer, x.shape, x.layout);
            Ok(vec![Some(tensor(dx)), dt.map(tensor)])
        };
        Ok(result.record("loss", [self, target], pull))
    }

    /// The weights as f32, and what the sum is multiplied by.
    fn weighting(&self, weighting: Weighting<'_>) -> Result<(Option<Held>, Tensor)> {
        let number = |value: f32| Tensor::full(&self.device, [], value);
        let count = number(1.0 / self.len() as f32);
        let (Weighting::Scaled(weights) | Weighting::Averaged(weights)) = weighting else {
            return Ok((None, count?));
        };
        weights.expect_no_gradient("loss", "weights that want no gradient: detach() gives such")?;
        let weights = weights.detach().to_dtype(DType::F32)?;
        weights.expect_same_device("loss", self)?;
        if Shape::broadcast("loss", self.shape, weights.shape)? != self.shape {
            let expected = "weights that broadcast to the prediction";
            return Err(TensorError::shapes("loss", self.shape, weights.shape, expected));
        }
        let scale = match weighting {
            Weighting::Averaged(_) => {
                let times = self.len() as f32 / weights.len().max(1) as f32;
                weights.sum(&[], false)?.mul_scalar(times)?.recip_or_zero()?
            }
            _ => count?,
        };
        let values = weights.broadcast_ready(self.shape, self.layout)?;
        let broadcast = Broadcast::new(self.shape, self.layout, self.shape, values.shape);
        Ok((Some(Held { values, broadcast }), scale))
    }

    /// 1 / x, and 0 where x is not above 0 by as much as the least normal number.
    fn recip_or_zero(&self) -> Result<Tensor> {
        let least = Tensor::full(&self.device, self.shape, f32::MIN_POSITIVE)?;
        self.maximum(&least)?.recip()?.mul(&self.ge(&least)?)
    }

    /// The mean of (x − t)².
    ///
    /// # Errors
    /// As [`Tensor::loss`].
    pub fn mse_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.loss(Penalty::Squared, target, Weighting::Equal)
    }

    /// The mean of |x − t|.
    ///
    /// # Errors
    /// As [`Tensor::loss`].
    pub fn l1_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.loss(Penalty::Absolute, target, Weighting::Equal)
    }

    /// The mean penalty of the differences between neighbours of a field (…, H, W) beside those of its target: the mean
    /// over pairs in a row, plus that over pairs in a column.
    ///
    /// # Errors
    /// As [`Tensor::loss`], and where there are not at least two rows and two columns.
    pub fn gradient_loss(&self, penalty: Penalty, target: &Tensor) -> Result<Tensor> {
        self.expect_same_kind("gradient_loss", target)?;
        let wide = [self.to_dtype(DType::F32)?, target.to_dtype(DType::F32)?];
        let along = |dimension: isize| -> Result<Tensor> {
            let (x, t) = (wide[0].differences(dimension)?, wide[1].differences(dimension)?);
            x.loss(penalty, &t, Weighting::Equal)
        };
        along(-1)?.add(&along(-2)?)?.to_dtype(self.dtype)
    }

    /// x[i + 1] − x[i] along a dimension of at least two.
    fn differences(&self, dimension: isize) -> Result<Tensor> {
        let size = self.shape[self.shape.dimension("gradient_loss", dimension)?];
        if size < 2 {
            return Err(TensorError::shape("gradient_loss", self.shape, "at least two rows and two columns"));
        }
        self.narrow(dimension, 1, size - 1)?.sub(&self.narrow(dimension, 0, size - 1)?)
    }

    /// The mean penalty of the amplitudes of the half spectra ([`Norm::Ortho`]) of fields (…, H, W), or of ln(1 + A)
    /// of them; the weights broadcast to (…, H, W/2 + 1).
    ///
    /// # Errors
    /// As [`Tensor::loss`] and [`Tensor::rfft2`].
    pub fn spectral_loss(
        &self,
        penalty: Penalty,
        target: &Tensor,
        logarithmic: bool,
        weighting: Weighting<'_>,
    ) -> Result<Tensor> {
        let amplitude = |x: &Tensor| -> Result<Tensor> {
            let amplitude = x.to_dtype(DType::F32)?.rfft2(Norm::Ortho)?.amplitude()?;
            if logarithmic { amplitude.add_scalar(1.0)?.ln() } else { Ok(amplitude) }
        };
        self.expect_same_kind("spectral_loss", target)?;
        amplitude(self)?.loss(penalty, &amplitude(target)?, weighting)?.to_dtype(self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn what_is_masked_out_does_not_count_even_where_it_is_no_number() {
        let device = Cpu::device();
        let x = Tensor::new(&device, [4], &[1.0, 2.0, 3.0, 4.0]).expect("values").with_gradient();
        let t = Tensor::new(&device, [4], &[0.0, f32::NAN, 5.0, f32::INFINITY]).expect("values");
        let mask = Tensor::new(&device, [4], &[1.0, 0.0, 1.0, 0.0]).expect("a mask");
        let loss = x.loss(Penalty::Squared, &t, Weighting::Averaged(&mask)).expect("a loss");
        assert_eq!(loss.item(), Ok(2.5));
        loss.backward().expect("gradients");
        assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![1.0, 0.0, -2.0, 0.0]));
        let none = Tensor::zeros(&device, [1]).expect("zeros");
        assert_eq!(x.loss(Penalty::Absolute, &t, Weighting::Averaged(&none)).and_then(|y| y.item()), Ok(0.0));
    }

    #[test]
    fn weights_that_outweigh_each_other_give_zero() {
        let device = Cpu::device();
        let new = |values: &[f32]| Tensor::new(&device, [3], values).expect("values");
        let (x, t) = (new(&[1.0, 2.0, 4.0]).with_gradient(), new(&[0.0; 3]));
        for weights in [[-1.0, -2.0, -3.0], [1.0, -1.0, 0.0], [-1.0, -2.0, 0.5], [0.0; 3]] {
            let loss = x.loss(Penalty::Squared, &t, Weighting::Averaged(&new(&weights))).expect("a loss");
            loss.backward().expect("gradients");
            assert_eq!(loss.item(), Ok(0.0), "{weights:?}");
            assert_eq!(x.gradient().expect("a gradient").to_vec(), Ok(vec![0.0; 3]), "{weights:?}");
        }
        let loss = x.loss(Penalty::Squared, &t, Weighting::Averaged(&new(&[-1.0, 0.0, 2.0])));
        assert_eq!(loss.and_then(|y| y.item()), Ok(31.0));
    }

    #[test]
    fn numbers_and_weights_out_of_their_range_are_refused() {
        let x = Tensor::zeros(&Cpu::device(), [3]).expect("zeros").with_gradient();
        let loss = |penalty| x.loss(penalty, &x, Weighting::Equal).map(drop);
        for number in [-1.0, f32::NAN, f32::INFINITY] {
            for penalty in [Penalty::Huber, Penalty::SmoothAbsolute, Penalty::CrossEntropy] {
                assert!(matches!(loss(penalty(number)), Err(TensorError::Number { .. })), "{:?}", penalty(number));
            }
        }
        assert!(loss(Penalty::SmoothAbsolute(0.0)).is_ok() && loss(Penalty::CrossEntropy(0.0)).is_ok());
        let told = loss(Penalty::Huber(0.0)).expect_err("no distance").to_string();
        assert_eq!(told, "loss with a Huber penalty's δ 0: expected a finite number above 0");
        for weighting in [Weighting::Scaled(&x), Weighting::Averaged(&x)] {
            let told = x.loss(Penalty::Squared, &x, weighting).expect_err("a gradient").to_string();
            assert_eq!(told, "loss of [3]: expected weights that want no gradient: detach() gives such");
        }
    }

    #[test]
    fn the_mean_of_nothing_is_no_number() {
        let none = Tensor::zeros(&Cpu::device(), [0, 3]).expect("zeros");
        let loss = |weighting| none.loss(Penalty::Squared, &none, weighting).and_then(|y| y.item()).expect("a loss");
        let weights = Tensor::full(none.device(), [1, 3], 1.0).expect("ones");
        assert!(loss(Weighting::Equal).is_nan() && loss(Weighting::Scaled(&weights)).is_nan());
        assert_eq!(loss(Weighting::Averaged(&weights)), 0.0);
    }

    #[test]
    fn refusals_name_both_shapes() {
        let zeros =
            |shape: &[usize]| Tensor::zeros(&Cpu::device(), Shape::of("zeros", shape).expect("sizes")).expect("zeros");
        let x = zeros(&[2, 3]);
        let on = |shape: &[usize]| Tensor::zeros(x.device(), Shape::of("zeros", shape).expect("sizes")).expect("zeros");
        let told = |error: TensorError, other: &str| {
            let text = error.to_string();
            assert!(text.contains("[2, 3]") && text.contains(other), "{text}");
        };
        told(x.mse_loss(&on(&[3])).expect_err("a target"), "[3]");
        let weights = on(&[2, 2, 3]);
        told(x.loss(Penalty::Squared, &on(&[2, 3]), Weighting::Scaled(&weights)).expect_err("weights"), "[2, 2, 3]");
        assert!(on(&[1, 3]).gradient_loss(Penalty::Squared, &on(&[1, 3])).is_err());
        assert!(matches!(x.mse_loss(&zeros(&[2, 3])), Err(TensorError::Devices { .. })));
    }
}
