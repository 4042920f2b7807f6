//! Normalisation: over groups of channels, over a batch, over the last dimensions.

use crate::tensor::ops::elementwise::Map;
use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// What shares one mean and one variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// So many groups of neighbouring channels of each sample.
    Groups(usize),
    /// Each channel of all samples.
    Batch,
    /// Each channel; its mean and variance are given and no gradient flows into them.
    Fixed,
}

/// The sizes of a normalisation by channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSizes {
    /// Samples.
    pub batch: usize,
    /// Channels of a sample.
    pub channels: usize,
    /// Elements of a channel.
    pub positions: usize,
    /// The order in memory: [`Layout::Channels`] has the channels of a position beside each other.
    pub layout: Layout,
    /// What shares statistics.
    pub over: Over,
    /// Added to the variance.
    pub epsilon: f32,
}

/// What follows a normalisation: `activation((x̂ · weight + bias) · (1 + scale) + shift) + addend`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Affine<'a> {
    /// (channels).
    pub weight: Option<Slice<'a>>,
    /// (channels).
    pub bias: Option<Slice<'a>>,
    /// (batch, channels).
    pub scale: Option<Slice<'a>>,
    /// (batch, channels).
    pub shift: Option<Slice<'a>>,
    /// (batch, channels), behind the activation.
    pub addend: Option<Slice<'a>>,
}

/// All that a normalisation by channels is told of.
#[derive(Clone, Copy, Debug)]
pub struct Normalised<'a> {
    /// As of [`Norm::norm`].
    pub moments: Slice<'a>,
    /// What follows it.
    pub affine: Affine<'a>,
    /// A function of each element.
    pub activation: Option<Map>,
    /// The sizes.
    pub sizes: NormSizes,
}

/// Gradients of a normalisation by channels.
#[derive(Debug)]
pub struct NormGradients {
    /// Of x, in its dtype.
    pub x: Buffer,
    /// Of weight and bias (channels), scale and shift (batch, channels), as f32.
    pub channels: [Buffer; 4],
}

/// The sizes of a normalisation of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSizes {
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub len: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Gradients of a normalisation of rows.
#[derive(Debug)]
pub struct LayerGradients {
    /// Of x, in its dtype.
    pub x: Buffer,
    /// Of the weight, as f32.
    pub weight: Buffer,
    /// Of the bias, as f32.
    pub bias: Buffer,
}

/// What a backend does to normalise.
pub trait Norm {
    /// (3, batch, channels) as f32: each channel's mean, what f32 loses of it, and its variance (of all, not unbiased).
    fn moments(&self, x: Slice<'_>, sizes: &NormSizes) -> Result<Buffer>;
    /// The normalised values and a function of them; `moments` is (3, 1, channels) for [`Over::Fixed`].
    fn norm(
        &self,
        x: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<Buffer>;
    /// The gradients of [`Norm::norm`]; `dy` may be f32 where the others are not.
    fn norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<NormGradients>;
    /// Each row normalised, times `weight`, plus `bias`.
    fn layer_norm(
        &self,
        x: Slice<'_>,
        weight: Option<Slice<'_>>,
        bias: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<Buffer>;
    /// The gradients of [`Norm::layer_norm`].
    fn layer_norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        weight: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<LayerGradients>;
}

impl NormSizes {
    /// How many sets of elements have statistics of their own.
    pub fn sets(&self) -> usize {
        match self.over {
            Over::Groups(groups) => self.batch * groups,
            Over::Batch | Over::Fixed => self.channels,
        }
    }

    /// The set of the `index`-th channel, counted over all samples.
    pub fn set(&self, index: usize) -> usize {
        match self.over {
            Over::Groups(groups) => {
                let (sample, channel) = (index / self.channels, index % self.channels);
                sample * groups + channel / (self.channels / groups)
            }
            Over::Batch | Over::Fixed => index % self.channels,
        }
    }

    /// Elements of a set.
    pub fn set_count(&self) -> f64 {
        (self.batch * self.channels * self.positions) as f64 / self.sets().max(1) as f64
    }
}

/// What goes with a normalisation by channels: `activation((x̂ · weight + bias) · (1 + scale) + shift) + addend`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormTail<'a> {
    /// (channels); 1 where there is none.
    pub weight: Option<&'a Tensor>,
    /// (channels); 0 where there is none.
    pub bias: Option<&'a Tensor>,
    /// (batch, channels), such as a time embedding gives (Perez et al., "FiLM", 2018).
    pub scale: Option<&'a Tensor>,
    /// (batch, channels).
    pub shift: Option<&'a Tensor>,
    /// A function of each element.
    pub activation: Option<Map>,
    /// (batch, channels), added behind the function.
    pub addend: Option<&'a Tensor>,
    /// What [`Tensor::moments`] gives, where it is known already.
    pub moments: Option<&'a Tensor>,
}

/// What a batch normalisation in training gives.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalised values.
    pub output: Tensor,
    /// The new running mean (channels).
    pub running_mean: Tensor,
    /// The new running variance (channels), of unbiased variances.
    pub running_variance: Tensor,
}

impl Tensor {
    /// (3, batch, channels): the mean of each channel of each sample, what f32 loses of it, and the variance.
    ///
    /// # Errors
    /// Where there are fewer than two dimensions, or the device is out of memory.
    pub fn moments(&self) -> Result<Tensor> {
        let sizes = self.norm_sizes("moments", Over::Batch, 0.0)?;
        let buffer = self.device.moments(self.slice(), &sizes)?;
        Ok(Tensor::dense(&self.device, buffer, [3, sizes.batch, sizes.channels].into(), Layout::Rows, DType::F32))
    }

