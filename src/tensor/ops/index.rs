//! Elements and rows chosen by indices, and sums into the places that indices name.

use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// A dimension whose elements indices name: `outer` times `size` times `inner` elements, and `picked` indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The operation, for errors.
    pub operation: &'static str,
    /// Elements of the dimensions before.
    pub outer: usize,
    /// Elements of the dimension; indices lie below.
    pub size: usize,
    /// Indices, or where there is one for every element, indices along the dimension.
    pub picked: usize,
    /// Elements of the dimensions behind.
    pub inner: usize,
}

/// What a backend does with indices; each function fails with [`TensorError::Index`] where one lies outside.
pub trait Index {
    /// y[o, p, i] = x[o, index[p], i].
    fn index_select(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer>;
    /// y[o, index[p], i] += source[o, p, i], onto `base` or zeros; sums are taken in the order of p.
    fn index_add(&self, base: Option<Slice<'_>>, index: Slice<'_>, source: Slice<'_>, sizes: Indexed)
    -> Result<Buffer>;
    /// y[o, p, i] = x[o, index[o, p, i], i].
    fn gather(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer>;
    /// y[o, index[o, p, i], i] += source[o, p, i], onto `base` or zeros; sums are taken in the order of p.
    fn scatter_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer>;
    /// y[p, index[p]] = 1, else 0.
    fn one_hot(&self, index: Slice<'_>, sizes: Indexed) -> Result<Buffer>;
}

impl Tensor {
    fn indexed(&self, operation: &'static str, dimension: usize, picked: usize) -> Indexed {
        let (before, rest) = self.shape.split_at(dimension);
        let size = self.shape[dimension];
        Indexed { operation, outer: before.iter().product(), size, picked, inner: rest[1..].iter().product() }
    }

    fn expect_indices(&self, operation: &'static str, x: &Tensor) -> Result<Tensor> {
        x.expect_same_device(operation, self)?;
        self.expect_dtype(operation, DType::I32)?;
        self.detach().to_layout(Layout::Rows)
    }

    /// Elements of a dimension by indices (P): they become P elements of it.
    ///
    /// # Errors
    /// Where there is no such dimension, the indices are not one-dimensional I32, or one lies outside.
    pub fn index_select(&self, dimension: isize, index: &Tensor) -> Result<Tensor> {
        self.selected("index_select", dimension, index)
    }

    /// [`Tensor::index_select`] as part of another operation.
    fn selected(&self, operation: &'static str, dimension: isize, index: &Tensor) -> Result<Tensor> {
        self.expect_numbers(operation)?;
        let dimension = self.shape.dimension(operation, dimension)?;
        let [picked] = index.sizes(operation)?;
        let index = index.expect_indices(operation, self)?;
        let (x, sizes) = (self.detach().to_layout(Layout::Rows)?, self.indexed(operation, dimension, picked));
        let buffer = x.device.index_select(x.slice(), index.slice(), sizes)?;
        let (result, from) = (x.derive(buffer, self.shape.with(dimension, picked), Layout::Rows), self.shape);
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Rows)?;
            let buffer = dy.device.index_add(None, index.slice(), dy.slice(), sizes)?;
            Ok(vec![Some(dy.derive(buffer, from, Layout::Rows))])
        };
        Ok(result.record(operation, [self], pull))
    }

    /// Rows of a table (V, …) by indices of any shape: (indices …, …).
    ///
    /// # Errors
    /// As [`Tensor::index_select`].
    pub fn embedding(&self, index: &Tensor) -> Result<Tensor> {
        if self.shape.rank() == 0 {
            return Err(TensorError::shape("embedding", self.shape, "a table of rows"));
        }
        let shape = Shape::of("embedding", &[index.shape.sizes(), &self.shape[1..]].concat())?;
        self.selected("embedding", 0, &index.reshape([index.len()])?)?.reshape(shape)
    }

    /// This tensor with the elements of `source` added along a dimension where the indices (P) name.
    ///
    /// # Errors
    /// As [`Tensor::index_select`], and where `source` has other sizes than this tensor with P along the dimension.
    pub fn index_add(&self, dimension: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let dimension = self.shape.dimension("index_add", dimension)?;
        let [picked] = index.sizes("index_add")?;
        self.expect_same_kind("index_add", source)?;
        if self.shape.with(dimension, picked) != source.shape {
            let expected = format!("equal sizes but for {picked} along dimension {dimension}");
            return Err(TensorError::shapes("index_add", self.shape, source.shape, expected));
        }
        let index = index.expect_indices("index_add", self)?;
        let rows = |x: &Tensor| x.detach().to_layout(Layout::Rows);
        let (x, from, sizes) = (rows(self)?, rows(source)?, self.indexed("index_add", dimension, picked));
        let buffer = x.device.index_add(Some(x.slice()), index.slice(), from.slice(), sizes)?;
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.clone()), Some(dy.index_select(dimension as isize, &index)?)]);
        Ok(x.derive(buffer, self.shape, Layout::Rows).record("index_add", [self, source], pull))
    }

    /// y[i, j, …] = x[index[i, j, …], j, …] for the first dimension, and so for others, as PyTorch's `gather`.
    ///
    /// # Errors
    /// Where there is no such dimension, the indices are not I32, have another number of dimensions or more elements
    /// along another dimension, or one lies outside.
    pub fn gather(&self, dimension: isize, index: &Tensor) -> Result<Tensor> {
        self.expect_numbers("gather")?;
        let dimension = self.shape.dimension("gather", dimension)?;
        let x = self.covered("gather", dimension, index)?;
        let index = index.expect_indices("gather", self)?;
        let sizes = x.indexed("gather", dimension, index.shape[dimension]);
        let (rows, shape) = (x.detach().to_layout(Layout::Rows)?, x.shape);
        let buffer = rows.device.gather(rows.slice(), index.slice(), sizes)?;
        let result = rows.derive(buffer, index.shape, Layout::Rows);
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(Layout::Rows)?;
            let buffer = dy.device.scatter_add(None, index.slice(), dy.slice(), sizes)?;
            Ok(vec![Some(dy.derive(buffer, shape, Layout::Rows))])
        };
        Ok(result.record("gather", [&x], pull))
    }

    /// The part that indices reach: as many elements as they have, but for the dimension that they name.
    fn covered(&self, operation: &'static str, dimension: usize, index: &Tensor) -> Result<Tensor> {
        let others = |d: &usize| *d != dimension;
        let fits = index.shape.rank() == self.shape.rank()
            && (0..self.shape.rank()).filter(others).all(|d| index.shape[d] <= self.shape[d]);
        if !fits {
            let expected = format!("as many dimensions, and no more elements but along dimension {dimension}");
            return Err(TensorError::shapes(operation, self.shape, index.shape, expected));
        }
        let mut x = self.clone();
        for d in (0..self.shape.rank()).filter(others).filter(|d| index.shape[*d] < self.shape[*d]) {
            x = x.narrow(d as isize, 0, index.shape[d])?;
        }
        Ok(x)
    }

    /// This tensor with y[index[i, j, …], j, …] += source[i, j, …] for the first dimension, and so for others, as
    /// PyTorch's `scatter_add` of indices and a source of one shape.
    ///
    /// # Errors
    /// As [`Tensor::gather`], and where indices and source have other sizes than this tensor but along the dimension.
    pub fn scatter_add(&self, dimension: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let dimension = self.shape.dimension("scatter_add", dimension)?;
        self.expect_same_kind("scatter_add", source)?;
        let picked = index.shape.get(dimension).copied().unwrap_or(0);
        for other in [index.shape, source.shape] {
            if self.shape.with(dimension, picked) != other {
                let expected = format!("equal sizes but for {picked} along dimension {dimension}");
                return Err(TensorError::shapes("scatter_add", self.shape, other, expected));
            }
        }
        let index = index.expect_indices("scatter_add", self)?;
        let rows = |x: &Tensor| x.detach().to_layout(Layout::Rows);
        let (x, from, sizes) = (rows(self)?, rows(source)?, self.indexed("scatter_add", dimension, picked));
        let buffer = x.device.scatter_add(Some(x.slice()), index.slice(), from.slice(), sizes)?;
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.clone()), Some(dy.gather(dimension as isize, &index)?)]);
        Ok(x.derive(buffer, self.shape, Layout::Rows).record("scatter_add", [self, source], pull))
    }

    /// Of indices (…): (…, `classes`) of f32, 1 at the index and else 0.
    ///
    /// # Errors
    /// Where this is no tensor of I32, an index lies outside, or there are six dimensions already.
    pub fn one_hot(&self, classes: usize) -> Result<Tensor> {
        let shape = Shape::of("one_hot", &[self.shape.sizes(), &[classes]].concat())?;
        let index = self.expect_indices("one_hot", self)?;
        let sizes = Indexed { operation: "one_hot", outer: 1, size: classes, picked: index.len(), inner: 1 };
        let buffer = index.device.one_hot(index.slice(), sizes)?;
        Ok(Tensor::dense(&index.device, buffer, shape, Layout::Rows, DType::F32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn indices_outside_are_refused_with_their_place() {
        let device = Cpu::device();
        let x = Tensor::zeros(&device, [3, 2]).expect("zeros");
        let index = |values: &[i32]| Tensor::indices(&device, [values.len()], values).expect("indices");
        let error = x.index_select(0, &index(&[0, 3])).expect_err("outside");
        assert_eq!(error, TensorError::Index { operation: "index_select", index: 3, position: 1, limit: 3 });
        let error =
            x.index_add(0, &index(&[-1]), &Tensor::zeros(&device, [1, 2]).expect("zeros")).expect_err("below 0");
        assert_eq!(error, TensorError::Index { operation: "index_add", index: -1, position: 0, limit: 3 });
        let wrong = Tensor::indices(&device, [1, 2], &[0, 5]).expect("indices");
        assert!(matches!(x.gather(0, &wrong), Err(TensorError::Index { index: 5, position: 1, .. })));
        let ones = Tensor::full(&device, [1, 2], 1.0).expect("ones");
        assert!(matches!(x.scatter_add(0, &wrong, &ones), Err(TensorError::Index { index: 5, .. })));
        assert!(matches!(index(&[2]).one_hot(2), Err(TensorError::Index { index: 2, limit: 2, .. })));
    }

    #[test]
    fn shapes_that_do_not_go_together_are_refused() {
        let device = Cpu::device();
        let x = Tensor::zeros(&device, [3, 2]).expect("zeros");
        let index = Tensor::indices(&device, [1, 3], &[0; 3]).expect("indices");
        let error = x.gather(0, &index).expect_err("too wide").to_string();
        assert!(error.starts_with("gather of [3, 2] and [1, 3]"), "{error}");
        assert!(x.gather(0, &x).is_err() && x.index_select(0, &index).is_err());
        let rows = Tensor::indices(&device, [4], &[0; 4]).expect("indices");
        let error = x.index_add(0, &rows, &x).expect_err("three rows for four indices").to_string();
        assert!(error.starts_with("index_add of [3, 2] and [3, 2]"), "{error}");
    }
}
