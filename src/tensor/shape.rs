//! Sizes of a tensor, and the order of its elements in memory.

use std::fmt;
use std::ops::Deref;

use super::{Result, TensorError};

/// The most dimensions that a tensor has.
pub const MAX_RANK: usize = 6;

/// The order of a tensor's elements in memory; there are no gaps between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The last dimension varies fastest.
    Rows,
    /// Channels-last: of four dimensions (N, C, H, W) C varies fastest, then W, H and N.
    Channels,
}

/// Sizes of a tensor in PyTorch's order; at most [`MAX_RANK`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    sizes: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The sizes.
    pub fn sizes(&self) -> &[usize] {
        self.sizes.get(..self.rank).unwrap_or_default()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements; `usize::MAX` where there would be more.
    pub fn len(&self) -> usize {
        if self.sizes().contains(&0) {
            return 0;
        }
        self.sizes().iter().fold(1, |len, size| len.saturating_mul(*size))
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The error that a tensor cannot have these sizes: but for those that are 0 their product is beyond any memory.
    pub(crate) fn countable(self, operation: &'static str) -> Result<Shape> {
        let most = isize::MAX as usize / size_of::<f32>();
        let grown = |len: usize, size: &usize| len.checked_mul(*size).filter(|len| *len <= most);
        match self.sizes().iter().filter(|size| **size > 0).try_fold(1, grown) {
            Some(_) => Ok(self),
            None => Err(TensorError::shape(operation, self, "sizes whose product a memory could hold")),
        }
    }

    /// A shape of given sizes; the error names the operation that would have made it.
    pub(crate) fn of(operation: &'static str, sizes: &[usize]) -> Result<Shape> {
        let mut shape = Shape { sizes: [1; MAX_RANK], rank: sizes.len() };
        let Some(to) = shape.sizes.get_mut(..sizes.len()) else {
            return Err(TensorError::Dimensions { operation, sizes: sizes.to_vec(), most: MAX_RANK });
        };
        to.copy_from_slice(sizes);
        shape.countable(operation)
    }

    /// The same shape with another size in one dimension.
    pub(crate) fn with(mut self, dimension: usize, size: usize) -> Shape {
        if let Some(to) = self.sizes.get_mut(dimension) {
            *to = size;
        }
        self
    }

    /// The dimension that `dimension` means: negative ones count from the last.
    pub(crate) fn dimension(&self, operation: &'static str, dimension: isize) -> Result<usize> {
        let counted = if dimension < 0 { dimension.saturating_add(self.rank as isize) } else { dimension };
        let found = usize::try_from(counted).ok().filter(|d| *d < self.rank);
        found.ok_or_else(|| TensorError::shape(operation, *self, format!("a dimension {dimension}")))
    }

    /// The shape that both broadcast to, as NumPy's rule has it.
    pub(crate) fn broadcast(operation: &'static str, left: Shape, right: Shape) -> Result<Shape> {
        let rank = left.rank.max(right.rank);
        let size = |shape: &Shape, d: usize| (d + shape.rank).checked_sub(rank).and_then(|d| shape.get(d)).copied();
        let mut sizes = [1; MAX_RANK];
        for (d, to) in sizes.iter_mut().enumerate().take(rank) {
            *to = match (size(&left, d).unwrap_or(1), size(&right, d).unwrap_or(1)) {
                (a, b) if a == b || b == 1 => a,
                (1, b) => b,
                _ => return Err(TensorError::shapes(operation, left, right, "sizes that are equal or 1")),
            };
        }
        Shape { sizes, rank }.countable(operation)
    }

    /// Dimensions from the slowest to the fastest in memory.
    pub(crate) fn memory_order(&self, layout: Layout) -> Vec<usize> {
        match layout {
            Layout::Channels if self.rank == 4 => vec![0, 2, 3, 1],
            _ => (0..self.rank).collect(),
        }
    }

    /// How far apart neighbours along each logical dimension lie in memory, in elements.
    pub(crate) fn strides(&self, layout: Layout) -> [usize; MAX_RANK] {
        let (mut strides, mut step) = ([0; MAX_RANK], 1);
        for d in self.memory_order(layout).into_iter().rev() {
            strides[d] = step;
            step *= self.sizes[d];
        }
        strides
    }

    /// Whether both layouts put every element at the same place.
    pub(crate) fn layouts_agree(&self) -> bool {
        match *self.sizes() {
            [_, channels, rows, columns] => channels == 1 || rows * columns == 1,
            _ => true,
        }
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        self.sizes()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(from: [usize; N]) -> Self {
        const { assert!(N <= MAX_RANK, "a tensor has at most six dimensions") };
        let mut sizes = [1; MAX_RANK];
        sizes.iter_mut().zip(from).for_each(|(to, size)| *to = size);
        Shape { sizes, rank: N }
    }
}

impl fmt::Display for Shape {
    /// `[2, 3, 4]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.sizes())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
