//! Linear interpolation at consecutive points, each between the four source points around it, four points at a time.
//
// four           in vector registers: on x86-64 the two neighbours of a pair are loaded as one
// four_portable  plain arithmetic in the same order, so of the same bits: other processors, and the oracle
// from_valid     where a value is missing among the four points around

/// Least share of the weight that must be valid.
const LEAST_VALID: f32 = 0.5;

/// Points interpolated together: as many values as a vector register of every x86-64 processor holds.
pub(super) const LANES: usize = 4;

type Lanes = [f32; LANES];

/// The south-western of the four points around a place, and the way from it to the others, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    pub(super) base: u32,
    pub(super) along_x: f32,
    pub(super) along_y: f32,
}

/// Four corners. One index stands for four, (i, j) to (i + 1, j + 1), so that a point costs 12 bytes: the transfer is
/// bound by memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corners {
    base: [u32; LANES],
    along_x: Lanes,
    along_y: Lanes,
}

impl Corners {
    /// The same corner four times.
    pub(super) fn all(corner: Corner) -> Self {
        let Corner { base, along_x, along_y } = corner;
        Corners { base: [base; LANES], along_x: [along_x; LANES], along_y: [along_y; LANES] }
    }

    /// The four.
    pub(super) fn each(&self) -> [Corner; LANES] {
        let Corners { base, along_x, along_y } = *self;
        std::array::from_fn(|lane| Corner { base: base[lane], along_x: along_x[lane], along_y: along_y[lane] })
    }

    pub(super) fn set(&mut self, lane: usize, corner: Corner) {
        (self.base[lane], self.along_x[lane], self.along_y[lane]) = (corner.base, corner.along_x, corner.along_y);
    }
}

/// Fills `target`, four values to each of `corners`; `width` is the length of a source row.
pub(super) fn interpolate(source: &[f32], width: usize, corners: &[Corners], target: &mut [f32]) {
    let (targets, last) = target.as_chunks_mut();
    for (values, corners) in targets.iter_mut().zip(corners) {
        fill(source, width, corners, values);
    }
    if let Some(corners) = corners.get(targets.len()) {
        let mut values = [0.0; LANES];
        fill(source, width, corners, &mut values);
        last.copy_from_slice(&values[..last.len()]);
    }
}

/// Four values, missing ones made of what is valid around them.
#[inline(always)]
fn fill(source: &[f32], width: usize, corners: &Corners, values: &mut Lanes) {
    *values = four(source, width, corners);
    if values.iter().any(|value| value.is_nan()) {
        fill_from_valid(source, width, corners, values);
    }
}

#[cfg(not(target_arch = "x86_64"))]
use four_portable as four;
#[cfg(target_arch = "x86_64")]
use sse2::four;

/// Between south-west, south-east, north-west and north-east, by the way along x and y: of what is valid, where that
/// holds half the weight, and else missing.
pub fn linear(around: [f32; 4], [x, y]: [f32; 2]) -> f32 {
    let value = plain(around, x, y);
    if value.is_nan() { from_valid(around, x, y) } else { value }
}

