//! The eight ways in which a square can be turned and mirrored.

use super::Turned;

/// Numbers of a line that are mirrored at a time.
const RUN: usize = 64;

/// A turn or a mirroring, or several: first the diagonal, then the rows, then the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symmetry {
    /// Rows become columns.
    pub diagonal: bool,
    /// The first row becomes the last.
    pub rows: bool,
    /// The first column becomes the last.
    pub columns: bool,
}

impl Symmetry {
    /// One of the eight, by the lowest three bits of a word.
    pub fn new(word: u32) -> Self {
        Symmetry { diagonal: word & 1 != 0, rows: word & 2 != 0, columns: word & 4 != 0 }
    }

    /// The lowest three bits of the words that give it.
    pub fn word(self) -> u32 {
        u32::from(self.diagonal) | u32::from(self.rows) << 1 | u32::from(self.columns) << 2
    }

    /// Fills `out` with a turned frame of `size` × `size` numbers; `run` makes some of it of as many numbers.
    ///
    /// # Panics
    /// Where the slices are not of that size.
    #[inline(always)]
    pub fn place<T: Turned, U>(self, frame: &[T], out: &mut [U], size: usize, run: impl Fn(&[T], &mut [U])) {
        assert!(frame.len() == size * size && out.len() == size * size, "a frame of {size}×{size}");
        match self {
            _ if size == 0 => (),
            Symmetry { diagonal: true, .. } => self.across(frame, out, size, run),
            Symmetry { rows: false, columns: false, .. } => run(frame, out),
            Symmetry { rows: false, .. } => {
                frame
                    .chunks_exact(size)
                    .zip(out.chunks_exact_mut(size))
                    .for_each(|(line, out)| mirror(line, out, &run));
            }
            Symmetry { columns: false, .. } => {
                frame.rchunks_exact(size).zip(out.chunks_exact_mut(size)).for_each(|(line, out)| run(line, out));
            }
            _ => mirror(frame, out, &run),
        }
    }

    /// Rows become columns, square by square: lines of the target are filled from columns of the source.
    #[inline(always)]
    fn across<T: Turned, U>(self, frame: &[T], out: &mut [U], size: usize, run: impl Fn(&[T], &mut [U])) {
        let (side, whole) = (T::SIDE, size - size % T::SIDE);
        let from = |mirrored: bool, at: usize| if mirrored { size - 1 - at } else { at };
        for top in (0..whole).step_by(side) {
            let first = if self.rows { size - top - side } else { top };
            for left in (0..whole).step_by(side) {
                let mut square = T::Square::default();
                for (at, row) in square.as_mut().iter_mut().enumerate() {
                    let start = from(self.columns, left + at) * size + first;
                    row.as_mut().copy_from_slice(&frame[start..start + side]);
                }
                let turned = T::transposed(square);
                for at in 0..side {
                    let row = turned.as_ref()[if self.rows { side - 1 - at } else { at }].as_ref();
                    run(row, &mut out[(top + at) * size + left..][..side]);
                }
            }
        }
        for y in 0..size {
            for x in if y < whole { whole } else { 0 }..size {
                let at = from(self.columns, x) * size + from(self.rows, y);
                run(&frame[at..=at], &mut out[y * size + x..][..1]);
            }
        }
    }
}

/// The last number first.
#[inline(always)]
fn mirror<T: Turned, U>(line: &[T], out: &mut [U], run: impl Fn(&[T], &mut [U])) {
    for (part, out) in line.rchunks(RUN).zip(out.chunks_mut(RUN)) {
        let mut turned = [T::zeroed(); RUN];
        turned.iter_mut().zip(part.iter().rev()).for_each(|(to, from)| *to = *from);
        run(&turned[..part.len()], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned<T: Turned>(symmetry: Symmetry, frame: &[T], size: usize) -> Vec<T> {
        let mut out = vec![T::zeroed(); frame.len()];
        symmetry.place(frame, &mut out, size, |from, to| to.copy_from_slice(from));
        out
    }

    fn check<T: Turned + PartialEq + std::fmt::Debug>(size: usize, number: impl Fn(usize) -> T) {
        let frame: Vec<T> = (0..size * size).map(number).collect();
        for symmetry in (0..8).map(Symmetry::new) {
            let turned = turned(symmetry, &frame, size);
            for (y, x) in (0..size * size).map(|at| (at / size, at % size)) {
                let mirrored = |mirrored: bool, at: usize| if mirrored { size - 1 - at } else { at };
                let (mut from_y, mut from_x) = (mirrored(symmetry.rows, y), mirrored(symmetry.columns, x));
                if symmetry.diagonal {
                    (from_y, from_x) = (from_x, from_y);
                }
                assert_eq!(turned[y * size + x], frame[from_y * size + from_x], "{symmetry:?} of {size}");
            }
        }
    }

    #[test]
    fn every_symmetry_moves_each_number_to_its_place() {
        for size in [0, 1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 65, 70, 131] {
            check(size, |at| (at * 131 % 251) as u8);
            check(size, |at| (at * 7919 % 65_521) as u16 as i16);
        }
    }

    #[test]
    fn words_name_them() {
        assert!((0..24).all(|word| Symmetry::new(word).word() == word % 8));
    }

    #[test]
    fn the_eight_differ() {
        let numbers: Vec<u8> = (0..9).collect();
        let all = (0..8).map(|word| turned(Symmetry::new(word), &numbers, 3));
        assert_eq!(all.collect::<std::collections::BTreeSet<_>>().len(), 8);
    }
}
