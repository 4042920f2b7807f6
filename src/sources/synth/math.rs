//! Elementary functions from exactly rounded operations alone, so that every machine gets the same bits.
//!
//! `exp`, `ln` and `sin` of a platform's mathematics library differ in the last bit from one library to
//! the next; sums, products, quotients and square roots of IEEE 754 do not.

/// ln 2 in two parts whose sum is exact to 1e-33.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// 1.5 · 2⁵²: a small number that is added to it is rounded to a whole one, in the lowest bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// e to the power of `x`, to 1e-10 of itself; `x` is held to ±700.
///
/// Without a call or a branch, so that loops over it are vectorised.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let rounded = x * std::f64::consts::LOG2_E + ROUNDING;
    let power = rounded - ROUNDING;
    let r = x - power * LN_2[0] - power * LN_2[1];
    let mut sum = 1.0;
    for k in [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + sum * r / k;
    }
    sum * f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52)
}

/// The natural logarithm of a positive normal number, to 1e-10.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & 0x000F_FFFF_FFFF_FFFF | 1023 << 52);
    let (mantissa, exponent) =
        if mantissa > std::f64::consts::SQRT_2 { (mantissa / 2.0, exponent + 1) } else { (mantissa, exponent) };
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q / 13.0)))));
    2.0 * s * series + exponent as f64 * std::f64::consts::LN_2
}

/// The sine of `turns` full turns, to 1e-9.
pub(super) fn sin_turns(turns: f64) -> f64 {
    let half = turns - turns.round();
    let quarter = if half > 0.25 {
        0.5 - half
    } else if half < -0.25 {
        -0.5 - half
    } else {
        half
    };
    let x = quarter * std::f64::consts::TAU;
    let q = x * x;
    let tail = 1.0 - q / 110.0 * (1.0 - q / 156.0 * (1.0 - q / 210.0));
    x * (1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0 * tail))))
}

/// The cosine of `turns` full turns, to 1e-9.
pub(super) fn cos_turns(turns: f64) -> f64 {
    sin_turns(turns + 0.25)
}

/// The hyperbolic tangent.
pub(super) fn tanh(x: f64) -> f64 {
    1.0 - 2.0 / (exp(2.0 * x.clamp(-20.0, 20.0)) + 1.0)
}

/// From 0 far below zero to 1 far above it.
pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// From 0 at or below zero to 1 at or above one, without a kink.
pub(super) fn smoothstep(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_platform_to_their_stated_precision() {
        for i in -4000..4000 {
            let x = f64::from(i) * 0.007_3;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-10, "exp {x}");
            assert!((sin_turns(x) - (x * std::f64::consts::TAU).sin()).abs() < 1e-9, "sin {x}");
            assert!((cos_turns(x) - (x * std::f64::consts::TAU).cos()).abs() < 1e-9, "cos {x}");
            assert!((tanh(x) - x.tanh()).abs() < 1e-10, "tanh {x}");
            let positive = x.exp();
            assert!((ln(positive) - positive.ln()).abs() < 1e-10 * (1.0 + x.abs()), "ln {positive}");
        }
    }

    #[test]
    fn steps_end_where_they_say() {
        assert_eq!((smoothstep(-1.0), smoothstep(0.5), smoothstep(2.0)), (0.0, 0.5, 1.0));
        assert_eq!(logistic(0.0), 0.5);
    }
}
