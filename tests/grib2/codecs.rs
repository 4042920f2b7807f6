//! The compressed templates: every real field of them against ecCodes, and what damage to each does.

use gustfront::domain::Philox;
use gustfront::formats::grib2::{Grib2Error, Message, Packing, headers, scan};

use crate::data::{Expected, folder, manifest, read};
use crate::manifest::{compare_keys, compare_values};
use crate::python;

#[test]
fn every_radar_mosaic_equals_what_eccodes_reads() {
    let Some(folder) = folder() else { return };
    let mut compared = 0;
    for file in manifest(&folder).files.iter().filter(|f| f.path.starts_with("mrms-")) {
        let Some(bytes) = read(&folder, &file.path) else { continue };
        let fields = headers(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        assert_eq!(fields.len(), file.fields.len(), "{}", file.path);
        for (field, expected) in fields.iter().zip(&file.fields) {
            compare_keys(&file.path, field, expected);
            compare_values(&file.path, field, &bytes, expected);
            compared += 1;
        }
    }
    assert!(compared > 0, "no radar mosaic in the manifest");
    println!("{compared} mosaics equal what ecCodes reads");
}

/// The templates of this file.
const TEMPLATES: [u16; 5] = [4, 40, 41, 42, 200];

#[test]
fn every_field_of_the_suite_equals_what_eccodes_reads() {
    let Some(folder) = folder() else { return };
    let mut compared = std::collections::BTreeMap::<u16, usize>::new();
    let mut refused = Vec::new();
    for file in manifest(&folder).files.iter().filter(|f| f.path.starts_with("decoder-suite/")) {
        let Some(bytes) = read(&folder, &file.path) else { continue };
        let of = |e: &&Expected| e.data_representation_template_number.is_some_and(|t| TEMPLATES.contains(&t));
        let mut expected = file.fields.iter().filter(of);
        for range in scan(&bytes).messages {
            let message = &bytes[range.clone()];
            let fields = headers(message).unwrap_or_else(|error| {
                refused.extend(expected.next().map(|_| format!("{}: {error}", file.path)));
                Vec::new()
            });
            for field in fields {
                let (place, template) = (format!("{} at byte {}", file.path, range.start), field.packing.template());
                assert!(!matches!(field.packing, Packing::Unsupported(_)), "{place}: {}", field.packing);
                let expected = TEMPLATES.contains(&template).then(|| expected.next().expect("an expectation"));
                if let Some(expected) = expected.filter(|e| e.error.is_none()) {
                    compare_values(&place, &field, message, expected);
                    *compared.entry(template).or_default() += 1;
                }
            }
        }
        assert_eq!(expected.count(), 0, "{}", file.path);
    }
    println!("fields compared of each template: {compared:?}, refused: {refused:#?}");
    assert!(refused.iter().all(|r| !r.contains("section 5") && !r.contains("section 7")), "{refused:#?}");
    assert!(compared.keys().eq(&TEMPLATES), "{compared:?}");
}

/// Its section 5 ends before the compression's type and ratio, which ecCodes wants and decoding does not need.
#[test]
fn a_jpeg_2000_field_without_the_octets_about_its_ratio_is_read() {
    let Some(bytes) = file("decoder-suite/gribtract/drt40_j2k_3x2.grib2") else { return };
    let field = headers(&bytes).expect("headers").remove(0);
    let values = field.decode(&bytes).expect("values");
    assert_eq!(values, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]);
}

/// Real messages, small enough to be damaged everywhere.
const SMALL: [&str; 8] = [
    "decoder-suite/gribtract/drt40_j2k_3x2.grib2",
    "decoder-suite/gribtract/drt41_png_3x2.grib2",
    "decoder-suite/gdal/ieee754_single.grb2",
    "decoder-suite/gdal/ieee754_double.grb2",
    "decoder-suite/gdal/template_4_15.grb2",
    "decoder-suite/gdal/template_4_40.grb2",
    "decoder-suite/gdal/MRMS_EchoTop_18_00.50_20161015-133230.grib2",
    "decoder-suite/grib-rs/Z__C_RJTD_20160822020000_NOWC_GPV_Ggis10km_Pphw10_FH0000-0100_grib2.bin",
];
const CCSDS: &str = "decoder-suite/gdal/template_5_42_ccsds_aec.grb2";
/// Bytes of a message after which the sections that its header is read from are surely over.
const TAIL: usize = 4;

fn file(path: &str) -> Option<Vec<u8>> {
    read(&folder()?, path)
}

/// The first message of a file and its last field.
fn field(path: &str) -> Option<(Message, Vec<u8>)> {
    let bytes = file(path)?;
    let range = scan(&bytes).messages.first()?.clone();
    let bytes = bytes[range].to_vec();
    let field = headers(&bytes).expect(path).pop()?;
    Some((field, bytes))
}

/// How often a field is damaged: less often where decoding takes longer.
fn trials(field: &Message) -> usize {
    (20_000_000 / field.points).clamp(40, 2000)
}

