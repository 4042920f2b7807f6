//! Functions of one f32 without branches, so that loops over them become wide instructions.
//!
//! Products and sums are fused where a function is told so alone: the others give the same bits on every level.

/// log₂ e.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The upper and lower part of ln 2, whose products with small integers are exact (Cody and Waite, 1980).
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// eˣ above this is infinite in f32.
const EXP_HIGH: f32 = 88.722_84;
/// eˣ below this is zero in f32 but for subnormal numbers.
const EXP_LOW: f32 = -87.336_55;
/// Adding and subtracting it rounds to the nearest whole number.
const ROUNDING: f32 = 12_582_912.0;

/// eˣ to 2 units in the last place; 0 for results below the smallest normal number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let held = if x > EXP_HIGH { EXP_HIGH } else { x };
    let held = if held < EXP_LOW { EXP_LOW } else { held };
    let shifted = held * LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = held - n * LN_2[0] - n * LN_2[1];
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let e = p * (r * r) + r + 1.0;
    // The last bits of the shifted number are those of n, which is added to the exponent.
    let value = f32::from_bits(e.to_bits().wrapping_add(shifted.to_bits() << 23));
    let value = if x > EXP_HIGH { f32::INFINITY } else { value };
    let value = if x < EXP_LOW { 0.0 } else { value };
    if x.is_nan() { x } else { value }
}

/// a·b + c, rounded once where it is fused: a level without that instruction would call a function for it.
#[inline(always)]
fn product_sum<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The exponent of the smallest normal number.
const LEAST_POWER: f32 = -126.0;

/// 2ʳ of r within ±½ to 2 units in the last place: of all polynomials of degree 5 that are 1 at 0, that with the least
/// greatest error relative to the power.
#[inline(always)]
fn root_of_two<const FUSED: bool>(r: f32) -> f32 {
    let mut p = 1.320_298_2e-3;
    p = product_sum::<FUSED>(p, r, 9.674_952e-3);
    p = product_sum::<FUSED>(p, r, 5.551_047_3e-2);
    p = product_sum::<FUSED>(p, r, 2.402_216_6e-1);
    p = product_sum::<FUSED>(p, r, 6.931_466e-1);
    product_sum::<FUSED>(p, r, 1.0)
}

/// 2ˣ of x up to 126 to 2 units in the last place; 0 for results below the smallest normal number.
#[inline(always)]
pub(super) fn power_of_two<const FUSED: bool>(x: f32) -> f32 {
    let held = if x < LEAST_POWER { LEAST_POWER } else { x };
    let shifted = held + ROUNDING;
    let p = root_of_two::<FUSED>(held - (shifted - ROUNDING));
    // The last bits of the shifted number are those of the whole part.
    let value = p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LEAST_POWER { 0.0 } else { value }
}

/// The least number whose e⁻ˣ is worked out.
const LEAST: f32 = -87.0;

