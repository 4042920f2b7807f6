//! Brings the frames of an event to another number of points along each side, in whole numbers as they are encoded.
//!
//! All points are the middles of equal cells that fill the same square (half-pixel centres; `align_corners = false`), so
//! point i of m lies at (i + 1/2) · n / m − 1/2 among n. Results are rounded to the nearest whole number, halves upwards.

mod area;
mod bilinear;

use crate::domain::{Cube, FRAMES, Levels, MISSING_CODE, MISSING_LEVEL, Modality, occurrences};

/// A number of points that frames cannot be brought to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{modality} of {from}×{from} points cannot be brought to {to}×{to}; expected {expected}")]
pub struct ResizeError {
    /// What was observed.
    pub modality: Modality,
    /// Points along one side.
    pub from: usize,
    /// Points wanted along one side.
    pub to: usize,
    /// What could be.
    pub expected: &'static str,
}

/// An encoded value: a whole number, one of which stands for a missing pixel.
trait Code: Copy + PartialEq + Into<i32> {
    const MISSING: Self;
    /// The low bits of a number that is in range.
    fn from_i32(value: i32) -> Self;
}

impl Code for u8 {
    const MISSING: u8 = MISSING_LEVEL;
    fn from_i32(value: i32) -> u8 {
        value as u8
    }
}

impl Code for i16 {
    const MISSING: i16 = MISSING_CODE;
    fn from_i32(value: i32) -> i16 {
        value as i16
    }
}

/// The frames of a modality with `size` points along each side.
///
/// Pictures grow bilinearly: a point is missing where the present ones around it hold less than half the weight, which
/// for twice the size is where the nearest is missing. They shrink by whole factors to the mean of the cells that a
/// larger one holds: missing where all of them are. Lightning counts are repeated in every smaller cell of theirs, so
/// that a value goes on saying how many flashes there were in 8 km × 8 km.
///
/// # Errors
/// A size of zero; shrinking by what is no whole factor; lightning to anything but a multiple of its size.
pub fn resize(cube: Cube, modality: Modality, size: usize) -> Result<Cube, ResizeError> {
    if size == cube.size {
        return Ok(cube);
    }
    let kind = kind(modality, cube.size, size)?;
    let levels = match &cube.levels {
        Levels::U8(values) => Levels::U8(each_frame(values, cube.size, size, kind)),
        Levels::I16(values) => Levels::I16(each_frame(values, cube.size, size, kind)),
    };
    Ok(Cube { size, levels })
}

/// Whether the frames of a modality can be brought from their own size to `size` points along each side.
///
/// # Errors
/// As [`resize`].
pub fn fits(modality: Modality, size: usize) -> Result<(), ResizeError> {
    if size == modality.size() { Ok(()) } else { kind(modality, modality.size(), size).map(|_| ()) }
}

#[derive(Clone, Copy)]
enum Kind {
    Bilinear,
    Mean,
    Repeat,
}

fn kind(modality: Modality, from: usize, to: usize) -> Result<Kind, ResizeError> {
    let error = |expected| Err(ResizeError { modality, from, to, expected });
    match modality {
        _ if from == 0 || to == 0 => error("at least one point"),
        Modality::Lght if to.is_multiple_of(from) => Ok(Kind::Repeat),
        Modality::Lght => error("a multiple of the size that lightning is counted at"),
        _ if to > from => Ok(Kind::Bilinear),
        _ if from.is_multiple_of(to) => Ok(Kind::Mean),
        _ => error("a larger size, or one that the present size is a multiple of"),
    }
}

fn each_frame<T: Code>(values: &[T], from: usize, to: usize, kind: Kind) -> Vec<T> {
    let frames = values.len() / (from * from);
    debug_assert_eq!(frames, FRAMES);
    // A frame is made in a cache and goes to memory once, which need not be cleared before.
    let (mut all, mut out) = (Vec::with_capacity(frames * to * to), vec![T::from_i32(0); to * to]);
    let mut scratch = bilinear::Scratch::default();
    for frame in values.chunks_exact(from * from) {
        let out = &mut out[..];
        let whole = !has_missing(frame);
        match kind {
            Kind::Bilinear if to == 2 * from => {
                bilinear::double(frame, from, out, &mut scratch);
                if !whole {
                    bilinear::mend(frame, from, out);
                }
            }
            Kind::Bilinear => bilinear::any(frame, from, out, to),
            Kind::Mean if from == 2 * to => {
                area::halve(frame, from, out);
                if !whole {
                    area::mend(frame, from, out);
                }
            }
            Kind::Mean => area::mean(frame, from, out, to),
            Kind::Repeat => repeat(frame, from, out, to),
        }
        all.extend_from_slice(out);
    }
    all
}

/// Whether any value is missing.
fn has_missing<T: Code>(values: &[T]) -> bool {
    occurrences(values, T::MISSING) > 0
}

/// Every value, as often as it fits, along both axes.
fn repeat<T: Code>(frame: &[T], from: usize, out: &mut [T], to: usize) {
    let times = to / from;
    for (row, rows) in frame.chunks_exact(from).zip(out.chunks_exact_mut(times * to)) {
        let (first, others) = rows.split_at_mut(to);
        row.iter().zip(first.chunks_exact_mut(times)).for_each(|(value, cells)| cells.fill(*value));
        others.chunks_exact_mut(to).for_each(|other| other.copy_from_slice(first));
    }
}

#[cfg(test)]
mod tests;
