//! The eight ways in which a square can be turned and mirrored.

/// Points along the sides of a tile that is turned at a time: it and its image fit into the first cache.
const TILE: usize = 32;

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

    /// Turns every frame of `size` × `size` numbers in its place.
    pub fn apply<T: Copy>(self, values: &mut [T], size: usize) {
        if self == Symmetry::default() || size == 0 {
            return;
        }
        for frame in values.chunks_exact_mut(size * size) {
            if self.diagonal {
                transpose(frame, size);
            }
            if self.rows && self.columns {
                frame.reverse();
            } else if self.columns {
                frame.chunks_exact_mut(size).for_each(<[T]>::reverse);
            } else if self.rows {
                swap_rows(frame, size);
            }
        }
    }
}

fn swap_rows<T: Copy>(frame: &mut [T], size: usize) {
    let (upper, lower) = frame.split_at_mut(size / 2 * size);
    let lower = lower.chunks_exact_mut(size).rev();
    upper.chunks_exact_mut(size).zip(lower).for_each(|(a, b)| a.swap_with_slice(b));
}

/// Rows become columns, tile by tile.
fn transpose<T: Copy>(frame: &mut [T], size: usize) {
    for top in (0..size).step_by(TILE) {
        for left in (top..size).step_by(TILE) {
            for y in top..(top + TILE).min(size) {
                for x in left.max(y + 1)..(left + TILE).min(size) {
                    frame.swap(y * size + x, x * size + y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symmetry_moves_each_number_to_its_place() {
        for size in [1, 2, 3, 33, 64, 70] {
            let original: Vec<i32> = (0..2 * size * size).map(|at| at as i32).collect();
            for word in 0..8 {
                let symmetry = Symmetry::new(word);
                let mut turned = original.clone();
                symmetry.apply(&mut turned, size);
                for (frame, y, x) in (0..2 * size * size).map(|at| (at / (size * size), at / size % size, at % size)) {
                    let (mut from_y, mut from_x) = (y, x);
                    if symmetry.columns {
                        from_x = size - 1 - from_x;
                    }
                    if symmetry.rows {
                        from_y = size - 1 - from_y;
                    }
                    if symmetry.diagonal {
                        (from_y, from_x) = (from_x, from_y);
                    }
                    let wanted = original[(frame * size + from_y) * size + from_x];
                    assert_eq!(turned[(frame * size + y) * size + x], wanted, "{symmetry:?} of {size}");
                }
            }
        }
    }

    #[test]
    fn the_eight_differ() {
        let turned = (0..8).map(|word| {
            let mut values: Vec<u8> = (0..9).collect();
            Symmetry::new(word).apply(&mut values, 3);
            values
        });
        assert_eq!(turned.collect::<std::collections::BTreeSet<_>>().len(), 8);
    }
}
