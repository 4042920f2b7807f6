//! Nearest neighbours, and attention over edges.

use super::{Array, Case, Input};
use crate::tensor::{DType, Graph, GraphAttention, Result, Tensor};

/// Edges of a small graph: a node without edges, a loop, an edge twice.
const EDGES: [[i32; 11]; 2] = [[0, 1, 2, 2, 3, 5, 5, 1, 4, 0, 0], [1, 0, 1, 0, 3, 1, 2, 4, 4, 2, 1]];
/// Nodes of the small graph.
const NODES: usize = 6;
/// The slope that the paper has.
const SLOPE: f32 = 0.2;

fn graph(x: &Tensor) -> Result<Graph> {
    Graph::new(&Tensor::indices(x.device(), [2, 11], EDGES.as_flattened())?, NODES)
}

fn ends(edge: usize) -> (usize, usize) {
    (EDGES[0][edge] as usize, EDGES[1][edge] as usize)
}

/// e^score over the sum of those of edges with the same target.
fn softmax(scores: &Array) -> Array {
    Array::from_fn(&scores.shape, |i| {
        let same = (0..EDGES[0].len()).filter(|edge| ends(*edge).1 == ends(i[0]).1);
        scores.at(i).exp() / same.map(|edge| scores.at(&[edge, i[1]]).exp()).sum::<f64>()
    })
}

fn aggregate(weights: &Array, values: &Array) -> Array {
    Array::from_fn(&values.shape, |i| {
        let into = (0..EDGES[0].len()).filter(|edge| ends(*edge).1 == i[0]);
        into.map(|edge| weights.at(&[edge, i[1]]) * values.at(&[ends(edge).0, i[1], i[2]])).sum()
    })
}

/// Features, two vectors, scores of edges and a bias: new features and the weights.
fn attention(x: &[Array], concat: bool) -> Vec<Array> {
    let [ref nodes, ref source, ref target, ref edge, ref bias] = *x else { return Vec::new() };
    let (heads, channels) = (nodes.shape[1], nodes.shape[2]);
    let dot = |node: usize, head: usize, by: &Array| -> f64 {
        (0..channels).map(|c| nodes.at(&[node, head, c]) * by.at(&[head, c])).sum()
    };
    let weights = softmax(&Array::from_fn(&edge.shape, |i| {
        let score = dot(ends(i[0]).0, i[1], source) + dot(ends(i[0]).1, i[1], target) + edge.at(i);
        if score > 0.0 { score } else { f64::from(SLOPE) * score }
    }));
    let sums = aggregate(&weights, nodes);
    let width = if concat { heads * channels } else { channels };
    let y = Array::from_fn(&[NODES, width], |i| {
        let mean = |head| sums.at(&[i[0], head, i[1] % channels]) / heads as f64;
        bias.at(&i[1..])
            + if concat { sums.at(&[i[0], i[1] / channels, i[1] % channels]) } else { (0..heads).map(mean).sum() }
    });
    vec![y, weights]
}

fn attend(concat: bool) -> Case {
    let (heads, channels) = (3, 5);
    let width = if concat { heads * channels } else { channels };
    let shapes: [&[usize]; 5] =
        [&[NODES, heads, channels], &[heads, channels], &[heads, channels], &[11, heads], &[width]];
    let run = move |x: &[Tensor]| {
        let [source, target, edge, bias] = [1, 2, 3, 4].map(|i| &x[i]);
        let (edge, bias) = (Some(edge), Some(bias));
        let (y, weights) = x[0].graph_attention(
            &graph(&x[0])?,
            GraphAttention { source, target, edge, negative_slope: SLOPE, concat, bias },
        )?;
        Ok(vec![y, weights])
    };
    let inputs = shapes.into_iter().map(Input::normal).collect();
    Case::new(format!("graph/attention concat {concat}"), inputs, run, move |x| attention(x, concat))
}

fn neighbours(shape: [usize; 3], count: usize, own: bool, input: Input) -> Case {
    let run = move |x: &[Tensor]| {
        let points = match x[0].dtype() {
            DType::I32 => {
                let values: Vec<f32> = x[0].to_indices()?.iter().map(|i| *i as f32).collect();
                Tensor::new(x[0].device(), x[0].shape(), &values)?
            }
            _ => x[0].clone(),
        };
        let indices = points.nearest_neighbours(count, own)?;
        let values: Vec<f32> = indices.to_indices()?.iter().map(|i| *i as f32).collect();
        Ok(vec![Tensor::new(x[0].device(), indices.shape(), &values)?])
    };
    let plain = move |x: &[Array]| {
        let distance = |set: usize, a: usize, b: usize| -> f64 {
            (0..shape[2]).map(|d| (x[0].at(&[set, a, d]) - x[0].at(&[set, b, d])).powi(2)).sum()
        };
        vec![Array::from_fn(&[shape[0], shape[1], count], |i| {
            let mut all: Vec<usize> = (0..shape[1]).filter(|point| own || *point != i[1]).collect();
            all.sort_by(|a, b| distance(i[0], i[1], *a).total_cmp(&distance(i[0], i[1], *b)));
            all[i[2]] as f64
        })]
    };
    Case::new(format!("graph/neighbours {shape:?} {count} own {own}"), vec![input], run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let points = |shape: [usize; 3]| Input::normal(&shape).constant();
    // Points on few places have many equal distances.
    let places = |shape: [usize; 3]| Input::below(&shape, 3);
    let mut cases = vec![
        neighbours([2, 23, 3], 5, false, points([2, 23, 3])),
        neighbours([1, 9, 2], 9, true, points([1, 9, 2])),
        neighbours([1, 1, 2], 1, true, points([1, 1, 2])),
        neighbours([1, 40, 2], 6, false, places([1, 40, 2])),
        attend(true),
        attend(false),
    ];
    let softmax_of = |x: &[Tensor]| Ok(vec![graph(&x[0])?.softmax(&x[0])?]);
    cases.push(Case::new("graph/softmax", vec![Input::normal(&[11, 3])], softmax_of, |x| vec![softmax(&x[0])]));
    let inputs = vec![Input::normal(&[11, 2]), Input::normal(&[NODES, 2, 17])];
    let sums = |x: &[Tensor]| Ok(vec![graph(&x[0])?.aggregate(&x[0], &x[1])?]);
    cases.push(Case::new("graph/aggregate", inputs, sums, |x| vec![aggregate(&x[0], &x[1])]));
    let many = Input::normal(&[1, 4096, 2]).constant();
    let run = |x: &[Tensor]| Ok(vec![x[0].nearest_neighbours(8, false)?]);
    cases.push(Case::speed("graph/8 neighbours of 4096", vec![many], run));
    cases
}
