//! Layers that remember: GRU over sequences, and cells for one step of a GRU or a ConvLSTM.

use super::conv::Conv2d;
use crate::nn::{Builder, Result, Start};
use crate::tensor::{self, GruWeights, Parameter, Tensor, TensorError};

/// One step of a GRU (Cho et al., 2014), named as PyTorch's `GRUCell`.
#[derive(Clone, Debug)]
pub struct GruCell {
    /// (3 · hidden, inputs): gates r, z, n.
    pub input: Parameter,
    /// (3 · hidden, hidden).
    pub hidden: Parameter,
    /// (3 · hidden).
    pub input_bias: Parameter,
    /// (3 · hidden).
    pub hidden_bias: Parameter,
}

impl GruCell {
    /// So many inputs, and a state of so many numbers.
    ///
    /// # Errors
    /// Where the state has none, a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, inputs: usize, hidden: usize) -> Result<Self> {
        GruCell::named(builder, inputs, hidden, "")
    }

    /// Parameters whose names end in `suffix`.
    fn named(builder: &Builder, inputs: usize, hidden: usize, suffix: &str) -> Result<Self> {
        if hidden == 0 {
            builder.refuse(format!("{inputs} inputs and {hidden} hidden"), "a state of at least one number")?;
        }
        let start = Start::Uniform(1.0 / (hidden as f64).sqrt());
        let name = |part: &str| format!("{part}{suffix}");
        Ok(GruCell {
            input: builder.parameter(&name("weight_ih"), [3 * hidden, inputs], start)?,
            hidden: builder.parameter(&name("weight_hh"), [3 * hidden, hidden], start)?,
            input_bias: builder.parameter(&name("bias_ih"), [3 * hidden], start)?,
            hidden_bias: builder.parameter(&name("bias_hh"), [3 * hidden], start)?,
        })
    }

    fn with<T>(&self, run: impl FnOnce(GruWeights<'_>) -> tensor::Result<T>) -> tensor::Result<T> {
        let (input_bias, hidden_bias) = (self.input_bias.get(), self.hidden_bias.get());
        run(GruWeights {
            input: &self.input.get(),
            hidden: &self.hidden.get(),
            input_bias: Some(&input_bias),
            hidden_bias: Some(&hidden_bias),
        })
    }

    /// The new state (N, hidden) of inputs (N, inputs) and a state (N, hidden).
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor, state: &Tensor) -> tensor::Result<Tensor> {
        self.with(|weights| x.gru_cell(state, weights))
    }
}

/// Layers of a GRU over sequences, named as PyTorch's `GRU` with `batch_first`.
#[derive(Clone, Debug)]
pub struct Gru {
    /// The first sees the inputs, each other the states of the one before.
    pub layers: Vec<GruCell>,
}

impl Gru {
    /// So many layers with states of so many numbers.
    ///
    /// # Errors
    /// Where there are no layers, and as [`GruCell::new`].
    pub fn new(builder: &Builder, inputs: usize, hidden: usize, layers: usize) -> Result<Self> {
        if layers == 0 {
            builder.refuse("no layers", "at least one")?;
        }
        let layer = |layer: usize| {
            GruCell::named(builder, if layer == 0 { inputs } else { hidden }, hidden, &format!("_l{layer}"))
        };
        Ok(Gru { layers: (0..layers).map(layer).collect::<Result<_>>()? })
    }

    /// All states (N, T, hidden) of the last layer, and the last state of every layer (layers, N, hidden), of sequences
    /// (N, T, inputs); states begin as `first` (layers, N, hidden), or as zeros.
    ///
    /// # Errors
    /// Where the sizes do not go together, or there are no steps.
    pub fn forward(&self, x: &Tensor, first: Option<&Tensor>) -> tensor::Result<(Tensor, Tensor)> {
        if let Some(first) = first.filter(|first| first.shape().first() != Some(&self.layers.len())) {
            let expected = format!("a first state for each of {} layers", self.layers.len());
            return Err(TensorError::shapes("gru", x.shape(), first.shape(), expected));
        }
        let (mut states, mut last) = (x.clone(), Vec::with_capacity(self.layers.len()));
        for (number, layer) in self.layers.iter().enumerate() {
            let first = first.map(|first| first.narrow(0, number, 1)?.squeeze(0)).transpose()?;
            states = layer.with(|weights| states.gru(first.as_ref(), weights))?;
            let steps = states.shape().get(1).copied().unwrap_or(1);
            last.push(states.narrow(1, steps - 1, 1)?.transpose(0, 1)?);
        }
        Ok((states, Tensor::cat(&last.iter().collect::<Vec<_>>(), 0)?))
    }
}

/// One step of a ConvLSTM without peepholes (Shi et al., 2015): one convolution `conv` of the image and the state.
#[derive(Clone, Debug)]
pub struct ConvLstmCell {
    /// (4 · hidden, inputs + hidden, k, k): gates i, f, o, g.
    pub conv: Conv2d,
}

impl ConvLstmCell {
    /// Images of so many channels, states of so many, and a square kernel of odd size.
    ///
    /// # Errors
    /// Where the kernel is even, a name is taken, or the device is out of memory.
    pub fn new(builder: &Builder, inputs: usize, hidden: usize, kernel: usize) -> Result<Self> {
        if kernel.is_multiple_of(2) {
            builder.refuse(format!("a kernel of {kernel}"), "an odd kernel")?;
        }
        Ok(ConvLstmCell { conv: Conv2d::same(&builder.at("conv"), inputs + hidden, 4 * hidden, kernel)? })
    }

    /// The new states (h, c), each (N, hidden, H, W), of an image (N, inputs, H, W) and the states before.
    ///
    /// # Errors
    /// Where the sizes do not go together.
    pub fn forward(&self, x: &Tensor, states: (&Tensor, &Tensor)) -> tensor::Result<(Tensor, Tensor)> {
        let bias = self.conv.bias.as_ref().map(Parameter::get);
        x.conv_lstm_cell(states, &self.conv.weight.get(), bias.as_ref())
    }
}