    /// Group normalisation of (batch, channels, ..) (Wu and He, 2018); instance normalisation where there are as many
    /// groups as channels.
    ///
    /// # Errors
    /// Where the groups do not divide the channels, the epsilon is negative or no number, shapes do not go together, or
    /// dtypes or devices differ.
    pub fn group_norm(&self, groups: usize, epsilon: f32, tail: NormTail<'_>) -> Result<Tensor> {
        self.norm("group_norm", tail, self.group_sizes("group_norm", groups, epsilon)?)
    }

    /// The sizes of a group normalisation, once the groups fit.
    pub(super) fn group_sizes(&self, operation: &'static str, groups: usize, epsilon: f32) -> Result<NormSizes> {
        let sizes = self.norm_sizes(operation, Over::Groups(groups), epsilon)?;
        if groups == 0 || sizes.channels % groups != 0 {
            return Err(TensorError::shape(operation, self.shape, format!("channels in {groups} equal groups")));
        }
        Ok(sizes)
    }

    /// Batch normalisation with given statistics, (channels) each.
    ///
    /// # Errors
    /// Where shapes do not go together, or dtypes or devices differ.
    pub fn batch_norm(&self, mean: &Tensor, variance: &Tensor, epsilon: f32, tail: NormTail<'_>) -> Result<Tensor> {
        let sizes = self.norm_sizes("batch_norm", Over::Fixed, epsilon)?;
        self.expect_channels("batch_norm", Some(mean), &[sizes.channels])?;
        self.expect_channels("batch_norm", Some(variance), &[sizes.channels])?;
        let part = |x: &Tensor| x.detach().to_dtype(DType::F32)?.reshape([1, 1, sizes.channels]);
        let mean = part(mean)?;
        let moments = Tensor::cat(&[&mean, &mean.mul_scalar(0.0)?, &part(variance)?], 0)?;
        self.norm("batch_norm", NormTail { moments: Some(&moments), ..tail }, sizes)
    }

    /// Batch normalisation in training (Ioffe and Szegedy, 2015): statistics of this batch, and the running ones moved
    /// towards them by `momentum`.
    ///
    /// # Errors
    /// As [`Tensor::batch_norm`], and where a channel has fewer than two elements.
    pub fn batch_norm_training(
        &self,
        mean: &Tensor,
        variance: &Tensor,
        momentum: f32,
        epsilon: f32,
        tail: NormTail<'_>,
    ) -> Result<BatchNormed> {
        let sizes = self.norm_sizes("batch_norm", Over::Batch, epsilon)?;
        self.expect_channels("batch_norm", Some(mean), &[sizes.channels])?;
        self.expect_channels("batch_norm", Some(variance), &[sizes.channels])?;
        let count = sizes.batch * sizes.positions;
        if count < 2 {
            return Err(TensorError::shape("batch_norm", self.shape, "more than one element a channel"));
        }
        let moments = match tail.moments {
            Some(moments) => moments.clone(),
            None => self.detach().moments()?,
        };
        let output = self.norm("batch_norm", NormTail { moments: Some(&moments), ..tail }, sizes)?;
        let (of_batch, spread) = moments.over_batch()?;
        let unbiased = spread.mul_scalar(count as f32 / (count - 1) as f32)?;
        let (running_mean, running_variance) =
            (mean.moved_towards(&of_batch, momentum)?, variance.moved_towards(&unbiased, momentum)?);
        Ok(BatchNormed { output, running_mean, running_variance })
    }

    /// A running statistic after a batch.
    fn moved_towards(&self, new: &Tensor, momentum: f32) -> Result<Tensor> {
        let old = self.detach().to_dtype(DType::F32)?.mul_scalar(1.0 - momentum)?;
        old.add(&new.mul_scalar(momentum)?)?.to_dtype(self.dtype)
    }

