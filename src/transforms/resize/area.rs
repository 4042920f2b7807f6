//! Means over the cells that a larger cell holds.

use super::{Code, has_missing};

/// Points of a row that are looked through together for missing ones.
const RUN: usize = 128;

/// Half the size of a frame. Missing values are taken as numbers, which [`mend`] makes good.
pub(super) fn halve<T: Code>(frame: &[T], from: usize, out: &mut [T]) {
    for (rows, out) in frame.chunks_exact(2 * from).zip(out.chunks_exact_mut(from / 2)) {
        let (above, below) = rows.split_at(from);
        for ((a, b), out) in above.chunks_exact(2).zip(below.chunks_exact(2)).zip(out) {
            let total = a.iter().chain(b).fold(0_i32, |total, value| total + (*value).into());
            *out = T::from_i32((total + 2) >> 2);
        }
    }
}

/// Makes good what [`halve`] made of missing values.
pub(super) fn mend<T: Code>(frame: &[T], from: usize, out: &mut [T]) {
    for (rows, out) in frame.chunks_exact(2 * from).zip(out.chunks_exact_mut(from / 2)) {
        let (above, below) = rows.split_at(from);
        for ((above, below), out) in above.chunks(RUN).zip(below.chunks(RUN)).zip(out.chunks_mut(RUN / 2)) {
            if has_missing(above) || has_missing(below) {
                mend_run(above, below, out);
            }
        }
    }
}

fn mend_run<T: Code>(above: &[T], below: &[T], out: &mut [T]) {
    for ((a, b), out) in above.chunks_exact(2).zip(below.chunks_exact(2)).zip(out) {
        let there = || a.iter().chain(b).filter(|value| **value != T::MISSING);
        let count = there().count() as i64;
        if count < 4 {
            *out = rounded(there().map(|value| i64::from((*value).into())).sum(), count);
        }
    }
}

/// A whole fraction of the size, of a frame that may miss points.
pub(super) fn mean<T: Code>(frame: &[T], from: usize, out: &mut [T], to: usize) {
    let factor = from / to;
    let (mut totals, mut counts) = (vec![0; from], vec![0; from]);
    for (rows, out) in frame.chunks_exact(factor * from).zip(out.chunks_exact_mut(to)) {
        totals.fill(0);
        counts.fill(0);
        for row in rows.chunks_exact(from) {
            add(row, &mut totals, &mut counts);
        }
        for ((totals, counts), out) in totals.chunks_exact(factor).zip(counts.chunks_exact(factor)).zip(out) {
            *out = divided(totals, counts);
        }
    }
}

/// Adds the points of one row that are there to the sums and counts of their columns, without a branch.
fn add<T: Code>(row: &[T], totals: &mut [i32], counts: &mut [i32]) {
    for ((value, total), count) in row.iter().zip(totals).zip(counts) {
        let there = *value != T::MISSING;
        *total += if there { (*value).into() } else { 0 };
        *count += i32::from(there);
    }
}

/// The mean of some columns; missing where nothing of them is there.
fn divided<T: Code>(totals: &[i32], counts: &[i32]) -> T {
    let sum = |numbers: &[i32]| numbers.iter().map(|number| i64::from(*number)).sum::<i64>();
    rounded(sum(totals), sum(counts))
}

/// A mean, halves upwards; missing where nothing is there.
fn rounded<T: Code>(total: i64, count: i64) -> T {
    if count == 0 { T::MISSING } else { T::from_i32((2 * total + count).div_euclid(2 * count) as i32) }
}
