//! Transposes small squares of numbers in registers: the step of which larger turnings are made.

/// A number of which squares are turned.
pub trait Turned: bytemuck::Pod {
    /// Numbers along a side, which fill a register of 128 bits.
    const SIDE: usize;
    /// A side of a square.
    type Row: bytemuck::Pod + Default + AsRef<[Self]> + AsMut<[Self]>;
    /// As many rows as a row has numbers.
    type Square: Copy + Default + AsRef<[Self::Row]> + AsMut<[Self::Row]>;

    /// The square whose rows are the columns.
    ///
    /// A step interleaves each row of the upper half with its like in the lower one. It moves every number to the place
    /// whose row and column, as one number of 2 log₂ n bits, are rotated by a bit; log₂ n steps exchange row and column.
    fn transposed(square: Self::Square) -> Self::Square;
}

macro_rules! turned {
    ($number:ty, $side:literal, $low:ident, $high:ident) => {
        impl Turned for $number {
            const SIDE: usize = $side;
            type Row = [$number; $side];
            type Square = [[$number; $side]; $side];

            #[inline(always)]
            fn transposed(square: Self::Square) -> Self::Square {
                let mostly = step(step(step(square)));
                return if Self::SIDE == 16 { step(mostly) } else { mostly };

                #[inline(always)]
                fn step(rows: [[$number; $side]; $side]) -> [[$number; $side]; $side] {
                    std::array::from_fn(|at| interleaved(rows[at / 2], rows[at / 2 + $side / 2], at % 2 == 1))
                }

                /// The first halves of two rows, number by number in turn, or their second halves.
                #[cfg(target_arch = "x86_64")]
                #[inline(always)]
                fn interleaved(a: [$number; $side], b: [$number; $side], second: bool) -> [$number; $side] {
                    use std::arch::x86_64::{$high, $low};
                    let (a, b) = (bytemuck::cast(a), bytemuck::cast(b));
                    // SAFETY: every processor of this architecture has SSE2.
                    bytemuck::cast(unsafe { if second { $high(a, b) } else { $low(a, b) } })
                }

                #[cfg(not(target_arch = "x86_64"))]
                #[inline(always)]
                fn interleaved(a: [$number; $side], b: [$number; $side], second: bool) -> [$number; $side] {
                    let first = if second { $side / 2 } else { 0 };
                    std::array::from_fn(|at| if at % 2 == 0 { a[first + at / 2] } else { b[first + at / 2] })
                }
            }
        }
    };
}

turned!(u8, 16, _mm_unpacklo_epi8, _mm_unpackhi_epi8);
turned!(i16, 8, _mm_unpacklo_epi16, _mm_unpackhi_epi16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let bytes = u8::transposed(std::array::from_fn(|y| std::array::from_fn(|x| (16 * y + x) as u8)));
        assert!((0..256).all(|at| bytes[at % 16][at / 16] == at as u8), "{bytes:?}");
        let words = i16::transposed(std::array::from_fn(|y| std::array::from_fn(|x| (8 * y + x) as i16 - 3000)));
        assert!((0..64).all(|at| words[at % 8][at / 8] == at as i16 - 3000), "{words:?}");
    }
}
