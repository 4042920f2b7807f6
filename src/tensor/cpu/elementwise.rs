//! Each element alone, a piece of fixed size a task.

use crate::tensor::ops::elementwise::{Broadcast, Elementwise, Map, Zip};
use crate::tensor::{Buffer, Result, Slice};

use super::Cpu;
use super::functions::{erf, exp, ln, sigmoid, silu, silu_slope, tanh};

/// √(2/π), of the tanh form of GELU.
const GELU_SLOPE: f32 = 0.797_884_6;
/// The cubic coefficient of the tanh form of GELU.
const GELU_CUBIC: f32 = 0.044_715;
/// 1/√(2π), the height of the normal distribution.
const NORMAL_HEIGHT: f32 = 0.398_942_3;

impl Elementwise for Cpu {
    fn map(&self, op: Map, x: Slice<'_>) -> Result<Buffer> {
        let values = self.read(x);
        Ok(self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| map_piece(op, &values[first..first + piece.len()], piece),
        ))
    }

    fn map_grad(&self, op: Map, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let (x_values, dy_values) = (self.read(x), self.read(dy));
        Ok(self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let range = first..first + piece.len();
                grad_piece(op, &x_values[range.clone()], &dy_values[range], piece);
            },
        ))
    }

    fn zip(&self, op: Zip, x: Slice<'_>, y: Slice<'_>, broadcast: &Broadcast) -> Result<Buffer> {
        let (x_values, y_values) = (self.read(x), self.read(y));
        let len = broadcast.sizes.iter().product();
        Ok(self.pieces(
            len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let mut done = 0;
                while done < piece.len() {
                    let (run, at_x, at_y) = broadcast.run(first + done);
                    let end = (done + run).min(piece.len());
                    let steps = (broadcast.steps().0, broadcast.steps().1);
                    zip_run(op, &x_values[at_x..], &y_values[at_y..], steps, &mut piece[done..end]);
                    done = end;
                }
            },
        ))
    }
}

impl Broadcast {
    /// How many elements of the fastest dimension follow the `index`-th, and where the operands' elements for it are.
    #[inline(always)]
    pub(super) fn run(&self, index: usize) -> (usize, usize, usize) {
        let (mut rest, mut x, mut y) = (index, 0, 0);
        let [.., fastest] = self.sizes;
        let left = fastest - index % fastest;
        for ((size, step_x), step_y) in self.sizes.iter().zip(&self.x).zip(&self.y).rev() {
            x += rest % size * step_x;
            y += rest % size * step_y;
            rest /= size;
        }
        (left, x, y)
    }

    /// The operands' steps along the fastest dimension.
    #[inline(always)]
    pub(super) fn steps(&self) -> (usize, usize) {
        let ([.., x], [.., y]) = (self.x, self.y);
        (x, y)
    }
}

/// One run: both operands step by 1, or one of them stays.
#[inline(always)]
fn zip_run(op: Zip, x: &[f32], y: &[f32], steps: (usize, usize), to: &mut [f32]) {
    match op {
        Zip::Add => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| x + y,
        ),
        Zip::Subtract => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| x - y,
        ),
        Zip::Multiply => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| x * y,
        ),
        Zip::Divide => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| x / y,
        ),
        // NaN in either operand stays, as in PyTorch.
        Zip::Maximum => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| if x >= y || x.is_nan() { x } else { y },
        ),
        Zip::Minimum => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| if x <= y || x.is_nan() { x } else { y },
        ),
        Zip::GreaterOrEqual => zip_with(
            x,
            y,
            steps,
            to,
            #[inline(always)]
            |x, y| if x >= y { 1.0 } else { 0.0 },
        ),
    }
}

#[inline(always)]
fn zip_with(x: &[f32], y: &[f32], steps: (usize, usize), to: &mut [f32], of: impl Fn(f32, f32) -> f32) {
    match (steps, x, y) {
        ((0, 0), [x, ..], [y, ..]) => to.fill(of(*x, *y)),
        ((0, _), [x, ..], y) => to.iter_mut().zip(y).for_each(|(to, y)| *to = of(*x, *y)),
        ((_, 0), x, [y, ..]) => to.iter_mut().zip(x).for_each(|(to, x)| *to = of(*x, *y)),
        _ => to.iter_mut().zip(x.iter().zip(y)).for_each(|(to, (x, y))| *to = of(*x, *y)),
    }
}

#[inline(always)]
fn map_with(x: &[f32], to: &mut [f32], of: impl Fn(f32) -> f32) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to = of(*x));
}

