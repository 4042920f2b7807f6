//! Attention with several heads and linear layers around it.

use super::kaiming;
use crate::nn::{Builder, Result, Start};
use crate::tensor::{self, AttentionOptions, MultiHead, Parameter, Tensor};

/// Multi-head attention of (batch, length, embedding), named as PyTorch's `MultiheadAttention` with biases.
#[derive(Clone, Debug)]
pub struct MultiheadAttention {
    /// (3 · embedding, embedding): rows for queries, keys and values.
    pub in_weight: Parameter,
    /// (3 · embedding).
    pub in_bias: Parameter,
    /// (embedding, embedding).
    pub out_weight: Parameter,
    /// (embedding).
    pub out_bias: Parameter,
    /// Heads that the embedding is split into.
    pub heads: usize,
}

impl MultiheadAttention {
    /// An embedding in equal heads.
    ///
    /// # Errors
    /// Where the heads do not divide the embedding, a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, embedding: usize, heads: usize) -> Result<Self> {
        if heads == 0 || embedding == 0 || !embedding.is_multiple_of(heads) {
            builder.refuse(format!("{embedding} in {heads} heads"), "heads that divide the embedding")?;
        }
        // Uniform of Glorot and Bengio (2010) over the three layers at once: √(6 / (embedding + 3 · embedding)).
        let glorot = Start::Uniform((6.0 / (4 * embedding.max(1)) as f64).sqrt());
        let out = builder.at("out_proj");
        Ok(MultiheadAttention {
            in_weight: builder.parameter("in_proj_weight", [3 * embedding, embedding], glorot)?,
            in_bias: builder.parameter("in_proj_bias", [3 * embedding], Start::Constant(0.0))?,
            out_weight: out.parameter("weight", [embedding, embedding], kaiming(embedding))?,
            out_bias: out.parameter("bias", [embedding], Start::Constant(0.0))?,
            heads,
        })
    }

    /// Attention to itself.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor) -> tensor::Result<Tensor> {
        self.forward_with(x, None, AttentionOptions::default())
    }

    /// Attention to a context (batch, keys, embedding), or to itself where there is none.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward_with(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        options: AttentionOptions<'_>,
    ) -> tensor::Result<Tensor> {
        let with = MultiHead {
            heads: self.heads,
            in_weight: &self.in_weight.get(),
            in_bias: Some(&self.in_bias.get()),
            out_weight: &self.out_weight.get(),
            out_bias: Some(&self.out_bias.get()),
            options,
        };
        x.multi_head_attention(context, &with)
    }
}
