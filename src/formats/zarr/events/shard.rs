//! One modality of a group of events as one object: frames in order, then where each lies.
//!
//! The layout is Zarr's `sharding_indexed` with its index at the end (Zarr v3, codecs/sharding-indexed v1.0): for every
//! inner chunk its offset and length, 64 bits each, little-endian, all ones where it is absent; then a CRC-32C.

use std::borrow::Cow;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::{Element, EventArray, Packing};
use crate::domain::{Cube, FRAMES, Levels};

/// Zstandard's level: higher ones take several times as long for a tenth less.
pub(super) const ZSTD_LEVEL: i32 = 1;
/// What the index holds of a frame that is not there.
const ABSENT: [u64; 2] = [u64::MAX; 2];

/// Collects the frames of one modality of a shard, event by event.
pub struct ShardWriter {
    bytes: Vec<u8>,
    index: Vec<[u64; 2]>,
    frames: usize,
    array: EventArray,
    packer: Option<(Compressor<'static>, Vec<u8>)>,
}

impl ShardWriter {
    /// A writer for `group` events of which `expected` have the modality.
    pub(super) fn new(array: EventArray, group: usize, expected: usize, packing: Packing) -> Result<Self, String> {
        let frame = array.points() * array.element().width();
        let frames = group * FRAMES;
        let (packer, room) = match packing {
            Packing::None => (None, expected * FRAMES * frame + index_bytes(frames)),
            Packing::Zstd => (Some((Compressor::new(ZSTD_LEVEL).map_err(|e| e.to_string())?, Vec::new())), 0),
        };
        Ok(ShardWriter { bytes: Vec::with_capacity(room), index: Vec::with_capacity(frames), frames, array, packer })
    }

    /// Passes over an event that lacks the modality.
    pub fn absent(&mut self) {
        self.index.extend([ABSENT; FRAMES]);
    }

    /// Adds an event; how many points are missing in each frame. Frames without a single value are not stored.
    ///
    /// # Errors
    /// Where the cube is not of the array's size and type, in words.
    pub fn event(&mut self, cube: &Cube) -> Result<[u32; FRAMES], String> {
        let points = self.array.points();
        let count = match &cube.levels {
            Levels::U8(values) => values.len(),
            Levels::I16(values) => values.len(),
        };
        if cube.size != self.array.size || count != FRAMES * points {
            let side = self.array.size;
            return Err(format!(
                "{count} values of {0}×{0} points; expected {FRAMES} frames of {side}×{side}",
                cube.size
            ));
        }
        let mut missing = [0; FRAMES];
        match (&cube.levels, self.array.element()) {
            (Levels::U8(values), Element::U8) => {
                for (frame, missing) in values.chunks_exact(points).zip(&mut missing) {
                    *missing = frame.iter().map(|v| u32::from(*v == u8::MAX)).sum();
                    self.frame(frame, *missing)?;
                }
            }
            (Levels::I16(values), Element::I16) => {
                for (frame, missing) in values.chunks_exact(points).zip(&mut missing) {
                    *missing = frame.iter().map(|v| u32::from(*v == i16::MIN)).sum();
                    self.frame(&little_endian(frame), *missing)?;
                }
            }
            (_, element) => return Err(format!("values of another type; expected {}", element.name())),
        }
        Ok(missing)
    }

    /// Adds the next frame.
    fn frame(&mut self, bytes: &[u8], missing: u32) -> Result<(), String> {
        if missing as usize == self.array.points() {
            self.index.push(ABSENT);
            return Ok(());
        }
        let start = self.bytes.len();
        match &mut self.packer {
            None => self.bytes.extend_from_slice(bytes),
            Some((packer, room)) => {
                room.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
                packer.compress_to_buffer(bytes, room).map_err(|e| e.to_string())?;
                self.bytes.extend_from_slice(room);
                room.clear();
            }
        }
        self.index.push([start as u64, (self.bytes.len() - start) as u64]);
        Ok(())
    }

    /// The object; `None` where no frame is there. Events that were not added are absent.
    pub fn finish(mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        self.index.resize(self.frames, ABSENT);
        let index: Vec<u8> = self.index.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        self.bytes.extend_from_slice(&index);
        self.bytes.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        Some(self.bytes.into())
    }
}

/// Bytes of the index of so many frames, with its checksum.
pub(super) const fn index_bytes(frames: usize) -> usize {
    frames * 2 * size_of::<u64>() + size_of::<u32>()
}

/// Numbers as they are stored.
fn little_endian(values: &[i16]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(values));
    }
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Modality;

    fn array(modality: Modality) -> EventArray {
        EventArray { modality, size: 3, normalisation: None }
    }

    fn vil(value: u8) -> Cube {
        Cube { size: 3, levels: Levels::U8(vec![value; FRAMES * 9]) }
    }

    #[test]
    fn frames_lie_one_after_another_and_what_is_missing_takes_no_room() {
        let mut writer = ShardWriter::new(array(Modality::Vil), 3, 2, Packing::None).expect("a writer");
        writer.absent();
        let mut cube = vil(7);
        let Levels::U8(values) = &mut cube.levels else { unreachable!() };
        values[9..18].fill(255);
        values[0] = 255;
        let missing = writer.event(&cube).expect("fits");
        assert_eq!(missing[..3], [1, 9, 0]);
        let bytes = writer.finish().expect("something");
        let body = (FRAMES - 1) * 9;
        assert_eq!(bytes.len(), body + index_bytes(3 * FRAMES));
        let entry = |at: usize| {
            let start = body + at * 16;
            let number = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
            [number(start), number(start + 8)]
        };
        assert_eq!([entry(0), entry(FRAMES), entry(FRAMES + 1), entry(FRAMES + 2)], [ABSENT, [0, 9], ABSENT, [9, 9]]);
        assert_eq!(entry(3 * FRAMES - 1), ABSENT, "the third event was not added");
        let sum = crc32c::crc32c(&bytes[body..bytes.len() - 4]);
        assert_eq!(bytes[bytes.len() - 4..], sum.to_le_bytes());
    }

    #[test]
    fn nothing_makes_no_object_and_what_does_not_fit_is_refused() {
        let mut writer = ShardWriter::new(array(Modality::Vil), 2, 1, Packing::Zstd).expect("a writer");
        writer.absent();
        assert_eq!(writer.event(&vil(255)).expect("fits"), [9; FRAMES]);
        assert!(writer.finish().is_none());
        let mut writer = ShardWriter::new(array(Modality::Lght), 1, 1, Packing::None).expect("a writer");
        assert!(writer.event(&vil(1)).expect_err("bytes").contains("expected int16"));
        let large = Cube { size: 4, levels: Levels::I16(vec![0; FRAMES * 16]) };
        assert!(writer.event(&large).expect_err("large").contains("expected 49 frames of 3×3"));
    }
}
