//! VIL levels to kilograms per square metre and back (Veillette et al. 2020, "SEVIR", appendix).

use std::sync::LazyLock;

use crate::domain::MISSING_LEVEL;

/// Up to this level there is nothing.
const NOTHING: u8 = 5;
/// Up to this level the scale is linear, above it is logarithmic.
const LINEAR: u8 = 18;
/// Levels for a kilogram per square metre on the linear part, and the level of zero there.
const SLOPE: f32 = 90.66;
const ZERO: f32 = 2.0;
/// Levels for a factor of e on the logarithmic part, and the level of 1 kg m⁻².
const FOLD: f32 = 38.9;
const ONE: f32 = 83.9;

/// The vertically integrated liquid of every level in kg m⁻²; NaN for a missing pixel.
pub fn table() -> &'static [f32; 256] {
    static TABLE: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|level| decode(level as u8)));
    &TABLE
}

fn decode(level: u8) -> f32 {
    match level {
        MISSING_LEVEL => f32::NAN,
        _ if level <= NOTHING => 0.0,
        _ if level <= LINEAR => (f32::from(level) - ZERO) / SLOPE,
        _ => ((f32::from(level) - ONE) / FOLD).exp(),
    }
}

/// Fills `liquid` with kg m⁻²; missing is NaN.
///
/// # Panics
/// Where the slices differ in length.
pub fn to_kg_m2(levels: &[u8], liquid: &mut [f32]) {
    assert_eq!(levels.len(), liquid.len(), "as many numbers as levels");
    let table = table();
    for (level, liquid) in levels.iter().zip(liquid) {
        *liquid = table[usize::from(*level)];
    }
}

/// Fills `levels` with the nearest levels of kg m⁻², NaN with missing: the inverse of [`to_kg_m2`] on every level but 1 to
/// 5, which mean no liquid as 0 does and come back as 0. What is above the scale is 254.
///
/// # Panics
/// Where the slices differ in length.
pub fn from_kg_m2(liquid: &[f32], levels: &mut [u8]) {
    assert_eq!(levels.len(), liquid.len(), "as many levels as numbers");
    for (liquid, level) in liquid.iter().zip(levels) {
        *level = encode(*liquid);
    }
}

fn encode(liquid: f32) -> u8 {
    if liquid.is_nan() {
        return MISSING_LEVEL;
    }
    let linear = (liquid * SLOPE + ZERO).round();
    if linear <= f32::from(NOTHING) {
        return 0;
    }
    if linear <= f32::from(LINEAR) {
        return linear as u8;
    }
    let logarithmic = (liquid.ln() * FOLD + ONE).round();
    logarithmic.clamp(f32::from(LINEAR + 1), f32::from(MISSING_LEVEL - 1)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_comes_back() {
        let levels: Vec<u8> = (0..=255).collect();
        let (mut liquid, mut back) = (vec![0.0; 256], vec![0; 256]);
        to_kg_m2(&levels, &mut liquid);
        from_kg_m2(&liquid, &mut back);
        let expected: Vec<u8> = levels.iter().map(|level| if *level <= NOTHING { 0 } else { *level }).collect();
        assert_eq!(back, expected);
        assert!(liquid[..255].is_sorted() && liquid[255].is_nan());
    }

    #[test]
    fn values_are_those_of_the_formula() {
        let mut liquid = [0.0; 5];
        to_kg_m2(&[5, 6, 18, 19, 254], &mut liquid);
        let expected = [0.0, 0.044_121, 0.176_483, 0.188_552, 79.261_35];
        assert!(liquid.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() <= 1e-4 * b), "{liquid:?}");
    }

    #[test]
    fn what_is_off_the_scale_is_at_its_ends() {
        let mut levels = [9; 5];
        from_kg_m2(&[-3.0, 0.0, 1e6, f32::INFINITY, f32::NAN], &mut levels);
        assert_eq!(levels, [0, 0, 254, 254, MISSING_LEVEL]);
    }
}