/// A function of each element of `x`.
#[inline(always)]
pub(super) fn map_piece(op: Map, x: &[f32], to: &mut [f32]) {
    match op {
        Map::Add(c) => map_with(
            x,
            to,
            #[inline(always)]
            |x| x + c,
        ),
        Map::Multiply(c) => map_with(
            x,
            to,
            #[inline(always)]
            |x| x * c,
        ),
        Map::Reciprocal => map_with(
            x,
            to,
            #[inline(always)]
            |x| 1.0 / x,
        ),
        Map::Power(2.0) => map_with(
            x,
            to,
            #[inline(always)]
            |x| x * x,
        ),
        Map::Power(c) => map_with(
            x,
            to,
            #[inline(always)]
            |x| x.powf(c),
        ),
        Map::SquareRoot => map_with(
            x,
            to,
            #[inline(always)]
            |x| x.sqrt(),
        ),
        Map::Absolute => map_with(
            x,
            to,
            #[inline(always)]
            |x| x.abs(),
        ),
        Map::Exponential => map_with(x, to, exp),
        Map::Logarithm => map_with(x, to, ln),
        Map::Sine => map_with(x, to, f32::sin),
        Map::Cosine => map_with(x, to, f32::cos),
        Map::Clamp(low, high) => map_with(
            x,
            to,
            #[inline(always)]
            |x| {
                if x < low {
                    low
                } else if x > high {
                    high
                } else {
                    x
                }
            },
        ),
        Map::Relu => map_with(
            x,
            to,
            #[inline(always)]
            |x| if x < 0.0 { 0.0 } else { x },
        ),
        Map::LeakyRelu(c) => map_with(
            x,
            to,
            #[inline(always)]
            |x| if x < 0.0 { c * x } else { x },
        ),
        Map::Elu => map_with(
            x,
            to,
            #[inline(always)]
            |x| if x > 0.0 { x } else { x.exp_m1() },
        ),
        Map::Silu => map_with(x, to, silu::<false>),
        Map::Gelu => map_with(
            x,
            to,
            #[inline(always)]
            |x| x * normal(x),
        ),
        Map::GeluTanh => map_with(
            x,
            to,
            #[inline(always)]
            |x| 0.5 * x * (1.0 + tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x))),
        ),
        Map::Sigmoid => map_with(x, to, sigmoid),
        Map::Tanh => map_with(x, to, tanh),
        Map::Softplus => map_with(
            x,
            to,
            #[inline(always)]
            |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        ),
    }
}

/// Φ, the normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn grad_with(x: &[f32], dy: &[f32], to: &mut [f32], of: impl Fn(f32) -> f32) {
    to.iter_mut().zip(x.iter().zip(dy)).for_each(|(to, (x, dy))| *to = of(*x) * dy);
}

/// The derivative of a function at some numbers, times `dy`.
#[inline(always)]
pub(super) fn grad_piece(op: Map, x: &[f32], dy: &[f32], to: &mut [f32]) {
    match op {
        Map::Add(_) => to.copy_from_slice(dy),
        Map::Multiply(c) => map_with(
            dy,
            to,
            #[inline(always)]
            |dy| dy * c,
        ),
        Map::Reciprocal => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| -1.0 / (x * x),
        ),
        Map::Power(2.0) => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| 2.0 * x,
        ),
        Map::Power(c) => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| c * x.powf(c - 1.0),
        ),
        Map::SquareRoot => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| 0.5 / x.sqrt(),
        ),
        Map::Absolute => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            },
        ),
        Map::Exponential => grad_with(x, dy, to, exp),
        Map::Logarithm => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| 1.0 / x,
        ),
        Map::Sine => grad_with(x, dy, to, f32::cos),
        Map::Cosine => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| -x.sin(),
        ),
        Map::Clamp(low, high) => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| if x < low || x > high { 0.0 } else { 1.0 },
        ),
        Map::Relu => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| if x > 0.0 { 1.0 } else { 0.0 },
        ),
        Map::LeakyRelu(c) => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| if x > 0.0 { 1.0 } else { c },
        ),
        Map::Elu => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| if x > 0.0 { 1.0 } else { x.exp() },
        ),
        Map::Silu => grad_with(x, dy, to, silu_slope::<false>),
        Map::Gelu => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| normal(x) + x * NORMAL_HEIGHT * exp(-0.5 * x * x),
        ),
        Map::GeluTanh => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| {
                let t = tanh(GELU_SLOPE * (x + GELU_CUBIC * x * x * x));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * x * x)
            },
        ),
        Map::Sigmoid => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| {
                let s = sigmoid(x);
                s * (1.0 - s)
            },
        ),
        Map::Tanh => grad_with(
            x,
            dy,
            to,
            #[inline(always)]
            |x| {
                let t = tanh(x);
                1.0 - t * t
            },
        ),
        Map::Softplus => grad_with(x, dy, to, sigmoid),
    }
}
