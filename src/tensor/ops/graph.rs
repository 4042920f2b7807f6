//! Nodes and directed edges between them: nearest neighbours, and attention over the edges that end in a node.

use crate::tensor::memory::zeroed;
use crate::tensor::{Buffer, DType, Layout, Result, Shape, Slice, Tensor, TensorError};

/// Points whose neighbours are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// Sets of points, each for itself.
    pub batch: usize,
    /// Points of a set.
    pub points: usize,
    /// Coordinates of a point.
    pub dimensions: usize,
    /// Neighbours of each point.
    pub count: usize,
    /// Whether a point is a neighbour of its own.
    pub own: bool,
}

/// Edges, numbered, and those that end in each node.
#[derive(Clone, Copy, Debug)]
pub struct Edges<'a> {
    /// Number of nodes.
    pub nodes: usize,
    /// The node that each edge begins at.
    pub sources: Slice<'a>,
    /// The node that each edge ends in.
    pub targets: Slice<'a>,
    /// Where in `order` the edges that end in each node begin; one more than there are nodes.
    pub offsets: Slice<'a>,
    /// Edges in the order of the nodes they end in.
    pub order: Slice<'a>,
}

/// What a backend does with graphs. Values of edges are (edges, heads), of nodes (nodes, heads, channels).
pub trait Graphs {
    /// The neighbours of each point (batch, points, count) by squared distance; equal ones by index.
    fn nearest_neighbours(&self, points: Slice<'_>, sizes: Neighbours) -> Result<Buffer>;
    /// Softmax of each head over the edges that end in a node.
    fn edge_softmax(&self, scores: Slice<'_>, edges: Edges<'_>) -> Result<Buffer>;
    /// The gradient of the scores: y · (dy − Σ y · dy).
    fn edge_softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, edges: Edges<'_>) -> Result<Buffer>;
    /// For each node and head the sum over edges that end there: weight times the channels of the edge's source.
    fn aggregate(&self, weights: Slice<'_>, values: Slice<'_>, edges: Edges<'_>) -> Result<Buffer>;
    /// For each edge and head: the channels of its target times those of its source.
    fn edge_dot(&self, targets: Slice<'_>, sources: Slice<'_>, heads: usize, edges: Edges<'_>) -> Result<Buffer>;
}

/// A directed graph on a device.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: usize,
    sources: Tensor,
    targets: Tensor,
    by_target: Incidence,
    by_source: Incidence,
}

/// Edges by the node at one of their ends.
#[derive(Clone, Debug)]
struct Incidence {
    offsets: Tensor,
    order: Tensor,
}

/// What attention over a graph is made of.
#[derive(Clone, Copy, Debug)]
pub struct GraphAttention<'a> {
    /// What a node's channels are weighed with where an edge begins, (heads, channels).
    pub source: &'a Tensor,
    /// What a node's channels are weighed with where an edge ends, (heads, channels).
    pub target: &'a Tensor,
    /// What edges add to their scores, (edges, heads).
    pub edge: Option<&'a Tensor>,
    /// The slope of the leaky ReLU below 0; 0.2 in the paper.
    pub negative_slope: f32,
    /// Whether heads lie side by side in the result; else their mean is taken.
    pub concat: bool,
    /// What is added to the result, (heads · channels) or (channels).
    pub bias: Option<&'a Tensor>,
}

impl GraphAttention<'_> {
    /// The error that an operand has another shape than nodes of so many heads and channels ask for.
    fn check(&self, graph: &Graph, heads: usize, channels: usize) -> Result<()> {
        let expect = |x: &Tensor, wanted: &[usize], what: &str| match x.shape.sizes() == wanted {
            true => Ok(()),
            false => Err(TensorError::shape("graph_attention", x.shape, format!("{what} of {wanted:?}"))),
        };
        expect(self.source, &[heads, channels], "a source")?;
        expect(self.target, &[heads, channels], "a target")?;
        self.edge.map_or(Ok(()), |edge| expect(edge, &[graph.edges(), heads], "scores of edges"))?;
        let wanted = if self.concat { heads * channels } else { channels };
        self.bias.map_or(Ok(()), |bias| expect(bias, &[wanted], "a bias"))
    }
}

