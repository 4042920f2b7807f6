//! Many elements to one: sums, means and extremes along dimensions.

use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

use super::elementwise::Zip;

/// What elements are put together to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their sum.
    Sum,
    /// The greatest.
    Maximum,
    /// The least.
    Minimum,
}

/// A run of dimensions that is folded: `outer` times `folded` times `inner` elements become `outer` times `inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// Elements of the dimensions before, slower in memory.
    pub outer: usize,
    /// Elements of the dimensions that vanish.
    pub folded: usize,
    /// Elements of the dimensions behind, faster in memory.
    pub inner: usize,
}

/// What a backend does to fold dimensions.
pub trait Reduce {
    /// Folds one run of dimensions; the result is f32 whatever the dtype of `x`, so that it is rounded once at the end.
    fn fold(&self, op: Fold, x: Slice<'_>, folding: Folding) -> Result<Buffer>;
}

impl Tensor {
    /// Folds dimensions, keeping them as size 1, in f32.
    fn fold(&self, op: Fold, dimensions: &[usize]) -> Result<Tensor> {
        let mut x = self.detach();
        let mut left: Vec<usize> =
            x.shape.memory_order(x.layout).into_iter().filter(|d| dimensions.contains(d)).collect();
        while let Some(last) = left.pop() {
            let order = x.shape.memory_order(x.layout);
            let at = order.iter().position(|d| *d == last).unwrap_or(0);
            let mut first = at;
            while first > 0 && left.last() == Some(&order[first - 1]) {
                left.pop();
                first -= 1;
            }
            let count = |run: &[usize]| run.iter().map(|d| x.shape[*d]).product::<usize>();
            let (outer, folded, inner) = (count(&order[..first]), count(&order[first..=at]), count(&order[at + 1..]));
            let shape = order[first..=at].iter().fold(x.shape, |shape, d| shape.with(*d, 1));
            let buffer = x.device.fold(op, x.slice(), Folding { outer, folded, inner })?;
            x = Tensor::dense(&x.device, buffer, shape, x.layout, DType::F32);
        }
        x.to_dtype(DType::F32)
    }

    /// The dimensions of numbers that are folded, each once and in their order.
    fn dimensions(&self, operation: &'static str, dimensions: &[isize]) -> Result<Vec<usize>> {
        self.expect_numbers(operation)?;
        let mut named: Vec<usize> =
            dimensions.iter().map(|d| self.shape.dimension(operation, *d)).collect::<Result<_>>()?;
        if named.is_empty() {
            named = (0..self.shape.rank()).collect();
        }
        named.sort_unstable();
        named.dedup();
        Ok(named)
    }

    /// Without the folded dimensions, which have size 1.
    fn without(&self, operation: &'static str, dimensions: &[usize]) -> Result<Tensor> {
        self.reshape(Shape::of(operation, &self.without_dimensions(dimensions))?)
    }

    /// The sum over dimensions, over all where none are named; `keep` leaves them as size 1.
    ///
    /// # Errors
    /// Where there is no such dimension, or the device is out of memory.
    pub fn sum(&self, dimensions: &[isize], keep: bool) -> Result<Tensor> {
        self.sum_scaled("sum", dimensions, keep, |_| 1.0)
    }

    /// The mean over dimensions, over all where none are named.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn mean(&self, dimensions: &[isize], keep: bool) -> Result<Tensor> {
        self.sum_scaled("mean", dimensions, keep, |count| 1.0 / count as f32)
    }

    fn sum_scaled(
        &self,
        name: &'static str,
        dimensions: &[isize],
        keep: bool,
        scale: impl FnOnce(usize) -> f32,
    ) -> Result<Tensor> {
        let dimensions = self.dimensions(name, dimensions)?;
        let scale = scale(dimensions.iter().map(|d| self.shape[*d]).product());
        let sum = self.fold(Fold::Sum, &dimensions)?;
        let scaled = if scale == 1.0 { sum } else { sum.mul_scalar(scale)? }.to_dtype(self.dtype)?;
        let (shape, layout, kept) = (self.shape, self.layout, scaled.shape);
        let result = if keep { scaled } else { scaled.without(name, &dimensions)? };
        let pull = move |dy: &Tensor| {
            let dy = dy.reshape(kept)?.mul_scalar(scale)?;
            Ok(vec![Some(dy.expand(shape)?.to_layout(layout)?)])
        };
        Ok(result.record(name, [self], pull))
    }

    /// The greatest element along dimensions, over all where none are named; NaN where one is NaN. Elements that are
    /// equally great share the gradient.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn max(&self, dimensions: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme("max", Fold::Maximum, dimensions, keep)
    }

    /// The least element along dimensions, over all where none are named; as [`Tensor::max`].
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn min(&self, dimensions: &[isize], keep: bool) -> Result<Tensor> {
        self.extreme("min", Fold::Minimum, dimensions, keep)
    }

    fn extreme(&self, name: &'static str, op: Fold, dimensions: &[isize], keep: bool) -> Result<Tensor> {
        let dimensions = self.dimensions(name, dimensions)?;
        let folded: usize = dimensions.iter().map(|d| self.shape[*d]).product();
        if folded == 0 && !self.without_dimensions(&dimensions).contains(&0) {
            return Err(TensorError::shape(name, self.shape, "at least one element of which to find it"));
        }
        let found = self.fold(op, &dimensions)?.to_dtype(self.dtype)?;
        let result = if keep { found.clone() } else { found.without(name, &dimensions)? };
        let x = self.detach();
        let pull = move |dy: &Tensor| {
            let those = x.zip(name, Zip::Same, &found)?.wide()?;
            let along: Vec<isize> = dimensions.iter().map(|d| *d as isize).collect();
            let share = dy.wide()?.reshape(found.shape)?.div(&those.sum(&along, true)?)?;
            Ok(vec![Some(share.zip(name, Zip::Weigh, &those)?.to_dtype(x.dtype)?)])
        };
        Ok(result.record(name, [self], pull))
    }

    /// The sizes of the other dimensions.
    fn without_dimensions(&self, dimensions: &[usize]) -> Vec<usize> {
        (0..self.shape.rank()).filter(|d| !dimensions.contains(d)).map(|d| self.shape[d]).collect()
    }

    /// Dimensions of size 1 repeated to other sizes, as broadcasting would.
    ///
    /// # Errors
    /// Where the shape does not broadcast to `shape`.
    pub fn expand(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if Shape::broadcast("expand", self.shape, shape)? != shape {
            let expected = "a shape that the tensor broadcasts to";
            return Err(TensorError::shapes("expand", self.shape, shape, expected));
        }
        let missing = shape.rank() - self.shape.rank();
        let strides = self.shape.strides(self.layout);
        let repeated = |d: usize| d < missing || (self.shape[d - missing] == 1 && shape[d] != 1);
        let layout = if missing == 0 { self.layout } else { Layout::Rows };
        let order = shape.memory_order(layout);
        let sizes: Vec<usize> = order.iter().map(|d| shape[*d]).collect();
        let steps = order.iter().map(|d| if repeated(*d) { 0 } else { strides[*d - missing] as isize });
        let steps: Vec<isize> = steps.collect();
        let gather = crate::tensor::backend::Gather { sizes: &sizes, strides: &steps, offset: 0 };
        let result = self.derive(self.device.gather_regular(self.slice(), gather)?, shape, layout);
        let from = self.shape;
        Ok(result.record("expand", [self], move |dy| Ok(vec![Some(dy.sum_to(from)?)])))
    }
}
