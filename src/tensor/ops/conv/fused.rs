//! A convolution with what comes before and behind it in the same pass: a normalisation, a residual, an activation.

use super::{Conv2d, ConvEpilogue, ConvSizes, Convolved, Weights, weight_gradients};
use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::norm::{NormTail, Normal};
use crate::tensor::{DType, Layout, Result, Shape, Tensor, TensorError};

/// What is done to the input of a convolution as it is read: a group normalisation and what goes with it. The
/// normalised images are not kept, and where a backend can do without they are never written.
#[derive(Clone, Copy, Debug)]
pub struct Prologue<'a> {
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Factors, activation, and the moments where they are known.
    pub tail: NormTail<'a>,
}

/// What is done to the output of a convolution before it is written: it is rounded once, behind all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to the output, of its shape.
    pub residual: Option<&'a Tensor>,
    /// A function of each element, after the residual.
    pub activation: Option<Map>,
    /// Whether the moments of the result are taken, for a normalisation that comes next.
    pub moments: bool,
}

/// The result of a convolution with an [`Epilogue`].
#[derive(Clone, Debug)]
pub struct Fused {
    /// The output.
    pub y: Tensor,
    /// What [`Tensor::moments`] gives of the output, where it was asked for; has no gradient of its own.
    pub moments: Option<Tensor>,
}

/// What a fused convolution keeps for its gradient.
struct Kept {
    x: Tensor,
    norm: Option<Normal>,
    w: Tensor,
    /// The activation, and the values before it in f32.
    activation: Option<(Map, Tensor)>,
    sizes: ConvSizes,
    /// Whether gradients of x or of its normalisation, and of w or the bias, are wanted.
    wanted: [bool; 2],
    has_bias: bool,
    has_residual: bool,
}

impl Kept {
    /// The gradients of x, w, the bias, the residual, and of the tensors of the normalisation. What lies between them
    /// stays f32: each is rounded once.
    fn pull(&self, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let dz = self.before_activation(&dy.to_layout(Layout::Channels)?)?;
        let (x, norm) = (&self.x, self.norm.as_ref().map(Normal::slices));
        let weights = || weight_gradients(x, norm.as_ref(), &dz, &self.sizes);
        let [dw, dbias] = if self.wanted[1] { weights()? } else { [None, None] };
        let mut of_norm = if self.wanted[0] { self.pull_input(&dz)? } else { vec![None] };
        let mut gradients = vec![of_norm.remove(0), dw];
        gradients.extend(self.has_bias.then_some(dbias));
        if self.has_residual {
            gradients.push(Some(dz.to_dtype(x.dtype)?));
        }
        gradients.append(&mut of_norm);
        Ok(gradients)
    }

    /// The gradient of what goes into the activation, in f32; `dy` where there is none.
    fn before_activation(&self, dy: &Tensor) -> Result<Tensor> {
        let Some((op, before)) = &self.activation else { return Ok(dy.clone()) };
        let dz = dy.device.map_grad(*op, before.slice(), dy.wide()?.slice())?;
        Ok(before.derive(dz, before.shape, before.layout))
    }

    /// The gradients of x and of the tensors of the normalisation.
    fn pull_input(&self, dz: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let x = &self.x;
        let dz = if self.norm.is_some() { dz.wide()? } else { dz.clone() };
        let dx = x.device.conv2d_data(dz.slice(), self.w.slice(), &self.sizes, None)?;
        let dx = dz.derive(dx, x.shape, Layout::Channels);
        match &self.norm {
            None => Ok(vec![Some(dx.to_dtype(x.dtype)?)]),
            Some(norm) => norm.gradients(x, &dx),
        }
    }
}

impl Tensor {
    /// [`Tensor::conv2d`], with a normalisation of the input before it, and a residual, an activation and the moments
    /// of the result behind it, in one pass; rounded once.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`] and [`Tensor::group_norm`], and where the residual has another shape than the output.
    pub fn conv2d_fused(
        &self,
        first: Option<&Prologue<'_>>,
        w: &Tensor,
        bias: Option<&Tensor>,
        how: &Conv2d,
        then: &Epilogue<'_>,
    ) -> Result<Fused> {
        let sizes = ConvSizes::new(self, w, how)?;
        let weights = Weights::new("conv2d", self, w, bias, sizes.channels_out)?;
        let (x, residual) = (self.detach().to_layout(Layout::Channels)?, then.residual_of(self, &sizes)?);
        let norm = first.map(|first| first.of(&x)).transpose()?;
        let input: Vec<&Tensor> = first.into_iter().flat_map(|first| first.tail.given()).collect();
        let inputs: Vec<&Tensor> =
            [self, w].into_iter().chain(bias).chain(then.residual).chain(input.iter().copied()).collect();
        let wants = |x: &[&Tensor]| x.iter().any(|x| x.wants_gradient());
        let epilogue = ConvEpilogue {
            bias: weights.bias(),
            residual: residual.as_ref().map(Tensor::slice),
            activation: then.activation,
            keep: wants(&inputs) && then.activation.is_some(),
            moments: then.moments,
        };
        let slices = norm.as_ref().map(Normal::slices);
        let found = x.device.conv2d(x.slice(), slices.as_ref(), weights.w.slice(), &sizes, &epilogue)?;
        let (Fused { y, moments }, before) = found.tensors(&x, &sizes);
        let of_weights = w.wants_gradient() || bias.is_some_and(Tensor::wants_gradient);
        let wanted = [self.wants_gradient() || wants(&input), of_weights];
        let (has_bias, has_residual) = (bias.is_some(), then.residual.is_some());
        let activation = then.activation.zip(before);
        let kept = Kept { x, norm, w: weights.w, activation, sizes, wanted, has_bias, has_residual };
        Ok(Fused { y: y.record_all("conv2d", &inputs, move |dy| kept.pull(dy)), moments })
    }
}