impl Incidence {
    fn new(x: &Tensor, ends: &[i32], nodes: usize) -> Result<Self> {
        let mut offsets: Vec<i32> = zeroed(nodes + 1)?;
        ends.iter().for_each(|node| offsets[*node as usize + 1] += 1);
        (0..nodes).for_each(|node| offsets[node + 1] += offsets[node]);
        let mut order: Vec<i32> = (0..ends.len() as i32).collect();
        order.sort_by_key(|edge| ends[*edge as usize]);
        let indices = |values: &[i32]| Tensor::indices(&x.device, [values.len()], values);
        Ok(Incidence { offsets: indices(&offsets)?, order: indices(&order)? })
    }
}

impl Graph {
    /// A graph of `nodes` nodes from edges (2, E): a row of sources and a row of targets.
    ///
    /// # Errors
    /// Where the edges are not I32 of that shape, name other nodes, or there are more than 2³¹ − 1 of either.
    pub fn new(edges: &Tensor, nodes: usize) -> Result<Graph> {
        let [2, count] = *edges.shape.sizes() else {
            return Err(TensorError::shape("graph", edges.shape, "edges of shape [2, E]"));
        };
        let values = edges.to_indices()?;
        let (sources, targets) = values.split_at(count);
        Graph::of(edges, sources, targets, nodes)
    }

    /// The edges from each point's neighbours (B, N, K) to the point; node n of set b is node b · N + n.
    ///
    /// # Errors
    /// Where the neighbours are not I32 of three dimensions, or name other points.
    pub fn from_neighbours(neighbours: &Tensor) -> Result<Graph> {
        let [batch, points, count] = neighbours.sizes("graph")?;
        if batch.saturating_mul(points) > i32::MAX as usize {
            return Err(TensorError::shape("graph", neighbours.shape, "at most 2^31 − 1 points of all sets"));
        }
        let (values, edge) = (neighbours.to_indices()?, |i: usize| (i / count, i / (count * points) * points));
        let limit = |i: &i32| usize::try_from(*i).is_ok_and(|i| i < points);
        if let Some(position) = values.iter().position(|i| !limit(i)) {
            let index = i64::from(values[position]);
            return Err(TensorError::Index { operation: "graph", index, position, limit: points });
        }
        let sources: Vec<i32> = values.iter().enumerate().map(|(i, value)| edge(i).1 as i32 + value).collect();
        let targets: Vec<i32> = (0..values.len()).map(|i| edge(i).0 as i32).collect();
        Graph::of(neighbours, &sources, &targets, batch * points)
    }