    /// Mean and variance of each channel over all samples, from moments (3, batch, channels).
    fn over_batch(&self) -> Result<(Tensor, Tensor)> {
        let part = |index: usize| self.detach().narrow(0, index, 1)?.squeeze(0);
        let means = part(0)?;
        let mean = means.mean(&[0], false)?;
        let distance = means.sub(&mean)?;
        let variance = part(2)?.add(&distance.mul(&distance)?)?.mean(&[0], false)?;
        Ok((mean, variance))
    }

    fn norm_sizes(&self, operation: &'static str, over: Over, epsilon: f32) -> Result<NormSizes> {
        self.expect_numbers(operation)?;
        expect_epsilon(operation, epsilon)?;
        let [batch, channels, positions @ ..] = self.shape.sizes() else {
            return Err(TensorError::shape(operation, self.shape, "at least (batch, channels)"));
        };
        let layout = if self.shape.rank() == 4 { self.layout } else { Layout::Rows };
        let positions = positions.iter().product();
        Ok(NormSizes { batch: *batch, channels: *channels, positions, layout, over, epsilon })
    }

    fn expect_channels(&self, operation: &'static str, x: Option<&Tensor>, sizes: &[usize]) -> Result<()> {
        let Some(x) = x else { return Ok(()) };
        self.expect_same_kind(operation, x)?;
        if x.shape.sizes() != sizes {
            return Err(TensorError::shapes(operation, self.shape, x.shape, format!("factors of {sizes:?}")));
        }
        Ok(())
    }

    fn norm(&self, operation: &'static str, tail: NormTail<'_>, sizes: NormSizes) -> Result<Tensor> {
        let (x, normal) = (self.detach(), self.normal(operation, &tail, sizes)?);
        let Normalised { moments, affine, activation, sizes } = normal.slices();
        let buffer = x.device.norm(x.slice(), moments, affine, activation, &sizes)?;
        let result = x.derive(buffer, x.shape, x.layout);
        let inputs: Vec<&Tensor> = [self].into_iter().chain(tail.given()).collect();
        let pull = move |dy: &Tensor| normal.gradients(&x, &dy.to_layout(x.layout)?);
        Ok(result.record_all(operation, &inputs, pull))
    }

    /// A normalisation of this tensor, once everything fits.
    pub(super) fn normal(&self, operation: &'static str, tail: &NormTail<'_>, sizes: NormSizes) -> Result<Normal> {
        let (channels, both) = ([sizes.channels], [sizes.batch, sizes.channels]);
        self.expect_channels(operation, tail.weight, &channels)?;
        self.expect_channels(operation, tail.bias, &channels)?;
        for x in [tail.scale, tail.shift, tail.addend] {
            self.expect_channels(operation, x, &both)?;
        }
        let moments = self.norm_moments(operation, tail, &sizes)?;
        let held = [tail.weight, tail.bias, tail.scale, tail.shift, tail.addend].map(|x| x.map(Tensor::detach));
        Ok(Normal { moments, held, activation: tail.activation, sizes })
    }

    /// The moments that are given, or those of the values.
    fn norm_moments(&self, operation: &'static str, tail: &NormTail<'_>, sizes: &NormSizes) -> Result<Tensor> {
        let batch = if sizes.over == Over::Fixed { 1 } else { sizes.batch };
        let expected = Shape::from([3, batch, sizes.channels]);
        match tail.moments {
            None => self.detach().moments(),
            Some(moments) if moments.shape != expected => {
                Err(TensorError::shapes(operation, self.shape, moments.shape, format!("moments of {expected}")))
            }
            Some(moments) => {
                moments.expect_dtype(operation, DType::F32)?;
                self.expect_same_device(operation, moments)?;
                Ok(moments.detach())
            }
        }
    }

    /// The rows that the last `dimensions` dimensions are, and the sizes of these.
    fn layer_sizes(&self, dimensions: usize, epsilon: f32) -> Result<(LayerSizes, Shape)> {
        self.expect_numbers("layer_norm")?;
        expect_epsilon("layer_norm", epsilon)?;
        let first = self.shape.rank().checked_sub(dimensions).filter(|_| dimensions > 0);
        let first = first.ok_or_else(|| {
            TensorError::shape("layer_norm", self.shape, format!("at least one and {dimensions} dimensions"))
        })?;
        let last = Shape::of("layer_norm", &self.shape.sizes()[first..])?;
        let len = last.len();
        Ok((LayerSizes { rows: self.len() / len.max(1), len, epsilon }, last))
    }

