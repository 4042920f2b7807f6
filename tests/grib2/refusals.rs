//! Every kind of damage with what its error must say: the section, the byte, what was expected and what was found.

use gustfront::formats::grib2::headers;

use crate::made::{Made, seed};

/// The seed that is damaged, how, and parts of the error.
type Case = (&'static str, fn(&mut Made), &'static [&'static str]);

/// Damage to a whole message.
type Change = fn(&mut Vec<u8>);

/// The first `section` of a number gets octets at an octet.
macro_rules! set {
    ($section:expr, $octet:expr, $octets:expr) => {
        |made: &mut Made| made.set($section, $octet, &$octets)
    };
}

const NAN: [u8; 4] = f32::NAN.to_be_bytes();
const INFINITY: [u8; 4] = f32::NEG_INFINITY.to_be_bytes();
const BILLION: [u8; 4] = 1_000_000_000u32.to_be_bytes();

/// Section 3 begins at byte 37, its points at byte 43; section 5 of `simple` at byte 143, that of `complex` too.
const CASES: &[Case] = &[
    ("simple", |made| drop(made.sections.remove(0)), &["section 4, byte", "section 1 first"]),
    ("simple", set!(1, 13, [7, 232, 13]), &["section 1, byte 28", "a time since 1970", "2024-13-29"]),
    ("simple", |made| made.section(1).truncate(9), &["section 1, byte 30", "at least 15 octets", "found 14"]),
    ("simple", |made| drop(made.sections.remove(1)), &["section 7, byte", "section 3 before section 7"]),
    ("simple", |made| drop(made.sections.remove(2)), &["section 7, byte", "section 4 before section 7"]),
    ("simple", |made| drop(made.sections.remove(3)), &["section 7, byte", "section 5 before section 7"]),
    ("simple", |made| made.sections.truncate(5), &["section 7, byte", "at least one field"]),
    ("simple", |made| made.sections.clear(), &["section 7, byte 16", "at least one field"]),
    ("simple", set!(3, 7, BILLION), &["section 3, byte 43", "points", "found 1000000000"]),
    ("simple", set!(3, 7, [0; 4]), &["section 3, byte 43", "points", "found 0"]),
    ("simple", set!(3, 31, [0, 0, 0, 15]), &["section 3, byte 43", "15×11", "found 176"]),
    ("simple", |made| made.section(3).truncate(60), &["section 3, byte", "octets, found 65"]),
    ("simple", |made| made.section(4).truncate(20), &["section 4, byte", "octets, found 25"]),
    ("simple", set!(5, 6, BILLION), &["section 5, byte 148", "176 packed values", "found 1000000000"]),
    ("simple", set!(5, 6, [0, 0, 0, 175]), &["section 5, byte 148", "176 packed values", "found 175"]),
    ("simple-bitmap", set!(5, 6, BILLION), &["section 5, byte 148", "at most 176 packed", "found 1000000000"]),
    ("simple", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("simple", set!(5, 12, INFINITY), &["section 5, byte 154", "a finite reference value", "found -inf"]),
    ("constant", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("complex", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("simple", set!(5, 16, [0x7f, 0xff]), &["section 5, byte 158", "keep values finite", "2^32767"]),
    ("simple", set!(5, 16, [0, 120]), &["section 5, byte 158", "keep values finite", "2^120"]),
    ("simple", set!(5, 18, [0xff, 0xff]), &["section 5, byte 158", "keep values finite", "10^-32767"]),
    ("complex", set!(5, 16, [0, 80]), &["section 5, byte 158", "keep values finite", "2^80"]),
    ("simple", set!(5, 20, [58]), &["section 5, byte 162", "at most 57 bits", "found 58"]),
    ("complex", set!(5, 20, [255]), &["section 5, byte 162", "at most 57 bits", "found 255"]),
    ("complex", set!(5, 23, [3]), &["section 5, byte 165", "missing value management 0, 1 or 2", "found 3"]),
    ("complex", set!(5, 37, [99]), &["section 5, byte 179", "at most 57 bits", "found 99"]),
    ("complex", set!(5, 47, [33]), &["section 5, byte 189", "at most 32 bits a group length", "found 33"]),
    ("differences-order-2", set!(5, 48, [3]), &["section 5, byte 190", "order 1 or 2", "found 3"]),
    ("differences-order-2", set!(5, 49, [9]), &["section 5, byte 191", "at most 7 octets", "found 9"]),
    ("run-length", set!(5, 17, [0xa8]), &["section 5, byte 159", "keeps levels finite", "found -40"]),
    ("run-length", set!(5, 12, [17]), &["section 5, byte 154", "1 to 16 bits", "found 17"]),
    ("run-length", set!(5, 13, [0, 9]), &["section 5, byte 155", "levels up to 3", "found 9"]),
    ("run-length", |made| made.section(7).truncate(9), &["section 7, byte", "176", "found"]),
    ("ieee", set!(5, 12, [9]), &["section 5, byte 154", "precision 1, 2 or 3", "found 9"]),
    ("ieee", |made| made.section(7).truncate(99), &["section 7, byte", "704 bytes for 176 values", "found 99"]),
    ("png", |made| made.section(7).truncate(99), &["section 7, byte"]),
    ("png", set!(7, 20, [9; 8]), &["section 7, byte"]),
    ("png", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("jpeg2000", |made| made.section(7).truncate(99), &["section 7, byte"]),
    ("jpeg2000", set!(7, 20, [9; 8]), &["section 7, byte"]),
    ("jpeg2000", without_tile_part, &["section 7, byte", "a tile part's header", "found none"]),
    ("jpeg2000", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("ccsds", |made| made.section(7).truncate(99), &["section 7, byte", "reference interval"]),
    ("ccsds", set!(5, 23, [9]), &["section 5, byte 165", "blocks of 8, 16, 32 or 64", "found 9"]),
    ("ccsds", set!(5, 24, [0; 2]), &["section 5, byte 166", "reference sample interval", "at least one block"]),
    ("ccsds", set!(5, 20, [33]), &["section 5, byte 162", "at most 32 bits", "found 33"]),
    ("ccsds", set!(5, 12, NAN), &["section 5, byte 154", "a finite reference value", "found NaN"]),
    ("complex", |made| made.section(5).truncate(30), &["section 5, byte", "octets, found 35"]),
    ("complex", set!(5, 32, [0; 4]), &["section 7, byte", "groups", "found 0"]),
    ("complex", set!(5, 32, BILLION), &["section 7, byte", "groups", "found 1000000000"]),
    ("complex", set!(5, 36, [200]), &["section 7, byte", "groups"]),
    ("complex", set!(5, 38, [0, 0, 1, 0]), &["section 7, byte", "groups", "bit"]),
    ("complex", set!(5, 43, [0, 0, 0, 3]), &["section 7, byte", "values left", "found 3"]),
    ("complex", set!(5, 43, [0xff; 4]), &["section 7, byte", "groups", "bit"]),
    ("simple", |made| made.section(7).truncate(300), &["section 7, byte", "bytes for 176 values", "found 300"]),
    ("complex", |made| made.section(7).truncate(30), &["section 7, byte", "groups", "bit"]),
    ("complex", |made| made.section(7).truncate(2), &["section 7, byte", "groups", "bit"]),
    ("simple", set!(6, 6, [5]), &["section 6, byte", "predefined bitmap 5", "expected"]),
    ("simple", set!(6, 6, [254]), &["section 6, byte", "an earlier bitmap", "found none"]),
    ("simple", |made| made.section(6).clear(), &["section 6, byte", "at least 6 octets", "found 5"]),
    ("simple-bitmap", |made| made.section(6).truncate(22), &["section 6, byte", "22 bytes for 176 points", "found 21"]),
    ("simple-bitmap", |made| made.section(6).extend([0; 8]), &["section 6, byte", "22 bytes", "found 30"]),
    ("simple-bitmap", set!(6, 7, [0]), &["section 6, byte", "as many ones as packed values"]),
    ("simple-bitmap", set!(5, 6, [0, 0, 0, 150]), &["section 6, byte", "as many ones as packed values (150)"]),
    ("simple-bitmap", |made| drop(made.sections.remove(4)), &["section 5, byte 148", "without a bitmap 176"]),
];

/// Makes a comment of the header of the only tile part of a JPEG 2000 code stream.
fn without_tile_part(made: &mut Made) {
    let stream = made.section(7);
    let header = stream.windows(2).position(|marker| marker == [0xff, 0x90]).expect("a tile part");
    stream[header + 1] = 0x64;
}

/// Why the message's first field cannot be had.
fn refusal(bytes: &[u8]) -> Option<String> {
    let field = headers(bytes).map(|fields| fields.into_iter().next().expect("a field"));
    field.and_then(|field| field.decode(bytes)).err().map(|error| error.to_string())
}

#[test]
fn every_error_names_section_byte_and_expectation() {
    for (number, (name, damage, parts)) in CASES.iter().enumerate() {
        let mut made = Made::of(&seed(name));
        assert_eq!(refusal(&made.bytes()), None, "{name}");
        damage(&mut made);
        let told =
            refusal(&made.bytes()).unwrap_or_else(|| panic!("case {number}: {name} is read, expected {parts:?}"));
        for part in parts.iter().chain(&["expected"]) {
            assert!(told.contains(part), "case {number}, {name}: `{told}` lacks `{part}`");
        }
    }
}

#[test]
fn frames_that_are_none_are_named() {
    let sound = seed("simple");
    let cases: [(Change, &[&str]); 7] = [
        (|b| b.clear(), &["section 0, byte 0", "expected the bytes to begin with `GRIB`"]),
        (|b| b.truncate(6), &["section 0, byte 8", "at least 16 octets", "found 6"]),
        (|b| b[7] = 1, &["section 0, byte 7", "edition 1", "expected edition 2"]),
        (|b| b.truncate(706), &["section 0, byte 8", "expected 707 bytes", "found 706"]),
        (|b| b[8] = 0x80, &["section 0, byte 8", "expected 9223372036854776515 bytes", "found 707"]),
        (|b| b[705] = b'8', &["section 8, byte 703", "`7777`", "found `7787`"]),
        (|b| b[113] = 0, &["section 0, byte 109", "expected a section 1 to 7", "found 0 of 34"]),
    ];
    for (damage, parts) in cases {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        let told = headers(&bytes).expect_err("damage").to_string();
        assert!(parts.iter().all(|part| told.contains(part)), "`{told}` lacks one of {parts:?}");
    }
}

#[test]
fn points_are_justified_by_bytes() {
    let with_points = |nx: u32, ny: u32| {
        let mut made = Made::of(&seed("constant"));
        let points = nx.checked_mul(ny).expect("32 bits").to_be_bytes();
        made.set(3, 7, &points);
        made.set(3, 31, &nx.to_be_bytes());
        made.set(3, 35, &ny.to_be_bytes());
        made.set(5, 6, &points);
        headers(&made.bytes()).map(|fields| fields[0].points).map_err(|error| error.to_string())
    };
    assert_eq!(with_points(7000, 3500), Ok(24_500_000), "a constant mosaic of MRMS");
    assert_eq!(with_points(8192, 4096), Ok(1 << 25));
    let told = with_points(16_000, 16_000).expect_err("256 million points of 179 bytes");
    assert!(told.contains("section 3, byte 43") && told.contains("of 179 bytes, found 256000000"), "{told}");
}
