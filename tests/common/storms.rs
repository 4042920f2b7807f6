//! A small SEVIR of seven events in a folder, one without lightning and one with a missing frame.

use std::fs;
use std::path::{Path, PathBuf};

use gustfront::domain::Modality;

use crate::files::{Line, catalog, write_dense, write_points};

/// Events on both sides of the splits' dates, S… and R…; the last shard is not full.
pub(crate) const EVENTS: [(&str, &str); 7] = [
    ("S801", "2018-05-01 18:00:00"),
    ("R802", "2018-06-11 03:25:00"),
    ("S803", "2019-01-02 18:00:00"),
    ("S804", "2019-02-12 21:05:00"),
    ("S805", "2019-05-31 23:55:00"),
    ("R806", "2019-06-01 00:00:00"),
    ("S807", "2019-07-13 12:00:00"),
];
/// The event that has no lightning.
const DARK: usize = 4;
/// The event and frame of VIL that are missing.
const LOST: (usize, usize) = (1, 5);
/// A SEVIR of seven events; `odd` is the event whose row in the file of infrared frames is another's.
pub(crate) fn sevir(folder: &Path, odd: Option<usize>) -> PathBuf {
    let input = folder.join("sevir");
    let mut lines = Vec::new();
    for modality in [Modality::Vil, Modality::Ir107, Modality::Lght] {
        let has = |event: &usize| modality != Modality::Lght || *event != DARK;
        lines.extend((0..EVENTS.len()).filter(has).map(|at| Line::new(EVENTS[at].0, EVENTS[at].1, modality, at)));
    }
    fs::create_dir_all(&input).expect("a folder");
    fs::write(input.join("CATALOG.csv"), catalog(&lines)).expect("a catalogue");
    let file = |modality: Modality| input.join(format!("data/{modality}/2019/SEVIR.h5"));
    let mut ids = EVENTS.map(|(id, _)| id);
    write_dense(&file(Modality::Vil), Modality::Vil, &ids, |event, y, x, frame| {
        let lost = (event, frame) == LOST || (y + x).is_multiple_of(191);
        if lost { 255 } else { ((y / 3 + x / 2 + 5 * frame + 31 * event) % 251) as u8 }
    });
    if let Some(odd) = odd {
        ids[odd] = "S999";
    }
    write_dense(&file(Modality::Ir107), Modality::Ir107, &ids, |event, y, x, frame| {
        (y * 7 + x * 3 + frame * 20 + event) as i16 - 5000
    });
    let points = |event: usize| -> Vec<[f64; 5]> {
        let point =
            |k: usize| [f64::from(k as u32) * 37.0 - 7300.0, 38.0, -98.0, (k % 50) as f64 - 0.5, (k % 47) as f64];
        (0..200 * event).map(point).collect()
    };
    let all: Vec<Vec<[f64; 5]>> = (0..EVENTS.len()).map(points).collect();
    let flashes: Vec<(&str, &[[f64; 5]])> = EVENTS.iter().zip(&all).map(|((id, _), p)| (*id, p.as_slice())).collect();
    write_points(&file(Modality::Lght), &flashes);
    input
}
