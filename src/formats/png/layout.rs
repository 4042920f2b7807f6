//! Where everything stands on the sheet, in pixels.

use super::Picture;
use super::canvas::{Area, Font};

/// The longer side of a map is at least this long.
const LEAST_MAP: usize = 640;
/// Left of the map: the parallels' labels.
const LEFT: usize = 64;
/// Right of the map: the colour bar and its ticks.
const RIGHT: usize = 124;
/// Above the title and below the meridians' labels.
const MARGIN: usize = 14;
/// Between lines of text.
const LEADING: usize = 6;
/// Between the headings and the map.
const HEADING_GAP: usize = 10;
/// Below the map: the meridians' labels.
const BOTTOM: usize = 26 + MARGIN;
/// Between the map and the colour bar.
const BAR_GAP: usize = 22;
/// How wide the colour bar is.
const BAR_WIDTH: usize = 20;
/// Above the bar: the units. Below it: the box for missing values.
const BAR_ABOVE: usize = 24;
const BAR_BELOW: usize = 38;
/// How tall the room for the colour bar is at least.
const LEAST_HEIGHT: usize = 240;
/// Room around the note's letters.
pub(super) const NOTE_PADDING: usize = 8;

/// The places of a picture's parts.
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels a cell is wide and tall.
    pub(super) factor: usize,
    pub(super) map: Area,
    /// The colour bar without its pointed ends.
    pub(super) bar: Area,
    pub(super) title_top: usize,
    pub(super) title_font: Font,
    pub(super) subtitle_top: usize,
    /// The note's paper.
    pub(super) note: Option<Area>,
    /// How wide the headings may be.
    pub(super) text_width: usize,
}

impl Layout {
    pub(super) fn new(picture: &Picture) -> Self {
        let (nx, ny) = (picture.grid.nx, picture.grid.ny);
        let factor = LEAST_MAP.div_ceil(nx.max(ny)).max(1);
        let (width, tall) = (LEFT + nx * factor + RIGHT, (ny * factor).max(LEAST_HEIGHT));
        let width = width.max(LEAST_MAP);
        let text_width = width - LEFT - MARGIN;
        let title_font = [Font::LARGE, Font::MIDDLE].into_iter().find(|font| font.width(picture.title) <= text_width);
        let subtitle_top = MARGIN + Font::LARGE.height() + LEADING;
        let note = picture.note.map(|note| note_area(note, picture.subtitle, subtitle_top, text_width));
        let headings = note.map_or(0, |area| area.bottom()).max(subtitle_top + Font::SMALL.height());
        let map = Area { left: LEFT, top: headings + HEADING_GAP, width: nx * factor, height: ny * factor };
        Layout {
            width,
            height: map.top + tall + BOTTOM,
            factor,
            map,
            bar: bar_area(map, tall),
            title_top: MARGIN,
            title_font: title_font.unwrap_or(Font::SMALL_BOLD),
            subtitle_top,
            note,
            text_width,
        }
    }
}

/// Beside the subtitle where both fit, else below it.
fn note_area(note: &str, subtitle: &str, subtitle_top: usize, text_width: usize) -> Area {
    let width = (Font::SMALL_BOLD.width(note) + 2 * NOTE_PADDING).min(text_width);
    let height = Font::SMALL_BOLD.height() + LEADING;
    let beside = Font::SMALL.width(subtitle) + 2 * NOTE_PADDING + width <= text_width;
    let top = if beside { subtitle_top - LEADING / 2 } else { subtitle_top + Font::SMALL.height() + LEADING };
    let left = if beside { LEFT + text_width - width } else { LEFT };
    Area { left, top, width, height }
}

fn bar_area(map: Area, tall: usize) -> Area {
    let height = tall - BAR_ABOVE - BAR_BELOW;
    Area { left: map.right() + BAR_GAP, top: map.top + BAR_ABOVE, width: BAR_WIDTH, height }
}
