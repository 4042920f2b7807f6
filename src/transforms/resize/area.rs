//! Means over the cells that a larger cell holds.

use super::Code;

/// Half the size of a frame that misses nothing.
pub(super) fn halve<T: Code>(frame: &[T], from: usize, out: &mut [T]) {
    for (rows, out) in frame.chunks_exact(2 * from).zip(out.chunks_exact_mut(from / 2)) {
        let (above, below) = rows.split_at(from);
        for ((a, b), out) in above.chunks_exact(2).zip(below.chunks_exact(2)).zip(out) {
            *out = T::from_i32((T::pair(a) + T::pair(b) + 2) >> 2);
        }
    }
}

/// Values of one column that are there, within a row of larger cells.
#[derive(Clone, Copy, Default)]
struct Column {
    total: i32,
    count: i32,
}

/// A whole fraction of the size, of a frame that may miss points.
pub(super) fn mean<T: Code>(frame: &[T], from: usize, out: &mut [T], to: usize) {
    let factor = from / to;
    let mut columns = vec![Column::default(); from];
    for (rows, out) in frame.chunks_exact(factor * from).zip(out.chunks_exact_mut(to)) {
        columns.fill(Column::default());
        for row in rows.chunks_exact(from) {
            add(row, &mut columns);
        }
        for (columns, out) in columns.chunks_exact(factor).zip(out) {
            *out = divided(columns);
        }
    }
}

/// Adds the points of one row that are there, without a branch.
fn add<T: Code>(row: &[T], columns: &mut [Column]) {
    for (value, column) in row.iter().zip(columns) {
        let there = i32::from(*value != T::MISSING);
        column.total += (*value).into() * there;
        column.count += there;
    }
}

/// The mean of some columns; missing where nothing of them is there.
fn divided<T: Code>(columns: &[Column]) -> T {
    let (total, count) = columns.iter().fold((0_i64, 0_i64), |(total, count), column| {
        (total + i64::from(column.total), count + i64::from(column.count))
    });
    let mean = match count {
        0 => return T::MISSING,
        // Nearly every cell of a real frame.
        4 => (total + 2) >> 2,
        _ => (2 * total + count).div_euclid(2 * count),
    };
    T::from_i32(mean as i32)
}
