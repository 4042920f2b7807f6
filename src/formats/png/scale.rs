//! From values to the picture's colour levels, and where the levels stand on the colour bar.

use super::colours::{ColourTable, MOST_STOPS, Rgb, Span, Style};

/// Shades that blending colours are drawn in; together with the lines over them they fit a palette of 256.
const SHADES: usize = 96;

/// Levels a scale may have: the shades, one below and one above.
pub(super) const MOST_LEVELS: usize = SHADES + 2;

const _: () = assert!(MOST_STOPS < SHADES);

/// A colour table fitted to one field.
pub(super) struct Scale {
    /// The values at which one interval of the colour bar ends and the next begins, ascending.
    pub(super) stops: Vec<f32>,
    /// Levels an interval has.
    pub(super) per_interval: usize,
    /// One colour a level: below the first stop, then interval by interval, then from the last stop up.
    pub(super) colours: Vec<Rgb>,
    /// Values may lie beyond the stops.
    pub(super) open_ended: bool,
    /// One a stop, or none.
    pub(super) names: Vec<String>,
}

impl Scale {
    pub(super) fn new(table: &ColourTable, values: &[f32]) -> Self {
        let intervals = table.stops.len() - 1;
        let per_interval = if table.style == Style::Continuous { SHADES / intervals } else { 1 };
        let mut colours = vec![table.below.unwrap_or(table.stops[0].1)];
        for pair in table.stops.windows(2) {
            colours.extend((0..per_interval).map(|k| shade(table.style, pair[0].1, pair[1].1, k, per_interval)));
        }
        colours.push(table.stops[intervals].1);
        let open_ended = table.span == Span::Fixed && table.names.is_empty();
        Scale { stops: fit(table, values), per_interval, colours, open_ended, names: table.names.clone() }
    }

    /// The level of a value; `None` where it is missing.
    pub(super) fn level(&self, value: f32) -> Option<usize> {
        if !value.is_finite() {
            return None;
        }
        let passed = self.stops.partition_point(|stop| *stop <= value);
        if passed == 0 || passed == self.stops.len() {
            return Some(if passed == 0 { 0 } else { self.colours.len() - 1 });
        }
        let (low, high) = (self.stops[passed - 1], self.stops[passed]);
        let part = ((value - low) / (high - low) * self.per_interval as f32) as usize;
        Some(1 + (passed - 1) * self.per_interval + part.min(self.per_interval - 1))
    }
}

fn shade(style: Style, from: Rgb, to: Rgb, index: usize, count: usize) -> Rgb {
    let part = if style == Style::Continuous { (index as f32 + 0.5) / count as f32 } else { 0.0 };
    from.towards(to, part)
}

impl Rgb {
    /// The colour this part of the way to another one.
    pub(super) fn towards(self, other: Rgb, part: f32) -> Rgb {
        let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * part).round() as u8;
        Rgb([mix(self.0[0], other.0[0]), mix(self.0[1], other.0[1]), mix(self.0[2], other.0[2])])
    }

    /// How bright the colour looks, 0 to 1 (Rec. 709 weights).
    pub(super) fn brightness(self) -> f32 {
        let [r, g, b] = self.0.map(f32::from);
        (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255.0
    }
}

/// The stops in the field's units, with round numbers where they follow the field.
fn fit(table: &ColourTable, values: &[f32]) -> Vec<f32> {
    let intervals = table.stops.len().max(2) - 1;
    let (least, greatest) = extremes(values);
    let (origin, unit) = match table.span {
        Span::Fixed => return table.stops.iter().map(|stop| stop.0).collect(),
        Span::Range => {
            let (start, step) = round_steps(least, greatest, intervals);
            (start, step * intervals as f64)
        }
        Span::Symmetric => {
            let half = (intervals as f64 / 2.0).max(1.0);
            (0.0, round_step(least.abs().max(greatest.abs()) / half) * half)
        }
    };
    // Parts such as 0.4 have no exact form: a hundred-thousandth of the span brings their values back to round numbers.
    let fine = unit * 1e-5;
    let value = |part: f32| ((origin + f64::from(part) * unit) / fine).round() * fine;
    table.stops.iter().map(|stop| value(stop.0) as f32).collect()
}

/// Least and greatest finite value; 0 and 0 where there is none.
fn extremes(values: &[f32]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (least, greatest) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if least <= greatest { (f64::from(least), f64::from(greatest)) } else { (0.0, 0.0) }
}

/// A round start and step with which `count` steps reach from the least to the greatest value.
fn round_steps(least: f64, greatest: f64, count: usize) -> (f64, f64) {
    // Steps finer than this part of the values cannot be told apart in f32.
    let resolution = least.abs().max(greatest.abs()) * 1e-6;
    let mut step = round_step(((greatest - least) / count as f64).max(resolution));
    let mut start = (least / step).floor() * step;
    if start + step * (count as f64) < greatest {
        step = round_step(step * 1.01);
        start = (least / step).floor() * step;
    }
    (start, step)
}

/// The next of 1, 2, 2.5 and 5 times a power of ten; 1 for zero.
pub(super) fn round_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0].into_iter().map(|m| m * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::png::tables;

    fn scale(body: &str, values: &[f32]) -> Scale {
        let tables = tables(&format!("[table]\n{body}")).expect("a table");
        Scale::new(&tables["table"], values)
    }

    #[test]
    fn steps_hold_from_their_stop_up() {
        let scale = scale("style = 'steps'\nstops = [[1.0, '#010000'], [2.0, '#020000']]\nbelow = '#000000'", &[]);
        let red = |v: f32| scale.level(v).map(|level| scale.colours[level].0[0]);
        assert_eq!([0.99, 1.0, 1.99, 2.0, 9.0].map(red), [Some(0), Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(red), [None; 3]);
    }

    #[test]
    fn colours_blend_in_order() {
        let scale = scale("style = 'continuous'\nstops = [[0.0, '#000000'], [1.0, '#c80000']]", &[]);
        let red: Vec<u8> =
            (0..=100).filter_map(|v| scale.level(v as f32 / 100.0)).map(|l| scale.colours[l].0[0]).collect();
        assert!(red.is_sorted() && red.len() == 101, "{red:?}");
        assert!((95..=105).contains(&red[50]), "{red:?}");
        assert!(scale.colours.len() <= MOST_LEVELS);
    }

    #[test]
    fn relative_stops_are_round_and_reach_around_the_field() {
        let generic =
            "style = 'continuous'\nscale = 'range'\nstops = [[0.0, '#000000'], [0.5, '#880000'], [1.0, '#ffffff']]";
        for values in [[3.27, 18.9], [-1e-7, 3e-8], [99_999.0, 100_001.0], [4.0, 4.0], [0.0, 0.0], [-3e38, 3e38]] {
            let stops = scale(generic, &values).stops;
            assert!(stops.is_sorted() && stops[0] <= values[0] && stops[2] >= values[1], "{values:?} {stops:?}");
        }
        let symmetric = generic.replace("range", "symmetric").replace("[0.0,", "[-1.0,").replace("[0.5,", "[0.0,");
        assert_eq!(scale(&symmetric, &[-0.3, 1.7]).stops, [-2.0, 0.0, 2.0]);
        let fifths =
            "style = 'continuous'\nscale = 'range'\nstops = [[0.0, '#000000'], [0.2, '#100000'], [0.4, '#200000'],
            [0.6, '#300000'], [0.8, '#400000'], [1.0, '#500000']]";
        assert_eq!(scale(fifths, &[-6.5, 2.6]).stops, [-7.5, -5.0, -2.5, 0.0, 2.5, 5.0]);
    }
}
