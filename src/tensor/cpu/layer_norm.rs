//! Normalisation of rows: mean and variance in two passes over a row that lies in the cache.

use rayon::prelude::*;

use crate::tensor::ops::norm::{LayerGradients, LayerSizes};
use crate::tensor::{Buffer, Result, Slice};

use super::row_sums::sums;
use super::{Block, Cpu, PIECE};

/// Rows of one task, whose gradients of the weights are summed in f32.
const ROWS: usize = 32;
/// The mean as f32, what that loses, and 1 / √(variance + ε).
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> [f32; 3] {
    let count = row.len() as f64;
    let [sum] = sums(
        [row],
        #[inline(always)]
        |[x]| [x],
    );
    let mean = (sum / count) as f32;
    let [lost, squares] = sums(
        [row],
        #[inline(always)]
        |[x]| [x - mean, (x - mean) * (x - mean)],
    );
    let lost = lost / count;
    let variance = (squares / count - lost * lost).max(0.0);
    [mean, lost as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32]
}

/// Factors of each element of a row, or the same one everywhere.
fn factors(cpu: &Cpu, given: Option<Slice<'_>>, len: usize, other: f32) -> Result<Block> {
    let mut block = cpu.take(len)?;
    match given {
        Some(given) => block.values_mut().copy_from_slice(&cpu.read(given)?),
        None => block.values_mut().fill(other),
    }
    Ok(block)
}

pub(super) fn forward(
    cpu: &Cpu,
    x: Slice<'_>,
    weight: Option<Slice<'_>>,
    bias: Option<Slice<'_>>,
    sizes: &LayerSizes,
) -> Result<Buffer> {
    let (values, len, level) = (cpu.read(x)?, sizes.len.max(1), cpu.level);
    let (weight, bias) = (factors(cpu, weight, sizes.len, 1.0)?, factors(cpu, bias, sizes.len, 0.0)?);
    let mut result = cpu.take(x.len)?;
    let many = len * (PIECE / len).max(1);
    let tasks = result.values_mut().par_chunks_mut(many).zip(values.par_chunks(many));
    tasks.for_each(|(to, x)| {
        level.run(
            #[inline(always)]
            || {
                for (to, x) in to.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
                    row(x, weight.values(), bias.values(), sizes.epsilon, to);
                }
            },
        );
    });
    cpu.finish(result, x.dtype)
}

#[inline(always)]
fn row(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, to: &mut [f32]) {
    let [mean, lost, slope] = statistics(x, epsilon);
    for ((to, x), (weight, bias)) in to.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *to = (x - mean - lost) * slope * weight + bias;
    }
}

pub(super) fn backward(
    cpu: &Cpu,
    x: Slice<'_>,
    dy: Slice<'_>,
    weight: Option<Slice<'_>>,
    sizes: &LayerSizes,
) -> Result<LayerGradients> {
    let (values, dy_values, len, level) = (cpu.read(x)?, cpu.read(dy)?, sizes.len.max(1), cpu.level);
    let weight = factors(cpu, weight, sizes.len, 1.0)?;
    let (mut dx, tasks) = (cpu.take(x.len)?, sizes.rows.div_ceil(ROWS));
    let mut sums = cpu.take(tasks * 2 * len)?;
    let rows = values.par_chunks(ROWS * len).zip(dy_values.par_chunks(ROWS * len));
    let to = dx.values_mut().par_chunks_mut(ROWS * len).zip(sums.values_mut().par_chunks_mut(2 * len));
    rows.zip(to).for_each(|(from, to)| {
        level.run(
            #[inline(always)]
            || rows_back(from, weight.values(), sizes.epsilon, to),
        );
    });
    let total = |first: usize| -> Result<Buffer> {
        let mut total = cpu.take(sizes.len)?;
        add_tasks(sums.values(), first, len, total.values_mut());
        Ok(Buffer::Cpu(total))
    };
    Ok(LayerGradients { x: cpu.finish(dx, x.dtype)?, weight: total(0)?, bias: total(len)? })
}

/// The gradients of some rows, and the sums over them that are the gradients of weight and bias.
#[inline(always)]
fn rows_back((x, dy): (&[f32], &[f32]), weight: &[f32], epsilon: f32, (to, sums): (&mut [f32], &mut [f32])) {
    let len = weight.len().max(1);
    sums.fill(0.0);
    let (of_weight, of_bias) = sums.split_at_mut(len);
    for ((x, dy), to) in x.chunks_exact(len).zip(dy.chunks_exact(len)).zip(to.chunks_exact_mut(len)) {
        row_back([x, dy], weight, statistics(x, epsilon), [&mut *of_weight, &mut *of_bias], to);
    }
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
    let total = sums(
        [dy, weight, &*to],
        #[inline(always)]
        |[dy, weight, normal]| [dy * weight, dy * weight * normal],
    );
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