impl Convolved {
    /// The output and its moments, and the values before the activation, of images x.
    fn tensors(self, x: &Tensor, sizes: &ConvSizes) -> (Fused, Option<Tensor>) {
        let image = |buffer| x.derive(buffer, sizes.shape_out(), Layout::Channels);
        let of_channels = Shape::from([3, sizes.batch, sizes.channels_out]);
        let moments = |buffer| Tensor::dense(&x.device, buffer, of_channels, Layout::Rows, DType::F32);
        let wide = |buffer| Tensor::dense(&x.device, buffer, sizes.shape_out(), Layout::Channels, DType::F32);
        (Fused { y: image(self.y), moments: self.moments.map(moments) }, self.before.map(wide))
    }
}

impl Prologue<'_> {
    /// The normalisation of x, once everything fits.
    fn of(&self, x: &Tensor) -> Result<Normal> {
        x.normal("conv2d", &self.tail, x.group_sizes("conv2d", self.groups, self.epsilon)?)
    }
}

impl Epilogue<'_> {
    /// The residual in the order of the output, once everything fits.
    fn residual_of(&self, x: &Tensor, sizes: &ConvSizes) -> Result<Option<Tensor>> {
        let (out, Some(residual)) = (sizes.shape_out(), self.residual) else { return Ok(None) };
        x.expect_same_kind("conv2d", residual)?;
        if residual.shape() != out {
            return Err(TensorError::shapes("conv2d", out, residual.shape(), "a residual of the output's shape"));
        }
        Ok(Some(residual.detach().to_layout(Layout::Channels)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, no_grad};

    fn numbers(shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let values: Vec<f32> = (0..shape.len()).map(|i| ((i * 37) % 23) as f32 * 0.1 - 1.0).collect();
        Tensor::new(&Cpu::device(), shape, &values).expect("numbers")
    }

    fn beside(x: &Tensor, shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros(x.device(), shape).expect("zeros")
    }

    #[test]
    fn what_does_not_go_with_the_sizes_is_refused() {
        let x = numbers([1, 3, 4, 4]);
        let (w, plain) = (beside(&x, [6, 3, 1, 1]), Conv2d::default());
        let residual = beside(&x, [1, 6, 4, 3]);
        let then = Epilogue { residual: Some(&residual), ..Epilogue::default() };
        let message = x.conv2d_fused(None, &w, None, &plain, &then).expect_err("another residual").to_string();
        assert!(message.contains("[1, 6, 4, 4] and [1, 6, 4, 3]"), "{message}");
        let refused = |groups: usize, tail: NormTail<'_>| {
            let first = Prologue { groups, epsilon: 1e-5, tail };
            x.conv2d_fused(Some(&first), &w, None, &plain, &Epilogue::default()).expect_err("sizes").to_string()
        };
        assert!(refused(2, NormTail::default()).contains("channels in 2 equal groups"));
        assert!(refused(0, NormTail::default()).contains("[1, 3, 4, 4]"));
        let addend = beside(&x, [1, 4]);
        let message = refused(3, NormTail { addend: Some(&addend), ..NormTail::default() });
        assert!(message.contains("[1, 3, 4, 4] and [1, 4]"), "{message}");
    }

    /// What is kept for gradients must not change the output.
    #[test]
    fn the_output_is_the_same_with_and_without_gradients() {
        let x = numbers([2, 4, 9, 5]);
        let w = numbers([6, 4, 3, 3]).to_device(x.device()).expect("w");
        let how = Conv2d { padding: [1; 2], ..Conv2d::default() };
        let first = Prologue { groups: 2, epsilon: 1e-5, tail: NormTail::default() };
        let then = Epilogue { activation: Some(Map::Silu), moments: true, residual: None };
        for dtype in [DType::F32, DType::Bf16] {
            let (x, w) = (x.to_dtype(dtype).expect("x"), w.to_dtype(dtype).expect("w"));
            let alone = no_grad(|| x.conv2d_fused(Some(&first), &w, None, &how, &then)).expect("fused");
            let kept = x.with_gradient().conv2d_fused(Some(&first), &w, None, &how, &then).expect("fused");
            assert_eq!(alone.y.to_vec().expect("values"), kept.y.to_vec().expect("values"));
            let moments = |fused: &Fused| fused.moments.as_ref().expect("moments").to_vec().expect("values");
            assert_eq!(moments(&alone), moments(&kept));
        }
    }
}
