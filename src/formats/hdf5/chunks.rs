//! Rows of a chunked dataset: which chunks hold them, and every chunk's part put in its place.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use rayon::prelude::*;

use super::filters::{Filter, undo};
use super::kept;

/// Where one stored chunk is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chunk {
    /// The first element it holds, along every dimension.
    pub(super) first: Vec<u64>,
    /// Its first byte in the file.
    pub(super) address: u64,
    /// Its bytes in the file.
    pub(super) size: u64,
    /// A bit for each filter that was left out.
    pub(super) skipped: u32,
}

impl Chunk {
    /// The bytes in the file.
    pub(super) fn bytes(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.size)
    }
}

/// Some rows of a chunked dataset.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// Elements of the dataset along every dimension, at least one.
    pub(super) shape: &'a [u64],
    /// Elements of a chunk along every dimension.
    pub(super) chunk: &'a [u64],
    /// Bytes of an element.
    pub(super) width: usize,
    /// Which rows along the leading dimension.
    pub(super) rows: Range<u64>,
}

impl Rows<'_> {
    /// The chunks that hold the rows, out of all in the order of their places; `None` where one was never stored.
    pub(super) fn needed<'c>(&self, chunks: &'c [Chunk]) -> Option<&'c [Chunk]> {
        let leading = *self.chunk.first()?;
        let before = |row: u64| chunks.partition_point(|chunk| chunk.first.first().is_some_and(|first| *first < row));
        let from = self.rows.start / leading * leading;
        let needed = chunks.get(before(from)..before(self.rows.end))?;
        let bands = self.rows.end.div_ceil(leading) - self.rows.start / leading;
        let others = self.shape.iter().zip(self.chunk).skip(1).map(|(size, chunk)| size.div_ceil(*chunk));
        let expected = others.chain([bands]).try_fold(1_u64, u64::checked_mul)?;
        (needed.len() as u64 == expected).then_some(needed)
    }

    /// Bytes of a whole chunk.
    pub(super) fn chunk_length(&self) -> Option<usize> {
        let elements = self.chunk.iter().try_fold(1_u64, |product, size| product.checked_mul(*size))?;
        usize::try_from(elements).ok()?.checked_mul(self.width)
    }

    /// The rows asked for that a chunk of these first elements reaches.
    fn held(&self, first: &[u64]) -> Range<u64> {
        let first = first.first().copied().unwrap_or(0);
        let end = self.chunk.first().map_or(first, |rows| first.saturating_add(*rows));
        first.max(self.rows.start)..end.min(self.rows.end)
    }

    /// Whether a chunk has rows that are not asked for.
    pub(super) fn is_shared(&self, chunk: &Chunk) -> bool {
        let all = Rows { rows: 0..self.shape.first().copied().unwrap_or(1), ..*self };
        self.held(&chunk.first) != all.held(&chunk.first)
    }

    /// Unpacks what every chunk has of the rows, all cores sharing the work.
    pub(super) fn unpack(&self, filters: &[Filter], needed: &[Chunk], stored: &[Bytes]) -> Result<Vec<Bytes>, String> {
        let length = self.chunk_length().ok_or("chunks too large for this machine")?;
        let one = |(chunk, bytes): (&Chunk, &Bytes)| {
            self.unpack_one(filters, chunk, bytes, length)
                .map_err(|reason| format!("the chunk of {:?} at byte {}: {reason}", chunk.first, chunk.address))
        };
        needed.par_iter().zip(stored).map(one).collect()
    }

    fn unpack_one(&self, filters: &[Filter], chunk: &Chunk, stored: &Bytes, length: usize) -> Result<Bytes, String> {
        let rows = self.chunk.first().copied().unwrap_or(1);
        let held = self.held(&chunk.first);
        let is_whole = held.end - held.start == rows;
        let _room = (!is_whole).then(|| kept::room(length));
        let unpacked = undo(filters, chunk.skipped, stored, self.width, length)?;
        if is_whole {
            return Ok(match unpacked {
                Cow::Owned(bytes) => bytes.into(),
                Cow::Borrowed(_) => stored.clone(),
            });
        }
        let row = length as u64 / rows;
        let first = chunk.first.first().copied().unwrap_or(0);
        let part = ((held.start - first) * row) as usize..((held.end - first) * row) as usize;
        unpacked.get(part).map(Bytes::copy_from_slice).ok_or_else(|| "it ends before the rows".to_string())
    }

    /// Puts the rows together in `out` from what [`Rows::unpack`] made of the chunks, all in the order of their places.
    ///
    /// `out` is cut into lines, the values that share the first one or two indices: each is written once, by one
    /// thread, from all the chunks that it crosses.
    pub(super) fn gather(&self, needed: &[Chunk], unpacked: &[Bytes], out: &mut [u8]) {
        let outer = (self.shape.len() - 1).min(2);
        let size = |axis: usize| if axis == 0 { self.rows.end - self.rows.start } else { self.shape[axis] };
        let line = (outer..self.shape.len()).map(size).product::<u64>() as usize * self.width;
        if line == 0 {
            return;
        }
        let band = |axis: usize| self.shape[axis].div_ceil(self.chunk[axis]) as usize;
        let in_line: usize = (outer.max(1)..self.shape.len()).map(band).product();
        let columns = if outer == 2 { size(1) } else { 1 };
        let strips = if outer == 2 { band(1) } else { 1 };
        let first_band = self.rows.start / self.chunk[0];
        out.par_chunks_mut(line).enumerate().for_each(|(number, out)| {
            let place = [self.rows.start + number as u64 / columns, number as u64 % columns];
            let row = if outer == 0 { 0 } else { (place[0] / self.chunk[0] - first_band) as usize };
            let strip = if outer == 2 { (place[1] / self.chunk[1]) as usize } else { 0 };
            let from = (row * strips + strip) * in_line;
            let to = if outer == 0 { needed.len() } else { from + in_line };
            for (chunk, bytes) in needed[from..to].iter().zip(&unpacked[from..to]) {
                self.copy(chunk, bytes, &place[..outer], out);
            }
        });
    }

    /// Copies what a chunk holds of the line at `place`.
    fn copy(&self, chunk: &Chunk, bytes: &[u8], place: &[u64], out: &mut [u8]) {
        let outer = place.len();
        let held: Vec<Range<u64>> = (0..self.shape.len()).map(|axis| self.unpacked(axis, &chunk.first)).collect();
        let size = |axis: usize| held[axis].end - held[axis].start;
        let within = place.iter().enumerate().fold(0, |at, (axis, index)| at * size(axis) + index - held[axis].start);
        let part = (outer..held.len()).map(size).product::<u64>() as usize * self.width;
        let source = &bytes[within as usize * part..][..part];
        let axes: Vec<Axis> = held.iter().enumerate().skip(outer).map(|(axis, held)| self.axis(axis, held)).collect();
        copy_box(&axes, self.width, source, out);
    }

    /// Which elements along an axis are in an unpacked chunk: of the rows those asked for, of the rest all.
    fn unpacked(&self, axis: usize, first: &[u64]) -> Range<u64> {
        if axis == 0 { self.held(first) } else { first[axis]..first[axis].saturating_add(self.chunk[axis]) }
    }

    /// Where the elements of an unpacked chunk and a line overlap along an axis.
    fn axis(&self, axis: usize, held: &Range<u64>) -> Axis {
        let (begin, end) = if axis == 0 { (self.rows.start, self.rows.end) } else { (0, self.shape[axis]) };
        Axis {
            source: (held.end - held.start) as usize,
            target: (end - begin) as usize,
            target_at: (held.start - begin) as usize,
            count: held.end.min(end).saturating_sub(held.start) as usize,
        }
    }
}

