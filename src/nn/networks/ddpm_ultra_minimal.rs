//! Guesses the noise in a noised state: six blocks of convolutions at full resolution, told the step of the diffusion.

use crate::nn::{Builder, Conv2d, GroupNorm, Linear, NnError, Result};
use crate::tensor::{self, Epilogue, Fused, Map, NormTail, Shape, Tensor, TensorError, TimeEmbedding};

/// How many times as wide as the outer blocks the time embedding is.
const TIME_WIDTHS: usize = 4;

/// Groups of every normalisation.
const GROUPS: usize = 8;

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Fields of a state.
    pub channels_in: usize,
    /// Fields of the guessed noise.
    pub channels_out: usize,
    /// Channels of the outer blocks, a multiple of 8; the inner ones have twice as many.
    pub width: usize,
}

impl Default for Sizes {
    /// As published: seven fields, 81,111 parameters.
    fn default() -> Self {
        Sizes { channels_in: 7, channels_out: 7, width: 16 }
    }
}

/// The network: ε(x, t). It sees the noised state and the step alone, no condition.
#[derive(Debug)]
pub struct UltraMinimal {
    time: [Linear; 2],
    /// Numbers of the time embedding before it is widened.
    time_inputs: usize,
    blocks: [Block; 6],
    out: Conv2d,
}

/// What each part of the network gave, for comparing it part by part.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The time embedding before its layers, (batch, width).
    pub sinusoid: Tensor,
    /// The time embedding, (batch, 4 · width).
    pub time: Tensor,
    /// The results of the blocks, by their names.
    pub blocks: Vec<(&'static str, Tensor)>,
    /// The guessed noise.
    pub noise: Tensor,
}

impl UltraMinimal {
    /// A network with its first values.
    ///
    /// # Errors
    /// Where the width is no multiple of 8, or the device is out of memory.
    pub fn new(builder: &Builder, sizes: Sizes) -> Result<Self> {
        let width = sizes.width;
        if width == 0 || !width.is_multiple_of(GROUPS) {
            let sizes = format!("width {width}");
            let layer = "ddpm_ultra_minimal".to_owned();
            return Err(NnError::Sizes { layer, sizes, expected: "a multiple of 8" });
        }
        let (time, time_size) = (builder.at("time_mlp"), TIME_WIDTHS * width);
        let block = |name, inputs, outputs| Block::new(builder, name, [inputs, outputs], time_size);
        Ok(UltraMinimal {
            time: [Linear::new(&time.at(1), width, time_size)?, Linear::new(&time.at(3), time_size, time_size)?],
            time_inputs: width,
            blocks: [
                block("enc1", sizes.channels_in, width)?,
                block("enc2", width, 2 * width)?,
                block("enc3", 2 * width, 2 * width)?,
                block("dec3", 2 * width, 2 * width)?,
                block("dec2", 2 * width, width)?,
                block("dec1", width, width)?,
            ],
            out: Conv2d::same(&builder.at("out_conv"), width, sizes.channels_out, 1)?,
        })
    }

    /// The noise in states (N, fields, H, W) at steps of the diffusion, one a state.
    ///
    /// # Errors
    /// Where the sizes do not go together, or the device is out of memory.
    pub fn forward(&self, x: &Tensor, steps: &[f32]) -> tensor::Result<Tensor> {
        let time = self.widened(&self.sinusoid(x, steps)?)?;
        let mut state = State::plain(x.clone());
        for block in &self.blocks {
            state = block.forward(state, &time)?;
        }
        Ok(state.convolved(&self.out, false)?.y)
    }

    /// [`UltraMinimal::forward`] that keeps what each part gave.
    ///
    /// # Errors
    /// As [`UltraMinimal::forward`].
    pub fn parts(&self, x: &Tensor, steps: &[f32]) -> tensor::Result<Parts> {
        let sinusoid = self.sinusoid(x, steps)?;
        let time = self.widened(&sinusoid)?;
        let (mut state, mut blocks) = (State::plain(x.clone()), Vec::with_capacity(self.blocks.len()));
        for block in &self.blocks {
            state = block.forward(state, &time)?;
            blocks.push((block.name, state.values()?));
        }
        Ok(Parts { sinusoid, time, blocks, noise: state.convolved(&self.out, false)?.y })
    }

