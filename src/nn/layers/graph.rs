//! Attention over the edges of a graph.

use super::linear::Linear;
use crate::nn::{Builder, Result, Start};
use crate::tensor::{self, Graph, GraphAttention, Parameter, Tensor, TensorError};

/// The slope of scores below 0.
const NEGATIVE_SLOPE: f32 = 0.2;

/// Graph attention (Veličković et al., 2018), named as PyTorch Geometric's `GATConv`.
#[derive(Clone, Debug)]
pub struct GatConv {
    /// (heads · channels, inputs).
    pub lin: Linear,
    /// (1, heads, channels): what a node is weighed with where an edge begins.
    pub att_src: Parameter,
    /// (1, heads, channels): and where one ends.
    pub att_dst: Parameter,
    /// What attributes of edges are weighed with, where they have any.
    pub edge: Option<GatEdges>,
    /// (heads · channels), or (channels) of a mean over heads.
    pub bias: Parameter,
    /// Whether heads lie side by side in the result; else their mean is taken.
    pub concat: bool,
}

/// How attributes of edges become scores.
#[derive(Clone, Debug)]
pub struct GatEdges {
    /// (heads · channels, attributes).
    pub lin: Linear,
    /// (1, heads, channels).
    pub att: Parameter,
}

/// The sizes of a [`GatConv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatSizes {
    /// Numbers of a node.
    pub inputs: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub channels: usize,
    /// Attributes of an edge; 0 for none.
    pub attributes: usize,
    /// Whether heads lie side by side in the result; else their mean is taken.
    pub concat: bool,
}

/// Uniform of Glorot and Bengio (2010) over the last two sizes.
fn glorot(rows: usize, columns: usize) -> Start {
    Start::Uniform((6.0 / (rows + columns).max(1) as f64).sqrt())
}

impl GatConv {
    /// A layer of these sizes.
    ///
    /// # Errors
    /// Where a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, sizes: GatSizes) -> Result<Self> {
        let GatSizes { inputs, heads, channels, attributes, concat } = sizes;
        let width = heads * channels;
        let linear = |name: &str, inputs: usize| -> Result<Linear> {
            let weight = builder.at(name).parameter("weight", [width, inputs], glorot(width, inputs))?;
            Ok(Linear { weight, bias: None })
        };
        let attention = |name: &str| builder.parameter(name, [1, heads, channels], glorot(heads, channels));
        let edge = || -> Result<GatEdges> {
            Ok(GatEdges { lin: linear("lin_edge", attributes)?, att: attention("att_edge")? })
        };
        Ok(GatConv {
            lin: linear("lin", inputs)?,
            att_src: attention("att_src")?,
            att_dst: attention("att_dst")?,
            edge: (attributes > 0).then(edge).transpose()?,
            bias: builder.parameter("bias", [if concat { width } else { channels }], Start::Constant(0.0))?,
            concat,
        })
    }

    /// New features (N, heads · channels), or (N, channels), of nodes (N, inputs), and the weights of the edges (E, heads).
    ///
    /// PyTorch Geometric gives each node an edge to itself first: [`Graph::with_self_loops`], which gives the new edges
    /// attributes too, once for all calls.
    ///
    /// # Errors
    /// Where the sizes do not go together, or attributes (E, attributes) are given to a layer without them or lack.
    pub fn forward(&self, x: &Tensor, graph: &Graph, attributes: Option<&Tensor>) -> tensor::Result<(Tensor, Tensor)> {
        let (source, target) = (self.att_src.get().squeeze(0)?, self.att_dst.get().squeeze(0)?);
        let sizes = [graph.nodes(), source.shape()[0], source.shape()[1]];
        let edge = match (&self.edge, attributes) {
            (Some(edge), Some(attributes)) => Some(edge.scores(attributes)?),
            (None, None) => None,
            (held, _) => {
                let expected = if held.is_some() { "attributes of edges" } else { "no attributes of edges" };
                return Err(TensorError::shape("gat_conv", x.shape(), expected));
            }
        };
        let bias = self.bias.get();
        let attention = GraphAttention {
            source: &source,
            target: &target,
            edge: edge.as_ref(),
            negative_slope: NEGATIVE_SLOPE,
            concat: self.concat,
            bias: Some(&bias),
        };
        self.lin.forward(x)?.reshape(sizes)?.graph_attention(graph, attention)
    }
}

impl GatEdges {
    /// Scores (E, heads) of attributes (E, attributes).
    fn scores(&self, attributes: &Tensor) -> tensor::Result<Tensor> {
        let att = self.att.get();
        let [heads, channels] = [att.shape()[1], att.shape()[2]];
        let edges = attributes.shape().first().copied().unwrap_or(0);
        self.lin.forward(attributes)?.reshape([edges, heads, channels])?.mul(&att)?.sum(&[2], false)
    }
}
