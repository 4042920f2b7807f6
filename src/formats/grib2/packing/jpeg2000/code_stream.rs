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
            TILE_DATA if tile_end > octet => {
                octet = tile_end;
                continue;
            }
            TILE_DATA => return Err(data.damaged(octet, "a tile part's header before its data, found none")),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of an image of 3×2 pixels: SOC, SIZ, COD, SOT, SOD, EOC.
    const SMALL: &str = "ff4fff5100290000000000030000000200000000000000000000000300000002\
                         000000000000000000010701\
                         01ff52000c00000001000104040001ff90000a00000000000e0001ff93ffd9";

    /// Section 7 with some octets of its code stream changed.
    fn checked(changes: &[(usize, u8)], count: usize) -> Result<Component, Grib2Error> {
        let octet = |at: usize| u8::from_str_radix(SMALL.get(at..at + 2).expect("two digits"), 16).expect("digits");
        let mut bytes = vec![0, 0, 0, 0, 7];
        bytes.extend((0..SMALL.len()).step_by(2).map(octet));
        changes.iter().for_each(|(at, value)| bytes[5 + at] = *value);
        check(&Section { number: 7, offset: 0, bytes: &bytes }, count)
    }

    #[test]
    fn a_small_image_fits() {
        let component = checked(&[], 6).expect("an image");
        assert_eq!((component.shift(), component.greatest()), (0.0, 255.0));
        let signed = checked(&[(42, 0x8b)], 6).expect("an image");
        assert_eq!((signed.shift(), signed.greatest()), (2048.0, 4095.0));
    }

    #[test]
    fn images_that_disagree_with_the_grid_or_need_too_much_are_refused() {
        // Offsets: 8 width, 16 its origin, 24 tile width, 41 components, 42 bits, 43 every pixel, 56 code block width.
        let large = [(8, 0x00), (9, 0x40), (10, 0), (11, 0), (27, 1), (31, 1)];
        for (changes, count, reason) in [
            (&[(0, 0)][..], 6, "the markers SOC and SIZ"),
            (&[], 7, "an image of 7 pixels, found 3×2"),
            (&[(16, 1)], 6, "begins before it ends"),
            (&large, 0x40_0000 * 2, "tiles, found"),
            (&[(41, 3)], 6, "3 components"),
            (&[(42, 31)], 6, "32 bits is not supported"),
            (&[(43, 2)], 6, "every 2×1 pixels"),
            (&[(68, 13)], 6, "a tile part of at least 14 bytes"),
        ] {
            let error = checked(changes, count).expect_err(reason).to_string();
            assert!(error.contains("section 7") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn blocks_that_outweigh_the_pixels_are_refused() {
        let large = [(9, 0x40), (10, 0), (11, 0), (25, 0x40)];
        let with = |changes: &[(usize, u8)]| checked(&[&large, changes].concat(), 0x40_0000 * 2);
        assert!(with(&[]).is_ok());
        // Code blocks of 4×4 in 32 layers.
        let small_blocks = with(&[(52, 32), (55, 0), (56, 0)]).expect_err("too many blocks").to_string();
        assert!(small_blocks.contains("blocks whose description takes at most"), "{small_blocks}");
    }
}
