//! Means over the cells that a larger cell holds.

use super::Code;

/// Half the size of a frame that misses nothing.
pub(super) fn halve<T: Code>(frame: &[T], from: usize, out: &mut [T]) {
    for (rows, out) in frame.chunks_exact(2 * from).zip(out.chunks_exact_mut(from / 2)) {
        let (above, below) = rows.split_at(from);
        for ((a, b), out) in above.chunks_exact(2).zip(below.chunks_exact(2)).zip(out) {
            let total = a.iter().chain(b).fold(0_i32, |total, value| total + (*value).into());
            *out = T::from_i32((total + 2) >> 2);
        }
    }
}

/// A whole fraction of the size, of a frame that may miss points.
pub(super) fn mean<T: Code>(frame: &[T], from: usize, out: &mut [T], to: usize) {
    let factor = from / to;
    let mut sums = vec![(0_i64, 0_i64); to];
    for (rows, out) in frame.chunks_exact(factor * from).zip(out.chunks_exact_mut(to)) {
        sums.fill((0, 0));
        for row in rows.chunks_exact(from) {
            add(row, factor, &mut sums);
        }
        for ((total, count), out) in sums.iter().zip(out) {
            *out = if *count == 0 { T::MISSING } else { T::from_i32((2 * total + count).div_euclid(2 * count) as i32) };
        }
    }
}

/// Adds the points of one row that are there to the sums and counts of the larger cells.
fn add<T: Code>(row: &[T], factor: usize, sums: &mut [(i64, i64)]) {
    for (cells, (total, count)) in row.chunks_exact(factor).zip(sums) {
        for cell in cells.iter().filter(|cell| **cell != T::MISSING) {
            *total += i64::from((*cell).into());
            *count += 1;
        }
    }
}
