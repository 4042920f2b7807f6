//! Real fields written again: the same values in as many bytes as their producer needed.

use std::time::{Duration, Instant};

use gustfront::domain::{Lead, Moment, Slot};
use gustfront::formats::grib2::{Encode, Message, Pack, Packing, Precision, Scale, encode, headers, scan};

use crate::data::{folder, manifest, read};
use crate::round_trip::variable;

/// Bytes written per byte of the original's sections 5 to 7.
const MOST: f64 = 1.10;
/// Times each field is encoded; the fastest counts.
const ROUNDS: usize = 3;

/// A field with its bytes.
struct Original {
    place: String,
    bytes: Vec<u8>,
    field: Message,
    scale: Scale,
    pack: Pack,
}

/// Messages of one field on a known grid that are packed as something that is written too.
fn originals(folders: &[&str]) -> Vec<Original> {
    let Some(folder) = folder() else { return Vec::new() };
    let wanted = |path: &str| folders.iter().any(|f| path.starts_with(f));
    let files = manifest(&folder).files;
    let files =
        files.iter().filter(|f| wanted(&f.path)).filter_map(|f| Some((f.path.clone(), read(&folder, &f.path)?)));
    let mut found = Vec::new();
    for (path, bytes) in files {
        for range in scan(&bytes).messages {
            let bytes = bytes[range].to_vec();
            let Ok([field]) = <[Message; 1]>::try_from(headers(&bytes).expect("headers")) else { continue };
            let (scale, pack) = match &field.packing {
                Packing::Simple(scale) => (*scale, Pack::Simple),
                Packing::Complex(complex) => (complex.scale, Pack::Complex),
                _ => continue,
            };
            let place = format!("{} {:?}", path.rsplit('/').next().unwrap_or(&path), field.codes());
            found.push(Original { place, bytes, field, scale, pack });
        }
    }
    found
}

/// Bytes of sections 5 to 7.
fn packed_length(message: &[u8]) -> usize {
    let (mut position, mut total) = (16, 0);
    while position + 5 <= message.len() - 4 {
        let length = u32::from_be_bytes(message[position..position + 4].try_into().expect("four bytes")) as usize;
        total += if message[position + 4] >= 5 { length } else { 0 };
        position += length;
    }
    total
}

/// Writes a field as it was written; its bytes and the shortest time it took.
fn again(original: &Original, values: &[f32]) -> (Vec<u8>, Duration) {
    let (variable, grid) = (variable(), original.field.grid.as_ref().expect("a grid"));
    let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 18).expect("a day"), Lead(60));
    let (precision, pack) = (Precision::of(&original.scale), original.pack);
    let field = Encode { precision, pack, ..Encode::new(slot, &variable, grid, values, 0) };
    let once = || {
        let start = Instant::now();
        let message = encode(&field).expect("a message");
        (message, start.elapsed())
    };
    (0..ROUNDS).map(|_| once()).min_by_key(|(_, time)| *time).expect("rounds")
}

#[test]
fn real_fields_come_back_the_same_in_as_few_bytes() {
    let mut lines = Vec::new();
    for original in originals(&["hrrr-conus"]) {
        let values = original.field.decode(&original.bytes).expect("values");
        let (message, time) = again(&original, &values);
        let field = headers(&message).expect("headers").remove(0);
        let read = field.decode(&message).expect("values");
        let same = read.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
        assert!(same, "{}: other values than the original's", original.place);
        let (before, after) = (packed_length(&original.bytes), packed_length(&message));
        let part = after as f64 / before as f64;
        let milliseconds = time.as_secs_f64() * 1e3;
        println!("{:60} {before:9} → {after:9} bytes, {part:.3}, {milliseconds:.1} ms", original.place);
        lines.push((original.place, part, before));
    }
    for (place, part, _) in &lines {
        assert!(*part <= MOST, "{place}: {part}");
    }
    let [before, after] = lines.iter().fold([0.0; 2], |[a, b], (_, part, n)| [a + *n as f64, b + part * *n as f64]);
    println!("{} fields, {:.3} of the originals' bytes", lines.len(), after / before);
}
