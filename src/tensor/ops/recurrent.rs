//! Networks that remember: GRU over sequences (Cho et al., 2014) and ConvLSTM over images (Shi et al., 2015).

use crate::tensor::ops::conv::Conv2d;
use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// Gates in memory: `rows` times (gates side by side, each of `width` elements).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// Samples, or their pixels.
    pub rows: usize,
    /// Elements of one gate in a row.
    pub width: usize,
}

/// What a backend does at the gates of recurrent cells.
pub trait Recurrent {
    /// The new state (1 − z)·n + z·h of a GRU, with r = σ(x_r + g_r), z = σ(x_z + g_z), n = tanh(x_n + r·g_n) of what
    /// comes from the input (x: r, z, n) and from the state (g: r, z, n).
    fn gru(&self, x: Slice<'_>, g: Slice<'_>, h: Slice<'_>, sizes: Gates) -> Result<Buffer>;
    /// The gradients of x, of g, and of h where it is multiplied by z.
    fn gru_grad(&self, state: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 3]>;
    /// The new state of an LSTM, σ(o)·tanh(c') and behind it all of c' = σ(f)·c + σ(i)·tanh(g), of gates i, f, o, g.
    fn lstm(&self, gates: Slice<'_>, c: Slice<'_>, sizes: Gates) -> Result<Buffer>;
    /// The gradients of the gates and of c; `y` and `dy` are the new state and its gradient.
    fn lstm_grad(&self, state: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 2]>;
}

/// The weights of one layer of a GRU under PyTorch's names; gates in the order r, z, n.
#[derive(Clone, Copy, Debug)]
pub struct GruWeights<'a> {
    /// `weight_ih`: (3·hidden, inputs).
    pub input: &'a Tensor,
    /// `weight_hh`: (3·hidden, hidden).
    pub hidden: &'a Tensor,
    /// `bias_ih`: (3·hidden).
    pub input_bias: Option<&'a Tensor>,
    /// `bias_hh`: (3·hidden).
    pub hidden_bias: Option<&'a Tensor>,
}

impl GruWeights<'_> {
    /// Something done with the same weights, each changed.
    fn with<T>(
        self,
        change: impl Fn(&Tensor) -> Result<Tensor>,
        run: impl FnOnce(GruWeights<'_>) -> Result<T>,
    ) -> Result<T> {
        let (input, hidden) = (change(self.input)?, change(self.hidden)?);
        let input_bias = self.input_bias.map(&change).transpose()?;
        let hidden_bias = self.hidden_bias.map(&change).transpose()?;
        run(GruWeights {
            input: &input,
            hidden: &hidden,
            input_bias: input_bias.as_ref(),
            hidden_bias: hidden_bias.as_ref(),
        })
    }

    /// The size of the state; the error that weights do not go together, or are not of inputs such as `x`.
    fn size(&self, operation: &'static str, x: &Tensor) -> Result<usize> {
        let hidden = match *self.hidden.shape().sizes() {
            [gates, hidden] if hidden > 0 && gates / 3 == hidden && gates % 3 == 0 => hidden,
            _ => {
                let expected = "(3·hidden, hidden) weights of the state";
                return Err(TensorError::shape(operation, self.hidden.shape(), expected));
            }
        };
        let inputs = x.shape.last().copied().unwrap_or(0);
        if self.input.shape.sizes() != [3 * hidden, inputs] {
            let expected = format!("weights ({}, {inputs}) of the inputs", 3 * hidden);
            return Err(TensorError::shapes(operation, x.shape, self.input.shape, expected));
        }
        for bias in [self.input_bias, self.hidden_bias].into_iter().flatten() {
            if bias.shape.sizes() != [3 * hidden] {
                let expected = format!("a bias of {}", 3 * hidden);
                return Err(TensorError::shapes(operation, self.hidden.shape, bias.shape, expected));
            }
        }
        let others = [Some(self.input), Some(self.hidden), self.input_bias, self.hidden_bias];
        others.into_iter().flatten().try_for_each(|other| x.expect_same_kind(operation, other))?;
        Ok(hidden)
    }
}

