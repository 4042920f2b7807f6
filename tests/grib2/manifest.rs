//! Every field of the manifest against what ecCodes read from it.

use gustfront::formats::grib2::{Grib2Error, Message, headers, scan};

use crate::data::{Expected, folder, manifest, read, row_major};

/// Relative to the field's largest magnitude: decoded in f64 and rounded once to f32, whose step is 6e-8.
const TOLERANCE: f64 = 1e-6;

#[test]
fn hrrr_fields_equal_what_eccodes_reads() {
    let Some(folder) = folder() else { return };
    let mut compared = 0;
    for file in manifest(&folder).files.iter().filter(|f| f.path.starts_with("hrrr-") && !f.fields.is_empty()) {
        let Some(bytes) = read(&folder, &file.path) else { continue };
        let scan = scan(&bytes);
        // One file was cut a byte too far behind each message; nothing longer is skipped.
        assert!(scan.skipped.iter().all(|s| s.range.len() < 4), "{}: {:?}", file.path, scan.skipped);
        let messages = scan.messages.iter().map(|range| &bytes[range.clone()]);
        let fields: Vec<(Message, &[u8])> = messages
            .flat_map(|m| headers(m).unwrap_or_else(|e| panic!("{}: {e}", file.path)).into_iter().map(move |h| (h, m)))
            .collect();
        assert_eq!(fields.len(), file.fields.len(), "{}", file.path);
        for (number, ((message, bytes), expected)) in fields.iter().zip(&file.fields).enumerate() {
            let place = format!("{} field {}", file.path, number + 1);
            compare_keys(&place, message, expected);
            compare_values(&place, message, bytes, expected);
            compared += 1;
        }
    }
    assert!(compared > 0, "no HRRR field in the manifest");
    println!("{compared} HRRR fields equal what ecCodes reads");
}

#[test]
fn the_decoder_suite_is_read_or_refused_with_a_reason() {
    let Some(folder) = folder() else { return };
    let mut totals = Totals::default();
    for file in manifest(&folder).files.iter().filter(|f| f.path.starts_with("decoder-suite/")) {
        let Some(bytes) = read(&folder, &file.path) else { continue };
        walk(&file.path, &bytes, &file.fields, &mut totals);
    }
    println!("{totals:?}");
    assert!(totals.compared > 0 && totals.beyond == 0, "every field of the suite is compared or told: {totals:?}");
}

#[derive(Debug, Default)]
struct Totals {
    /// Fields whose keys and values are those that ecCodes reads.
    compared: usize,
    /// Messages that are refused.
    refused: usize,
    /// Fields that ecCodes reads and that were not come to.
    beyond: usize,
}

/// Compares the messages of one file in the order of its expectations, up to a refused message of many fields.
fn walk(path: &str, bytes: &[u8], expected: &[Expected], totals: &mut Totals) {
    let known = |e: &&Expected| e.discipline.is_some() && e.product_definition_template_number.is_some();
    let expected: Vec<&Expected> = expected.iter().filter(known).collect();
    let messages = scan(bytes).messages;
    let single_fields = messages.len() == expected.len();
    let mut rest = expected.iter().copied();
    for range in messages {
        let message = &bytes[range.clone()];
        let place = format!("{path} at byte {}", range.start);
        match headers(message) {
            Ok(fields) => fields.iter().for_each(|field| compare(&place, field, message, rest.next(), totals)),
            Err(error) => {
                assert!(is_told(&REFUSED, &place, &error), "refused {place}: {error}");
                totals.refused += 1;
                rest.nth(if single_fields { 0 } else { rest.len() });
            }
        }
    }
    totals.beyond += rest.count();
}

/// Whether a table says that a file's error contains this.
fn is_told(table: &[(&str, &str)], place: &str, error: &Grib2Error) -> bool {
    table.iter().any(|(file, text)| place.contains(file) && error.to_string().contains(text))
}

/// Messages that cannot be read, and why: template 3.1 has 84 octets.
const REFUSED: [(&str, &str); 1] = [("gribtract/rotated_latlon_gdt1_drt0.grib2", "at least 76 octets, found 72")];

fn compare(place: &str, field: &Message, bytes: &[u8], expected: Option<&Expected>, totals: &mut Totals) {
    let Some(expected) = expected.filter(|e| e.error.is_none()) else { return };
    compare_keys(place, field, expected);
    compare_values(place, field, bytes, expected);
    totals.compared += 1;
}

