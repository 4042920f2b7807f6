//! Linear layers, and tables of vectors.

use super::kaiming;
use crate::nn::{Builder, Result, Start};
use crate::tensor::{self, Parameter, Tensor};

/// `x · wᵀ + bias` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    /// (out, in).
    pub weight: Parameter,
    /// (out).
    pub bias: Option<Parameter>,
}

impl Linear {
    /// A layer with a bias.
    ///
    /// # Errors
    /// Where a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, inputs: usize, outputs: usize) -> Result<Self> {
        let bias = Some(builder.parameter("bias", [outputs], kaiming(inputs))?);
        Ok(Linear { bias, ..Linear::without_bias(builder, inputs, outputs)? })
    }

    /// A layer without a bias.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn without_bias(builder: &Builder, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Linear { weight: builder.parameter("weight", [outputs, inputs], kaiming(inputs))?, bias: None })
    }

    /// (.., in) to (.., out).
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        x.linear(&self.weight.get(), self.bias.as_ref().map(Parameter::get).as_ref())
    }
}

/// A table of vectors, looked up by indices.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// (vectors, size).
    pub weight: Parameter,
}

impl Embedding {
    /// So many vectors of a size.
    ///
    /// # Errors
    /// Where the name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, vectors: usize, size: usize) -> Result<Self> {
        Ok(Embedding { weight: builder.parameter("weight", [vectors, size], Start::Normal)? })
    }

    /// Indices (..) to vectors (.., size).
    ///
    /// # Errors
    /// Where there are no indices, or one lies outside.
    pub fn forward(&self, index: &Tensor) -> tensor::Result<Tensor> {
        self.weight.get().embedding(index)
    }
}
