//! Convolutions of images, and their transposes.

use super::kaiming;
use super::norm::GroupNorm;
use crate::nn::{Builder, Result};
use crate::tensor::{self, Epilogue, Fused, NormTail, Parameter, Prologue, Tensor};

/// A convolution of images (N, C, H, W).
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// (out, in / groups, kernel rows, kernel columns).
    pub weight: Parameter,
    /// (out).
    pub bias: Option<Parameter>,
    /// How the kernel moves.
    pub how: tensor::Conv2d,
}

impl Conv2d {
    /// A layer with a bias, from `channels` in to out.
    ///
    /// # Errors
    /// Where the groups do not divide the channels, a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, channels: [usize; 2], kernel: [usize; 2], how: tensor::Conv2d) -> Result<Self> {
        let layer = Conv2d::without_bias(builder, channels, kernel, how)?;
        let fan_in = channels[0] / how.groups * kernel[0] * kernel[1];
        Ok(Conv2d { bias: Some(builder.parameter("bias", [channels[1]], kaiming(fan_in))?), ..layer })
    }

    /// A layer without a bias.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn without_bias(
        builder: &Builder,
        channels: [usize; 2],
        kernel: [usize; 2],
        how: tensor::Conv2d,
    ) -> Result<Self> {
        expect_groups(builder, channels, how.groups)?;
        let inputs = channels[0] / how.groups;
        let start = kaiming(inputs * kernel[0] * kernel[1]);
        let weight = builder.parameter("weight", [channels[1], inputs, kernel[0], kernel[1]], start)?;
        Ok(Conv2d { weight, bias: None, how })
    }

    /// A square kernel of odd size that leaves the images' size: it is padded by half of it.
    ///
    /// # Errors
    /// Where the kernel is even, and as [`Conv2d::new`].
    pub fn same(builder: &Builder, channels_in: usize, channels_out: usize, kernel: usize) -> Result<Self> {
        if kernel.is_multiple_of(2) {
            builder.refuse(format!("a kernel of {kernel}"), "an odd kernel")?;
        }
        let how = tensor::Conv2d { padding: [kernel / 2; 2], ..tensor::Conv2d::default() };
        Conv2d::new(builder, [channels_in, channels_out], [kernel; 2], how)
    }

    /// Images to images.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        x.conv2d(&self.weight.get(), self.bias.as_ref().map(Parameter::get).as_ref(), &self.how)
    }

    /// [`Conv2d::forward`] and what follows it, in one pass.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward_then(&self, x: &Tensor, then: &Epilogue<'_>) -> tensor::Result<Fused> {
        self.fused(None, x, then)
    }

    /// [`Conv2d::forward_then`] of normalised images, which are not kept; the tail's own weight and bias are not used.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward_after(
        &self,
        norm: &GroupNorm,
        tail: NormTail<'_>,
        x: &Tensor,
        then: &Epilogue<'_>,
    ) -> tensor::Result<Fused> {
        let (weight, bias) = (norm.weight.get(), norm.bias.get());
        let tail = NormTail { weight: Some(&weight), bias: Some(&bias), ..tail };
        self.fused(Some(&Prologue { groups: norm.groups, epsilon: norm.epsilon, tail }), x, then)
    }

    fn fused(&self, first: Option<&Prologue<'_>>, x: &Tensor, then: &Epilogue<'_>) -> tensor::Result<Fused> {
        let bias = self.bias.as_ref().map(Parameter::get);
        x.conv2d_fused(first, &self.weight.get(), bias.as_ref(), &self.how, then)
    }
}

/// A transposed convolution of images (N, C, H, W).
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    /// (in, out / groups, kernel rows, kernel columns).
    pub weight: Parameter,
    /// (out).
    pub bias: Option<Parameter>,
    /// How the kernel moves.
    pub how: tensor::ConvTranspose2d,
}

impl ConvTranspose2d {
    /// A layer with a bias, from `channels` in to out.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(
        builder: &Builder,
        channels: [usize; 2],
        kernel: [usize; 2],
        how: tensor::ConvTranspose2d,
    ) -> Result<Self> {
        expect_groups(builder, channels, how.groups)?;
        let outputs = channels[1] / how.groups;
        // PyTorch takes the second dimension for the inputs, whatever it holds.
        let start = kaiming(outputs * kernel[0] * kernel[1]);
        let weight = builder.parameter("weight", [channels[0], outputs, kernel[0], kernel[1]], start)?;
        Ok(ConvTranspose2d { weight, bias: Some(builder.parameter("bias", [channels[1]], start)?), how })
    }

    /// Images to images.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        x.conv_transpose2d(&self.weight.get(), self.bias.as_ref().map(Parameter::get).as_ref(), &self.how)
    }
}

/// The error that groups do not divide channels.
fn expect_groups(builder: &Builder, channels: [usize; 2], groups: usize) -> Result<()> {
    if groups > 0 && channels.iter().all(|channels| channels.is_multiple_of(groups)) {
        return Ok(());
    }
    builder.refuse(format!("{channels:?} channels in {groups} groups"), "groups that divide the channels")
}