pub(crate) fn compare_keys(place: &str, message: &Message, expected: &Expected) {
    let codes = message.codes().map(Some);
    assert_eq!(codes, [expected.discipline, expected.parameter_category, expected.parameter_number], "{place}");
    assert_eq!(Some(message.grid_template), expected.grid_definition_template_number, "{place}");
    assert_eq!(Some(message.product.template), expected.product_definition_template_number, "{place}");
    assert_eq!(Some(message.packing.template()), expected.data_representation_template_number, "{place}");
    if let Some((nx, ny)) = message.shape {
        assert_eq!([Some(nx as u64), Some(ny as u64)], [expected.ni, expected.nj], "{place}");
    }
    let cycle = message.cycle.calendar();
    let date = cycle.format("%Y%m%d").to_string().parse().ok();
    let time = cycle.format("%H%M").to_string().parse().ok();
    assert_eq!([date, time], [expected.data_date, expected.data_time], "{place}");
    compare_step(place, message, expected);
    compare_level(place, message, expected);
    let bits = message.packing.scale().map(|scale| scale.bits);
    assert!(bits.is_none() || bits == expected.bits_per_value, "{place}: {bits:?} {:?}", expected.bits_per_value);
}

/// Steps where ecCodes is not followed: the file, ecCodes' step, and start and end in hours that are right.
///
/// The end of an interval is in octets 35 to 41 of template 4.8 (48 to 54 of 4.9), at which ecCodes does not look.
/// The US National Digital Forecast Database wrote the end as forecast time too, which is the start (octets 19 to
/// 22): a night's minimum up to 12 UTC, 19 h after the cycle. It writes 0 where the start lies before the cycle:
/// a day up to 12 UTC that began 18 h before the cycle at 06 UTC. The Canadian precipitation analysis wrote a length of
/// −24 h from 24 h on, which is no unsigned number: the 24 h up to the cycle.
const OTHER_STEPS: [(&str, &str, [i64; 2]); 4] = [
    ("gdal/ds.mint.bin", "19-31", [7, 19]),
    ("gdal/ds.mint.bin", "43-55", [31, 43]),
    ("grib-rs/ds.critfireo.bin.xz", "0-24", [-18, 6]),
    ("grib-rs/CMC_RDPA_APCP-024", "24-4.29497e+09", [-24, 0]),
];

/// `A-B` or `B`, in hours or with the unit `m` behind the number.
fn compare_step(place: &str, message: &Message, expected: &Expected) {
    let minutes = |text: &str| match text.strip_suffix('m') {
        Some(minutes) => minutes.parse::<i64>().ok(),
        None => text.parse::<i64>().ok().map(|hours| hours * 60),
    };
    let time = message.product.time.as_ref().unwrap_or_else(|e| panic!("{place}: {e}"));
    let text = expected.step_range.as_deref().unwrap_or_default();
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let other = OTHER_STEPS.iter().find(|(file, step, _)| place.contains(file) && *step == text);
    let wanted = other.map_or([minutes(start), minutes(end)], |(_, _, hours)| hours.map(|h| Some(h * 60)));
    let end = i64::from(time.lead.0);
    assert_eq!([end - time.window.map_or(0, |w| w.0.into()), end].map(Some), wanted, "{place}: {text}");
}

/// Levels whose unit ecCodes does not convert.
fn compare_level(place: &str, message: &Message, expected: &Expected) {
    let kind = expected.type_of_level.as_deref().unwrap_or_default();
    let (surface, factor) = match kind {
        "surface" => (1, 1.0),
        "heightAboveGround" => (103, 1.0),
        "atmosphere" => (10, 1.0),
        "nominalTop" => (8, 1.0),
        "isobaricInhPa" => (100, 100.0),
        _ => return,
    };
    let level = expected.level.unwrap_or(f64::NAN) * factor;
    let found = message.product.first.map(|s| (s.kind, s.level));
    assert_eq!(found, Some((surface, level)), "{place}: {kind}");
}

pub(crate) fn compare_values(place: &str, message: &Message, bytes: &[u8], expected: &Expected) {
    let values = message.decode(bytes).unwrap_or_else(|e| panic!("{place}: {e}"));
    let present = || values.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v));
    let count = present().count();
    assert_eq!((Some(values.len()), Some(values.len() - count)), (expected.values, expected.missing), "{place}");
    let ends = [expected.min, expected.max].map(|v| v.unwrap_or(0.0));
    let largest = ends.map(f64::abs).into_iter().fold(0.0, f64::max);
    let close = |what: &str, found: f64, wanted: f64| {
        assert!((found - wanted).abs() <= TOLERANCE * largest, "{place}: {what} {found}, ecCodes {wanted}");
    };
    if let (Some(min), Some(max), Some(mean)) = (expected.min, expected.max, expected.mean) {
        close("min", present().fold(f64::INFINITY, f64::min), min);
        close("max", present().fold(f64::NEG_INFINITY, f64::max), max);
        close("mean", present().sum::<f64>() / count as f64, mean);
    }
    let scanning = expected.scanning_mode.unwrap_or(0);
    for (index, wanted) in &expected.sample {
        let place_of = |(nx, ny)| row_major(*index, scanning, nx, ny);
        let found = values[message.shape.map_or(*index, place_of)];
        match wanted {
            Some(wanted) => close(&format!("value {index}"), found.into(), *wanted),
            None => assert!(found.is_nan(), "{place}: value {index} is {found}, ecCodes has it missing"),
        }
    }
}