    /// Layer normalisation over the last dimensions, as many as the weight has (Ba et al., 2016).
    ///
    /// # Errors
    /// Where the weight or the bias does not have the sizes of the last dimensions, or dtypes or devices differ.
    pub fn layer_norm(&self, weight: &Tensor, bias: Option<&Tensor>, epsilon: f32) -> Result<Tensor> {
        self.layer_norm_over(weight.shape.rank(), Some(weight), bias, epsilon)
    }

    /// Layer normalisation over the last `dimensions` dimensions, with or without weights.
    ///
    /// # Errors
    /// As [`Tensor::layer_norm`], and where there are not so many dimensions.
    pub fn layer_norm_over(
        &self,
        dimensions: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        epsilon: f32,
    ) -> Result<Tensor> {
        let (sizes, shape) = self.layer_sizes(dimensions, epsilon)?;
        self.expect_channels("layer_norm", weight, &shape)?;
        self.expect_channels("layer_norm", bias, &shape)?;
        let rows = |x: &Tensor| x.detach().to_layout(Layout::Rows);
        let (x, held) = (rows(self)?, weight.map(rows).transpose()?);
        let held_bias = bias.map(rows).transpose()?;
        let (held_slice, bias_slice) = (held.as_ref().map(Tensor::slice), held_bias.as_ref().map(Tensor::slice));
        let buffer = x.device.layer_norm(x.slice(), held_slice, bias_slice, &sizes)?;
        let result = x.derive(buffer, x.shape, Layout::Rows);
        let inputs: Vec<&Tensor> = [Some(self), weight, bias].into_iter().flatten().collect();
        let has_bias = bias.is_some();
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Rows)?;
            let found = x.device.layer_norm_grad(x.slice(), dy.slice(), held.as_ref().map(Tensor::slice), &sizes)?;
            let small = |buffer: Buffer| {
                Tensor::dense(&x.device, buffer, shape, Layout::Rows, DType::F32).to_dtype(x.dtype).map(Some)
            };
            let mut gradients = vec![Some(x.derive(found.x, x.shape, Layout::Rows))];
            gradients.extend(held.as_ref().map(|_| small(found.weight)).transpose()?);
            gradients.extend(has_bias.then(|| small(found.bias)).transpose()?);
            Ok(gradients)
        };
        Ok(result.record_all("layer_norm", &inputs, pull))
    }
}

/// The error that what is added to a variance makes it negative, or no number.
fn expect_epsilon(operation: &'static str, epsilon: f32) -> Result<()> {
    let fine = epsilon >= 0.0 && epsilon.is_finite();
    TensorError::unless(fine, operation, ("an epsilon", epsilon.into()), "a finite number, 0 or more")
}

/// What is kept of a normalisation for its gradient.
pub(super) struct Normal {
    moments: Tensor,
    /// Weight, bias, scale, shift and addend, where there are such.
    held: [Option<Tensor>; 5],
    activation: Option<Map>,
    sizes: NormSizes,
}

impl Normal {
    pub(super) fn slices(&self) -> Normalised<'_> {
        let [weight, bias, scale, shift, addend] = self.held.each_ref().map(|x| x.as_ref().map(Tensor::slice));
        let affine = Affine { weight, bias, scale, shift, addend };
        Normalised { moments: self.moments.slice(), affine, activation: self.activation, sizes: self.sizes }
    }

    /// The gradients of x and of what is held.
    pub(super) fn gradients(&self, x: &Tensor, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let Normalised { moments, affine, activation, sizes } = self.slices();
        let found = x.device.norm_grad(x.slice(), dy.slice(), moments, affine, activation, &sizes)?;
        let mut gradients = vec![Some(x.derive(found.x, x.shape, x.layout))];
        for (buffer, held) in found.channels.into_iter().zip(&self.held) {
            if let Some(held) = held {
                let gradient = Tensor::dense(&x.device, buffer, held.shape, Layout::Rows, DType::F32);
                gradients.push(Some(gradient.to_dtype(held.dtype)?));
            }
        }
        if self.held[4].is_some() {
            let positions: Vec<isize> = (2..x.shape.rank() as isize).collect();
            let none = positions.is_empty();
            let sum = if none { dy.clone() } else { dy.sum(&positions, false)? };
            gradients.push(Some(sum.to_dtype(x.dtype)?));
        }
        Ok(gradients)
    }
}

impl NormTail<'_> {
    /// The tensors that gradients flow to, in the order of [`Affine`].
    pub(super) fn given(&self) -> impl Iterator<Item = &Tensor> {
        [self.weight, self.bias, self.scale, self.shift, self.addend].into_iter().flatten()
    }
}
