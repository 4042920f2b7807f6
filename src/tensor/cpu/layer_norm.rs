//! Normalisation of rows: mean and variance in two passes over a row that lies in the cache.

use rayon::prelude::*;

use crate::tensor::ops::norm::{LayerGradients, LayerSizes};
use crate::tensor::{Buffer, Slice};

use super::{Block, Cpu, PIECE};

/// Rows of one task, whose gradients of the weights are summed in f32.
const ROWS: usize = 32;
/// Elements that are summed in f32 before their sum is added in f64.
const SPAN: usize = 1 << 12;
/// Sums kept side by side.
const LANES: usize = 16;

/// Two sums over the elements of two rows.
#[inline(always)]
fn sums(x: &[f32], y: &[f32], of: impl Fn(f32, f32) -> [f32; 2]) -> [f64; 2] {
    let mut total = [0f64; 2];
    for (x, y) in x.chunks(SPAN).zip(y.chunks(SPAN)) {
        let mut lanes = [[0f32; LANES]; 2];
        let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in x.iter().zip(y) {
            for lane in 0..LANES {
                let [a, b] = of(x[lane], y[lane]);
                lanes[0][lane] += a;
                lanes[1][lane] += b;
            }
        }
        for (lane, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
            let [a, b] = of(*x, *y);
            lanes[0][lane] += a;
            lanes[1][lane] += b;
        }
        for (total, lanes) in total.iter_mut().zip(&lanes) {
            *total += lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
        }
    }
    total
}

/// The mean as f32, what that loses, and 1 / √(variance + ε).
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> [f32; 3] {
    let count = row.len() as f64;
    let [sum, _] = sums(
        row,
        row,
        #[inline(always)]
        |x, _| [x, 0.0],
    );
    let mean = (sum / count) as f32;
    let [lost, squares] = sums(
        row,
        row,
        #[inline(always)]
        |x, _| [x - mean, (x - mean) * (x - mean)],
    );
    let lost = lost / count;
    let variance = (squares / count - lost * lost).max(0.0);
    [mean, lost as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32]
}

/// Factors of each element of a row, or the same one everywhere.
fn factors(cpu: &Cpu, given: Option<Slice<'_>>, len: usize, other: f32) -> Block {
    let mut block = cpu.take(len);
    match given {
        Some(given) => block.values_mut().copy_from_slice(&cpu.read(given)),
        None => block.values_mut().fill(other),
    }
    block
}

pub(super) fn forward(
    cpu: &Cpu,
    x: Slice<'_>,
    weight: Option<Slice<'_>>,
    bias: Option<Slice<'_>>,
    sizes: &LayerSizes,
) -> Buffer {
    let (values, len, level) = (cpu.read(x), sizes.len, cpu.level);
    let (weight, bias) = (factors(cpu, weight, len, 1.0), factors(cpu, bias, len, 0.0));
    let mut result = cpu.take(x.len);
    let rows = result.values_mut().par_chunks_mut(len.max(1)).zip(values.par_chunks(len.max(1)));
    rows.with_min_len((PIECE / len.max(1)).max(1)).for_each(|(to, x)| {
        level.run(
            #[inline(always)]
            || {
                let [mean, lost, slope] = statistics(x, sizes.epsilon);
                let factors = weight.values().iter().zip(bias.values());
                for ((to, x), (weight, bias)) in to.iter_mut().zip(x).zip(factors) {
                    *to = (x - mean - lost) * slope * weight + bias;
                }
            },
        );
    });
    cpu.finish(result, x.dtype)
}

pub(super) fn backward(
    cpu: &Cpu,
    x: Slice<'_>,
    dy: Slice<'_>,
    weight: Option<Slice<'_>>,
    sizes: &LayerSizes,
) -> LayerGradients {
    let (values, dy_values, len, level) = (cpu.read(x), cpu.read(dy), sizes.len.max(1), cpu.level);
    let weight = factors(cpu, weight, sizes.len, 1.0);
    let (mut dx, tasks) = (cpu.take(x.len), sizes.rows.div_ceil(ROWS));
    let mut sums = cpu.take(tasks * 2 * len);
    let rows = values.par_chunks(ROWS * len).zip(dy_values.par_chunks(ROWS * len));
    let to = dx.values_mut().par_chunks_mut(ROWS * len).zip(sums.values_mut().par_chunks_mut(2 * len));
    rows.zip(to).for_each(|((x, dy), (to, sums))| {
        level.run(
            #[inline(always)]
            || {
                sums.fill(0.0);
                let (of_weight, of_bias) = sums.split_at_mut(len);
                for ((x, dy), to) in x.chunks_exact(len).zip(dy.chunks_exact(len)).zip(to.chunks_exact_mut(len)) {
                    let statistics = statistics(x, sizes.epsilon);
                    row_back([x, dy], weight.values(), statistics, [&mut *of_weight, &mut *of_bias], to);
                }
            },
        );
    });
    let [of_weight, of_bias] = [0, len].map(|first| {
        let mut total = cpu.take(sizes.len);
        add_tasks(sums.values(), first, len, total.values_mut());
        Buffer::Cpu(total)
    });
    LayerGradients { x: cpu.finish(dx, x.dtype), weight: of_weight, bias: of_bias }
}

/// The gradient of one row: dx = (g − mean(g) − x̂ · mean(g · x̂)) / σ with g = w · dy.
#[inline(always)]
fn row_back(
    [x, dy]: [&[f32]; 2],
    weight: &[f32],
    [mean, lost, slope]: [f32; 3],
    [of_weight, of_bias]: [&mut [f32]; 2],
    to: &mut [f32],
) {
    for ((((to, x), dy), of_weight), of_bias) in to.iter_mut().zip(x).zip(dy).zip(of_weight).zip(of_bias) {
        let normal = (x - mean - lost) * slope;
        *of_weight += dy * normal;
        *of_bias += dy;
        *to = normal;
    }
    let mut total = [0f64; 2];
    for ((normal, dy), weight) in to.chunks(SPAN).zip(dy.chunks(SPAN)).zip(weight.chunks(SPAN)) {
        let mut gradient = [0f32; SPAN];
        let gradient = &mut gradient[..dy.len()];
        gradient.iter_mut().zip(dy.iter().zip(weight)).for_each(|(to, (dy, weight))| *to = dy * weight);
        let part = sums(
            gradient,
            normal,
            #[inline(always)]
            |g, normal| [g, g * normal],
        );
        total[0] += part[0];
        total[1] += part[1];
    }
    let [mean, along] = total.map(|sum| (sum / x.len() as f64) as f32);
    for ((to, dy), weight) in to.iter_mut().zip(dy).zip(weight) {
        *to = slope * (dy * weight - mean - *to * along);
    }
}

/// Adds up what tasks summed, one task after the other.
fn add_tasks(sums: &[f32], first: usize, len: usize, to: &mut [f32]) {
    /// Columns of one task.
    const STRIP: usize = 64;
    to.par_chunks_mut(STRIP).enumerate().for_each(|(strip, to)| {
        let mut total = [0f64; STRIP];
        for task in sums.chunks_exact(2 * len) {
            let from = &task[first + strip * STRIP..];
            total.iter_mut().zip(from).for_each(|(total, x)| *total += f64::from(*x));
        }
        to.iter_mut().zip(total).for_each(|(to, total)| *to = total as f32);
    });
}
