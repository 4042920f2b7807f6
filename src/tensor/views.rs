//! The same elements under other sizes, in another order, or some of them.

use super::backend::Gather;
use super::{Layout, Result, Shape, Tensor, TensorError};

impl Tensor {
    /// The same values with the elements in another order in memory.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn to_layout(&self, layout: Layout) -> Result<Tensor> {
        if layout == self.layout || self.shape.layouts_agree() {
            return Ok(Tensor { layout, ..self.clone() });
        }
        let order = self.shape.memory_order(layout);
        let strides = self.shape.strides(self.layout);
        let sizes: Vec<usize> = order.iter().map(|d| self.shape[*d]).collect();
        let strides: Vec<isize> = order.iter().map(|d| strides[*d] as isize).collect();
        let buffer =
            self.device.gather_regular(self.slice(), Gather { sizes: &sizes, strides: &strides, offset: 0 })?;
        let result = self.derive(buffer, self.shape, layout);
        Ok(result.record("to_layout", [self], |dy| Ok(vec![Some(dy.clone())])))
    }

    /// The elements in logical order under other sizes.
    ///
    /// # Errors
    /// Where the sizes make another number of elements.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let (from, to) = (self.shape, shape.into().countable("reshape")?);
        if from.len() != to.len() {
            return Err(TensorError::shapes("reshape", from, to, "as many elements in both"));
        }
        let rows = self.detach().to_layout(Layout::Rows)?;
        let result = Tensor { shape: to, ..rows };
        Ok(result.record("reshape", [self], move |dy| Ok(vec![Some(dy.reshape(from)?)])))
    }

    /// [`Tensor::reshape`] to sizes of which one may be −1: as many as are left, as in PyTorch.
    ///
    /// # Errors
    /// As [`Tensor::reshape`], and where more than one size is negative or nothing whole is left for it.
    pub fn reshape_inferred(&self, sizes: &[isize]) -> Result<Tensor> {
        const NAME: &str = "reshape_inferred";
        let refuse = || TensorError::shape(NAME, self.shape, format!("sizes of as many elements, not {sizes:?}"));
        let known: Vec<usize> = sizes.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
        let len = known.iter().try_fold(1usize, |len, size| len.checked_mul(*size)).ok_or_else(refuse)?;
        let left = match sizes.len() - known.len() {
            1 if sizes.contains(&-1) && len > 0 && self.len().is_multiple_of(len) => self.len() / len,
            0 if len == self.len() => 1,
            _ => return Err(refuse()),
        };
        let sizes: Vec<usize> = sizes.iter().map(|size| usize::try_from(*size).unwrap_or(left)).collect();
        self.reshape(Shape::of(NAME, &sizes)?)
    }

    /// Dimensions `first..=last` as one, in logical order.
    ///
    /// # Errors
    /// Where there are no such dimensions.
    pub fn flatten(&self, first: isize, last: isize) -> Result<Tensor> {
        let (first, last) = (self.shape.dimension("flatten", first)?, self.shape.dimension("flatten", last)?);
        if first > last {
            return Err(TensorError::shape(
                "flatten",
                self.shape,
                format!("dimensions in order, not {first}..={last}"),
            ));
        }
        let (before, rest) = self.shape.split_at(first);
        let (middle, after) = rest.split_at(last + 1 - first);
        self.reshape(Shape::of("flatten", &[before, &[middle.iter().product()], after].concat())?)
    }

    /// One more dimension of size 1, which is dimension `dimension` of the result: −1 is the last.
    ///
    /// # Errors
    /// Where there is no such place, or there are six dimensions already.
    pub fn unsqueeze(&self, dimension: isize) -> Result<Tensor> {
        let mut sizes = self.shape.to_vec();
        let place = if dimension < 0 { dimension.saturating_add(sizes.len() as isize + 1) } else { dimension };
        let place = usize::try_from(place).ok().filter(|place| *place <= sizes.len()).ok_or_else(|| {
            TensorError::shape("unsqueeze", self.shape, format!("a place {dimension} among dimensions"))
        })?;
        sizes.insert(place, 1);
        self.reshape(Shape::of("unsqueeze", &sizes)?)
    }

    /// Without a dimension of size 1.
    ///
    /// # Errors
    /// Where the dimension has another size.
    pub fn squeeze(&self, dimension: isize) -> Result<Tensor> {
        let dimension = self.shape.dimension("squeeze", dimension)?;
        let mut sizes = self.shape.to_vec();
        match sizes.remove(dimension) {
            1 => self.reshape(Shape::of("squeeze", &sizes)?),
            size => Err(TensorError::shape("squeeze", self.shape, format!("size 1 at {dimension}, not {size}"))),
        }
    }

    /// Dimensions in another order: dimension `order[d]` becomes dimension `d`; negative ones count from the last.
    ///
    /// # Errors
    /// Where `order` does not name every dimension once.
    pub fn permute(&self, order: &[isize]) -> Result<Tensor> {
        let counted: Result<Vec<usize>> = order.iter().map(|d| self.shape.dimension("permute", *d)).collect();
        let named = counted?;
        let mut sorted = named.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.shape.rank()) {
            return Err(TensorError::shape("permute", self.shape, format!("each dimension once, not {order:?}")));
        }
        self.permuted(&named)
    }

    /// Dimensions in an order that names each once.
    fn permuted(&self, order: &[usize]) -> Result<Tensor> {
        let strides = self.shape.strides(self.layout);
        let sizes: Vec<usize> = order.iter().map(|d| self.shape[*d]).collect();
        let strides: Vec<isize> = order.iter().map(|d| strides[*d] as isize).collect();
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| back[*from] = to);
        let buffer =
            self.device.gather_regular(self.slice(), Gather { sizes: &sizes, strides: &strides, offset: 0 })?;
        let result = self.derive(buffer, Shape::of("permute", &sizes)?, Layout::Rows);
        Ok(result.record("permute", [self], move |dy| Ok(vec![Some(dy.permuted(&back)?)])))
    }

    /// Two dimensions changed for each other.
    ///
    /// # Errors
    /// Where there are no such dimensions.
    pub fn transpose(&self, first: isize, second: isize) -> Result<Tensor> {
        let (first, second) = (self.shape.dimension("transpose", first)?, self.shape.dimension("transpose", second)?);
        let mut order: Vec<usize> = (0..self.shape.rank()).collect();
        order.swap(first, second);
        self.permuted(&order)
    }

    /// `length` elements of a dimension from `start` on.
    ///
    /// # Errors
    /// Where they do not lie inside.
    pub fn narrow(&self, dimension: isize, start: usize, length: usize) -> Result<Tensor> {
        let dimension = self.shape.dimension("narrow", dimension)?;
        let size = self.shape[dimension];
        if start.checked_add(length).is_none_or(|end| end > size) {
            let expected = format!("{length} elements from {start} on inside dimension {dimension}");
            return Err(TensorError::shape("narrow", self.shape, expected));
        }
        let (strides, shape) = (self.shape.strides(self.layout), self.shape.with(dimension, length));
        let order = shape.memory_order(self.layout);
        let offset = start * strides[dimension];
        let outermost = order.iter().take_while(|d| **d != dimension).all(|d| shape[*d] == 1);
        let result = if outermost {
            Tensor { offset: self.offset + offset, shape, ..self.detach() }
        } else {
            let sizes: Vec<usize> = order.iter().map(|d| shape[*d]).collect();
            let steps: Vec<isize> = order.iter().map(|d| strides[*d] as isize).collect();
            let buffer = self.device.gather_regular(self.slice(), Gather { sizes: &sizes, strides: &steps, offset })?;
            self.derive(buffer, shape, self.layout)
        };
        let pull = move |dy: &Tensor| Ok(vec![Some(dy.embed(dimension, start, size)?)]);
        Ok(result.record("narrow", [self], pull))
    }

    /// Zeros of size `size` in a dimension, with these elements from `start` on.
    fn embed(&self, dimension: usize, start: usize, size: usize) -> Result<Tensor> {
        let zeros = |length: usize| -> Result<Tensor> {
            let shape = self.shape.with(dimension, length);
            let buffer = self.device.fill(shape.len(), 0.0, self.dtype)?;
            Ok(self.derive(buffer, shape, self.layout))
        };
        let end = start + self.shape[dimension];
        Tensor::cat(&[&zeros(start)?, self, &zeros(size - end)?], dimension as isize)
    }

    /// Tensors one after the other along a dimension.
    ///
    /// # Errors
    /// Where there are none, or they differ in another dimension, in dtype or in device.
    pub fn cat(parts: &[&Tensor], dimension: isize) -> Result<Tensor> {
        let Some(first) = parts.first() else {
            return Err(TensorError::shape("cat", Shape::from([]), "at least one tensor"));
        };
        let dimension = first.shape.dimension("cat", dimension)?;
        let (mut same, mut total) = (Vec::new(), 0);
        for part in parts {
            first.expect_alike("cat", part)?;
            if part.shape.rank() != first.shape.rank()
                || part.shape.with(dimension, 0) != first.shape.with(dimension, 0)
            {
                let expected = format!("equal sizes but for dimension {dimension}");
                return Err(TensorError::shapes("cat", first.shape, part.shape, expected));
            }
            total = part.shape[dimension].saturating_add(total);
            same.push(part.detach().to_layout(first.layout)?);
        }
        let shape = first.shape.with(dimension, total).countable("cat")?;
        let order = shape.memory_order(first.layout);
        let outer = order.iter().take_while(|d| **d != dimension).map(|d| shape[*d]).product();
        let widths = same.iter().map(|part| (part.slice(), part.len().checked_div(outer).unwrap_or(0)));
        let buffer = first.device.interleave(&widths.collect::<Vec<_>>(), outer)?;
        let result = first.derive(buffer, shape, first.layout);
        let sizes: Vec<usize> = parts.iter().map(|part| part.shape[dimension]).collect();
        let pull = move |dy: &Tensor| {
            let mut start = 0;
            let part = |size: &usize| {
                start += size;
                dy.narrow(dimension as isize, start - size, *size).map(Some)
            };
            sizes.iter().map(part).collect()
        };
        Ok(result.record_all("cat", parts, pull))
    }

    /// The elements of a dimension in reverse.
    ///
    /// # Errors
    /// Where there is no such dimension.
    pub fn flip(&self, dimension: isize) -> Result<Tensor> {
        let dimension = self.shape.dimension("flip", dimension)?;
        let strides = self.shape.strides(self.layout);
        let order = self.shape.memory_order(self.layout);
        let sizes: Vec<usize> = order.iter().map(|d| self.shape[*d]).collect();
        let sign = |d: usize| if d == dimension { -1 } else { 1 };
        let steps: Vec<isize> = order.iter().map(|d| sign(*d) * strides[*d] as isize).collect();
        let offset = self.shape[dimension].saturating_sub(1) * strides[dimension];
        let buffer = self.device.gather_regular(self.slice(), Gather { sizes: &sizes, strides: &steps, offset })?;
        let result = self.derive(buffer, self.shape, self.layout);
        Ok(result.record("flip", [self], move |dy| Ok(vec![Some(dy.flip(dimension as isize)?)])))
    }
}
