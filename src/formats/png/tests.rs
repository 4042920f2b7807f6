//! Whole pictures, decoded again.

use super::*;
use crate::domain::{Earth, Projection};

const TABLES: &str = include_str!("../../../config/colours.toml");

/// A decoded picture.
struct Decoded {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Decoded {
    fn of(file: &[u8]) -> Self {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut rgb = vec![0; reader.output_buffer_size().expect("a small picture")];
        let info = reader.next_frame(&mut rgb).expect("a whole PNG");
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        Decoded { width: info.width as usize, height: info.height as usize, rgb }
    }

    fn at(&self, x: usize, y: usize) -> Rgb {
        let start = 3 * (y * self.width + x);
        Rgb([self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]])
    }

    fn has(&self, colour: Rgb) -> bool {
        self.rgb.chunks_exact(3).any(|pixel| pixel == colour.0)
    }
}

fn table(name: &str) -> ColourTable {
    tables(TABLES).expect("our own tables").remove(name).expect("a table")
}

fn lambert(nx: usize, ny: usize) -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: -97.5 };
    let step = (3000.0, 3000.0);
    Grid::anchored(projection, Earth::sphere(6_371_229.0), (41.88, -116.93), (nx, ny), step).expect("a grid")
}

fn picture<'a>(grid: &'a Grid, values: &'a [f32], colours: &'a ColourTable) -> Picture<'a> {
    Picture { title: "2 m temperature", subtitle: "init · lead f03", note: None, units: "K", grid, values, colours }
}

/// The middle of the cell in a corner of the map, in pixels.
fn corner(picture: &Picture, right: bool, low: bool) -> (usize, usize) {
    let layout = Layout::new(picture);
    let (map, half) = (layout.map, layout.factor / 2);
    (
        if right { map.right() - 1 - half } else { map.left + half },
        if low { map.bottom() - 1 - half } else { map.top + half },
    )
}

#[test]
fn north_is_up_whatever_the_order_of_rows_and_columns() {
    let (hot, cold, colours) = (319.0, 231.0, table("temperature"));
    for (dx, dy) in [(3000.0, 3000.0), (3000.0, -3000.0), (-3000.0, 3000.0), (-3000.0, -3000.0)] {
        let base = lambert(5, 4);
        let grid = Grid { dx, dy, ..base };
        let mut values = vec![cold; 20];
        let (east, north) = (if dx > 0.0 { 4 } else { 0 }, if dy > 0.0 { 3 } else { 0 });
        values[north * 5 + east] = hot;
        let picture = picture(&grid, &values, &colours);
        let decoded = Decoded::of(&draw(&picture).expect("a picture"));
        for (right, low) in [(true, false), (false, false), (true, true), (false, true)] {
            let (x, y) = corner(&picture, right, low);
            let Rgb([red, green, blue]) = decoded.at(x, y);
            let is_hot = red > green && red > blue;
            assert_eq!(is_hot, right && !low, "{dx} {dy} right {right} low {low}: {:?}", decoded.at(x, y));
        }
    }
}

#[test]
fn the_sheet_has_the_size_of_its_layout_and_cells_keep_their_shape() {
    let colours = table("temperature");
    for ((nx, ny), map) in
        [((41, 78), (369, 702)), ((256, 256), (768, 768)), ((700, 300), (700, 300)), ((1, 1), (640, 640))]
    {
        let (grid, values) = (lambert(nx, ny), vec![280.0; nx * ny]);
        let picture = picture(&grid, &values, &colours);
        let (decoded, layout) = (Decoded::of(&draw(&picture).expect("a picture")), Layout::new(&picture));
        assert_eq!((layout.map.width, layout.map.height), map);
        assert_eq!((decoded.width, decoded.height), (layout.width, layout.height));
        assert!(layout.bar.right() < layout.width && layout.map.bottom() < layout.height);
    }
}