/// One dimension of a box that is copied: the sizes of source and target, where it begins in the target, and its extent;
/// in the source it begins at its beginning.
#[derive(Clone, Copy, Debug)]
struct Axis {
    source: usize,
    target: usize,
    target_at: usize,
    count: usize,
}

/// Copies a box of elements of `width` bytes between two arrays in C order.
fn copy_box(axes: &[Axis], width: usize, source: &[u8], target: &mut [u8]) {
    let [axis, rest @ ..] = axes else { return };
    let to = axis.target_at;
    match rest {
        [] => {
            let length = axis.count * width;
            target[to * width..][..length].copy_from_slice(&source[..length]);
        }
        [last] if last.count == 1 => column(axis, last, width, source, target),
        _ => {
            let stride = |size: fn(&Axis) -> usize| rest.iter().map(size).product::<usize>() * width;
            let (inner, outer) = (stride(|a| a.source), stride(|a| a.target));
            for k in 0..axis.count {
                copy_box(rest, width, &source[k * inner..][..inner], &mut target[(to + k) * outer..][..outer]);
            }
        }
    }
}

/// Copies one element a row: a chunk of one time step into values with time innermost.
fn column(axis: &Axis, last: &Axis, width: usize, source: &[u8], target: &mut [u8]) {
    let target = &mut target[axis.target_at * last.target * width..];
    let (steps, at) = ([last.source * width, last.target * width], last.target_at * width);
    match width {
        1 => strided::<1>(source, target, steps, at, axis.count),
        2 => strided::<2>(source, target, steps, at, axis.count),
        4 => strided::<4>(source, target, steps, at, axis.count),
        8 => strided::<8>(source, target, steps, at, axis.count),
        _ => {
            for k in 0..axis.count {
                let element = &source[k * steps[0]..][..width];
                target[k * steps[1] + at..][..width].copy_from_slice(element);
            }
        }
    }
}

