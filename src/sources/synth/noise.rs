//! Smooth random fields in space and time, and random draws, from counter-based numbers.

use super::math::{cos_turns, ln, sin_turns, smoothstep};
use crate::domain::Philox;

/// The distances over which a random field changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Between the knots of the coarsest octave in space.
    pub(super) space_km: f64,
    /// Between the knots of the coarsest octave in time.
    pub(super) time_hours: f64,
    /// How many octaves, each half as long, half as lasting and half as strong as the one before.
    pub(super) octaves: u32,
}

/// Makes one octave's standard deviation about one: the spline and the blend in time average knots.
const UNIT: f64 = 2.2;

/// Four independent random fields of mean zero and standard deviation about one.
pub(super) fn field(random: &Philox, x_km: f64, y_km: f64, hours: f64, scale: Scale) -> [f64; 4] {
    let (mut sum, mut strength, mut power) = ([0.0; 4], 1.0, 0.0);
    for octave in 0..scale.octaves {
        let part = f64::from(1_u32 << octave);
        let space = part / scale.space_km;
        let values = knots(random, octave, [x_km * space, y_km * space, hours * part / scale.time_hours]);
        for channel in 0..4 {
            sum[channel] += strength * values[channel];
        }
        power += strength * strength;
        strength *= 0.5;
    }
    sum.map(|s| s * UNIT / power.sqrt())
}

/// A quadratic B-spline over random knots in space, blended between knots in time.
fn knots(random: &Philox, octave: u32, at: [f64; 3]) -> [f64; 4] {
    let (first_x, weights_x) = spline(at[0]);
    let (first_y, weights_y) = spline(at[1]);
    let before = at[2].floor();
    let later = smoothstep(at[2] - before);
    let mut sum = [0.0; 4];
    for (step, weight_t) in [(before as i64, 1.0 - later), (before as i64 + 1, later)] {
        if weight_t == 0.0 {
            continue;
        }
        for (j, weight_y) in weights_y.iter().enumerate() {
            for (i, weight_x) in weights_x.iter().enumerate() {
                let counter = [(first_x + i as i64) as u32, (first_y + j as i64) as u32, step as u32, octave];
                let weight = weight_t * weight_y * weight_x;
                let uniform = random.uniform(counter);
                for channel in 0..4 {
                    sum[channel] += weight * (2.0 * uniform[channel] - 1.0);
                }
            }
        }
    }
    sum
}

/// The first of three knots around `x` and their weights.
fn spline(x: f64) -> (i64, [f64; 3]) {
    let middle = x.round();
    let d = x - middle;
    (middle as i64 - 1, [0.5 * (0.5 - d) * (0.5 - d), 0.75 - d * d, 0.5 * (0.5 + d) * (0.5 + d)])
}

/// Four standard normal numbers for a counter (Box and Muller, 1958), the same bits on every machine.
pub(super) fn normal(random: &Philox, counter: [u32; 4]) -> [f64; 4] {
    let [a, b, c, d] = random.uniform(counter);
    let (first, second) = ((-2.0 * ln(a)).sqrt(), (-2.0 * ln(c)).sqrt());
    [first * cos_turns(b), first * sin_turns(b), second * cos_turns(d), second * sin_turns(d)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_smooth_and_of_about_unit_size() {
        let random = Philox::new(7, 99);
        let scale = Scale { space_km: 100.0, time_hours: 6.0, octaves: 3 };
        let values: Vec<f64> = (0..4000)
            .map(|i| field(&random, f64::from(i) * 37.0, f64::from(i) * 11.0, f64::from(i), scale)[1])
            .collect();
        let mean = values.iter().sum::<f64>() / 4000.0;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 4000.0).sqrt();
        assert!(mean.abs() < 0.1 && (0.7..1.4).contains(&deviation), "{mean} {deviation}");
        for i in 0..1000 {
            let x = f64::from(i);
            let step = field(&random, x + 0.1, 0.0, 3.0, scale)[0] - field(&random, x, 0.0, 3.0, scale)[0];
            assert!(step.abs() < 0.05, "{x} {step}");
        }
    }

    #[test]
    fn normal_numbers_equal_those_of_the_platform() {
        let random = Philox::new(3, 4);
        for i in 0..500 {
            let pairs = normal(&random, [i, 0, 0, 0]).into_iter().zip(random.normal([i, 0, 0, 0]));
            assert!(pairs.into_iter().all(|(ours, theirs)| (ours - theirs).abs() < 1e-8));
        }
    }
}
