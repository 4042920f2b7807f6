//! Turns [y][x][frame], as SEVIR's files have it, into [frame][y][x], at about the speed of memory.

use std::ops::Range;

use crate::domain::{FRAMES, Turned};

/// Points whose frames are turned together: 12 to 25 KiB that stay in the nearest cache.
const BLOCK: usize = 256;

/// The little-endian bytes of points with all frames of each, as the values of all points of each frame.
///
/// # Panics
/// Where there are not [`FRAMES`] values for each of a whole number of points.
pub fn frames_first<T: Turned>(source: &[u8]) -> Vec<T> {
    let pixels = source.len() / (FRAMES * size_of::<T>());
    assert_eq!(source.len(), pixels * FRAMES * size_of::<T>(), "every point has all frames");
    let mut turned = vec![T::zeroed(); pixels * FRAMES];
    turn(source, &mut turned, pixels);
    turned
}

fn turn<T: Turned>(source: &[u8], target: &mut [T], pixels: usize) {
    let (whole_pixels, whole_frames) = (pixels - pixels % T::SIDE, FRAMES - FRAMES % T::SIDE);
    let mut lines = vec![T::zeroed(); T::SIDE * BLOCK];
    for first in (0..whole_pixels).step_by(BLOCK) {
        let last = (first + BLOCK).min(whole_pixels);
        for frame in (0..whole_frames).step_by(T::SIDE) {
            for pixel in (first..last).step_by(T::SIDE) {
                turn_square(source, &mut lines, frame, first, pixel);
            }
            for (at, line) in lines.chunks_exact(BLOCK).enumerate() {
                let to = (frame + at) * pixels + first;
                target[to..to + last - first].copy_from_slice(&line[..last - first]);
            }
        }
        turn_rest(source, target, pixels, first..last, whole_frames);
    }
    turn_rest(source, target, pixels, whole_pixels..pixels, 0);
}

/// Turns as many frames of as many points as a square has, into lines of the points from the `first` on.
///
/// Frames lie at distances that the nearest cache maps to the same place: they are brought there by whole lines.
#[inline(always)]
fn turn_square<T: Turned>(source: &[u8], lines: &mut [T], frame: usize, first: usize, pixel: usize) {
    let mut square = T::Square::default();
    for (at, row) in square.as_mut().iter_mut().enumerate() {
        let from = ((pixel + at) * FRAMES + frame) * size_of::<T>();
        *row = bytemuck::pod_read_unaligned(&source[from..from + size_of::<T::Row>()]);
    }
    for (line, row) in lines.chunks_exact_mut(BLOCK).zip(T::transposed(square).as_ref()) {
        line[pixel - first..][..T::SIDE].copy_from_slice(row.as_ref());
    }
}

/// Turns what no square holds: the frames from one on, of a range of points.
fn turn_rest<T: Turned>(source: &[u8], target: &mut [T], pixels: usize, range: Range<usize>, first_frame: usize) {
    let width = size_of::<T>();
    for frame in first_frame..FRAMES {
        for pixel in range.clone() {
            let from = (pixel * FRAMES + frame) * width;
            target[frame * pixels + pixel] = bytemuck::pod_read_unaligned(&source[from..from + width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Turned + PartialEq + std::fmt::Debug>(pixels: usize, value: impl Fn(usize) -> T) {
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
        }
    }
}