impl Tensor {
    /// One step of a GRU: the new state (N, hidden) of inputs (N, inputs) and a state (N, hidden), as PyTorch's
    /// `GRUCell`.
    ///
    /// # Errors
    /// Where shapes do not fit, or dtypes or devices differ.
    pub fn gru_cell(&self, state: &Tensor, weights: GruWeights<'_>) -> Result<Tensor> {
        if self.dtype == DType::Bf16 {
            let wide = |x: &Tensor| x.widened("gru_cell");
            let y = weights.with(wide, |weights| wide(self)?.gru_cell(&wide(state)?, weights))?;
            return y.to_dtype(DType::Bf16);
        }
        let [batch, _] = self.sizes("gru_cell")?;
        let size = weights.size("gru_cell", self)?;
        state.expect_state("gru_cell", [batch, size])?;
        self.expect_same_kind("gru_cell", state)?;
        let x = self.linear(weights.input, weights.input_bias)?;
        let g = state.linear(weights.hidden, weights.hidden_bias)?;
        let sizes = Gates { rows: batch, width: size };
        let result = state.derive(x.device.gru(x.slice(), g.slice(), state.slice(), sizes)?, state.shape, state.layout);
        let (xs, gs, h) = (x.detach(), g.detach(), state.detach());
        let pull = move |dy: &Tensor| {
            let [dx, dg, dh] = h.device.gru_grad([xs.slice(), gs.slice(), h.slice()], dy.slice(), sizes)?;
            let tensor = |buffer, like: &Tensor| Some(like.derive(buffer, like.shape, like.layout));
            Ok(vec![tensor(dx, &xs), tensor(dg, &gs), tensor(dh, &h)])
        };
        Ok(result.record("gru_cell", [&x, &g, state], pull))
    }

    /// A layer of a GRU over sequences (N, T, inputs), from a state (N, hidden) or zeros: all states (N, T, hidden), as
    /// PyTorch's `GRU` with `batch_first`. The last state is `y.narrow(1, T - 1, 1)`; layers follow each other.
    ///
    /// # Errors
    /// As [`Tensor::gru_cell`], and where there are no steps.
    pub fn gru(&self, state: Option<&Tensor>, weights: GruWeights<'_>) -> Result<Tensor> {
        if self.dtype == DType::Bf16 {
            let wide = |x: &Tensor| x.widened("gru");
            let state = state.map(wide).transpose()?;
            let y = weights.with(wide, |weights| wide(self)?.gru(state.as_ref(), weights))?;
            return y.to_dtype(DType::Bf16);
        }
        let [batch, steps, _] = self.sizes("gru")?;
        let size = weights.size("gru", self)?;
        if steps == 0 {
            return Err(TensorError::shape("gru", self.shape, "at least one step"));
        }
        let first = match state {
            Some(state) => state.clone(),
            None => Tensor::zeros(&self.device, [batch, size])?.to_dtype(self.dtype)?,
        };
        first.expect_state("gru", [batch, size])?;
        // One product for the inputs of all steps, which then lie one after the other.
        let x = self.transpose(0, 1)?.linear(weights.input, weights.input_bias)?;
        x.expect_same_kind("gru", &first)?;
        let y = x.gru_states(&first, weights.hidden, weights.hidden_bias)?;
        y.transpose(0, 1)
    }

    /// All states (T, N, hidden) of what comes from the inputs (T, N, 3·hidden); its gradient runs back through time.
    fn gru_states(&self, first: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (x, h, w) = (self.detach(), first.detach(), weight.detach());
        let b = bias.map(Tensor::detach);
        let [steps, batch, _] = x.sizes("gru")?;
        let sizes = Gates { rows: batch, width: w.shape[1] };
        let (mut states, mut gates) = (vec![h], Vec::new());
        for t in 0..steps {
            let (now, h) = (x.step(t)?, &states[t]);
            let g = h.linear(&w, b.as_ref())?;
            let next = h.derive(x.device.gru(now.slice(), g.slice(), h.slice(), sizes)?, h.shape, h.layout);
            gates.push(g);
            states.push(next);
        }
        let y = stacked(&states[1..])?;
        let past = Past { x, states, gates, weight: w, has_bias: b.is_some(), sizes };
        let inputs: Vec<&Tensor> = [self, first, weight].into_iter().chain(bias).collect();
        Ok(y.record_all("gru", &inputs, move |dy| past.back(dy)))
    }