/// As the general case, for a width that the compiler knows.
fn strided<const WIDTH: usize>(source: &[u8], target: &mut [u8], steps: [usize; 2], at: usize, count: usize) {
    let rows = source.chunks(steps[0]).zip(target.chunks_mut(steps[1]));
    for (source, target) in rows.take(count) {
        target[at..][..WIDTH].copy_from_slice(&source[..WIDTH]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every chunk of an array whose elements count up, unfiltered, in C order of their places.
    fn chunked(shape: &[u64], chunk: &[u64]) -> (Vec<Chunk>, Vec<Vec<u8>>) {
        let bands: Vec<u64> = shape.iter().zip(chunk).map(|(s, c)| s.div_ceil(*c)).collect();
        let place = |mut number: u64, sizes: &[u64]| {
            let mut place: Vec<u64> = sizes.iter().rev().map(|s| (number % s, number /= s).0).collect();
            place.reverse();
            place
        };
        let index = |place: &[u64]| place.iter().zip(shape).try_fold(0, |at, (p, s)| (p < s).then_some(at * s + p));
        let all = 0..bands.iter().product();
        let firsts = all.map(|n| place(n, &bands).iter().zip(chunk).map(|(p, c)| p * c).collect::<Vec<u64>>());
        let firsts: Vec<Vec<u64>> = firsts.collect();
        let bytes = firsts.iter().map(|first| {
            let element = |n| {
                let inside: Vec<u64> = place(n, chunk).iter().zip(first).map(|(p, f)| p + f).collect();
                index(&inside).map_or(u16::MAX, |i| i as u16).to_le_bytes()
            };
            (0..chunk.iter().product()).flat_map(element).collect()
        });
        let bytes = bytes.collect();
        (firsts.into_iter().map(|first| Chunk { first, address: 0, size: 0, skipped: 0 }).collect(), bytes)
    }

    #[test]
    fn any_rows_of_any_shape_come_out_in_order() {
        let cases: [(&[u64], &[u64]); 8] = [
            (&[7], &[3]),
            (&[5, 4], &[2, 3]),
            (&[5, 4], &[5, 1]),
            (&[4, 3, 5], &[3, 2, 2]),
            (&[3, 4, 6, 5], &[1, 4, 6, 1]),
            (&[3, 4, 6, 5], &[2, 3, 4, 2]),
            (&[3, 4, 6, 5], &[3, 4, 6, 5]),
            (&[2, 3, 4, 3, 5], &[1, 2, 2, 2, 5]),
        ];
        for (shape, chunk) in cases {
            let (chunks, bytes) = chunked(shape, chunk);
            let row: u64 = shape[1..].iter().product();
            for start in 0..shape[0] {
                for end in start + 1..=shape[0] {
                    let rows = Rows { shape, chunk, width: 2, rows: start..end };
                    let needed = rows.needed(&chunks).expect("every chunk is there");
                    let from = chunks.iter().position(|c| c == &needed[0]).expect("one of them");
                    let stored: Vec<Bytes> =
                        bytes[from..from + needed.len()].iter().cloned().map(Bytes::from).collect();
                    let unpacked = rows.unpack(&[], needed, &stored).expect("unfiltered chunks");
                    let padded: u64 = shape.iter().zip(chunk).skip(1).map(|(s, c)| s.next_multiple_of(*c)).product();
                    let held: usize = unpacked.iter().map(Bytes::len).sum();
                    assert_eq!(held as u64, (end - start) * padded * 2, "no more than the rows themselves");
                    let mut out = vec![0; ((end - start) * row * 2) as usize];
                    rows.gather(needed, &unpacked, &mut out);
                    let expected: Vec<u8> = (start * row..end * row).flat_map(|i| (i as u16).to_le_bytes()).collect();
                    assert_eq!(out, expected, "{shape:?} {chunk:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn a_chunk_that_was_never_stored_is_noticed() {
        let (mut chunks, _) = chunked(&[4, 4], &[2, 2]);
        chunks.remove(2);
        let rows = |rows| Rows { shape: &[4, 4], chunk: &[2, 2], width: 2, rows };
        assert_eq!(rows(0..2).needed(&chunks).map(<[Chunk]>::len), Some(2));
        assert_eq!(rows(1..3).needed(&chunks), None);
    }
}
