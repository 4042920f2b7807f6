//! What a JPEG 2000 code stream says of its size (ISO/IEC 15444-1, annex A), checked before it is decoded.

use super::super::super::Grib2Error;
use super::super::super::section::Section;

/// The first bytes: start of code stream, size segment.
const SIGNATURE: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
/// Octet of the section at which the size segment's length is.
const SIZE: usize = 10;
/// Markers of segments that give the sizes of blocks, and of a tile part's header and data.
const CODING_STYLE: u16 = 0xff52;
const COMPONENT_STYLE: u16 = 0xff53;
const TILE_PART: u16 = 0xff90;
const TILE_DATA: u16 = 0xff93;
const END: u16 = 0xffd9;
/// Bytes of the shortest tile part: its header segment and the marker of its data.
const TILE_PART_BYTES: usize = 14;
/// The most bits of a sample that the decoder has room for.
const MAX_BITS: u32 = 31;
/// Bytes of memory a block takes at most, and each of its layers.
const BLOCK_MEMORY: (usize, usize) = (256, 32);
/// Bytes of memory for blocks that any image may take, and for a pixel.
const MEMORY: (usize, usize) = (1 << 20, 16);

/// The samples of an image's one component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Component {
    bits: u32,
    signed: bool,
}

impl Component {
    /// What a sample is moved by, so that none is negative.
    pub(super) fn shift(&self) -> f64 {
        if self.signed { 2f64.powi(self.bits as i32 - 1) } else { 0.0 }
    }

    /// The greatest sample that is not negative after the move.
    pub(super) fn greatest(&self) -> f64 {
        2f64.powi(self.bits as i32) - 1.0
    }
}

/// Checks that section 7 holds a grey image of `count` pixels whose decoding needs no more memory than that justifies.
pub(super) fn check(data: &Section, count: usize) -> Result<Component, Grib2Error> {
    if !data.rest(6).starts_with(&SIGNATURE) {
        return Err(data.damaged(6, "a JPEG 2000 code stream: the markers SOC and SIZ"));
    }
    let at = |number: usize| data.u32(SIZE + 4 + 4 * number).map(|v| v as usize);
    let sides = [at(0)?.checked_sub(at(2)?), at(1)?.checked_sub(at(3)?)];
    let [Some(width), Some(height)] = sides else {
        return Err(data.damaged(SIZE + 4, "an image that begins before it ends"));
    };
    if width.checked_mul(height) != Some(count) {
        return Err(data.damaged(SIZE + 4, format!("an image of {count} pixels, found {width}×{height}")));
    }
    let across = |end: usize, side: usize, origin: usize| end.saturating_sub(origin).div_ceil(side.max(1));
    let tiles = across(at(0)?, at(4)?, at(6)?).saturating_mul(across(at(1)?, at(5)?, at(7)?));
    let most_tiles = data.rest(6).len() / TILE_PART_BYTES;
    if tiles > most_tiles.max(1) {
        return Err(data.damaged(SIZE + 20, format!("at most {most_tiles} tiles, found {tiles}")));
    }
    let component = component(data)?;
    blocks(data, count, tiles)?;
    Ok(component)
}

fn component(data: &Section) -> Result<Component, Grib2Error> {
    let components = data.u16(SIZE + 36)?;
    let [sample, across, down] = [data.u8(SIZE + 38)?, data.u8(SIZE + 39)?, data.u8(SIZE + 40)?];
    if (components, across, down) != (1, 1, 1) {
        let what = format!("a JPEG 2000 image of {components} components, every {across}×{down} pixels");
        return Err(data.unsupported(what, "one component of every pixel"));
    }
    let component = Component { bits: u32::from(sample & 0x7f) + 1, signed: sample & 0x80 != 0 };
    match component.bits {
        ..=MAX_BITS => Ok(component),
        bits => Err(data.unsupported(format!("a JPEG 2000 image of {bits} bits"), "at most 31 bits")),
    }
}

/// Checks the sizes of blocks wherever the code stream sets them.
fn blocks(data: &Section, count: usize, tiles: usize) -> Result<(), Grib2Error> {
    let allowed = MEMORY.0.saturating_add(count.saturating_mul(MEMORY.1));
    let (mut octet, mut tile_end) = (SIZE, 0);
    let mut layers = 1;
    // The size segment's own marker is behind.
    octet += usize::from(data.u16(octet)?);
    while let Ok(marker) = data.u16(octet) {
        let length = match marker {
            END => break,
            0xff30..=0xff3f => 0,
            TILE_DATA => {
                octet = tile_end;
                continue;
            }
            _ => usize::from(data.u16(octet + 2)?),
        };
        let style = match marker {
            TILE_PART => {
                tile_end = tile_part_end(data, octet)?;
                None
            }
            CODING_STYLE => {
                layers = data.u16(octet + 6)?.into();
                Some((octet + 4, octet + 9))
            }
            COMPONENT_STYLE => Some((octet + 5, octet + 6)),
            _ => None,
        };
        if let Some((flags, style)) = style {
            let needed =
                memory(data, flags, style, count, layers)?.saturating_add(tiles.saturating_mul(BLOCK_MEMORY.0));
            if needed > allowed {
                let expected = format!("blocks whose description takes at most {allowed} bytes, found {needed}");
                return Err(data.damaged(octet, expected));
            }
        }
        octet += 2 + length;
    }
    Ok(())
}

/// The octet behind the tile part whose header is at `octet`; the section's end where the header leaves it open.
fn tile_part_end(data: &Section, octet: usize) -> Result<usize, Grib2Error> {
    let end = 6 + data.rest(6).len();
    match data.u32(octet + 6)? as usize {
        0 => Ok(end),
        length if length >= TILE_PART_BYTES => Ok(octet.saturating_add(length).min(end)),
        length => Err(data.damaged(octet + 6, format!("a tile part of at least 14 bytes, found {length}"))),
    }
}

/// Bytes to describe the blocks of all resolutions, each a quarter of the next.
fn memory(data: &Section, flags: usize, style: usize, count: usize, layers: usize) -> Result<usize, Grib2Error> {
    let own_precincts = data.u8(flags)? & 1 != 0;
    let levels = usize::from(data.u8(style)?);
    let exponents = [data.u8(style + 1)?, data.u8(style + 2)?].map(|e| u32::from(e) + 2);
    let a_block = BLOCK_MEMORY.0 + BLOCK_MEMORY.1 * layers;
    let mut needed = 0usize;
    for resolution in 0..=levels {
        let precinct = if own_precincts { data.u8(style + 5 + resolution)? } else { 0xff };
        // A precinct of the image is half as wide in each of the bands that are not the lowest.
        let halved = u32::from(resolution > 0);
        let sides = [u32::from(precinct & 0xf), u32::from(precinct >> 4)].map(|e| e.saturating_sub(halved));
        let area = sides.iter().zip(exponents).map(|(precinct, block)| (*precinct).min(block)).sum::<u32>().min(40);
        let pixels = count.checked_shr(2 * (levels - resolution) as u32).unwrap_or(0);
        needed = needed.saturating_add((pixels >> area).saturating_mul(a_block));
    }
    Ok(needed)
}
