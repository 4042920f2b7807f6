//! Each element alone: functions of one tensor, and of two that broadcast.

use crate::tensor::{Buffer, DType, Layout, MAX_RANK, Result, Shape, Slice, Tensor};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Map {
    /// x + c.
    Add(f32),
    /// c · x.
    Multiply(f32),
    /// 1 / x.
    Reciprocal,
    /// x^c.
    Power(f32),
    /// √x.
    SquareRoot,
    /// |x|.
    Absolute,
    /// eˣ.
    Exponential,
    /// ln x.
    Logarithm,
    /// sin x.
    Sine,
    /// cos x.
    Cosine,
    /// x held between two bounds; the upper one where they cross, NaN where one is NaN.
    Clamp(f32, f32),
    /// max(x, 0).
    Relu,
    /// x where it is positive, else c · x.
    LeakyRelu(f32),
    /// x where it is positive, else eˣ − 1.
    Elu,
    /// x · σ(x) (Hendrycks and Gimpel, 2016).
    Silu,
    /// x · Φ(x) with the normal distribution's Φ.
    Gelu,
    /// The tanh approximation of [`Map::Gelu`].
    GeluTanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zip {
    /// x + y.
    Add,
    /// x − y.
    Subtract,
    /// x · y.
    Multiply,
    /// x / y.
    Divide,
    /// The greater one.
    Maximum,
    /// The lesser one.
    Minimum,
    /// 1 where x ≥ y, else 0.
    GreaterOrEqual,
    /// 0 where x < y, ½ where they are equal, else 1: also where one is NaN.
    ShareOfGreater,
    /// 1 where x = y or both are NaN, else 0.
    Same,
    /// x · y, and 0 where y is 0, whatever x is.
    Weigh,
}

/// How the elements of two operands meet: sizes in the order of memory, and how far apart each operand's neighbours
/// lie, 0 where it repeats. Dimensions that both step through alike are one.
#[derive(Clone, Copy, Debug)]
pub struct Broadcast {
    /// Sizes of the result; those not used are 1.
    pub sizes: [usize; MAX_RANK],
    /// Steps of the first operand.
    pub x: [usize; MAX_RANK],
    /// Steps of the second operand.
    pub y: [usize; MAX_RANK],
}

/// What a backend does for each element alone.
pub trait Elementwise {
    /// op(x).
    fn map(&self, op: Map, x: Slice<'_>) -> Result<Buffer>;
    /// dy · op'(x).
    fn map_grad(&self, op: Map, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer>;
    /// op(x, y).
    fn zip(&self, op: Zip, x: Slice<'_>, y: Slice<'_>, broadcast: &Broadcast) -> Result<Buffer>;
}

impl Broadcast {
    /// How operands of two shapes meet in one that both broadcast to.
    pub(crate) fn new(shape: Shape, layout: Layout, x: Shape, y: Shape) -> Self {
        let rank = shape.rank();
        let steps = |from: Shape| {
            let mut padded = [1; MAX_RANK];
            let missing = rank - from.rank();
            padded[missing..rank].copy_from_slice(&from);
            let padded = Shape::from(padded);
            let mut strides = [0; MAX_RANK];
            let mut step = 1;
            for d in shape.memory_order(layout).into_iter().rev() {
                strides[d] = if padded[d] == 1 { 0 } else { step };
                step *= padded[d];
            }
            strides
        };
        let (of_x, of_y) = (steps(x), steps(y));
        let mut plan = Broadcast { sizes: [1; MAX_RANK], x: [0; MAX_RANK], y: [0; MAX_RANK] };
        let mut last = MAX_RANK;
        for d in shape.memory_order(layout).into_iter().rev().filter(|d| shape[*d] != 1) {
            let joins = last < MAX_RANK
                && of_x[d] == plan.x[last] * plan.sizes[last]
                && of_y[d] == plan.y[last] * plan.sizes[last];
            if joins {
                plan.sizes[last] *= shape[d];
            } else {
                last -= 1;
                (plan.sizes[last], plan.x[last], plan.y[last]) = (shape[d], of_x[d], of_y[d]);
            }
        }
        plan
    }
}

impl Tensor {
    /// A function of each element; the gradient is worked out from the input.
    pub(crate) fn map(&self, name: &'static str, op: Map) -> Result<Tensor> {
        self.expect_numbers(name)?;
        let buffer = self.device.map(op, self.slice())?;
        let result = self.derive(buffer, self.shape, self.layout);
        let x = self.detach();
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(x.layout)?;
            Ok(vec![Some(x.derive(x.device.map_grad(op, x.slice(), dy.slice())?, x.shape, x.layout))])
        };
        Ok(result.record(name, [self], pull))
    }

    pub(crate) fn zip(&self, name: &'static str, op: Zip, other: &Tensor) -> Result<Tensor> {
        self.expect_same_kind(name, other)?;
        let shape = Shape::broadcast(name, self.shape, other.shape)?;
        let layout = if self.len() >= other.len() { self.layout } else { other.layout };
        // Channels-last needs four dimensions of both: an operand of fewer is told as one of four.
        let operand = |x: &Tensor| x.detach().broadcast_ready(shape, layout);
        let (x, y) = (operand(self)?, operand(other)?);
        let buffer = self.device.zip(op, x.slice(), y.slice(), &Broadcast::new(shape, layout, x.shape, y.shape))?;
        Ok(self.derive(buffer, shape, layout))
    }

    /// With as many dimensions as `shape`, in its layout, to be broadcast to it.
    pub(crate) fn broadcast_ready(&self, shape: Shape, layout: Layout) -> Result<Tensor> {
        let missing = shape.rank() - self.shape.rank();
        let sizes = [&vec![1; missing][..], &self.shape].concat();
        // A layout is of four dimensions: with others in front of them the elements lie row after row.
        let rows = if missing > 0 { self.to_layout(Layout::Rows)? } else { self.clone() };
        rows.reshape_as_is(Shape::of("broadcast", &sizes)?).to_layout(layout)
    }

    /// Other sizes of which only ones in front are new: nothing moves.
    fn reshape_as_is(&self, shape: Shape) -> Tensor {
        Tensor { shape, ..self.clone() }
    }

    /// Sums over the dimensions that were broadcast, back to the shape of the operand.
    pub(crate) fn sum_to(&self, shape: Shape) -> Result<Tensor> {
        if self.shape == shape {
            return Ok(self.clone());
        }
        let missing = self.shape.rank() - shape.rank();
        let repeated = |d: &usize| *d < missing || (shape[d - missing] == 1 && self.shape[*d] != 1);
        let dimensions: Vec<isize> = (0..self.shape.rank()).filter(repeated).map(|d| d as isize).collect();
        self.sum(&dimensions, true)?.reshape(shape)
    }

    /// x + y, broadcasting.
    ///
    /// # Errors
    /// Where the shapes do not broadcast, or dtypes or devices differ.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        let (x, y) = (self.shape, other.shape);
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.sum_to(x)?), Some(dy.sum_to(y)?)]);
        Ok(self.zip("add", Zip::Add, other)?.record("add", [self, other], pull))
    }

    /// x − y, broadcasting.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        let (x, y) = (self.shape, other.shape);
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.sum_to(x)?), Some(dy.neg()?.sum_to(y)?)]);
        Ok(self.zip("sub", Zip::Subtract, other)?.record("sub", [self, other], pull))
    }

    /// The same numbers in f32, in which gradients of several steps are worked out before they are rounded.
    pub(crate) fn wide(&self) -> Result<Tensor> {
        self.to_dtype(DType::F32)
    }

    /// Σ of these times what `other` broadcasts to, back to the shape of `like` and rounded once to its dtype.
    fn pulled_by(&self, other: &Tensor, op: Zip, like: &Tensor) -> Result<Tensor> {
        if self.shape == like.shape && other.dtype == like.dtype {
            return self.to_dtype(like.dtype)?.zip("gradient", op, other);
        }
        self.wide()?.zip("gradient", op, &other.wide()?)?.sum_to(like.shape)?.to_dtype(like.dtype)
    }

    /// x · y, broadcasting.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        let (x, y) = (self.detach(), other.detach());
        let wanted = [self, other].map(Tensor::wants_gradient);
        let pull = move |dy: &Tensor| {
            let of = |wanted: bool, by: &Tensor, like: &Tensor| {
                wanted.then(|| dy.pulled_by(by, Zip::Multiply, like)).transpose()
            };
            Ok(vec![of(wanted[0], &y, &x)?, of(wanted[1], &x, &y)?])
        };
        Ok(self.zip("mul", Zip::Multiply, other)?.record("mul", [self, other], pull))
    }

    /// x / y, broadcasting.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        let (x, y) = (self.detach(), other.detach());
        let wanted = other.wants_gradient();
        let pull = move |dy: &Tensor| {
            let dx = dy.pulled_by(&y, Zip::Divide, &x)?;
            if !wanted {
                return Ok(vec![Some(dx), None]);
            }
            // Of ∂(x / y)/∂y = −(x / y) / y, as PyTorch has it where numbers are infinite.
            let wide_y = y.wide()?;
            let slope = x.wide()?.div(&wide_y)?.div(&wide_y)?.neg()?;
            Ok(vec![Some(dx), Some(dy.pulled_by(&slope, Zip::Multiply, &y)?)])
        };
        Ok(self.zip("div", Zip::Divide, other)?.record("div", [self, other], pull))
    }

    /// The greater of two, broadcasting; NaN where one is NaN. Where they are equal each gets half of the gradient.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        self.chosen("maximum", Zip::Maximum, other, |x, y| x.zip("maximum", Zip::ShareOfGreater, y))
    }

    /// The lesser of two, broadcasting; NaN where one is NaN. Where they are equal each gets half of the gradient.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        self.chosen("minimum", Zip::Minimum, other, |x, y| y.zip("minimum", Zip::ShareOfGreater, x))
    }

    /// One of two; `share` tells what of the gradient the first of its operands gets.
    fn chosen(
        &self,
        name: &'static str,
        op: Zip,
        other: &Tensor,
        share: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let (x, y) = (self.detach(), other.detach());
        let pull = move |dy: &Tensor| {
            let (of_x, of_y) = (share(&x, &y)?, share(&y, &x)?);
            Ok(vec![Some(dy.pulled_by(&of_x, Zip::Weigh, &x)?), Some(dy.pulled_by(&of_y, Zip::Weigh, &y)?)])
        };
        Ok(self.zip(name, op, other)?.record(name, [self, other], pull))
    }

    /// 1 where x ≥ y, else 0, broadcasting; has no gradient.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn ge(&self, other: &Tensor) -> Result<Tensor> {
        self.detach().zip("ge", Zip::GreaterOrEqual, &other.detach())
    }
}

macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*) = $op:expr;)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Where the tensor holds indices, or the device is out of memory.
            pub fn $name(&self $(, $argument: f32)*) -> Result<Tensor> {
                self.map(stringify!($name), $op)
            })*
        }
    };
}

maps! {
    /// −x.
    neg() = Map::Multiply(-1.0);
    /// x + c.
    add_scalar(c) = Map::Add(c);
    /// c · x.
    mul_scalar(c) = Map::Multiply(c);
    /// 1 / x.
    recip() = Map::Reciprocal;
    /// x^c; the gradient of x⁰ is 0.
    powf(c) = Map::Power(c);
    /// √x.
    sqrt() = Map::SquareRoot;
    /// |x|; the gradient at 0 is 0.
    abs() = Map::Absolute;
    /// eˣ.
    exp() = Map::Exponential;
    /// ln x.
    ln() = Map::Logarithm;
    /// sin x.
    sin() = Map::Sine;
    /// cos x.
    cos() = Map::Cosine;
    /// x held between two bounds, the upper one where they cross; the gradient at and beyond them is 0.
    clamp(low, high) = Map::Clamp(low, high);
    /// max(x, 0).
    relu() = Map::Relu;
    /// x where it is positive, else c · x.
    leaky_relu(c) = Map::LeakyRelu(c);
    /// x where it is positive, else eˣ − 1.
    elu() = Map::Elu;
    /// x · σ(x).
    silu() = Map::Silu;
    /// x · Φ(x), with the error function.
    gelu() = Map::Gelu;
    /// The tanh approximation of x · Φ(x).
    gelu_tanh() = Map::GeluTanh;
    /// 1 / (1 + e⁻ˣ).
    sigmoid() = Map::Sigmoid;
    /// tanh x.
    tanh() = Map::Tanh;
    /// ln(1 + eˣ).
    softplus() = Map::Softplus;
}
