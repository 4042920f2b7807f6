//! Title, subtitle and note; numbers and units as people write them.

use super::Picture;
use super::canvas::{Canvas, Font};
use super::layout::{Layout, NOTE_PADDING};
use super::palette::Ink;

/// Writes what stands above the map.
pub(super) fn headings(canvas: &mut Canvas, picture: &Picture, layout: &Layout) {
    let (left, width) = (layout.map.left, layout.text_width);
    let font = layout.title_font;
    canvas.write(left, layout.title_top, &font.fitted(picture.title, width), font, Ink::Text);
    let subtitle = Font::SMALL.fitted(picture.subtitle, width);
    canvas.write(left, layout.subtitle_top, &subtitle, Font::SMALL, Ink::Soft);
    let (Some(note), Some(area)) = (picture.note, layout.note) else { return };
    canvas.fill(area, Ink::Badge.entry(0));
    let note = Font::SMALL_BOLD.fitted(note, area.width - 2 * NOTE_PADDING);
    let top = area.top + (area.height - Font::SMALL_BOLD.height()) / 2;
    canvas.write(area.left + NOTE_PADDING, top, &note, Font::SMALL_BOLD, Ink::Badge);
}

/// Units with strokes for divisions: `kg m-2 s-1` is `kg/(m²·s)`; `1` is nothing.
pub(super) fn units(cf: &str) -> String {
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for part in cf.split_whitespace().filter(|part| *part != "1") {
        let split = part.find(|c: char| c == '-' || c.is_ascii_digit()).filter(|at| *at > 0).unwrap_or(part.len());
        let (name, exponent) = part.split_at(split);
        let raised = |digits: &str| match digits {
            "" | "1" => name.to_string(),
            "2" => format!("{name}²"),
            "3" => format!("{name}³"),
            other => format!("{name}^{other}"),
        };
        match exponent.strip_prefix('-') {
            Some(digits) => below.push(raised(digits)),
            None => above.push(raised(exponent)),
        }
    }
    let above = above.join("·");
    match below.len() {
        0 => above,
        1 => format!("{}/{}", if above.is_empty() { "1" } else { &above }, below[0]),
        _ => format!("{}/({})", if above.is_empty() { "1" } else { &above }, below.join("·")),
    }
}

/// A tick's number, without digits that say nothing.
pub(super) fn number(value: f32) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e6).contains(&magnitude) {
        format!("{value:e}")
    } else {
        format!("{}", value + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_with_strokes() {
        let cases = [("K", "K"), ("m s-1", "m/s"), ("J kg-1", "J/kg"), ("kg m-2 s-1", "kg/(m²·s)"), ("1", "")];
        cases.into_iter().for_each(|(cf, expected)| assert_eq!(units(cf), expected));
        assert_eq!([units("m2 s-2"), units("s-1"), units("%"), units("")], ["m²/s²", "1/s", "%", ""]);
    }

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (-0.0, "0"), (0.3, "0.3"), (270.0, "270"), (-25.0, "-25"), (2e-7, "2e-7"), (5e6, "5e6")];
        cases.into_iter().for_each(|(value, expected)| assert_eq!(number(value), expected));
    }
}
