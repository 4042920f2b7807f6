//! Sums over elements of rows, and their greatest: some lanes side by side in f32, spans of them in f64.

use super::SPAN;

/// Results kept side by side, so that no operation waits for the one before.
const LANES: usize = 16;

/// Sums of functions of the elements that stand at one place of several rows of equal length.
#[inline(always)]
pub(super) fn sums<const ROWS: usize, const SUMS: usize>(
    rows: [&[f32]; ROWS],
    of: impl Fn([f32; ROWS]) -> [f32; SUMS],
) -> [f64; SUMS] {
    let len = rows.first().map_or(0, |row| row.len());
    let mut total = [0f64; SUMS];
    for first in (0..len).step_by(SPAN) {
        let end = len.min(first + SPAN);
        let span = std::array::from_fn(
            #[inline(always)]
            |row| &rows[row][first..end],
        );
        let part = span_sums(span, &of);
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

#[inline(always)]
fn span_sums<const ROWS: usize, const SUMS: usize>(
    rows: [&[f32]; ROWS],
    of: impl Fn([f32; ROWS]) -> [f32; SUMS],
) -> [f64; SUMS] {
    let mut lanes = [[0f32; LANES]; SUMS];
    let len = rows.first().map_or(0, |row| row.len());
    for chunk in 0..len / LANES {
        let part: [&[f32]; ROWS] = std::array::from_fn(
            #[inline(always)]
            |row| &rows[row][chunk * LANES..][..LANES],
        );
        for lane in 0..LANES {
            add(&mut lanes, lane, of(part.map(|row| row[lane])));
        }
    }
    for (lane, at) in (len / LANES * LANES..len).enumerate() {
        add(&mut lanes, lane, of(rows.map(|row| row[at])));
    }
    lanes.map(|lanes| together(lanes.map(f64::from), |x, y| x + y))
}

#[inline(always)]
fn add<const SUMS: usize>(lanes: &mut [[f32; LANES]; SUMS], lane: usize, more: [f32; SUMS]) {
    lanes.iter_mut().zip(more).for_each(|(lanes, more)| lanes[lane] += more);
}

/// The lanes put together in halves.
#[inline(always)]
fn together<T: Copy>(lanes: [T; LANES], of: impl Fn(T, T) -> T) -> T {
    let eight: [T; 8] = std::array::from_fn(|i| of(lanes[i], lanes[i + 8]));
    let four: [T; 4] = std::array::from_fn(|i| of(eight[i], eight[i + 4]));
    of(of(four[0], four[2]), of(four[1], four[3]))
}

/// The greatest of some numbers; those that are not numbers are left out.
#[inline(always)]
pub(super) fn greatest(x: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        lanes.iter_mut().zip(x).for_each(|(lane, x)| *lane = greater(*lane, *x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane = greater(*lane, *x));
    together(lanes, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length_are_summed() {
        for len in [0, 1, 15, 16, 17, 100, SPAN - 1, SPAN, SPAN + 33] {
            let (x, y): (Vec<f32>, Vec<f32>) = (0..len).map(|i| ((i % 7) as f32, (i % 3) as f32)).unzip();
            let wanted = (0..len).fold([0.0; 2], |[a, b], i| [a + (i % 7) as f64, b + ((i % 7) * (i % 3)) as f64]);
            assert_eq!(sums([&x, &y], |[x, y]| [x, x * y]), wanted, "{len}");
        }
    }

    #[test]
    fn the_greatest_is_found_in_every_lane() {
        for place in 0..40 {
            let mut x = [f32::NAN; 40];
            x[39 - place] = -7.0;
            x[place] = -3.0;
            assert_eq!(greatest(&x), -3.0);
        }
        assert_eq!(greatest(&[f32::NAN]), f32::NEG_INFINITY);
    }
}
