//! One modality of a group of events as one object: frames in order, then where each lies.
//!
//! The layout is Zarr's `sharding_indexed` with its index at the end (Zarr v3, codecs/sharding-indexed v1.0): for every
//! inner chunk its offset and length, 64 bits each, little-endian, all ones where it is absent; then a CRC-32C.

use std::borrow::Cow;

use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use super::super::ZarrError;
use super::{Element, EventArray, Packing};
use crate::domain::{Cube, FRAMES, Levels, MISSING_CODE, MISSING_LEVEL, occurrences};
use crate::storage::{ObjectStore, ObjectWriter};

/// Zstandard's level: higher ones take several times as long for a tenth less.
pub(super) const ZSTD_LEVEL: i32 = 1;
/// What the index holds of a frame that is not there.
const ABSENT: [u64; 2] = [u64::MAX; 2];

/// Writes one modality of a shard, event by event; it appears when it is finished, and does not where it is dropped before.
pub struct ShardWriter<'a> {
    objects: &'a dyn ObjectStore,
    store: &'a str,
    key: String,
    /// The object, once there is an event.
    object: Option<Box<dyn ObjectWriter + 'a>>,
    /// Its bytes, about.
    expected: usize,
    written: u64,
    index: Vec<[u64; 2]>,
    frames: usize,
    array: EventArray,
    packer: Option<(Compressor<'static>, Vec<u8>)>,
}

impl<'a> ShardWriter<'a> {
    /// A writer of the object `key` of a store, for `group` events of which `expected` have the modality.
    pub(super) fn new(
        objects: &'a dyn ObjectStore,
        store: &'a str,
        key: String,
        array: EventArray,
        [group, expected]: [usize; 2],
        packing: Packing,
    ) -> Result<Self, ZarrError> {
        let frame = array.points() * array.element().width();
        let frames = group * FRAMES;
        let (packer, expected) = match packing {
            Packing::None => (None, expected * FRAMES * frame + index_bytes(frames)),
            Packing::Zstd => {
                let packer = Compressor::new(ZSTD_LEVEL).map_err(|e| fault(store, &key, e.to_string()))?;
                (Some((packer, Vec::with_capacity(compress_bound(frame)))), 0)
            }
        };
        let (index, written) = (Vec::with_capacity(frames), 0);
        Ok(ShardWriter { objects, store, key, object: None, expected, written, index, frames, array, packer })
    }

    /// Passes over an event that lacks the modality.
    pub fn absent(&mut self) {
        self.index.extend([ABSENT; FRAMES]);
    }

    /// Adds an event; how many points are missing in each frame. Frames without a single value are not stored, and the
    /// object is there all the same: without it, a modality that `present` speaks of is lost.
    ///
    /// # Errors
    /// Where the cube is not of the array's size and type, and where the object store fails.
    pub fn event(&mut self, cube: &Cube) -> Result<[u32; FRAMES], ZarrError> {
        let points = self.array.points();
        let count = match &cube.levels {
            Levels::U8(values) => values.len(),
            Levels::I16(values) => values.len(),
        };
        if cube.size != self.array.size || count != FRAMES * points {
            let side = self.array.size;
            let found = format!("{count} values of {0}×{0} points", cube.size);
            return Err(self.fault(format!("{found}; expected {FRAMES} frames of {side}×{side}")));
        }
        let mut missing = [0; FRAMES];
        self.append(&[])?;
        match (&cube.levels, self.array.element()) {
            (Levels::U8(values), Element::U8) => {
                for (frame, missing) in values.chunks_exact(points).zip(&mut missing) {
                    *missing = occurrences(frame, MISSING_LEVEL) as u32;
                    self.frame(frame, *missing)?;
                }
            }
            (Levels::I16(values), Element::I16) => {
                for (frame, missing) in values.chunks_exact(points).zip(&mut missing) {
                    *missing = occurrences(frame, MISSING_CODE) as u32;
                    self.frame(&little_endian(frame), *missing)?;
                }
            }
            (_, element) => return Err(self.fault(format!("values of another type; expected {}", element.name()))),
        }
        Ok(missing)
    }

