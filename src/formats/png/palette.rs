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

// Every level, and both strengths of line over every second one.
const _: () = assert!(LEVELS as usize + MOST_LEVELS + 2 * MOST_LEVELS.div_ceil(2) <= 256);

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

    /// Entries for levels under a line; two neighbouring levels share one.
    fn add_lined(&mut self, levels: &[Rgb], strength: usize, part: f32) {
        for (pair, colours) in levels.chunks(2).enumerate() {
            let entry = self.colours.len() as u8;
            self.colours.push(line_over(colours[0], part));
            if strength == 1 {
                let edge = self.lined[0][usize::from(level(2 * pair))];
                self.lined[1][usize::from(edge)] = entry;
            }
            for offset in 0..colours.len() {
                self.lined[strength][usize::from(level(2 * pair + offset))] = entry;
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
        let palette = Palette::new(&[WHITE, DARK, GREY]);
        for index in 0..3 {
            let (edge, full) = (palette.under_line(level(index), 0), palette.under_line(level(index), 1));
            assert!(edge >= level(3) && full > edge, "{edge} {full}");
            assert_eq!((palette.under_line(edge, 1), palette.under_line(full, 0)), (full, full));
        }
        for entry in 0..MISSING {
            assert_eq!(palette.under_line(entry, 1), entry);
        }
    }
}
