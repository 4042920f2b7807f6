//! Launches of `kernels/graph.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::graph::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Graphs for Cuda {
    fn nearest_neighbours(&self, points: Slice<'_>, sizes: Neighbours) -> Result<Buffer> {
        self.absent()
    }
    fn edge_softmax(&self, scores: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        self.absent()
    }
    fn edge_softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        self.absent()
    }
    fn aggregate(&self, weights: Slice<'_>, values: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        self.absent()
    }
    fn edge_dot(&self, targets: Slice<'_>, sources: Slice<'_>, heads: usize, edges: Edges<'_>) -> Result<Buffer> {
        self.absent()
    }
}