    /// Adds the next frame.
    fn frame(&mut self, bytes: &[u8], missing: u32) -> Result<(), ZarrError> {
        if missing as usize == self.array.points() {
            self.index.push(ABSENT);
            return Ok(());
        }
        let start = self.written;
        match self.packer.take() {
            None => self.append(bytes)?,
            Some((mut packer, mut room)) => {
                packer.compress_to_buffer(bytes, &mut room).map_err(|e| self.fault(e.to_string()))?;
                self.append(&room)?;
                room.clear();
                self.packer = Some((packer, room));
            }
        }
        self.index.push([start, self.written - start]);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ZarrError> {
        let object = match &mut self.object {
            Some(object) => object,
            none => none.insert(self.objects.writer(&self.key, self.expected)?),
        };
        object.write(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of the object, which is there now. Events that were not added are absent; where none was, there is no
    /// object: what may be there of an earlier attempt is taken away.
    ///
    /// # Errors
    /// Where the object store fails.
    pub fn finish(mut self) -> Result<u64, ZarrError> {
        self.index.resize(self.frames, ABSENT);
        let mut index: Vec<u8> = self.index.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        index.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        let Some(mut object) = self.object else {
            self.objects.delete(&self.key)?;
            return Ok(0);
        };
        object.write(&index)?;
        object.finish()?;
        Ok(self.written + index.len() as u64)
    }

    fn fault(&self, reason: String) -> ZarrError {
        fault(self.store, &self.key, reason)
    }
}

fn fault(store: &str, key: &str, reason: String) -> ZarrError {
    ZarrError::Shard { store: store.to_string(), key: key.to_string(), reason }
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
    use crate::storage::FileStore;

    const KEY: &str = "vil/c/0/0/0/0";

    fn array(modality: Modality) -> EventArray {
        EventArray { modality, size: 3, normalisation: None }
    }

    fn vil(value: u8) -> Cube {
        Cube { size: 3, levels: Levels::U8(vec![value; FRAMES * 9]) }
    }

    /// A folder, and a writer of an object in it made from it.
    fn folder() -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = FileStore::new(folder.path().to_str().expect("a path"));
        (folder, objects)
    }

    fn writer(objects: &FileStore, modality: Modality, events: [usize; 2], packing: Packing) -> ShardWriter<'_> {
        ShardWriter::new(objects, "store", KEY.into(), array(modality), events, packing).expect("a writer")
    }

    #[test]
    fn frames_lie_one_after_another_and_what_is_missing_takes_no_room() {
        let (_folder, objects) = folder();
        let mut writer = writer(&objects, Modality::Vil, [3, 2], Packing::None);
        writer.absent();
        let mut cube = vil(7);
        let Levels::U8(values) = &mut cube.levels else { unreachable!() };
        values[9..18].fill(255);
        values[0] = 255;
        let missing = writer.event(&cube).expect("fits");
        assert_eq!(missing[..3], [1, 9, 0]);
        assert!(objects.get(KEY).expect("read").is_none(), "it is not finished yet");
        let length = writer.finish().expect("written");
        let bytes = objects.get(KEY).expect("read").expect("something");
        assert_eq!(bytes.len() as u64, length);
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
        let (_folder, objects) = folder();
        let mut blank = writer(&objects, Modality::Vil, [2, 1], Packing::Zstd);
        blank.absent();
        assert_eq!(blank.event(&vil(255)).expect("fits"), [9; FRAMES]);
        assert_eq!(blank.finish().expect("an index alone") as usize, index_bytes(2 * FRAMES));
        assert!(objects.get(KEY).expect("read").is_some(), "an event that is there has an object");
        let mut empty = writer(&objects, Modality::Vil, [2, 0], Packing::Zstd);
        empty.absent();
        assert_eq!(empty.finish().expect("no object"), 0);
        assert!(objects.get(KEY).expect("read").is_none(), "that of an earlier attempt is taken away");
        let mut writer = writer(&objects, Modality::Lght, [1, 1], Packing::None);
        let told = |refused: ZarrError| refused.to_string();
        assert!(told(writer.event(&vil(1)).expect_err("bytes")).contains("expected int16"));
        let large = Cube { size: 4, levels: Levels::I16(vec![0; FRAMES * 16]) };
        assert!(told(writer.event(&large).expect_err("large")).contains("expected 49 frames of 3×3"));
    }

    #[test]
    fn what_is_dropped_before_its_end_leaves_nothing_behind() {
        let (folder, objects) = folder();
        let mut writer = writer(&objects, Modality::Vil, [1, 1], Packing::None);
        writer.event(&vil(1)).expect("fits");
        drop(writer);
        assert!(objects.list("").expect("listed").is_empty());
        let unfinished = std::fs::read_dir(folder.path().join(".partial")).expect("a folder");
        assert_eq!(unfinished.count(), 0);
    }
}