/// 1 + e⁻ˣ of x from [`LEAST`] on.
#[inline(always)]
fn one_plus_exp<const FUSED: bool>(x: f32) -> f32 {
    let power = x * -LOG2_E;
    let held = if power < LEAST_POWER { LEAST_POWER } else { power };
    let shifted = held + ROUNDING;
    let p = root_of_two::<FUSED>(held - (shifted - ROUNDING));
    // The whole part is added to the exponent; where that leaves no normal number, 1 hides it.
    1.0 + f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// x · σ(x) to 1e-6 of it, and to 1e-35 below −87 (Hendrycks and Gimpel, 2016).
#[inline(always)]
pub(super) fn silu<const FUSED: bool>(x: f32) -> f32 {
    let held = if x < LEAST { LEAST } else { x };
    held / one_plus_exp::<FUSED>(held)
}

/// The derivative of [`silu`]: σ(x) · (1 + x · (1 − σ(x))); 1 for ∞.
#[inline(always)]
pub(super) fn silu_slope<const FUSED: bool>(x: f32) -> f32 {
    let held = within(x, LEAST, f32::MAX);
    let sigmoid = 1.0 / one_plus_exp::<FUSED>(held);
    sigmoid * (1.0 + held * (1.0 - sigmoid))
}

/// x held between bounds, the upper one where they cross; NaN stays.
#[inline(always)]
pub(super) fn within(x: f32, low: f32, high: f32) -> f32 {
    let held = if x < low { low } else { x };
    if held > high { high } else { held }
}

/// xᶜ; half powers are roots, as in PyTorch: NaN of −∞, −0 of −0.
#[inline(always)]
pub(super) fn power(x: f32, c: f32) -> f32 {
    if c == 0.5 {
        x.sqrt()
    } else if c == -0.5 {
        1.0 / x.sqrt()
    } else {
        x.powf(c)
    }
}

/// ln x.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    x.ln()
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh x: a polynomial near 0, where 1 − 2/(e²ˣ + 1) would cancel.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let (s, size) = (x * x, x.abs());
    let mut p = -5.704_988_7e-3;
    p = p * s + 2.063_909e-2;
    p = p * s - 5.373_971_6e-2;
    p = p * s + 1.333_144_2e-1;
    p = p * s - 3.333_328e-1;
    let near = size + size * (s * p);
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { near } else { far }).copysign(x)
}

/// The error function.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    libm::erff(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers over the whole range where the functions are neither 0 nor infinite.
    fn numbers() -> impl Iterator<Item = f32> {
        (-87_000..88_700).map(|i| i as f32 * 1e-3)
    }

    fn worst(of: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let error = |x: f32| {
            let wanted = exact(x.into());
            (f64::from(of(x)) - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE)
        };
        numbers().filter(|x| *x != 0.0).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn functions_agree_with_double_precision() {
        assert!(worst(exp, f64::exp) < 2.5e-7, "{}", worst(exp, f64::exp));
        assert!(
            worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 4e-7,
            "{}",
            worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()))
        );
        assert!(worst(tanh, f64::tanh) < 4e-7, "{}", worst(tanh, f64::tanh));
    }

    #[test]
    fn powers_of_two_agree_with_double_precision() {
        for of in [power_of_two::<true>, power_of_two::<false>] {
            let error = |x: f32| (f64::from(of(x)) / f64::from(x).exp2() - 1.0).abs();
            let worst = (-125_999..126_000).map(|i| error(i as f32 * 1e-3)).fold(0.0, f64::max);
            assert!(worst < 2.5e-7, "{worst}");
            assert_eq!((of(0.0), of(f32::NEG_INFINITY), of(-126.0)), (1.0, 0.0, f32::MIN_POSITIVE));
            assert!(of(f32::NAN).is_nan() && of(-f32::NAN).is_nan() && of(f32::from_bits(0x7F80_0001)).is_nan());
        }
    }

    #[test]
    fn silu_agrees_with_double_precision() {
        let exact = |x: f64| x / (1.0 + (-x).exp());
        let slope = |x: f64| (1.0 + (-x).exp()).recip() * (1.0 + x / (1.0 + x.exp()));
        for x in numbers() {
            let (wanted, steep) = (exact(x.into()), slope(x.into()));
            for (found, wanted) in [
                (silu::<true>(x), wanted),
                (silu::<false>(x), wanted),
                (silu_slope::<true>(x), steep),
                (silu_slope::<false>(x), steep),
            ] {
                assert!((f64::from(found) - wanted).abs() <= 6e-6 * wanted.abs() + 1e-7, "{x}: {found}, not {wanted}");
            }
        }
        assert_eq!((silu::<true>(1e30), silu_slope::<false>(200.0), silu::<false>(0.0)), (1e30, 1.0, 0.0));
        assert!(silu::<true>(f32::NAN).is_nan() && silu::<true>(-200.0).abs() < 1e-30);
    }

    #[test]
    fn the_ends_are_right() {
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY), exp(0.0)), (f32::INFINITY, 0.0, 1.0));
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && exp(88.72).is_finite());
        assert_eq!((tanh(100.0), tanh(-100.0), tanh(0.0)), (1.0, -1.0, 0.0));
    }
}
