//! Each element alone, a piece of fixed size a task.

use crate::tensor::ops::elementwise::{Broadcast, Elementwise, Map, Zip};
use crate::tensor::{Buffer, Result, Slice};

use super::Cpu;
use super::functions::{erf, exp, ln, power, sigmoid, silu, silu_slope, tanh, within};

/// √(2/π), of the tanh form of GELU.
const GELU_SLOPE: f32 = 0.797_884_6;
/// The cubic coefficient of the tanh form of GELU.
const GELU_CUBIC: f32 = 0.044_715;
/// 1/√(2π), the height of the normal distribution.
const NORMAL_HEIGHT: f32 = 0.398_942_3;

impl Elementwise for Cpu {
    fn map(&self, op: Map, x: Slice<'_>) -> Result<Buffer> {
        let values = self.read(x)?;
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| map_piece(op, &values[first..first + piece.len()], piece),
        )
    }

    fn map_grad(&self, op: Map, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let (x_values, dy_values) = (self.read(x)?, self.read(dy)?);
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let range = first..first + piece.len();
                grad_piece(op, &x_values[range.clone()], &dy_values[range], piece);
            },
        )
    }

    fn zip(&self, op: Zip, x: Slice<'_>, y: Slice<'_>, broadcast: &Broadcast) -> Result<Buffer> {
        let (x_values, y_values) = (self.read(x)?, self.read(y)?);
        let len = broadcast.sizes.iter().product();
        self.pieces(
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
        )
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

/// `to` as an expression of each element: closures would each have to be told to be inlined.
macro_rules! each {
    ($to:ident, $x:ident => $of:expr) => {
        for (to, $x) in $to.iter_mut().zip($x) {
            let $x = *$x;
            *to = $of;
        }
    };
    ($to:ident, $x:ident, $y:ident => $of:expr) => {
        for (to, ($x, $y)) in $to.iter_mut().zip($x.iter().zip($y)) {
            let ($x, $y) = (*$x, *$y);
            *to = $of;
        }
    };
}

/// `to` as an expression of two operands of which each steps by 1 or stays.
macro_rules! each_pair {
    ($to:ident, $steps:ident, $x:ident, $y:ident => $of:expr) => {
        match ($steps, $x, $y) {
            ((0, 0), [x, ..], [y, ..]) => {
                let ($x, $y) = (*x, *y);
                $to.fill($of);
            }
            ((0, _), [x, ..], _) => {
                let $x = *x;
                each!($to, $y => $of);
            }
            ((_, 0), _, [y, ..]) => {
                let $y = *y;
                each!($to, $x => $of);
            }
            _ => each!($to, $x, $y => $of),
        }
    };
}

/// One run: both operands step by 1, or one of them stays. NaN of either is the greatest and the least, and of equal
/// zeros the second is taken, as in PyTorch.
#[inline(always)]
fn zip_run(op: Zip, x: &[f32], y: &[f32], steps: (usize, usize), to: &mut [f32]) {
    match op {
        Zip::Add => each_pair!(to, steps, x, y => x + y),
        Zip::Subtract => each_pair!(to, steps, x, y => x - y),
        Zip::Multiply => each_pair!(to, steps, x, y => x * y),
        Zip::Divide => each_pair!(to, steps, x, y => x / y),
        Zip::Maximum => each_pair!(to, steps, x, y => if x > y || x.is_nan() { x } else { y }),
        Zip::Minimum => each_pair!(to, steps, x, y => if x < y || x.is_nan() { x } else { y }),
        Zip::GreaterOrEqual => each_pair!(to, steps, x, y => if x >= y { 1.0 } else { 0.0 }),
        Zip::ShareOfGreater => each_pair!(to, steps, x, y => share_of_greater(x, y)),
        Zip::Same => each_pair!(to, steps, x, y => if x == y || (x.is_nan() && y.is_nan()) { 1.0 } else { 0.0 }),
        Zip::Weigh => each_pair!(to, steps, x, y => if y == 0.0 { 0.0 } else { x * y }),
    }
}

/// What of the gradient of the greater of two the first gets.
#[inline(always)]
fn share_of_greater(x: f32, y: f32) -> f32 {
    let first = if x < y { 0.0 } else { 1.0 };
    if x == y { 0.5 } else { first }
}

/// A function of each element of `x`.
#[inline(always)]
pub(super) fn map_piece(op: Map, x: &[f32], to: &mut [f32]) {
    match op {
        Map::Add(c) => each!(to, x => x + c),
        Map::Multiply(c) => each!(to, x => x * c),
        Map::Reciprocal => each!(to, x => 1.0 / x),
        Map::Power(2.0) => each!(to, x => x * x),
        Map::Power(c) => each!(to, x => power(x, c)),
        Map::SquareRoot => each!(to, x => x.sqrt()),
        Map::Absolute => each!(to, x => x.abs()),
        Map::Exponential => each!(to, x => exp(x)),
        Map::Logarithm => each!(to, x => ln(x)),
        Map::Sine => each!(to, x => x.sin()),
        Map::Cosine => each!(to, x => x.cos()),
        Map::Clamp(low, high) if low.is_nan() || high.is_nan() => to.fill(f32::NAN),
        Map::Clamp(low, high) => each!(to, x => within(x, low, high)),
        Map::Relu => each!(to, x => if x < 0.0 { 0.0 } else { x }),
        Map::LeakyRelu(c) => each!(to, x => if x < 0.0 { c * x } else { x }),
        Map::Elu => each!(to, x => if x > 0.0 { x } else { x.exp_m1() }),
        Map::Silu => each!(to, x => silu::<false>(x)),
        Map::Gelu => each!(to, x => finite(x, f32::INFINITY) * normal(x)),
        Map::GeluTanh => each!(to, x => 0.5 * finite(x, f32::INFINITY) * (1.0 + tanh(gelu_argument(x)))),
        Map::Sigmoid => each!(to, x => sigmoid(x)),
        Map::Tanh => each!(to, x => tanh(x)),
        Map::Softplus => each!(to, x => x.max(0.0) + (-x.abs()).exp().ln_1p()),
    }
}

/// The derivative of a function at some numbers, times `dy`; where that is 0 by a rule, as beyond bounds, `dy` is of no
/// account even if it is infinite.
#[inline(always)]
pub(super) fn grad_piece(op: Map, x: &[f32], dy: &[f32], to: &mut [f32]) {
    match op {
        Map::Add(_) => to.copy_from_slice(dy),
        Map::Multiply(c) => each!(to, dy => dy * c),
        Map::Reciprocal => each!(to, x, dy => -1.0 / (x * x) * dy),
        Map::Power(0.0) => to.fill(0.0),
        Map::Power(2.0) => each!(to, x, dy => 2.0 * x * dy),
        Map::Power(c) => each!(to, x, dy => c * power(x, c - 1.0) * dy),
        Map::SquareRoot => each!(to, x, dy => 0.5 / x.sqrt() * dy),
        Map::Absolute => each!(to, x, dy => sign(x) * dy),
        Map::Exponential => each!(to, x, dy => exp(x) * dy),
        Map::Logarithm => each!(to, x, dy => dy / x),
        Map::Sine => each!(to, x, dy => x.cos() * dy),
        Map::Cosine => each!(to, x, dy => -x.sin() * dy),
        Map::Clamp(low, high) => each!(to, x, dy => if x > low && x < high { dy } else { 0.0 }),
        Map::Relu => each!(to, x, dy => if x <= 0.0 { 0.0 } else { dy }),
        Map::LeakyRelu(c) => each!(to, x, dy => if x > 0.0 { dy } else { c * dy }),
        Map::Elu => each!(to, x, dy => if x > 0.0 { dy } else { x.exp() * dy }),
        Map::Silu => each!(to, x, dy => silu_slope::<false>(x) * dy),
        Map::Gelu => each!(to, x, dy => gelu_slope(x) * dy),
        Map::GeluTanh => each!(to, x, dy => gelu_tanh_slope(x) * dy),
        Map::Sigmoid => each!(to, x, dy => sigmoid(x) * (1.0 - sigmoid(x)) * dy),
        Map::Tanh => each!(to, x, dy => (1.0 - tanh(x) * tanh(x)) * dy),
        Map::Softplus => each!(to, x, dy => sigmoid(x) * dy),
    }
}

/// −1, 0 or 1; 0 for NaN, as PyTorch's `sgn` has it.
#[inline(always)]
fn sign(x: f32) -> f32 {
    let below = if x < 0.0 { -1.0 } else { 0.0 };
    if x > 0.0 { 1.0 } else { below }
}

/// At least the least finite number and at most `most`, so that a factor of 0 wins over −∞.
#[inline(always)]
fn finite(x: f32, most: f32) -> f32 {
    within(x, f32::MIN, most)
}

/// Φ, the normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    normal(x) + finite(x, f32::MAX) * NORMAL_HEIGHT * exp(-0.5 * x * x)
}

/// What the tanh of the tanh form of GELU is taken of.
#[inline(always)]
fn gelu_argument(x: f32) -> f32 {
    GELU_SLOPE * (x + GELU_CUBIC * x * x * x)
}

#[inline(always)]
fn gelu_tanh_slope(x: f32) -> f32 {
    /// Beyond it the tanh is ±1 and the slope 0 or 1; squares of numbers within are finite.
    const FAR: f32 = 1e6;
    let x = within(x, -FAR, FAR);
    let t = tanh(gelu_argument(x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * x * x)
}
