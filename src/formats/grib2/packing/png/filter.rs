//! The filters of image rows (ISO/IEC 15948, chapter 9), undone.
//!
//! Radar mosaics are the same value over most of a row, so a run of pixels that goes on with what is to its left and
//! above it is written at once: every filter leaves zeros of it.

/// Bytes looked at together, a multiple of all pixel sizes.
const RUN: usize = 24;

/// Undoes filter `kind` of `row` in place, pixels being `pixel_bytes` apart; false where there is no such filter.
pub(super) fn undo(kind: u8, row: &mut [u8], prior: &[u8], pixel_bytes: u32) -> bool {
    match (kind, pixel_bytes) {
        (0, _) => (),
        (2, _) => row.iter_mut().zip(prior).for_each(|(byte, above)| *byte = byte.wrapping_add(*above)),
        (_, 1) => return across::<1>(kind, row, prior),
        (_, 2) => return across::<2>(kind, row, prior),
        (_, 3) => return across::<3>(kind, row, prior),
        _ => return across::<4>(kind, row, prior),
    }
    true
}

/// The filters that use the pixel to the left.
fn across<const N: usize>(kind: u8, row: &mut [u8], prior: &[u8]) -> bool {
    match kind {
        1 => pixels::<N, false>(row, prior, |left, _, _| left),
        3 => pixels::<N, true>(row, prior, |left, above, _| ((u16::from(left) + u16::from(above)) / 2) as u8),
        4 => pixels::<N, true>(row, prior, paeth),
        _ => return false,
    }
    true
}

/// Undoes one filter, whose prediction is of the bytes to the left, above, and above to the left.
///
/// The prediction is the byte to the left where that above is the same or, without `ABOVE`, always.
#[inline(always)]
fn pixels<const N: usize, const ABOVE: bool>(row: &mut [u8], prior: &[u8], predict: impl Fn(u8, u8, u8) -> u8) {
    let pixels = |row: &mut [u8], prior: &[u8], (mut left, mut above_left): ([u8; N], [u8; N])| {
        for (pixel, above) in row.as_chunks_mut::<N>().0.iter_mut().zip(prior.as_chunks::<N>().0) {
            for byte in 0..N {
                pixel[byte] = pixel[byte].wrapping_add(predict(left[byte], above[byte], above_left[byte]));
            }
            (left, above_left) = (*pixel, *above);
        }
        (left, above_left)
    };
    let (runs, rest) = row.as_chunks_mut::<RUN>();
    let (runs_above, rest_above) = prior.as_chunks::<RUN>();
    let mut before = ([0; N], [0; N]);
    for (run, above) in runs.iter_mut().zip(runs_above) {
        let same = repeated(before.0);
        if *run == [0; RUN] && (!ABOVE || *above == same) {
            *run = same;
            before.1 = before.0;
        } else {
            before = pixels(run, above, before);
        }
    }
    pixels(rest, rest_above, before);
}

#[inline(always)]
fn repeated<const N: usize>(pixel: [u8; N]) -> [u8; RUN] {
    let mut run = [0; RUN];
    run.as_chunks_mut::<N>().0.fill(pixel);
    run
}

/// The one of three bytes that is nearest to left + above − above left, the first of equals.
#[inline(always)]
fn paeth(left: u8, above: u8, above_left: u8) -> u8 {
    let [a, b, c] = [left, above, above_left].map(i16::from);
    let (to_left, to_above, to_above_left) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_above && to_left <= to_above_left {
        left
    } else if to_above <= to_above_left {
        above
    } else {
        above_left
    }
}