    fn of(x: &Tensor, sources: &[i32], targets: &[i32], nodes: usize) -> Result<Graph> {
        if nodes > i32::MAX as usize || sources.len() > i32::MAX as usize {
            let expected = format!("at most 2^31 − 1 nodes and edges, not {nodes} nodes");
            return Err(TensorError::shape("graph", Shape::from([2, sources.len()]), expected));
        }
        let outside = |node: &i32| usize::try_from(*node).map_or(true, |node| node >= nodes);
        if let Some(position) = sources.iter().chain(targets).position(outside) {
            let index = sources.iter().chain(targets).nth(position).copied().map_or(-1, i64::from);
            return Err(TensorError::Index { operation: "graph", index, position, limit: nodes });
        }
        let indices = |values: &[i32]| Tensor::indices(&x.device, [values.len()], values);
        Ok(Graph {
            nodes,
            sources: indices(sources)?,
            targets: indices(targets)?,
            by_target: Incidence::new(x, targets, nodes)?,
            by_source: Incidence::new(x, sources, nodes)?,
        })
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Number of edges.
    pub fn edges(&self) -> usize {
        self.sources.len()
    }

    /// The node that each edge begins at, (E).
    pub fn sources(&self) -> &Tensor {
        &self.sources
    }

    /// The node that each edge ends in, (E).
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// The graph with one edge from each node to itself, behind the others; those there were are left out.
    ///
    /// Attributes of edges (E, D) are given to the new ones as the mean of those of the edges that end in the node, 0
    /// where there are none, as PyTorch Geometric does.
    ///
    /// # Errors
    /// Where there are not as many attributes as edges, or the device fails.
    pub fn with_self_loops(&self, attributes: Option<&Tensor>) -> Result<(Graph, Option<Tensor>)> {
        let (sources, targets) = (self.sources.to_indices()?, self.targets.to_indices()?);
        let kept: Vec<usize> = (0..sources.len()).filter(|edge| sources[*edge] != targets[*edge]).collect();
        let ends = |of: &[i32]| -> Vec<i32> { kept.iter().map(|edge| of[*edge]).chain(0..self.nodes as i32).collect() };
        let looped = Graph::of(&self.sources, &ends(&sources), &ends(&targets), self.nodes)?;
        let Some(attributes) = attributes else { return Ok((looped, None)) };
        let kept: Vec<i32> = kept.into_iter().map(|edge| edge as i32).collect();
        let kept = Tensor::indices(&self.sources.device, [kept.len()], &kept)?;
        let wide = attributes.to_dtype(DType::F32)?;
        let all = looped.with_means(&wide, self.checked(attributes)?, &kept)?.to_dtype(attributes.dtype)?;
        Ok((looped, Some(all)))
    }

    /// The number of attributes of each edge.
    fn checked(&self, attributes: &Tensor) -> Result<usize> {
        match *attributes.shape.sizes() {
            [edges, width] if edges == self.edges() => Ok(width),
            _ => {
                let expected = "attributes of every edge";
                Err(TensorError::shapes("with_self_loops", attributes.shape, self.sources.shape, expected))
            }
        }
    }

    /// The attributes of the edges kept, then the mean of those that end in each node.
    fn with_means(&self, attributes: &Tensor, width: usize, kept: &Tensor) -> Result<Tensor> {
        let own = attributes.index_select(0, kept)?;
        let targets = self.targets.narrow(0, 0, kept.len())?;
        let offsets = self.by_target.offsets.to_indices()?;
        // One edge of each node is its new one.
        let shares: Vec<f32> = offsets.windows(2).map(|pair| 1.0 / (pair[1] - pair[0] - 1).max(1) as f32).collect();
        let shares = Tensor::new(&self.sources.device, [self.nodes, 1], &shares)?;
        let zeros = Tensor::zeros(&self.sources.device, [self.nodes, width])?;
        let means = zeros.index_add(0, &targets, &own)?.mul(&shares)?;
        Tensor::cat(&[&own, &means], 0)
    }

    fn view(&self) -> Edges<'_> {
        Edges {
            nodes: self.nodes,
            sources: self.sources.slice(),
            targets: self.targets.slice(),
            offsets: self.by_target.offsets.slice(),
            order: self.by_target.order.slice(),
        }
    }