    /// Step t of (T, N, …), which lies in one piece.
    fn step(&self, t: usize) -> Result<Tensor> {
        self.narrow(0, t, 1)?.squeeze(0)
    }

    /// A bf16 operand in f32: cells compute in f32 and round their states once.
    fn widened(&self, operation: &'static str) -> Result<Tensor> {
        self.expect_dtype(operation, DType::Bf16)?;
        self.to_dtype(DType::F32)
    }

    fn expect_state(&self, operation: &'static str, [batch, size]: [usize; 2]) -> Result<()> {
        let wanted = Shape::from([batch, size]);
        match self.shape == wanted {
            true => Ok(()),
            false => Err(TensorError::shapes(operation, self.shape, wanted, "a state of the second shape")),
        }
    }

    /// One step of a ConvLSTM without peepholes: the new states (h, c), each (N, hidden, H, W), of an image (N, C, H, W)
    /// and the states before. The weight (4·hidden, C + hidden, k, k) sees the image before h and gives the gates i, f,
    /// o, g; k is odd, and zeros surround the image.
    ///
    /// # Errors
    /// Where shapes do not fit, or dtypes or devices differ.
    pub fn conv_lstm_cell(
        &self,
        (h, c): (&Tensor, &Tensor),
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let name = "conv_lstm_cell";
        if self.dtype == DType::Bf16 {
            let wide = |x: &Tensor| x.widened(name);
            let bias = bias.map(wide).transpose()?;
            let states = wide(self)?.conv_lstm_cell((&wide(h)?, &wide(c)?), &wide(weight)?, bias.as_ref())?;
            return Ok((states.0.to_dtype(DType::Bf16)?, states.1.to_dtype(DType::Bf16)?));
        }
        let [batch, _, rows, columns] = self.sizes(name)?;
        let [gates, _, tall, wide] = weight.sizes(name)?;
        if gates % 4 != 0 || tall % 2 == 0 || wide % 2 == 0 {
            return Err(TensorError::shape(name, weight.shape, "4·hidden outputs and an odd kernel"));
        }
        let wanted = Shape::from([batch, gates / 4, rows, columns]);
        for state in [h, c] {
            self.expect_same_kind(name, state)?;
            if state.shape != wanted {
                return Err(TensorError::shapes(name, state.shape, wanted, "states of the second shape"));
            }
        }
        let same = Conv2d { stride: [1, 1], padding: [tall / 2, wide / 2], dilation: [1, 1], groups: 1 };
        let both = Tensor::cat(&[&self.to_layout(Layout::Channels)?, &h.to_layout(Layout::Channels)?], 1)?;
        let states = both.conv2d(weight, bias, &same)?.lstm(c)?;
        Ok((states.narrow(0, 0, batch)?, states.narrow(0, batch, batch)?))
    }

    /// The new states of an LSTM of gates (N, 4·hidden, …) and c (N, hidden, …): h and c one after the other as
    /// (2·N, hidden, …), so that they come from one pass and neither is copied out.
    fn lstm(&self, c: &Tensor) -> Result<Tensor> {
        let gates = self.detach();
        let c_held = c.detach().to_layout(gates.layout)?;
        let rows = match gates.layout {
            Layout::Channels => c.len() / c.shape[1].max(1),
            Layout::Rows => c.shape[0],
        };
        let sizes = Gates { rows, width: c.len() / rows.max(1) };
        let buffer = gates.device.lstm(gates.slice(), c_held.slice(), sizes)?;
        let y = gates.derive(buffer, c.shape.with(0, 2 * c.shape[0]), gates.layout);
        let held = y.clone();
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(gates.layout)?;
            let state = [gates.slice(), c_held.slice(), held.slice()];
            let [d_gates, dc] = gates.device.lstm_grad(state, dy.slice(), sizes)?;
            let like = |buffer, like: &Tensor| Some(like.derive(buffer, like.shape, like.layout));
            Ok(vec![like(d_gates, &gates), like(dc, &c_held)])
        };
        Ok(y.record("lstm", [self, c], pull))
    }
}

