//! What holds for any bytes at all: the bodies of the fuzz targets, which the bounded run here shares with `fuzz/`.

use gustfront::formats::grib2::{Message, headers, parse_index, scan};

/// Fields of more points are described but not unpacked, to keep a case below some milliseconds.
const MOST_POINTS: usize = 1 << 16;
/// Fields of one message that are unpacked.
const MOST_FIELDS: usize = 16;
/// Templates whose values are sums and products of finite numbers; IEEE numbers may be infinite.
const FINITE: [u16; 7] = [0, 2, 3, 40, 41, 42, 200];
/// Octets of section 5 from the twelfth on in an input of [`bits`].
const SCALE_OCTETS: usize = 40;

/// Any bytes as a file of messages.
pub fn message(bytes: &[u8]) {
    let found = scan(bytes);
    let mut pieces: Vec<_> =
        found.messages.iter().cloned().chain(found.skipped.iter().map(|s| s.range.clone())).collect();
    pieces.sort_by_key(|piece| piece.start);
    let end = pieces.iter().fold(0, |end, piece| {
        assert!(piece.start == end && piece.end > end, "bytes {end} to {} are told twice or not at all", piece.start);
        piece.end
    });
    assert_eq!(end, bytes.len(), "the last bytes are not told of");
    found.messages.into_iter().for_each(|range| read(&bytes[range]));
    read(bytes);
}

/// Describes and unpacks one message.
fn read(message: &[u8]) {
    let fields = match headers(message) {
        Ok(fields) => fields,
        Err(error) => return says_where(&error.to_string()),
    };
    for field in fields.iter().filter(|field| field.points <= MOST_POINTS).take(MOST_FIELDS) {
        unpack(field, message);
    }
}

fn unpack(field: &Message, message: &[u8]) {
    match field.decode(message) {
        Err(error) => says_where(&error.to_string()),
        Ok(values) => {
            assert_eq!(values.len(), field.points);
            let finite = FINITE.contains(&field.packing.template());
            assert!(!finite || values.iter().all(|v| !v.is_infinite()), "an infinite value: {:?}", field.packing);
        }
    }
    // Bytes that are none of the header's are refused or read, whatever they are.
    let _ = field.decode(&message[..message.len() / 2]);
    let _ = field.decode(message.get(1..).unwrap_or_default());
}

fn says_where(error: &str) {
    assert!(error.contains("section ") && error.contains("byte ") && error.contains("expected"), "{error}");
}

/// Any bytes as the index of an object whose size the first eight say.
pub fn index(bytes: &[u8]) {
    let (size, text) = bytes.split_first_chunk().map_or((u64::MAX, bytes), |(s, t)| (u64::from_be_bytes(*s), t));
    for (size, text) in [(size, text), (u64::MAX, bytes)] {
        match parse_index(text, size) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("line ") && error.contains("expected") && error.len() < 1000, "{error}");
            }
            Ok(entries) => {
                assert!(entries.iter().all(|e| e.range.start < e.range.end && e.range.end <= size), "{entries:?}");
                assert!(entries.windows(2).all(|e| e[0].range == e[1].range || e[0].range.end == e[1].range.start));
            }
        }
    }
}

/// Any bytes as packed values.
pub fn bits(bytes: &[u8]) {
    if let Some(message) = packed(bytes) {
        read(&message);
    }
}

/// The message of an input of [`bits`]: nx, ny, template, count and bitmap's length, then section 5 from octet 12 on,
/// the bitmap and section 7.
pub fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let ([nx, ny, template @ .., a, b, bitmap], rest) = bytes.split_first_chunk::<7>()?;
    let (scale, rest) = rest.split_first_chunk::<SCALE_OCTETS>()?;
    let (bitmap, data) = rest.split_at(rest.len().min((*bitmap).into()));
    let representation = [&[0, 0, *a, *b], &template[..], scale].concat();
    let holes = if bitmap.is_empty() { vec![u8::MAX] } else { [&[0], bitmap].concat() };
    Some(around(*nx, *ny, &[(5, &representation), (6, &holes), (7, data)]))
}

/// A message with a lat-lon grid of `nx` × `ny` points around the sections that say what its values are.
fn around(nx: u8, ny: u8, values: &[(u8, &[u8])]) -> Vec<u8> {
    // Centre 255, tables 2, start of forecast, 2024-02-29 06:00:00, research, forecast.
    let identification = [0, 255, 0, 0, 2, 1, 1, 7, 232, 2, 29, 6, 0, 0, 2, 1];
    let points = (u32::from(nx) * u32::from(ny)).to_be_bytes();
    let mut grid = [&[0][..], &points, &[0, 0, 0, 0, 6], &[255; 15], &[0, 0, 0, nx, 0, 0, 0, ny, 0, 0, 0, 0]].concat();
    grid.extend([255; 4]);
    // Corners, steps that they determine, rows southward.
    grid.extend([50_000_000u32, 250_000_000].iter().flat_map(|angle| angle.to_be_bytes()));
    grid.push(0x30);
    grid.extend([20_000_000u32, 280_000_000].iter().flat_map(|angle| angle.to_be_bytes()));
    grid.extend([255; 8]);
    grid.push(0);
    // Template 4.0: temperature 2 m above ground, one hour ahead.
    let product = [0, 0, 0, 0, 0, 0, 2, 0, 255, 0, 0, 0, 1, 0, 0, 0, 1, 103, 0, 0, 0, 0, 2, 255, 0, 0, 0, 0, 0];
    let before: [(u8, &[u8]); 3] = [(1, &identification), (3, &grid), (4, &product)];
    let mut message = b"GRIB\xff\xff\x00\x02\0\0\0\0\0\0\0\0".to_vec();
    for (number, content) in before.iter().chain(values) {
        message.extend((content.len() as u32 + 5).to_be_bytes());
        message.push(*number);
        message.extend_from_slice(content);
    }
    message.extend(b"7777");
    let length = (message.len() as u64).to_be_bytes();
    message[8..16].copy_from_slice(&length);
    message
}
