//! Every field of the manifest against what ecCodes read from it.

use gustfront::formats::grib2::{Grib2Error, Message, Packing, headers, scan};

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
    assert!(totals.compared > 0, "no field of the suite was compared");
}

#[derive(Debug, Default)]
struct Totals {
    compared: usize,
    unsupported: usize,
    refused: usize,
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
                println!("refused {place}: {error}");
                totals.refused += 1;
                let about = if single_fields { 1 } else { rest.len() };
                let about: Vec<&Expected> = rest.by_ref().take(about).collect();
                assert!(about.is_empty() || about.iter().any(|e| explains(e, &error)), "{place}: {error}");
            }
        }
    }
}

fn compare(place: &str, field: &Message, bytes: &[u8], expected: Option<&Expected>, totals: &mut Totals) {
    let Some(expected) = expected.filter(|e| e.error.is_none()) else { return };
    compare_keys(place, field, expected);
    match field.packing {
        Packing::Unsupported(template) => {
            let error = field.decode(bytes).expect_err("no values");
            assert!(error.to_string().contains(&format!("5.{template}")), "{place}: {error}");
            totals.unsupported += 1;
        }
        _ => {
            compare_values(place, field, bytes, expected);
            totals.compared += 1;
        }
    }
}

/// Whether what ecCodes reads shows why a header was refused: something unsupported, or damaged for ecCodes too.
fn explains(expected: &Expected, error: &Grib2Error) -> bool {
    let unsupported = |template: Option<u16>, supported: &[u16]| template.is_some_and(|t| !supported.contains(&t));
    match error {
        Grib2Error::Unsupported { section: 3, what, .. } => {
            unsupported(expected.grid_definition_template_number, &[0, 30]) || what.starts_with("earth shape")
        }
        Grib2Error::Unsupported { section: 4, .. } => {
            unsupported(expected.product_definition_template_number, &[0, 1, 2, 8, 11, 12])
        }
        _ => expected.error.is_some() || expected.step_range.as_ref().is_some_and(|s| s.contains("e+")),
    }
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
/// a day up to 12 UTC that began 18 h before the cycle at 06 UTC.
const OTHER_STEPS: [(&str, &str, [i64; 2]); 3] = [
    ("gdal/ds.mint.bin", "19-31", [7, 19]),
    ("gdal/ds.mint.bin", "43-55", [31, 43]),
    ("grib-rs/ds.critfireo.bin.xz", "0-24", [-18, 6]),
];

/// `A-B` or `B`, in hours or with the unit `m` behind the number.
fn compare_step(place: &str, message: &Message, expected: &Expected) {
    let minutes = |text: &str| match text.strip_suffix('m') {
        Some(minutes) => minutes.parse::<i64>().ok(),
        None => text.parse::<i64>().ok().map(|hours| hours * 60),
    };
    let Ok(time) = &message.product.time else { return };
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