/// First south to north at both ends, then west to east.
fn plain([south_west, south_east, north_west, north_east]: Lanes, x: f32, y: f32) -> f32 {
    let west = south_west + y * (north_west - south_west);
    let east = south_east + y * (north_east - south_east);
    west + x * (east - west)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn four_portable(source: &[f32], width: usize, corners: &Corners) -> Lanes {
    std::array::from_fn(|lane| {
        plain(around(source, width, corners.base[lane]), corners.along_x[lane], corners.along_y[lane])
    })
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128, _mm_add_ps, _mm_castpd_ps, _mm_mul_ps, _mm_set_pd, _mm_set_ps, _mm_shuffle_ps, _mm_storeu_ps,
        _mm_sub_ps,
    };

    use super::{Corners, LANES, Lanes};

    /// Lanes 0 and 2 of both operands of a shuffle: the western values of four pairs.
    const WESTERN: i32 = 0b10_00_10_00;
    /// Lanes 1 and 3 of both operands of a shuffle: the eastern values of four pairs.
    const EASTERN: i32 = 0b11_01_11_01;

    /// Inlined by force, as functions with a target feature of their own cannot be: a call costs as much as the rest.
    #[inline(always)]
    pub(super) fn four(source: &[f32], width: usize, corners: &Corners) -> Lanes {
        // Of one length, so that one check of an index serves both.
        let (south, north) = (&source[..source.len() - width], &source[width..]);
        let [a, b, c, d] = corners.base.map(|base| base as usize);
        let south = [pair(south, a), pair(south, b), pair(south, c), pair(south, d)];
        let north = [pair(north, a), pair(north, b), pair(north, c), pair(north, d)];
        let mut values = [0.0; LANES];
        // SAFETY: every x86-64 processor has SSE2, and `values` has room for the four lanes.
        unsafe {
            let ((south_west, south_east), (north_west, north_east)) = (ends(south), ends(north));
            let (x, y) = (lanes(corners.along_x), lanes(corners.along_y));
            let west = between(south_west, north_west, y);
            let east = between(south_east, north_east, y);
            _mm_storeu_ps(values.as_mut_ptr(), between(west, east, x));
        }
        values
    }

    /// Two neighbours as the halves of one number, which means nothing itself.
    #[inline(always)]
    fn pair(source: &[f32], at: usize) -> f64 {
        let both = &source[at..at + 2];
        f64::from_bits(u64::from(both[0].to_bits()) | u64::from(both[1].to_bits()) << u32::BITS)
    }

    /// The western and the eastern values of four pairs. Unsafe without SSE2, as are all below.
    #[inline(always)]
    unsafe fn ends(pairs: [f64; LANES]) -> (__m128, __m128) {
        // SAFETY: the caller has SSE2.
        unsafe {
            let first = _mm_castpd_ps(_mm_set_pd(pairs[1], pairs[0]));
            let second = _mm_castpd_ps(_mm_set_pd(pairs[3], pairs[2]));
            (_mm_shuffle_ps::<WESTERN>(first, second), _mm_shuffle_ps::<EASTERN>(first, second))
        }
    }

    #[inline(always)]
    unsafe fn between(from: __m128, to: __m128, along: __m128) -> __m128 {
        // SAFETY: the caller has SSE2.
        unsafe { _mm_add_ps(from, _mm_mul_ps(along, _mm_sub_ps(to, from))) }
    }

    #[inline(always)]
    unsafe fn lanes(values: Lanes) -> __m128 {
        // SAFETY: the caller has SSE2.
        unsafe { _mm_set_ps(values[3], values[2], values[1], values[0]) }
    }
}

/// The values around a place: south-west, south-east, north-west, north-east.
#[inline(always)]
fn around(source: &[f32], width: usize, base: u32) -> Lanes {
    let base = base as usize;
    let both = &source[base..base + width + 2];
    [both[0], both[1], both[width], both[width + 1]]
}

/// Replaces those of the four values that came out missing.
#[cold]
fn fill_from_valid(source: &[f32], width: usize, corners: &Corners, values: &mut Lanes) {
    for (lane, value) in values.iter_mut().enumerate().filter(|(_, value)| value.is_nan()) {
        let around = around(source, width, corners.base[lane]);
        *value = from_valid(around, corners.along_x[lane], corners.along_y[lane]);
    }
}

/// The mean of the valid ones of the four by their weights, if they hold enough of it.
fn from_valid(values: Lanes, x: f32, y: f32) -> f32 {
    let weights = [(1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y];
    let (mut total, mut valid) = (0.0, 0.0);
    for (value, weight) in values.into_iter().zip(weights).filter(|(value, _)| !value.is_nan()) {
        total += weight * value;
        valid += weight;
    }
    if valid >= LEAST_VALID { total / valid } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 7;

    /// A few rows with a missing value among them.
    fn source() -> Vec<f32> {
        let value = |at: usize| if at == 16 { f32::NAN } else { (at * 7919 % 101) as f32 - 31.7 };
        (0..WIDTH * 6).map(value).collect()
    }

    fn corners() -> Vec<Corners> {
        let corner = |at: usize| Corner {
            base: (at * 5 % (WIDTH * 5 - 1)) as u32,
            along_x: at as f32 * 0.37 % 1.0,
            along_y: at as f32 * 0.71 % 1.0,
        };
        let block = |first: usize| {
            let mut block = Corners::all(corner(first));
            (1..LANES).for_each(|lane| block.set(lane, corner(first + lane)));
            block
        };
        (0..400).step_by(LANES).map(block).collect()
    }

    #[test]
    fn vector_registers_and_plain_arithmetic_make_the_same_bits() {
        let bits = |values: Lanes| values.map(|value| if value.is_nan() { None } else { Some(value.to_bits()) });
        let mut missing = 0;
        for corners in corners() {
            let plain = bits(four_portable(&source(), WIDTH, &corners));
            assert_eq!(bits(four(&source(), WIDTH, &corners)), plain, "{corners:?}");
            missing += plain.iter().filter(|value| value.is_none()).count();
        }
        assert!((1..400).contains(&missing), "{missing} of 400 values are missing");
    }

    #[test]
    fn a_last_block_that_is_not_full_is_cut() {
        let (source, corners) = (source(), corners());
        let mut whole = [0.0; 8];
        interpolate(&source, WIDTH, &corners[..2], &mut whole);
        for length in 1..8 {
            let mut part = vec![0.0; length];
            interpolate(&source, WIDTH, &corners[..length.div_ceil(LANES)], &mut part);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&part), bits(&whole[..length]), "{length}");
        }
    }
}
