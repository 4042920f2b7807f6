//! The chunks of a PNG image: its size and kind, and its compressed rows.

use std::borrow::Cow;

use super::super::super::Grib2Error;
use super::super::super::section::Section;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Bytes of a chunk besides its data: length, name and check sum.
const FRAME: usize = 12;
/// Bytes of the zlib header before the deflated data, and of the check sum behind.
const ZLIB: (usize, usize) = (2, 4);

/// What an image says of itself, and its rows as they are compressed.
pub(super) struct Image<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1, 2, 4, 8 or 16 where grey, 24 or 32 where coloured.
    pub(super) pixel_bits: u32,
    /// The octet of the section at which the width is.
    pub(super) header_octet: usize,
    pub(super) deflated: Cow<'a, [u8]>,
}

/// One chunk: its name, its data, and the octet of the section at which its data begins.
struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    octet: usize,
}

impl<'a> Image<'a> {
    /// Reads the chunks of section 7; every check sum is checked.
    pub(super) fn parse(section: &Section<'a>) -> Result<Self, Grib2Error> {
        let start = 6 + SIGNATURE.len();
        if !section.rest(6).starts_with(&SIGNATURE) {
            return Err(section.damaged(6, "a PNG image's signature"));
        }
        let header = chunk(section, start)?;
        let mut image = image_header(section, &header)?;
        let mut octet = header.octet + header.data.len() + 4;
        let mut compressed = Cow::default();
        loop {
            let chunk = chunk(section, octet)?;
            octet = chunk.octet + chunk.data.len() + 4;
            match &chunk.name {
                b"IDAT" => append(&mut compressed, chunk.data),
                b"IEND" => break,
                [b'A'..=b'Z', ..] => {
                    let what = format!("PNG chunk {}", chunk.name.escape_ascii());
                    return Err(section.unsupported(what, "IHDR, IDAT and IEND (grey or true colour)"));
                }
                _ => (),
            }
        }
        image.deflated = unwrapped(compressed).ok_or_else(|| section.damaged(6, "image data in zlib's format"))?;
        Ok(image)
    }
}

/// One chunk whole, its check sum checked.
fn chunk<'a>(section: &Section<'a>, octet: usize) -> Result<Chunk<'a>, Grib2Error> {
    let length = section.u32(octet)? as usize;
    let framed = section.rest(octet).get(4..).and_then(|rest| rest.split_at_checked(length.saturating_add(4)));
    let Some((checked, rest)) = framed else {
        let left = section.rest(octet).len().saturating_sub(FRAME);
        return Err(section.damaged(octet, format!("a PNG chunk of at most {left} bytes, found {length}")));
    };
    let sum = rest.first_chunk::<4>().map(|sum| u32::from_be_bytes(*sum));
    if sum != Some(libdeflater::crc32(checked)) {
        return Err(section.damaged(octet, "a PNG chunk that agrees with its check sum"));
    }
    let (name, data) = checked.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    Ok(Chunk { name: *name, data, octet: octet + 8 })
}

fn image_header<'a>(section: &Section<'a>, header: &Chunk<'a>) -> Result<Image<'a>, Grib2Error> {
    let (&[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, compression, filter, interlace], b"IHDR") =
        (header.data.first_chunk::<13>().unwrap_or(&[0; 13]), &header.name)
    else {
        return Err(section.damaged(header.octet, "the chunk IHDR first"));
    };
    let pixel_bits = match (colour, depth) {
        (0, 1 | 2 | 4 | 8 | 16) => depth.into(),
        (2, 8) => 24,
        (6, 8) => 32,
        _ => {
            let what = format!("a PNG image of colour type {colour} and depth {depth}");
            return Err(section.unsupported(what, "grey of 1, 2, 4, 8 or 16 bits, RGB or RGBA of 8 bits"));
        }
    };
    if [compression, filter, interlace] != [0; 3] {
        let what = format!("PNG compression {compression}, filter method {filter}, interlacing {interlace}");
        return Err(section.unsupported(what, "0 for each"));
    }
    Ok(Image {
        width: u32::from_be_bytes([w0, w1, w2, w3]) as usize,
        height: u32::from_be_bytes([h0, h1, h2, h3]) as usize,
        pixel_bits,
        header_octet: header.octet,
        deflated: Cow::default(),
    })
}

fn append<'a>(compressed: &mut Cow<'a, [u8]>, data: &'a [u8]) {
    match compressed.is_empty() {
        true => *compressed = Cow::Borrowed(data),
        false => compressed.to_mut().extend_from_slice(data),
    }
}

/// Deflated data without zlib's header and check sum, which those of the chunks make needless.
fn unwrapped(compressed: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    let &[method, flags] = compressed.first_chunk::<2>()?;
    let header = u16::from_be_bytes([method, flags]);
    let plain = method & 0x0f == 8 && flags & 0x20 == 0 && header % 31 == 0;
    let end = compressed.len().checked_sub(ZLIB.1).filter(|end| plain && *end >= ZLIB.0)?;
    Some(match compressed {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(ZLIB.0..end)?),
        Cow::Owned(mut bytes) => {
            bytes.truncate(end);
            bytes.drain(..ZLIB.0);
            Cow::Owned(bytes)
        }
    })
}
