//! Bilinear interpolation between half-pixel centres; beyond the outermost centres their values hold.

use super::Code;

/// Rows of a frame that are stretched already, in quarters of a level.
#[derive(Default)]
pub(super) struct Scratch {
    above: Vec<i32>,
    below: Vec<i32>,
}

/// Twice the size of a frame: weights of 1/4 and 3/4 along both axes, in whole sixteenths. Missing values are taken as
/// numbers, which [`mend`] makes good.
pub(super) fn double<T: Code>(frame: &[T], size: usize, out: &mut [T], scratch: &mut Scratch) {
    let wide = 2 * size;
    scratch.above.resize(wide, 0);
    scratch.below.resize(wide, 0);
    let mut rows = frame.chunks_exact(size);
    let (Some(first), true) = (rows.next(), out.len() == wide * wide) else { return };
    let (top, rest) = out.split_at_mut(wide);
    let (between, bottom) = rest.split_at_mut(rest.len() - wide);
    stretch(first, &mut scratch.above);
    outermost(&scratch.above, top);
    for (row, pair) in rows.zip(between.chunks_exact_mut(2 * wide)) {
        stretch(row, &mut scratch.below);
        let (upper, lower) = pair.split_at_mut(wide);
        blend(&scratch.above, &scratch.below, upper);
        blend(&scratch.below, &scratch.above, lower);
        std::mem::swap(&mut scratch.above, &mut scratch.below);
    }
    outermost(&scratch.above, bottom);
}

/// A row of twice the points, times four.
fn stretch<T: Code>(row: &[T], wide: &mut [i32]) {
    let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
    let [start, inner @ .., end] = wide else { return };
    (*start, *end) = (4 * (*first).into(), 4 * (*last).into());
    for (pair, (a, b)) in inner.chunks_exact_mut(2).zip(row.iter().zip(row.iter().skip(1))) {
        let (a, b): (i32, i32) = ((*a).into(), (*b).into());
        pair.copy_from_slice(&[3 * a + b, a + 3 * b]);
    }
}

/// Three parts of the near row and one of the far one.
fn blend<T: Code>(near: &[i32], far: &[i32], out: &mut [T]) {
    for ((near, far), out) in near.iter().zip(far).zip(out) {
        *out = T::from_i32((3 * near + far + 8) >> 4);
    }
}

fn outermost<T: Code>(row: &[i32], out: &mut [T]) {
    for (value, out) in row.iter().zip(out) {
        *out = T::from_i32((value + 2) >> 2);
    }
}

/// Where a point lies along one axis: the point before or at it, the next one, and the weight of that among [`parts`].
#[derive(Clone, Copy)]
struct Place {
    lower: usize,
    upper: usize,
    share: i64,
}

/// Into how many parts the step between two points is cut, so that every point of the target lies on a cut.
fn parts(to: usize) -> usize {
    2 * to
}

fn places(from: usize, to: usize) -> Vec<Place> {
    let (last, parts) = (from - 1, parts(to));
    let place = |at: usize| {
        let cuts = ((2 * at + 1) * from).saturating_sub(to).min(last * parts);
        let lower = cuts / parts;
        Place { lower, upper: (lower + 1).min(last), share: (cuts % parts) as i64 }
    };
    (0..to).map(place).collect()
}

/// Makes good what [`double`] made of missing values: every point that one of them has a part in.
pub(super) fn mend<T: Code>(frame: &[T], size: usize, out: &mut [T]) {
    let (places, whole) = (places(size, 2 * size), parts(2 * size) as i64);
    let holes: Vec<bool> = frame.chunks_exact(size).map(super::has_missing).collect();
    for (y, (row, out)) in places.iter().zip(out.chunks_exact_mut(2 * size)).enumerate() {
        if !holes[row.lower] && !holes[row.upper] {
            continue;
        }
        let (above, below) = (&frame[row.lower * size..][..size], &frame[row.upper * size..][..size]);
        let nearest = if y / 2 == row.lower { above } else { below };
        let mut mended = 0;
        for x in (0..size).filter(|x| above[*x] == T::MISSING || below[*x] == T::MISSING) {
            let last = (2 * x + 3).min(2 * size);
            for at in mended.max((2 * x).saturating_sub(1))..last {
                let lost = nearest[at / 2] == T::MISSING;
                out[at] = if lost { T::MISSING } else { between([above, below], row.share, &places[at], whole) };
            }
            mended = last;
        }
    }
}

/// Any size, of a frame that may miss points; in whole numbers, so that halves are exact.
pub(super) fn any<T: Code>(frame: &[T], from: usize, out: &mut [T], to: usize) {
    let (places, whole) = (places(from, to), parts(to) as i64);
    for (row, out) in places.iter().zip(out.chunks_exact_mut(to)) {
        let (above, below) = (&frame[row.lower * from..][..from], &frame[row.upper * from..][..from]);
        for (column, out) in places.iter().zip(out) {
            *out = between([above, below], row.share, column, whole);
        }
    }
}

/// The mean of those of four points that are there, by weight, where they hold at least half of it.
fn between<T: Code>([above, below]: [&[T]; 2], down: i64, column: &Place, whole: i64) -> T {
    let right = column.share;
    let corners = [
        (above[column.lower], (whole - down) * (whole - right)),
        (above[column.upper], (whole - down) * right),
        (below[column.lower], down * (whole - right)),
        (below[column.upper], down * right),
    ];
    let there = corners.into_iter().filter(|(value, _)| *value != T::MISSING);
    let (total, weight) =
        there.fold((0, 0), |(total, sum), (value, weight)| (total + weight * i64::from(value.into()), sum + weight));
    if 2 * weight < whole * whole {
        return T::MISSING;
    }
    T::from_i32((2 * total + weight).div_euclid(2 * weight) as i32)
}