    /// Sines, then cosines of the steps at frequencies 10000^(−i / (half − 1)).
    fn sinusoid(&self, x: &Tensor, steps: &[f32]) -> tensor::Result<Tensor> {
        let batch = x.shape().first().copied().unwrap_or(0);
        let shape = Shape::from([steps.len(), self.time_inputs]);
        if batch != steps.len() {
            let expected = "a step for each state".to_owned();
            return Err(TensorError::Shapes {
                operation: "ddpm_ultra_minimal",
                left: x.shape(),
                right: shape,
                expected,
            });
        }
        Tensor::time_embedding(x.device(), steps, TimeEmbedding::new(self.time_inputs))?.to_dtype(x.dtype())
    }

    fn widened(&self, sinusoid: &Tensor) -> tensor::Result<Tensor> {
        let [first, second] = &self.time;
        second.forward(&first.forward(sinusoid)?.silu()?)
    }
}

/// Images between two convolutions. Their normalisation and SiLU, and the time behind these, are left to what reads them.
struct State<'a> {
    x: Tensor,
    norm: Option<&'a GroupNorm>,
    moments: Option<Tensor>,
    /// (batch, channels).
    time: Option<Tensor>,
}

impl<'a> State<'a> {
    /// Images that are as they are.
    fn plain(x: Tensor) -> Self {
        State { x, norm: None, moments: None, time: None }
    }

    /// What is done to the images once they are normalised.
    fn tail(&self) -> NormTail<'_> {
        let (moments, addend) = (self.moments.as_ref(), self.time.as_ref());
        NormTail { activation: Some(Map::Silu), moments, addend, ..NormTail::default() }
    }

    /// The finished images.
    fn values(&self) -> tensor::Result<Tensor> {
        self.norm.map_or_else(|| Ok(self.x.clone()), |norm| norm.forward_with(&self.x, self.tail()))
    }

    /// The convolution of the finished images, which nobody reads but it.
    fn convolved(self, conv: &Conv2d, moments: bool) -> tensor::Result<Fused> {
        let then = Epilogue { moments, ..Epilogue::default() };
        match self.norm {
            None => conv.forward_then(&self.x, &then),
            Some(norm) => conv.forward_after(norm, self.tail(), &self.x, &then),
        }
    }

    /// [`State::convolved`], to be normalised.
    fn next(self, conv: &Conv2d, norm: &'a GroupNorm, time: Option<Tensor>) -> tensor::Result<Self> {
        let Fused { y, moments } = self.convolved(conv, true)?;
        Ok(State { x: y, norm: Some(norm), moments, time })
    }
}

/// Convolution, normalisation, SiLU, the time added, and once more without the time.
#[derive(Debug)]
struct Block {
    name: &'static str,
    conv: [Conv2d; 2],
    norm: [GroupNorm; 2],
    time: Linear,
}

impl Block {
    fn new(
        builder: &Builder,
        name: &'static str,
        [channels_in, channels_out]: [usize; 2],
        time_size: usize,
    ) -> Result<Self> {
        let part = builder.at(name);
        let conv = |name: &str, channels_in| Conv2d::same(&part.at(name), channels_in, channels_out, 3);
        let norm = |name: &str| GroupNorm::new(&part.at(name), GROUPS, channels_out);
        Ok(Block {
            name,
            conv: [conv("conv1", channels_in)?, conv("conv2", channels_out)?],
            norm: [norm("norm1")?, norm("norm2")?],
            time: Linear::new(&part.at("time_mlp"), time_size, channels_out)?,
        })
    }

    fn forward<'a>(&'a self, state: State<'a>, time: &Tensor) -> tensor::Result<State<'a>> {
        let [first, second] = &self.norm;
        let time = self.time.forward(time)?;
        state.next(&self.conv[0], first, Some(time))?.next(&self.conv[1], second, None)
    }
}
