//! What the numbers of a tensor in a file are like: two passes over its bytes, a piece at a time.

use half::{bf16, f16};
use safetensors::Dtype;

/// Sums of so much smaller numbers are finite, however many there are.
const SMALLER: f64 = 1.0 / (1_u128 << 64) as f64;
/// The bits of a number's exponent.
const EXPONENT: u64 = 0x7ff0_0000_0000_0000;

/// A number as it is stored: whole ones with every digit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i128),
    /// Any other.
    Real(f64),
}

impl Number {
    /// The nearest number of 64 bits.
    pub fn real(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Real(real) => real,
        }
    }

    fn is_below(self, other: Number) -> bool {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a < b,
            (a, b) => a.real() < b.real(),
        }
    }
}

/// What is to be known of a tensor of a file without looking at every number.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The tensor's name.
    pub name: String,
    /// The kind of its elements as the format names it: `F32`, `BF16`, …
    pub dtype: String,
    /// Sizes in PyTorch's order.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub count: usize,
    /// What the elements are; `None` of kinds that this program does not read, such as F8.
    pub numbers: Option<Numbers>,
}

/// What is to be known of numbers. Mean and deviation are of the finite ones, and NaN where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// How many are NaN.
    pub missing: usize,
    /// How many are infinite, of either sign.
    pub infinite: usize,
    /// The mean of the finite ones.
    pub mean: f64,
    /// Their standard deviation (of all, not unbiased).
    pub deviation: f64,
    /// The least of them; `None` where there are none.
    pub least: Option<Number>,
    /// The greatest of them.
    pub greatest: Option<Number>,
}

/// Hands out the numbers of whole elements; `false` of kinds that are not read.
pub(super) fn each(dtype: Dtype, raw: &[u8], mut take: impl FnMut(Number)) -> bool {
    use Number::{Real, Whole};
    match dtype {
        Dtype::F64 => words(raw, |x| take(Real(f64::from_le_bytes(x)))),
        Dtype::F32 => words(raw, |x| take(Real(f32::from_le_bytes(x).into()))),
        Dtype::BF16 => words(raw, |x| take(Real(bf16::from_le_bytes(x).to_f64()))),
        Dtype::F16 => words(raw, |x| take(Real(f16::from_le_bytes(x).to_f64()))),
        Dtype::I64 => words(raw, |x| take(Whole(i64::from_le_bytes(x).into()))),
        Dtype::U64 => words(raw, |x| take(Whole(u64::from_le_bytes(x).into()))),
        Dtype::I32 => words(raw, |x| take(Whole(i32::from_le_bytes(x).into()))),
        Dtype::U32 => words(raw, |x| take(Whole(u32::from_le_bytes(x).into()))),
        Dtype::I16 => words(raw, |x| take(Whole(i16::from_le_bytes(x).into()))),
        Dtype::U16 => words(raw, |x| take(Whole(u16::from_le_bytes(x).into()))),
        Dtype::I8 => words(raw, |[x]| take(Whole(x.cast_signed().into()))),
        Dtype::BOOL | Dtype::U8 => words(raw, |[x]| take(Whole(x.into()))),
        _ => return false,
    }
    true
}

fn words<const N: usize>(raw: &[u8], mut take: impl FnMut([u8; N])) {
    raw.as_chunks().0.iter().for_each(|word| take(*word));
}

/// What the first pass over numbers finds.
#[derive(Default)]
pub(super) struct First {
    missing: usize,
    infinite: usize,
    finite: usize,
    sum: f64,
    /// The sum of numbers times [`SMALLER`].
    smaller_sum: f64,
    ends: Option<[Number; 2]>,
}

impl First {
    pub(super) fn take(&mut self, number: Number) {
        let real = number.real();
        if !real.is_finite() {
            *(if real.is_nan() { &mut self.missing } else { &mut self.infinite }) += 1;
            return;
        }
        self.finite += 1;
        self.sum += real;
        self.smaller_sum += real * SMALLER;
        let [least, greatest] = self.ends.get_or_insert([number; 2]);
        if number.is_below(*least) {
            *least = number;
        }
        if greatest.is_below(number) {
            *greatest = number;
        }
    }

    /// The mean, also where the sum of all is beyond what 64 bits hold.
    fn mean(&self) -> f64 {
        let count = self.finite as f64;
        if self.sum.is_finite() { self.sum / count } else { self.smaller_sum / count / SMALLER }
    }

    /// What the second pass begins with.
    pub(super) fn second(self) -> Second {
        let greatest = self.ends.map_or(0.0, |ends| ends.map(|end| end.real().abs()).into_iter().fold(0.0, f64::max));
        let unit = f64::from_bits(greatest.to_bits() & EXPONENT);
        let unit = if unit > 0.0 { unit } else { 1.0 };
        Second { mean: self.mean(), unit, squares: 0.0, first: self }
    }
}

/// What the second pass adds: squares of distances to the mean, in a unit of about the greatest number, so that none of
/// them is beyond what 64 bits hold.
pub(super) struct Second {
    first: First,
    mean: f64,
    /// A power of two.
    unit: f64,
    squares: f64,
}

impl Second {
    pub(super) fn take(&mut self, number: Number) {
        let real = number.real();
        if real.is_finite() {
            self.squares += (real / self.unit - self.mean / self.unit).powi(2);
        }
    }

    pub(super) fn numbers(self) -> Numbers {
        let First { missing, infinite, finite, ends, .. } = self.first;
        Numbers {
            missing,
            infinite,
            mean: self.mean,
            deviation: (self.squares / finite as f64).sqrt() * self.unit,
            least: ends.map(|[least, _]| least),
            greatest: ends.map(|[_, greatest]| greatest),
        }
    }
}
