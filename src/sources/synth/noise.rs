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

/// Splines and the blend in time average knots; this brings the standard deviation back to about 0.6.
const UNIT: f64 = 2.2;

/// Four independent random fields of mean zero and standard deviation about 0.6.
pub(super) fn field(random: &Philox, x_km: f64, y_km: f64, hours: f64, scale: Scale) -> [f64; 4] {
    spread(x_km, y_km, scale, |octave, i, j| knot(random, octave, i, j, hours * part(octave) / scale.time_hours))
}

/// The fields of [`field`] over a rectangle at one time, every knot drawn once: the same bits, sooner.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    scale: Scale,
    octaves: Vec<Knots>,
}

#[derive(Clone, Debug)]
struct Knots {
    first: [i64; 2],
    width: usize,
    values: Vec<[f64; 4]>,
}

impl Sheet {
    /// Draws the knots that points between `low` and `high` need.
    pub(super) fn new(random: &Philox, low: [f64; 2], high: [f64; 2], hours: f64, scale: Scale) -> Sheet {
        let octave = |octave: u32| {
            let space = part(octave) / scale.space_km;
            let first = low.map(|c| (c * space).round() as i64 - 1);
            let size = [0, 1].map(|k| ((high[k] * space).round() as i64 + 2 - first[k]).max(3) as usize);
            let time = hours * part(octave) / scale.time_hours;
            let place = |k: usize| (first[0] + (k % size[0]) as i64, first[1] + (k / size[0]) as i64);
            let values = (0..size[0] * size[1]).map(|k| knot(random, octave, place(k).0, place(k).1, time)).collect();
            Knots { first, width: size[0], values }
        };
        Sheet { scale, octaves: (0..scale.octaves).map(octave).collect() }
    }

    /// The fields at a point of the rectangle; a point outside it gets those of the nearest knots.
    pub(super) fn at(&self, x_km: f64, y_km: f64) -> [f64; 4] {
        spread(x_km, y_km, self.scale, |octave, i, j| {
            let knots = &self.octaves[octave as usize];
            let column = (i - knots.first[0]).clamp(0, knots.width as i64 - 1) as usize;
            let rows = knots.values.len() / knots.width;
            let row = (j - knots.first[1]).clamp(0, rows as i64 - 1) as usize;
            knots.values[row * knots.width + column]
        })
    }
}

/// How many times finer an octave is than the first.
fn part(octave: u32) -> f64 {
    f64::from(1_u32 << octave)
}

/// Quadratic B-splines over the knots of every octave.
fn spread(x_km: f64, y_km: f64, scale: Scale, knot: impl Fn(u32, i64, i64) -> [f64; 4]) -> [f64; 4] {
    let (mut sum, mut strength, mut power) = ([0.0; 4], 1.0, 0.0);
    for octave in 0..scale.octaves {
        let space = part(octave) / scale.space_km;
        let (first_x, weights_x) = spline(x_km * space);
        let (first_y, weights_y) = spline(y_km * space);
        for (j, weight_y) in weights_y.iter().enumerate() {
            for (i, weight_x) in weights_x.iter().enumerate() {
                let weight = strength * weight_y * weight_x;
                let value = knot(octave, first_x + i as i64, first_y + j as i64);
                for channel in 0..4 {
                    sum[channel] += weight * value[channel];
                }
            }
        }
        power += strength * strength;
        strength *= 0.5;
    }
    sum.map(|s| s * UNIT / power.sqrt())
}

/// The numbers of one knot, uniform in −1..1 and blended from one whole `time` to the next.
fn knot(random: &Philox, octave: u32, i: i64, j: i64, time: f64) -> [f64; 4] {
    let before = time.floor();
    let later = smoothstep(time - before);
    let draw = |step: i64| random.uniform([i as u32, j as u32, step as u32, octave]).map(|u| 2.0 * u - 1.0);
    let first = draw(before as i64);
    if later == 0.0 {
        return first;
    }
    let second = draw(before as i64 + 1);
    std::array::from_fn(|channel| first[channel] + later * (second[channel] - first[channel]))
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
    fn fields_are_smooth_and_of_their_stated_size() {
        let random = Philox::new(7, 99);
        let scale = Scale { space_km: 100.0, time_hours: 6.0, octaves: 3 };
        let values: Vec<f64> = (0..4000)
            .map(|i| field(&random, f64::from(i) * 37.0, f64::from(i) * 11.0, f64::from(i), scale)[1])
            .collect();
        let mean = values.iter().sum::<f64>() / 4000.0;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 4000.0).sqrt();
        assert!(mean.abs() < 0.1 && (0.5..0.75).contains(&deviation), "{mean} {deviation}");
        for i in 0..1000 {
            let x = f64::from(i);
            let step = field(&random, x + 0.1, 0.0, 3.0, scale)[0] - field(&random, x, 0.0, 3.0, scale)[0];
            assert!(step.abs() < 0.05, "{x} {step}");
        }
    }

    #[test]
    fn a_sheet_holds_the_very_bits_of_the_field() {
        let (random, scale) = (Philox::new(5, 6), Scale { space_km: 80.0, time_hours: 3.0, octaves: 4 });
        let sheet = Sheet::new(&random, [-300.0, 1000.0], [200.0, 1400.0], 7.3, scale);
        for i in 0..400 {
            let (x, y) = (-300.0 + 1.25 * f64::from(i), 1000.0 + f64::from(i));
            assert_eq!(sheet.at(x, y), field(&random, x, y, 7.3, scale));
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