    /// Every edge turned around.
    fn reversed(&self) -> Edges<'_> {
        Edges {
            nodes: self.nodes,
            sources: self.targets.slice(),
            targets: self.sources.slice(),
            offsets: self.by_source.offsets.slice(),
            order: self.by_source.order.slice(),
        }
    }

    /// The error that values of edges are not (E, heads), or else the number of heads.
    fn heads(&self, operation: &'static str, values: &Tensor) -> Result<usize> {
        values.expect_numbers(operation)?;
        values.expect_same_device(operation, &self.sources)?;
        let [edges, heads] = values.sizes(operation)?;
        if edges != self.edges() {
            return Err(TensorError::shapes(operation, values.shape, self.sources.shape, "a row for every edge"));
        }
        Ok(heads)
    }

    /// Softmax of scores (E, heads) over the edges that end in a node.
    ///
    /// # Errors
    /// Where there are not as many scores as edges.
    pub fn softmax(&self, scores: &Tensor) -> Result<Tensor> {
        self.heads("edge_softmax", scores)?;
        let result = self.shares(scores)?;
        // Of bf16 the shares are worked out again in f32: the gradient is not that of rounded ones.
        let held = if scores.dtype == DType::F32 { result.clone() } else { scores.detach() };
        let graph = self.clone();
        let pull = move |dy: &Tensor| {
            let (y, dy) =
                (if held.dtype == DType::F32 { held.clone() } else { graph.shares(&held.wide()?)? }, dy.wide()?);
            let buffer = y.device.edge_softmax_grad(y.slice(), dy.slice(), graph.view())?;
            Ok(vec![Some(y.derive(buffer, y.shape, Layout::Rows).to_dtype(held.dtype)?)])
        };
        Ok(result.record("edge_softmax", [scores], pull))
    }

    /// [`Graph::softmax`] off the tape.
    fn shares(&self, scores: &Tensor) -> Result<Tensor> {
        let buffer = scores.device.edge_softmax(scores.slice(), self.view())?;
        Ok(scores.derive(buffer, scores.shape, Layout::Rows))
    }

    /// For each node the sum over edges that end there: weights (E, heads) times values (N, heads, C) of the sources.
    ///
    /// # Errors
    /// Where the shapes are not those.
    pub fn aggregate(&self, weights: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (heads, [nodes, of, _]) = (self.heads("aggregate", weights)?, values.sizes("aggregate")?);
        weights.expect_same_kind("aggregate", values)?;
        if (nodes, of) != (self.nodes, heads) {
            let expected = format!("values of {} nodes and as many heads", self.nodes);
            return Err(TensorError::shapes("aggregate", weights.shape, values.shape, expected));
        }
        let buffer = values.device.aggregate(weights.slice(), values.slice(), self.view())?;
        let result = values.derive(buffer, values.shape, Layout::Rows);
        let (graph, w, x) = (self.clone(), weights.detach(), values.detach());
        let pull = move |dy: &Tensor| {
            let dw = x.device.edge_dot(dy.slice(), x.slice(), heads, graph.view())?;
            let dx = x.device.aggregate(w.slice(), dy.slice(), graph.reversed())?;
            Ok(vec![Some(w.derive(dw, w.shape, Layout::Rows)), Some(x.derive(dx, x.shape, Layout::Rows))])
        };
        Ok(result.record("aggregate", [weights, values], pull))
    }
}

impl Tensor {
    /// The `count` nearest neighbours of each of the points (B, N, D) of its set, as (B, N, `count`) indices: nearest
    /// first, equal ones by index. With `own` a point is its own neighbour.
    ///
    /// # Errors
    /// Where there are not three dimensions, or fewer points than neighbours.
    pub fn nearest_neighbours(&self, count: usize, own: bool) -> Result<Tensor> {
        self.expect_numbers("nearest_neighbours")?;
        let [batch, points, dimensions] = self.sizes("nearest_neighbours")?;
        if points > 0 && count > points - usize::from(!own) {
            return Err(TensorError::shape("nearest_neighbours", self.shape, format!("{count} neighbours a point")));
        }
        let shape = Shape::from([batch, points, count]).countable("nearest_neighbours")?;
        let sizes = Neighbours { batch, points, dimensions, count, own };
        let buffer = self.device.nearest_neighbours(self.slice(), sizes)?;
        Ok(Tensor::dense(&self.device, buffer, shape, Layout::Rows, DType::I32))
    }

