//! Cut and flipped messages: always values or a reason, never a panic, never more memory than the grid needs.

use gustfront::domain::Philox;
use gustfront::formats::grib2::{Reason, headers, scan};

use crate::data::{folder, read};

/// Files with many templates, small enough to be damaged often.
const FILES: [&str; 10] = [
    "decoder-suite/gdal/spatial_differencing_order_1.grb2",
    "decoder-suite/gdal/one_value_and_nodata_points.grb2",
    "decoder-suite/gdal/gfswave-11.t00z.global.0p25.f000.grib2",
    "decoder-suite/gdal/lambert_conformal_conic.grb2",
    "decoder-suite/gdal/two_bands_with_bitmap.grib2",
    "decoder-suite/gdal/subgrids_reuse_bitmap.grib2",
    "decoder-suite/grib-rust/multifield.grib2",
    "decoder-suite/griblib/template5_2.grib2",
    "decoder-suite/griblib/template5_3.grib2",
    "hrrr-conus/t06z.wrfsfcf01-CFRZR.grib2",
];
/// Bytes of a message's beginning, where its headers are.
const HEADER: usize = 260;

/// Reads everything there is to read, also where the message's frame is damaged.
fn read_all(bytes: &[u8]) {
    for range in scan(bytes).messages {
        try_message(&bytes[range]);
    }
    try_message(bytes);
}

fn try_message(message: &[u8]) {
    for field in headers(message).unwrap_or_default() {
        if let Ok(values) = field.decode(message) {
            assert_eq!(values.len(), field.points);
        }
    }
}

fn files() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let folder = folder();
    FILES.into_iter().filter_map(move |path| Some((path, read(folder.as_ref()?, path)?)))
}

#[test]
fn a_message_cut_anywhere_is_no_whole_message() {
    for (path, bytes) in files() {
        let first = scan(&bytes).messages.first().cloned().unwrap_or(0..0);
        let message = &bytes[first];
        let step = (message.len() / 400).max(1);
        let cuts = (0..message.len().min(HEADER)).chain((HEADER..message.len()).step_by(step));
        for cut in cuts {
            let cut = &message[..cut];
            assert!(headers(cut).is_err(), "{path} cut to {} bytes", cut.len());
            assert!(scan(cut).messages.is_empty(), "{path} cut to {} bytes", cut.len());
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for (file, (_, bytes)) in files().enumerate() {
        let philox = Philox::new(2024, file as u32);
        let trials = if bytes.len() > 100_000 { 300 } else { 3000 };
        for trial in 0..trials {
            let mut damaged = bytes.clone();
            let [count, scope, ..] = philox.words([trial, 0, 0, 0]);
            let reach = if scope % 4 == 0 { bytes.len() } else { bytes.len().min(HEADER) };
            for flip in 0..=count % 4 {
                let [place, bit, ..] = philox.words([trial, 1, flip, 0]);
                damaged[place as usize % reach] ^= 1 << (bit % 8);
            }
            read_all(&damaged);
        }
    }
}

#[test]
fn a_scan_goes_on_after_whatever_is_no_message() {
    let Some((_, message)) = files().find(|(path, _)| path.contains("multifield")) else { return };
    let mut bytes = b"noise GRI ".to_vec();
    let noise = bytes.len();
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(b"GRIB\0\0\0\x01junk");
    let first = bytes.len();
    bytes.extend_from_slice(&message);
    let cut = bytes.len();
    bytes.extend_from_slice(&message[..message.len() - 1]);
    let scan = scan(&bytes);
    assert_eq!(scan.messages, [noise..noise + message.len(), first..cut]);
    let expected = message.len() as u64;
    let reasons = [Reason::NotGrib, Reason::Edition(1), Reason::Truncated { expected }];
    assert_eq!(scan.skipped.iter().map(|s| s.reason).collect::<Vec<_>>(), reasons);
    assert_eq!(scan.skipped.last().map(|s| s.range.clone()), Some(cut..bytes.len()));
}

#[test]
fn text_that_bears_the_ending_is_no_message() {
    let text = b"hrrr.t14z.wrfsfcf01.grib2";
    assert_eq!(headers(text).map_err(|e| e.to_string().contains("hrrr.t14z")), Err(true));
    let scan = scan(text);
    assert!(scan.messages.is_empty());
    assert!(matches!(&scan.skipped[..], [one] if one.range == (0..text.len()) && one.reason == Reason::NotGrib));
}

#[test]
fn other_bytes_than_the_header_was_read_from_are_refused() {
    let Some((_, message)) = files().find(|(path, _)| path.contains("CFRZR")) else { return };
    let field = headers(&message).expect("headers").remove(0);
    assert!(field.decode(&message).is_ok());
    assert!(field.decode(&message[1..]).is_err() && field.decode(&[]).is_err());
}
