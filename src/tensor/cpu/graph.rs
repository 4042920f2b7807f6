//! Graphs: every node gathers from the edges that end in it, in their order.
//!
//! Sums over edges are in f64: gathering takes longer, and gradients of attention are small differences of them.

use rayon::prelude::*;

use crate::tensor::ops::graph::{Edges, Graphs, Neighbours};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Nodes that one task works on.
const NODES: usize = 16;
/// Channels that are summed at once.
const RUN: usize = 32;

impl Edges<'_> {
    /// The edges that end in a node.
    #[inline(always)]
    fn ending_in(&self, node: usize) -> &[i32] {
        let offsets = self.offsets.host::<i32>();
        &self.order.host::<i32>()[offsets[node] as usize..offsets[node + 1] as usize]
    }
}

impl Graphs for Cpu {
    fn nearest_neighbours(&self, points: Slice<'_>, sizes: Neighbours) -> Result<Buffer> {
        let (values, level) = (self.read(points)?, self.level);
        let Neighbours { batch, points, dimensions, count, own } = sizes;
        let mut block = self.take(batch * points * count)?;
        let tasks = block.as_slice_mut::<i32>().par_chunks_mut((NODES * count).max(1)).enumerate();
        tasks.try_for_each(|(task, to)| -> Result<()> {
            let [distances] = self.scratch([2 * points]);
            let mut distances = distances?;
            let distances = distances.as_slice_mut::<f64>();
            for (node, to) in to.chunks_exact_mut(count).enumerate() {
                let (set, node) = ((task * NODES + node) / points, (task * NODES + node) % points);
                let set = &values[set * points * dimensions..][..points * dimensions];
                level.run(
                    #[inline(always)]
                    || squared_distances(set, dimensions, node, distances),
                );
                nearest(distances, if own { None } else { Some(node) }, to);
            }
            Ok(())
        })?;
        self.finish(block, DType::I32)
    }

