//! Launches of `kernels/graph.cu`; nodes and edges were checked where the graph was made.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::graph::{Edges, Graphs, Neighbours};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::resize::wide;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NeighbourSizes {
    batch: i64,
    points: i32,
    dimensions: i32,
    count: i32,
    own: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GraphSizes {
    nodes: i64,
    edges: i64,
    heads: i32,
    channels: i32,
    wide: i32,
    padding: i32,
}

/// Threads that find the neighbours of a point.
const WARP: usize = 32;
/// Threads that share a sum over edges or channels.
const LANES: usize = 8;

impl Graphs for Cuda {
    fn nearest_neighbours(&self, points: Slice<'_>, sizes: Neighbours) -> Result<Buffer> {
        let Neighbours { batch, points: each, dimensions, count, own } = sizes;
        let y = self.take(batch * each * count, DType::I32)?;
        let [each, dimensions, count, own] = [each, dimensions, count, usize::from(own)].map(|size| size as i32);
        let launch = self.kernel("graph", "nearest_neighbours", points.dtype).over(batch * sizes.points * WARP);
        let sizes = NeighbourSizes { batch: batch as i64, points: each, dimensions, count, own };
        launch.input(points).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn edge_softmax(&self, scores: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let sizes = GraphSizes::new(edges, per_edge(scores, edges), 0, 1);
        let y = self.take(scores.len, scores.dtype)?;
        let launch = self.kernel("graph", "edge_softmax", scores.dtype).over(edges.nodes * sizes.heads() * LANES);
        launch.input(scores).input(edges.offsets).input(edges.order).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn edge_softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let sizes = GraphSizes::new(edges, per_edge(y, edges), 0, 1);
        let dx = self.take(y.len, y.dtype)?;
        let launch = self.kernel("graph", "edge_softmax_grad", y.dtype).over(edges.nodes * sizes.heads() * LANES);
        launch.input(y).input(dy).input(edges.offsets).input(edges.order).output(&dx).value(sizes).run()?;
        Ok(Buffer::Cuda(dx))
    }

    fn aggregate(&self, weights: Slice<'_>, values: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let heads = per_edge(weights, edges);
        if heads == 0 {
            // No edges: every sum is empty.
            return Ok(Buffer::Cuda(self.zeros(values.len, values.dtype)?));
        }
        let channels = values.len / (edges.nodes * heads).max(1);
        let (y, wide) = (self.take(values.len, values.dtype)?, wide(&[values], values.dtype, channels));
        let launch = self.kernel("graph", "aggregate", values.dtype).over(values.len / wide);
        let launch = launch.input(weights).input(values).input(edges.sources).input(edges.offsets).input(edges.order);
        launch.output(&y).value(GraphSizes::new(edges, heads, channels, wide)).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn edge_dot(&self, targets: Slice<'_>, sources: Slice<'_>, heads: usize, edges: Edges<'_>) -> Result<Buffer> {
        let y = self.take(edges.targets.len * heads, sources.dtype)?;
        let channels = sources.len / (edges.nodes * heads).max(1);
        let wide = wide(&[targets, sources], sources.dtype, channels);
        let launch = self.kernel("graph", "edge_dot", sources.dtype).over(edges.targets.len * heads * LANES);
        let launch = launch.input(targets).input(sources).input(edges.sources).input(edges.targets);
        launch.output(&y).value(GraphSizes::new(edges, heads, channels, wide)).run()?;
        Ok(Buffer::Cuda(y))
    }
}

/// Values of each edge.
fn per_edge(values: Slice<'_>, edges: Edges<'_>) -> usize {
    values.len / edges.targets.len.max(1)
}

impl GraphSizes {
    fn new(edges: Edges<'_>, heads: usize, channels: usize, wide: usize) -> Self {
        let [heads, channels, wide] = [heads, channels, wide].map(|size| size as i32);
        GraphSizes { nodes: edges.nodes as i64, edges: edges.targets.len as i64, heads, channels, wide, padding: 0 }
    }

    fn heads(&self) -> usize {
        self.heads as usize
    }
}