/// What a layer of a GRU went through.
struct Past {
    /// What comes from the inputs, (T, N, 3·hidden).
    x: Tensor,
    /// The state before each step, and after the last.
    states: Vec<Tensor>,
    /// What comes from the state at each step.
    gates: Vec<Tensor>,
    weight: Tensor,
    has_bias: bool,
    sizes: Gates,
}

impl Past {
    /// The gradients of what comes from the inputs, of the first state, of the weight and of the bias.
    fn back(&self, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let steps = self.gates.len();
        let (mut dx, mut dg) = (Vec::new(), Vec::new());
        let mut carried: Option<Tensor> = None;
        for t in (0..steps).rev() {
            let dy = match &carried {
                Some(carried) => dy.step(t)?.add(carried)?,
                None => dy.step(t)?,
            };
            let [dx_t, dg_t, dh] = self.back_step(t, &dy)?;
            carried = Some(dh.add(&dg_t.matmul(&self.weight)?)?);
            dx.push(dx_t);
            dg.push(dg_t);
        }
        dx.reverse();
        dg.reverse();
        let (dx, dg) = (stacked(&dx)?, Tensor::cat(&dg.iter().collect::<Vec<_>>(), 0)?);
        let before = Tensor::cat(&self.states[..steps].iter().collect::<Vec<_>>(), 0)?;
        let mut gradients = vec![Some(dx), carried, Some(dg.matmul_with(&before, true, false)?)];
        if self.has_bias {
            gradients.push(Some(dg.sum(&[0], false)?));
        }
        Ok(gradients)
    }

    /// The gradients of one step: of what comes from its inputs and from the state, and of the state itself.
    fn back_step(&self, t: usize, dy: &Tensor) -> Result<[Tensor; 3]> {
        let (x, g, h) = (self.x.step(t)?, &self.gates[t], &self.states[t]);
        let [dx, dg, dh] = x.device.gru_grad([x.slice(), g.slice(), h.slice()], dy.slice(), self.sizes)?;
        let like = |buffer, like: &Tensor| like.derive(buffer, like.shape, like.layout);
        Ok([like(dx, &x), like(dg, g), like(dh, h)])
    }
}

/// Tensors one after the other along a new first dimension.
fn stacked(parts: &[Tensor]) -> Result<Tensor> {
    let parts: Vec<Tensor> = parts.iter().map(|part| part.unsqueeze(0)).collect::<Result<_>>()?;
    Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn what_does_not_fit_is_told_by_the_cells_name() {
        let device = Cpu::device();
        let zeros = |shape: [usize; 2]| Tensor::zeros(&device, shape).expect("zeros");
        let (input, hidden, bias) = (zeros([6, 4]), zeros([6, 2]), Tensor::zeros(&device, [5]).expect("zeros"));
        let weights = GruWeights { input: &input, hidden: &hidden, input_bias: None, hidden_bias: None };
        let told = |error: TensorError, wanted: &str| assert_eq!(error.to_string(), wanted);
        let state = zeros([3, 2]);
        assert!(zeros([3, 4]).gru_cell(&state, weights).is_ok());
        let wide = "gru_cell of [3, 5] and [6, 4]: expected weights (6, 5) of the inputs";
        told(zeros([3, 5]).gru_cell(&state, weights).expect_err("five inputs"), wide);
        let x = Tensor::zeros(&device, [1, 2, 5]).expect("zeros");
        let wide = "gru of [1, 2, 5] and [6, 4]: expected weights (6, 5) of the inputs";
        told(x.gru(None, weights).expect_err("five inputs"), wide);
        let biased = GruWeights { hidden_bias: Some(&bias), ..weights };
        told(
            zeros([3, 4]).gru_cell(&state, biased).expect_err("a bias"),
            "gru_cell of [6, 2] and [5]: expected a bias of 6",
        );
        assert!(zeros([3, 4]).gru_cell(&zeros([2, 2]), weights).is_err());
    }
}