#[test]
fn missing_values_look_like_the_box_in_the_legend() {
    let (grid, colours) = (lambert(20, 20), table("reflectivity"));
    let mut values = vec![30.0; 400];
    values[..200].fill(f32::NAN);
    let picture = picture(&grid, &values, &colours);
    let decoded = Decoded::of(&draw(&picture).expect("a picture"));
    let palette = Palette::new(&[]).bytes();
    let grey = |entry: u8| [0, 1, 2].map(|k| palette[3 * usize::from(entry) + k]);
    let shown: Vec<[u8; 3]> = [palette::MISSING, palette::HATCH].map(grey).into();
    let (x, y) = corner(&picture, false, true);
    assert!(shown.contains(&decoded.at(x, y).0), "{:?}", decoded.at(x, y));
    let (x, y) = corner(&picture, false, false);
    assert_eq!(decoded.at(x, y), Rgb([0x00, 0x8e, 0x00]));
    let layout = Layout::new(&picture);
    let legend = (layout.bar.left + layout.bar.width / 2, layout.bar.bottom() + 26);
    assert!(shown.contains(&decoded.at(legend.0, legend.1).0), "{:?}", decoded.at(legend.0, legend.1));
}

#[test]
fn the_same_picture_has_the_same_bytes() {
    let (grid, colours) = (lambert(64, 48), table("wind"));
    let values: Vec<f32> = (0..64 * 48).map(|k| (k as f32 * 0.37).sin() * 30.0).collect();
    let picture = picture(&grid, &values, &colours);
    assert_eq!(draw(&picture).expect("a picture"), draw(&picture).expect("a picture"));
}

#[test]
fn a_note_is_seen_and_goes_into_the_file() {
    let (grid, colours) = (lambert(8, 8), table("temperature"));
    let values = vec![280.0; 64];
    let plain = picture(&grid, &values, &colours);
    let noted = Picture { note: Some("SYNTHETIC weather"), ..plain };
    let yellow = Rgb([255, 214, 102]);
    let file = draw(&noted).expect("a picture");
    assert!(Decoded::of(&file).has(yellow));
    assert!(!Decoded::of(&draw(&plain).expect("a picture")).has(yellow));
    assert!(file.windows(17).any(|bytes| bytes == b"SYNTHETIC weather"));
}

#[test]
fn a_graticule_crosses_the_map() {
    let (grid, colours) = (lambert(80, 80), table("reflectivity"));
    let values = vec![30.0; 6400];
    let picture = picture(&grid, &values, &colours);
    let (decoded, map) = (Decoded::of(&draw(&picture).expect("a picture")), Layout::new(&picture).map);
    let field = Rgb([0x00, 0x8e, 0x00]);
    let lines = |y: usize| (map.left..map.right()).filter(|x| decoded.at(*x, y) != field).count();
    let crossed = (map.top..map.bottom()).filter(|y| lines(*y) > 0).count();
    assert!(crossed == map.height, "meridians run from top to bottom: {crossed} of {} rows", map.height);
    assert!((map.top..map.bottom()).all(|y| lines(y) < map.width / 2));
}

#[test]
fn degenerate_fields_are_drawn() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, -0.0, 1e-30];
    for (name, colours) in tables(TABLES).expect("our own tables") {
        for (nx, ny) in [(1, 1), (1, 9), (2000, 1)] {
            let globe =
                Grid { projection: Projection::LatLon, x0: 170.0, y0: 80.0, dx: 2.5, dy: -2.5, ..lambert(nx, ny) };
            for grid in [lambert(nx, ny), globe] {
                for fill in odd {
                    let values = vec![fill; nx * ny];
                    let file =
                        draw(&picture(&grid, &values, &colours)).unwrap_or_else(|e| panic!("{name} {fill}: {e}"));
                    assert!(file.len() > 100);
                }
                let mixed: Vec<f32> = odd.iter().copied().cycle().take(nx * ny).collect();
                assert!(draw(&picture(&grid, &mixed, &colours)).is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn long_and_foreign_texts_fit() {
    let (grid, colours) = (lambert(4, 4), table("generic"));
    let (long, values) = ("Übersicht — 気温 ".repeat(40), vec![1.0; 16]);
    let picture =
        Picture { title: &long, subtitle: &long, note: Some(&long), units: &long, ..picture(&grid, &values, &colours) };
    let decoded = Decoded::of(&draw(&picture).expect("a picture"));
    assert_eq!(decoded.width, Layout::new(&picture).width);
}

#[test]
fn values_that_do_not_belong_to_the_grid_are_refused() {
    let (grid, colours) = (lambert(4, 4), table("generic"));
    let refused = draw(&picture(&grid, &[1.0; 15], &colours)).expect_err("one value is missing");
    assert_eq!(refused.to_string(), "a picture of 4×4 cells needs as many values, at least one, not 15");
    let empty = Grid { nx: 0, ..grid };
    assert!(draw(&picture(&empty, &[], &colours)).is_err());
}