    /// Graph attention (Veličković et al., 2018) on nodes (N, heads, C), their features after the linear layer: the new
    /// features (N, heads · C), or (N, C) as the mean over heads, and the weights of the edges (E, heads). All is worked
    /// out in f32 and rounded at the end.
    ///
    /// # Errors
    /// Where shapes do not go together.
    pub fn graph_attention(&self, graph: &Graph, attention: GraphAttention<'_>) -> Result<(Tensor, Tensor)> {
        let [nodes, heads, channels] = self.sizes("graph_attention")?;
        attention.check(graph, heads, channels)?;
        let (dtype, wide) = (self.dtype, |x: &Tensor| x.to_dtype(DType::F32));
        let x = wide(self)?;
        let score = |by: &Tensor| x.mul(&wide(by)?.reshape([1, heads, channels])?)?.sum(&[2], false);
        let from = score(attention.source)?.index_select(0, &graph.sources)?;
        let mut scores = from.add(&score(attention.target)?.index_select(0, &graph.targets)?)?;
        if let Some(edge) = attention.edge {
            scores = scores.add(&wide(edge)?)?;
        }
        let weights = graph.softmax(&scores.leaky_relu(attention.negative_slope)?)?;
        let sums = graph.aggregate(&weights, &x)?;
        let y = if attention.concat { sums.reshape([nodes, heads * channels])? } else { sums.mean(&[1], false)? };
        let y = if let Some(bias) = attention.bias { y.add(&wide(bias)?)? } else { y };
        Ok((y.to_dtype(dtype)?, weights.to_dtype(dtype)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn edges_to_nowhere_are_refused() {
        let device = Cpu::device();
        let edges = |values: &[i32]| Tensor::indices(&device, [2, values.len() / 2], values).expect("indices");
        let error = Graph::new(&edges(&[0, 1, 1, 3]), 3).expect_err("no node 3");
        assert_eq!(error, TensorError::Index { operation: "graph", index: 3, position: 3, limit: 3 });
        assert!(Graph::new(&edges(&[0, 1]).reshape([1, 2]).expect("a row"), 2).is_err());
        let graph = Graph::new(&edges(&[0, 1, 1, 0]), 2).expect("a graph");
        let error = graph.softmax(&Tensor::zeros(&device, [3, 1]).expect("zeros")).expect_err("two edges").to_string();
        assert!(error.starts_with("edge_softmax of [3, 1] and [2]"), "{error}");
        let points = Tensor::zeros(&device, [1, 3, 2]).expect("zeros");
        assert!(points.nearest_neighbours(3, false).is_err() && points.nearest_neighbours(3, true).is_ok());
    }

    #[test]
    fn neighbours_of_every_set_become_edges_to_the_point() {
        let neighbours = Tensor::indices(&Cpu::device(), [2, 2, 1], &[1, 0, 1, 1]).expect("indices");
        let graph = Graph::from_neighbours(&neighbours).expect("a graph");
        assert_eq!((graph.nodes(), graph.edges()), (4, 4));
        assert_eq!(graph.sources().to_indices(), Ok(vec![1, 0, 3, 3]));
        assert_eq!(graph.targets().to_indices(), Ok(vec![0, 1, 2, 3]));
    }

    #[test]
    fn loops_are_replaced_and_take_means() {
        let device = Cpu::device();
        let edges = Tensor::indices(&device, [2, 4], &[0, 1, 2, 0, 1, 1, 1, 2]).expect("indices");
        let graph = Graph::new(&edges, 3).expect("a graph");
        let attributes = Tensor::new(&device, [4, 1], &[1.0, 50.0, 3.0, 7.0]).expect("values");
        let (looped, all) = graph.with_self_loops(Some(&attributes)).expect("loops");
        assert_eq!(looped.sources().to_indices(), Ok(vec![0, 2, 0, 0, 1, 2]));
        assert_eq!(all.expect("attributes").to_vec(), Ok(vec![1.0, 3.0, 7.0, 0.0, 2.0, 7.0]));
    }
}
