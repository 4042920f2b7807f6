//! The 256 colours of a picture: inks for letters, the field's levels, and both again under a line.

use super::colours::Rgb;
use super::scale::MOST_LEVELS;

/// Steps from paper to full ink, so that letters have smooth edges.
pub(super) const INK_STEPS: u8 = 16;

/// White paper; the first step of the ramps for [`Ink::Text`] and [`Ink::Soft`].
pub(super) const PAPER: u8 = 0;
/// Missing values.
pub(super) const MISSING: u8 = 3 * INK_STEPS;
/// The hatch over missing values.
pub(super) const HATCH: u8 = MISSING + 1;
/// Missing values and their hatch under a line.
const MISSING_LINED: u8 = MISSING + 2;
/// The first level of the field.
const LEVELS: u8 = MISSING + 4;

// Every level, and both strengths of line over the first one and every second one.
const _: () = assert!(LEVELS as usize + MOST_LEVELS + 2 * (1 + MOST_LEVELS.div_ceil(2)) <= 256);

const WHITE: Rgb = Rgb([255, 255, 255]);
const DARK: Rgb = Rgb([27, 31, 38]);
const GREY: Rgb = Rgb([96, 104, 116]);
const BADGE_PAPER: Rgb = Rgb([255, 214, 102]);
const BADGE_INK: Rgb = Rgb([74, 48, 0]);
const MISSING_GREY: Rgb = Rgb([226, 228, 231]);
const HATCH_GREY: Rgb = Rgb([176, 182, 190]);

/// How much a line hides of what is below it: at its edge, and where it fully covers a pixel.
const LINE_STRENGTH: [f32; 2] = [0.16, 0.34];
/// Colours at least this bright get dark lines, others light ones.
const BRIGHT: f32 = 0.3;

/// What letters are written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Titles and ticks.
    Text,
    /// What is said more quietly.
    Soft,
    /// On the note's own paper.
    Badge,
}

impl Ink {
    /// The palette entry of a coverage from 0 (paper) to 255 (full ink).
    pub(super) fn entry(self, coverage: u8) -> u8 {
        let ramp = match self {
            Ink::Text => 0,
            Ink::Soft => INK_STEPS,
            Ink::Badge => 2 * INK_STEPS,
        };
        ramp + coverage / INK_STEPS
    }
}

/// The picture's colours, and what becomes of each where a line crosses it.
pub(super) struct Palette {
    colours: Vec<Rgb>,
    lined: [[u8; 256]; 2],
}

impl Palette {
    /// A palette for a field with these levels.
    pub(super) fn new(levels: &[Rgb]) -> Self {
        let mut palette = Palette { colours: inks(), lined: [std::array::from_fn(|entry| entry as u8); 2] };
        for (strength, lined) in palette.lined.iter_mut().enumerate() {
            lined[usize::from(MISSING)] = MISSING_LINED;
            lined[usize::from(HATCH)] = MISSING_LINED + strength as u8;
        }
        palette.colours.extend(levels);
        for (strength, part) in LINE_STRENGTH.into_iter().enumerate() {
            palette.add_lined(levels, strength, part);
        }
        palette
    }

    /// Entries for levels under a line. Where levels are many, neighbours, which differ little, share one; the first
    /// level, which stands for everything below the scale, has its own.
    fn add_lined(&mut self, levels: &[Rgb], strength: usize, part: f32) {
        let shared = if usize::from(LEVELS) + 3 * levels.len() <= 256 { 1 } else { 2 };
        let mut last = None;
        for (index, colour) in levels.iter().enumerate() {
            if last != Some(index.div_ceil(shared)) {
                self.colours.push(line_over(*colour, part));
                last = Some(index.div_ceil(shared));
            }
            let entry = (self.colours.len() - 1) as u8;
            let edge = self.lined[0][usize::from(level(index))];
            self.lined[strength][usize::from(level(index))] = entry;
            if strength == 1 {
                self.lined[1][usize::from(edge)] = entry;
            }
        }
    }

    /// The entry that a line of strength 0 (its edge) or 1 (full) makes of one.
    pub(super) fn under_line(&self, entry: u8, strength: usize) -> u8 {
        self.lined[strength.min(1)][usize::from(entry)]
    }

    /// Red, green and blue of every entry.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.colours.iter().flat_map(|colour| colour.0).collect()
    }
}

/// The palette entry of a level of the field.
pub(super) fn level(index: usize) -> u8 {
    LEVELS.saturating_add(index as u8)
}

fn inks() -> Vec<Rgb> {
    let ramp =
        |paper: Rgb, ink| (0..INK_STEPS).map(move |k| paper.towards(ink, f32::from(k) / f32::from(INK_STEPS - 1)));
    let mut colours: Vec<Rgb> =
        ramp(WHITE, DARK).chain(ramp(WHITE, GREY)).chain(ramp(BADGE_PAPER, BADGE_INK)).collect();
    let lined = LINE_STRENGTH.map(|part| line_over(MISSING_GREY, part));
    colours.extend([MISSING_GREY, HATCH_GREY, lined[0], lined[1]]);
    colours
}

fn line_over(colour: Rgb, part: f32) -> Rgb {
    colour.towards(if colour.brightness() >= BRIGHT { DARK } else { WHITE }, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_the_field_and_nothing_else() {
        for count in [2, 3, 17, 68, 69, 97, MOST_LEVELS] {
            let palette = Palette::new(&vec![WHITE; count]);
            assert!(palette.colours.len() <= 256, "{} colours", palette.colours.len());
            for index in 0..count {
                let (edge, full) = (palette.under_line(level(index), 0), palette.under_line(level(index), 1));
                assert!(edge >= level(count - 1) && full > edge, "{edge} {full}");
                assert_eq!((palette.under_line(edge, 1), palette.under_line(full, 0)), (full, full));
            }
            assert!((0..MISSING).all(|entry| palette.under_line(entry, 1) == entry));
        }
    }

    #[test]
    fn a_line_over_a_step_has_the_colour_of_that_step() {
        let (yellow, blue) = (Rgb([253, 248, 2]), Rgb([3, 0, 244]));
        let palette = Palette::new(&[WHITE, yellow, blue, GREY]);
        for (index, colour) in [(1, yellow), (2, blue)] {
            let full = palette.under_line(level(index), 1);
            assert_eq!(palette.colours[usize::from(full)], line_over(colour, LINE_STRENGTH[1]));
        }
    }
}
