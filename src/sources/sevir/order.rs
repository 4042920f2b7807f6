//! Turns [y][x][frame], as SEVIR's files have it, into [frame][y][x], at about the speed of memory.

use std::ops::Range;

use bytemuck::Pod;

use crate::domain::FRAMES;

/// Points whose frames are turned together: 12 to 25 KiB that stay in the nearest cache.
const BLOCK: usize = 256;
/// Bytes that one step moves.
const WORD: usize = size_of::<u64>();

/// The little-endian bytes of points with all frames of each, as the values of all points of each frame.
///
/// # Panics
/// Where there are not [`FRAMES`] values for each of a whole number of points.
pub fn frames_first<T: Pod>(source: &[u8]) -> Vec<T> {
    let pixels = source.len() / (FRAMES * size_of::<T>());
    assert_eq!(source.len(), pixels * FRAMES * size_of::<T>(), "every point has all frames");
    let mut turned = vec![T::zeroed(); pixels * FRAMES];
    let target = bytemuck::cast_slice_mut(&mut turned);
    match size_of::<T>() {
        1 => turn::<8>(source, target, pixels),
        2 => turn::<4>(source, target, pixels),
        4 => turn::<2>(source, target, pixels),
        width => turn_rest(source, target, pixels, width, 0..pixels, 0),
    }
    turned
}

/// Turns bytes of elements of which `N` fill a word.
fn turn<const N: usize>(source: &[u8], target: &mut [u8], pixels: usize) {
    let width = WORD / N;
    let (whole_pixels, whole_frames) = (pixels - pixels % N, FRAMES - FRAMES % N);
    for first in (0..whole_pixels).step_by(BLOCK) {
        let last = (first + BLOCK).min(whole_pixels);
        for frame in (0..whole_frames).step_by(N) {
            for pixel in (first..last).step_by(N) {
                turn_square::<N>(source, target, pixels, frame, pixel);
            }
        }
        turn_rest(source, target, pixels, width, first..last, whole_frames);
    }
    turn_rest(source, target, pixels, width, whole_pixels..pixels, 0);
}

/// Turns `N` frames of `N` points.
#[inline(always)]
fn turn_square<const N: usize>(source: &[u8], target: &mut [u8], pixels: usize, frame: usize, pixel: usize) {
    let width = WORD / N;
    let mut words = [0_u64; N];
    for (row, word) in words.iter_mut().enumerate() {
        let at = ((pixel + row) * FRAMES + frame) * width;
        *word = source.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    }
    turn_words(&mut words);
    for (row, word) in words.iter().enumerate() {
        let at = ((frame + row) * pixels + pixel) * width;
        target[at..at + WORD].copy_from_slice(&word.to_le_bytes());
    }
}

/// Transposes the square of elements that `N` words of `N` elements are, by exchanging halves, quarters and eighths.
#[inline(always)]
fn turn_words<const N: usize>(words: &mut [u64; N]) {
    let (mut span, mut shift) = (N / 2, u64::BITS / 2);
    while span > 0 {
        let low = u64::MAX / ((1 << shift) + 1);
        for first in (0..N).filter(|at| at & span == 0) {
            let exchanged = ((words[first] >> shift) ^ words[first + span]) & low;
            words[first + span] ^= exchanged;
            words[first] ^= exchanged << shift;
        }
        (span, shift) = (span / 2, shift / 2);
    }
}

/// Turns what no square holds: the frames from one on, of a range of points.
fn turn_rest(source: &[u8], target: &mut [u8], pixels: usize, width: usize, range: Range<usize>, first_frame: usize) {
    for frame in first_frame..FRAMES {
        for pixel in range.clone() {
            let (from, to) = ((pixel * FRAMES + frame) * width, (frame * pixels + pixel) * width);
            target[to..to + width].copy_from_slice(&source[from..from + width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Pod + PartialEq + std::fmt::Debug>(pixels: usize, value: impl Fn(usize) -> T) {
        let values: Vec<T> = (0..pixels * FRAMES).map(value).collect();
        let turned: Vec<T> = frames_first(bytemuck::cast_slice(&values));
        for pixel in 0..pixels {
            for frame in 0..FRAMES {
                assert_eq!(turned[frame * pixels + pixel], values[pixel * FRAMES + frame], "{pixel} {frame}");
            }
        }
    }

    #[test]
    fn every_value_comes_to_its_frame() {
        for pixels in [0, 1, 3, 8, 255, 256, 261, 1031] {
            check(pixels, |at| (at * 131 % 251) as u8);
            check(pixels, |at| (at * 7919 % 65_521) as u16 as i16);
            check(pixels, |at| at as f32);
            check(pixels, |at| at as f64);
        }
    }
}
