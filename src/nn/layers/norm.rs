//! Normalisation with factors of its own, and with running statistics.

use std::sync::{Mutex, PoisonError};

use crate::nn::{Builder, Result, Start};
use crate::tensor::{self, NormTail, Parameter, Shape, Tensor, no_grad};

/// PyTorch's number beside the variance.
const EPSILON: f32 = 1e-5;

/// PyTorch's step of running statistics.
const MOMENTUM: f32 = 0.1;

/// Normalisation of groups of channels.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// (channels).
    pub weight: Parameter,
    /// (channels).
    pub bias: Parameter,
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl GroupNorm {
    /// Channels in equal groups.
    ///
    /// # Errors
    /// Where the groups do not divide the channels, a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, groups: usize, channels: usize) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            builder.refuse(format!("{channels} channels in {groups} groups"), "groups that divide the channels")?;
        }
        let (weight, bias) = affine(builder, [channels])?;
        Ok(GroupNorm { weight, bias, groups, epsilon: EPSILON })
    }

    /// (batch, channels, ..) to the same shape.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        self.forward_with(x, NormTail::default())
    }

    /// [`GroupNorm::forward`] with what else goes into the same pass; the tail's own weight and bias are not used.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward_with(&self, x: &Tensor, tail: NormTail<'_>) -> tensor::Result<Tensor> {
        let (weight, bias) = (self.weight.get(), self.bias.get());
        x.group_norm(self.groups, self.epsilon, NormTail { weight: Some(&weight), bias: Some(&bias), ..tail })
    }
}

/// Normalisation over the last dimensions.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// The sizes of the last dimensions.
    pub weight: Parameter,
    /// The sizes of the last dimensions.
    pub bias: Parameter,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNorm {
    /// Over last dimensions of these sizes.
    ///
    /// # Errors
    /// Where a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, sizes: impl Into<Shape>) -> Result<Self> {
        let (weight, bias) = affine(builder, sizes)?;
        Ok(LayerNorm { weight, bias, epsilon: EPSILON })
    }

    /// Any shape that ends in the sizes, to the same shape.
    ///
    /// # Errors
    /// Where it does not.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        x.layer_norm(&self.weight.get(), Some(&self.bias.get()), self.epsilon)
    }
}

/// Whether a network learns, or is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch are used, and running ones follow them.
    Training,
    /// Running statistics are used.
    Evaluation,
}

/// Normalisation of channels over a batch of images.
#[derive(Debug)]
pub struct BatchNorm2d {
    /// (channels).
    pub weight: Parameter,
    /// (channels).
    pub bias: Parameter,
    /// A buffer (channels).
    pub running_mean: Parameter,
    /// A buffer (channels).
    pub running_variance: Parameter,
    /// A buffer: one whole number, the training steps so far.
    pub batches: Parameter,
    /// Added to the variance.
    pub epsilon: f32,
    /// How far running statistics move towards those of a batch.
    pub momentum: f32,
    /// How often training has replaced the running statistics; held while all three are read or replaced.
    replaced: Mutex<u64>,
}

/// Running statistics as they are at one time.
struct Running {
    /// How often they had been replaced.
    replaced: u64,
    mean: Tensor,
    variance: Tensor,
    batches: Tensor,
}

impl BatchNorm2d {
    /// So many channels.
    ///
    /// # Errors
    /// Where a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, channels: usize) -> Result<Self> {
        let (weight, bias) = affine(builder, [channels])?;
        Ok(BatchNorm2d {
            weight,
            bias,
            running_mean: builder.buffer("running_mean", [channels], Start::Constant(0.0))?,
            running_variance: builder.buffer("running_var", [channels], Start::Constant(1.0))?,
            batches: builder.buffer("num_batches_tracked", [], Start::Count)?,
            epsilon: EPSILON,
            momentum: MOMENTUM,
            replaced: Mutex::new(0),
        })
    }

    /// Images to images; training moves the running statistics.
    ///
    /// # Errors
    /// Where the sizes do not go together, or a channel has fewer than two elements in training.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> tensor::Result<Tensor> {
        let (weight, bias) = (self.weight.get(), self.bias.get());
        let tail = NormTail { weight: Some(&weight), bias: Some(&bias), ..NormTail::default() };
        if mode == Mode::Evaluation {
            return x.batch_norm(&self.running_mean.get(), &self.running_variance.get(), self.epsilon, tail);
        }
        let before = self.running();
        let normed = x.batch_norm_training(&before.mean, &before.variance, self.momentum, self.epsilon, tail)?;
        no_grad(|| self.follow(before, normed.running_mean, normed.running_variance))?;
        Ok(normed.output)
    }

    fn running(&self) -> Running {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        Running {
            replaced: *replaced,
            mean: self.running_mean.value(),
            variance: self.running_variance.value(),
            batches: self.batches.value(),
        }
    }

    /// Replaces the running statistics by those after a batch, which were worked out from those before it. Where another
    /// batch came first, its part is added: (1 − momentum) times what it changed.
    fn follow(&self, mut before: Running, mut mean: Tensor, mut variance: Tensor) -> tensor::Result<()> {
        let later = |after: &Tensor, before: &Tensor, now: &Tensor| {
            after.add(&now.sub(before)?.mul_scalar(1.0 - self.momentum)?)
        };
        while !self.replace(&before, &mean, &variance)? {
            let now = self.running();
            (mean, variance) =
                (later(&mean, &before.mean, &now.mean)?, later(&variance, &before.variance, &now.variance)?);
            before = now;
        }
        Ok(())
    }

    /// Whether the running statistics were still those from before, and are replaced.
    fn replace(&self, before: &Running, mean: &Tensor, variance: &Tensor) -> tensor::Result<bool> {
        let count: Vec<i32> = before.batches.to_indices()?.into_iter().map(|n| n.wrapping_add(1)).collect();
        let batches = Tensor::indices(before.batches.device(), [], &count)?;
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        if *replaced != before.replaced {
            return Ok(false);
        }
        *replaced += 1;
        self.running_mean.set(mean.clone())?;
        self.running_variance.set(variance.clone())?;
        self.batches.set(batches)?;
        Ok(true)
    }
}

/// Factors that begin as 1 and shifts that begin as 0.
fn affine(builder: &Builder, sizes: impl Into<Shape>) -> Result<(Parameter, Parameter)> {
    let sizes = sizes.into();
    let weight = builder.parameter("weight", sizes, Start::Constant(1.0))?;
    Ok((weight, builder.parameter("bias", sizes, Start::Constant(0.0))?))
}