/// Where section 7 begins and ends.
fn data_section(message: &[u8]) -> std::ops::Range<usize> {
    let mut start = 16;
    loop {
        let length = u32::from_be_bytes(message[start..start + 4].try_into().expect("four bytes")) as usize;
        if message[start + 4] == 7 && start + length + TAIL == message.len() {
            return start..start + length;
        }
        start += length;
    }
}

/// The message with `data` as its last section, lengths corrected.
fn with_data(message: &[u8], data: &[u8]) -> Vec<u8> {
    let section = data_section(message);
    let mut bytes = message[..section.start].to_vec();
    bytes.extend_from_slice(&(data.len() as u32 + 5).to_be_bytes());
    bytes.push(7);
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"7777");
    let total = bytes.len() as u64;
    bytes[8..16].copy_from_slice(&total.to_be_bytes());
    bytes
}

fn decode(message: &[u8], values: &mut [f32]) -> Result<(), Grib2Error> {
    headers(message)?.pop().map_or(Ok(()), |field| field.decode_into(message, values))
}

/// Damage may go unnoticed or be an error of a section; nothing else.
fn accept(place: &str, result: Result<(), Grib2Error>) -> bool {
    match &result {
        Ok(()) => true,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("section ") && text.contains("expected "), "{place}: {text}");
            false
        }
    }
}

#[test]
fn data_cut_anywhere_is_an_error_or_values() {
    for path in SMALL.into_iter().chain([CCSDS]) {
        let Some((field, message)) = field(path) else { return };
        let data = message[data_section(&message)][5..].to_vec();
        let mut values = vec![0.0; field.points];
        assert!(accept(path, decode(&with_data(&message, &data), &mut values)));
        let trials = trials(&field);
        let step = (data.len() / trials).max(1);
        let mut read = 0;
        for cut in (0..data.len()).step_by(step) {
            let place = format!("{path} with {cut} of {} bytes", data.len());
            read += usize::from(accept(&place, decode(&with_data(&message, &data[..cut]), &mut values)));
        }
        // Only padding may be missed: the last byte of run lengths or of a compressed stream.
        assert!(read <= 1, "{path}: {read} cuts were not noticed");
    }
}

#[test]
fn flipped_bits_in_the_data_are_an_error_or_values() {
    for (number, path) in SMALL.into_iter().chain([CCSDS]).enumerate() {
        let Some((field, message)) = field(path) else { return };
        let philox = Philox::new(77, number as u32);
        let section = data_section(&message);
        let mut values = vec![0.0; field.points];
        for trial in 0..trials(&field) as u32 {
            let mut damaged = message.clone();
            let [count, scope, ..] = philox.words([trial, 0, 0, 0]);
            // Half of the damage is to the first bytes, where a stream says what it is.
            let reach = if scope % 2 == 0 { section.len() - 5 } else { (section.len() - 5).min(160) };
            for flip in 0..=count % 4 {
                let [place, bit, ..] = philox.words([trial, 1, flip, 0]);
                damaged[section.start + 5 + place as usize % reach] ^= 1 << (bit % 8);
            }
            accept(&format!("{path} trial {trial}"), decode(&damaged, &mut values));
        }
    }
}

#[test]
fn flipped_bits_in_how_data_is_packed_are_an_error_or_values() {
    for path in SMALL.into_iter().chain([CCSDS]) {
        let Some((field, message)) = field(path) else { return };
        let end = data_section(&message).start;
        let mut values = vec![0.0; field.points];
        for byte in end.saturating_sub(40)..end + 5 {
            for bit in 0..8 {
                let mut damaged = message.clone();
                damaged[byte] ^= 1 << bit;
                let same = |m: &Message| m.points == values.len();
                let Ok(fields) = headers(&damaged) else { continue };
                if let Some(field) = fields.last().filter(|m| same(m)) {
                    accept(&format!("{path} byte {byte}"), field.decode_into(&damaged, &mut values));
                }
            }
        }
    }
}

/// Relative to the field's largest magnitude, as in the manifest's test: one rounding to `f32`.
const TOLERANCE: f64 = 1e-6;

#[test]
fn synthetic_fields_that_eccodes_packs_in_every_width_are_read() {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let names = python::run(python, "write_packings.py", &[folder.path().to_str().expect("a path")]);
    for name in names.lines() {
        let bytes = std::fs::read(folder.path().join(format!("{name}.grib2"))).expect(name);
        let wanted = std::fs::read(folder.path().join(format!("{name}.f64"))).expect(name);
        let wanted: Vec<f64> = wanted.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let found =
            headers(&bytes).and_then(|fields| fields[0].decode(&bytes)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found.len(), wanted.len(), "{name}");
        let tolerance = TOLERANCE * wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            assert!((f64::from(*found) - wanted).abs() <= tolerance, "{name}: value {index} {found}, ecCodes {wanted}");
        }
    }
    assert!(names.lines().count() > 100, "{names}");
    println!("{} synthetic fields equal what ecCodes reads", names.lines().count());
}