    fn edge_softmax(&self, scores: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let (values, targets) = (self.read(scores)?, edges.targets.host::<i32>());
        let heads = scores.len / targets.len().max(1);
        // The greatest score of each node and head, and the sum of e^(score − greatest).
        let mut sums = self.take(edges.nodes * heads * 4)?;
        let nodes = sums.as_slice_mut::<f64>().par_chunks_mut((2 * heads).max(1)).enumerate();
        nodes.for_each(|(node, to)| {
            for (head, to) in to.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let scores = || edges.ending_in(node).iter().map(|edge| values[*edge as usize * heads + head].into());
                let greatest = scores().fold(f64::NEG_INFINITY, f64::max);
                *to = [greatest, scores().map(|score: f64| (score - greatest).exp()).sum()];
            }
        });
        let (sums, _) = sums.as_slice::<f64>().as_chunks::<2>();
        self.pieces(
            scores.len,
            scores.dtype,
            #[inline(always)]
            |first, piece| {
                for (i, to) in piece.iter_mut().enumerate() {
                    let [greatest, sum] = sums[targets[(first + i) / heads] as usize * heads + (first + i) % heads];
                    *to = ((f64::from(values[first + i]) - greatest).exp() / sum) as f32;
                }
            },
        )
    }

    fn edge_softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let (values, dy_values, targets) = (self.read(y)?, self.read(dy)?, edges.targets.host::<i32>());
        let heads = y.len / targets.len().max(1);
        let mut sums = self.take(edges.nodes * heads * 2)?;
        sums.as_slice_mut::<f64>().par_chunks_mut(heads.max(1)).enumerate().for_each(|(node, to)| {
            for (head, to) in to.iter_mut().enumerate() {
                let at = edges.ending_in(node).iter().map(|edge| *edge as usize * heads + head);
                *to = at.map(|at| f64::from(values[at]) * f64::from(dy_values[at])).sum();
            }
        });
        let sums = sums.as_slice::<f64>();
        self.pieces(
            y.len,
            y.dtype,
            #[inline(always)]
            |first, piece| {
                for (i, to) in piece.iter_mut().enumerate() {
                    let sum = sums[targets[(first + i) / heads] as usize * heads + (first + i) % heads];
                    *to = (f64::from(values[first + i]) * (f64::from(dy_values[first + i]) - sum)) as f32;
                }
            },
        )
    }

    fn aggregate(&self, weights: Slice<'_>, values: Slice<'_>, edges: Edges<'_>) -> Result<Buffer> {
        let (weight_values, node_values, level) = (self.read(weights)?, self.read(values)?, self.level);
        let sources = edges.sources.host::<i32>();
        let (heads, width) = (weights.len / sources.len().max(1), values.len / edges.nodes.max(1));
        let channels = (width / heads.max(1)).max(1);
        let runs = channels.div_ceil(RUN);
        let mut block = self.take(values.len)?;
        let tasks = block.values_mut().par_chunks_mut((NODES * width).max(1)).enumerate();
        tasks.for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    for (node, to) in to.chunks_exact_mut(width).enumerate() {
                        let ending = edges.ending_in(task * NODES + node);
                        for (run, to) in to.chunks_mut(channels).flat_map(|head| head.chunks_mut(RUN)).enumerate() {
                            let (head, first) = (run / runs, run / runs * channels + run % runs * RUN);
                            let term = |edge: &i32| {
                                let from = sources[*edge as usize] as usize * width + first;
                                (weight_values[*edge as usize * heads + head], &node_values[from..])
                            };
                            sum_scaled(ending.iter().map(term), to);
                        }
                    }
                },
            );
        });
        self.finish(block, values.dtype)
    }

    fn edge_dot(&self, targets: Slice<'_>, sources: Slice<'_>, heads: usize, edges: Edges<'_>) -> Result<Buffer> {
        let (target_values, source_values) = (self.read(targets)?, self.read(sources)?);
        let (to, from) = (edges.targets.host::<i32>(), edges.sources.host::<i32>());
        let channels = sources.len / (edges.nodes * heads).max(1);
        let level = self.level;
        let mut block = self.take(to.len() * heads)?;
        let each = (PIECE / channels.max(1)).max(1);
        block.values_mut().par_chunks_mut(each).enumerate().for_each(|(task, results)| {
            level.run(
                #[inline(always)]
                || {
                    for (i, result) in results.iter_mut().enumerate() {
                        let (edge, head) = ((task * each + i) / heads, (task * each + i) % heads);
                        let row = |node: i32| (node as usize * heads + head) * channels..;
                        let pairs = target_values[row(to[edge])].iter().zip(&source_values[row(from[edge])]);
                        let products = pairs.take(channels).map(|(a, b)| f64::from(*a) * f64::from(*b));
                        *result = products.sum::<f64>() as f32;
                    }
                },
            );
        });
        self.finish(block, sources.dtype)
    }
}

/// Σ weight · values over some edges, of at most [`RUN`] values each.
#[inline(always)]
fn sum_scaled<'a>(terms: impl Iterator<Item = (f32, &'a [f32])>, to: &mut [f32]) {
    let mut sums = [0f64; RUN];
    let sums = &mut sums[..to.len()];
    for (weight, values) in terms {
        sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(weight) * f64::from(*x));
    }
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
}

/// Distances in f64: differences of f32 are exact but for the last place, and equal distances are equal.
#[inline(always)]
fn squared_distances(set: &[f32], dimensions: usize, node: usize, to: &mut [f64]) {
    let own = &set[node * dimensions..][..dimensions];
    for (point, to) in to.iter_mut().enumerate() {
        let other = &set[point * dimensions..][..dimensions];
        let squares = own.iter().zip(other).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        *to = squares.sum();
    }
}

/// The least distances in order, by insertion; NaN is farther than any number.
fn nearest(distances: &[f64], without: Option<usize>, to: &mut [i32]) {
    let (count, mut found) = (to.len(), 0);
    for (point, distance) in distances.iter().enumerate().filter(|(point, _)| Some(*point) != without) {
        let nearer = |than: &i32| distance.total_cmp(&distances[*than as usize]).is_lt();
        if found == count && !to.last().is_some_and(nearer) {
            continue;
        }
        let at = to[..found].partition_point(|than| !nearer(than));
        found = (found + 1).min(count);
        to[at..found].rotate_right(1);
        to[at] = point as i32;
    }
}
