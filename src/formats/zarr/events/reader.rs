//! Reads frames of events back from a store: some frames of one event are one range of bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use zstd::bulk::Decompressor;

use super::super::ZarrError;
use super::super::store::{clean, name_of};
use super::documents::{FORMAT_VERSION, PRESENT, SCALE, SHIFT, VERSION};
use super::shard::index_bytes;
use super::spec::{EventArray, Normalisation, Packing};
use super::times::FrameTimes;
use crate::domain::{FRAMES, Modality, Moment};
use crate::storage::ObjectStore;

/// Where each frame of a shard lies: offset and length, `None` where it is not there.
type Index = Arc<Vec<Option<Range<u64>>>>;

/// What a thread that reads frames uses again and again.
#[derive(Default)]
pub struct Scratch {
    packed: Vec<u64>,
    unpacker: Unpacker,
}

/// Room for a frame.
#[derive(Default)]
struct Unpacker {
    frame: Vec<u64>,
    zstd: Option<Decompressor<'static>>,
}

impl Unpacker {
    /// A frame of so many bytes at an even address; else why it is none.
    fn unpack<'a>(&'a mut self, packing: Packing, stored: &'a [u8], bytes: usize) -> Result<&'a [u8], String> {
        let wrong = |length: usize| format!("a frame of {length} bytes; expected {bytes}");
        if packing == Packing::None && stored.len() != bytes {
            return Err(wrong(stored.len()));
        }
        if packing == Packing::None && stored.as_ptr().addr().is_multiple_of(2) {
            return Ok(stored);
        }
        let frame = room(&mut self.frame, bytes);
        if packing == Packing::None {
            frame.copy_from_slice(stored);
            return Ok(frame);
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new().map_err(|error| error.to_string())?),
        };
        let length = zstd.decompress_to_buffer(stored, frame).map_err(|error| error.to_string())?;
        if length == bytes { Ok(frame) } else { Err(wrong(length)) }
    }
}

/// The first bytes of memory that is enlarged where it is too small.
fn room(words: &mut Vec<u64>, bytes: usize) -> &mut [u8] {
    if words.len() * size_of::<u64>() < bytes {
        words.resize(bytes.div_ceil(size_of::<u64>()), 0);
    }
    bytemuck::cast_slice_mut(words).get_mut(..bytes).unwrap_or_default()
}

/// Frames of an event in a shard.
struct Window {
    key: String,
    /// Bytes of a frame, unpacked.
    bytes: usize,
    places: Vec<Option<Range<u64>>>,
}

impl Window {
    /// All bytes from the first frame to the last one.
    fn range(&self) -> Range<u64> {
        let there = || self.places.iter().flatten();
        let (start, end) = (there().map(|place| place.start).min(), there().map(|place| place.end).max());
        start.unwrap_or_default()..end.unwrap_or_default()
    }

    /// Whether every frame is there, and nothing else between them.
    fn is_whole(&self) -> bool {
        let range = self.range();
        self.places.iter().all(Option::is_some) && range.end - range.start == (self.places.len() * self.bytes) as u64
    }
}

/// A store of events that is complete, to be read by any number of threads.
#[derive(Debug)]
pub struct EventReader {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    name: String,
    arrays: Vec<EventArray>,
    events: usize,
    group: usize,
    packing: Packing,
    attributes: Map<String, Value>,
    splits: Vec<u8>,
    times: FrameTimes,
    /// By event and array.
    present: Vec<bool>,
    indexes: Mutex<HashMap<(usize, usize), Option<Index>>>,
}

impl EventReader {
    /// Opens a store; `None` where there is none, or it is not complete yet.
    ///
    /// # Errors
    /// Where there is something else, or what is there cannot be read.
    pub fn open(objects: Arc<dyn ObjectStore>, prefix: &str) -> Result<Option<EventReader>, ZarrError> {
        let (prefix, name) = (clean(prefix), name_of(&*objects, prefix));
        let Some(root) = root(&*objects, &prefix, &name)? else { return Ok(None) };
        let Root { arrays, events, group, packing, attributes, lightning } = root;
        let mut reader = EventReader {
            objects,
            prefix,
            name,
            arrays,
            events,
            group,
            packing,
            attributes,
            splits: Vec::new(),
            times: FrameTimes::default(),
            present: Vec::new(),
            indexes: Mutex::default(),
        };
        reader.splits = reader.whole("split/c/0", events)?;
        let offsets = reader.whole("frame_offset/c/0/0/0", events * reader.arrays.len() * FRAMES * size_of::<i16>())?;
        reader.times = FrameTimes::new(&offsets, reader.arrays.len(), lightning.as_ref());
        for shard in 0..events.div_ceil(group) {
            let flags = reader.whole(&format!("{PRESENT}/c/{shard}/0"), group * reader.arrays.len())?;
            reader.present.extend(flags.into_iter().map(|flag| flag == 1));
        }
        Ok(Some(reader))
    }

    /// The modalities.
    pub fn arrays(&self) -> &[EventArray] {
        &self.arrays
    }

    /// How many events there are.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Events of a shard.
    pub fn group(&self) -> usize {
        self.group
    }

    /// How frames are packed.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// What the store says of itself.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// The time of every event, in their order.
    ///
    /// # Errors
    /// Where the store fails, or they are not there.
    pub fn times(&self) -> Result<Vec<Moment>, ZarrError> {
        let bytes = self.whole("time/c/0", self.events * size_of::<u64>())?;
        Ok(bytes.as_chunks().0.iter().map(|word| Moment(u64::from_le_bytes(*word))).collect())
    }

    /// The split of an event, as a position in [`super::SPLITS`].
    pub fn split(&self, event: usize) -> u8 {
        self.splits.get(event).copied().unwrap_or_default()
    }

    /// By how many frames an event's lightning is to lie earlier than its images, so that what is beside their
    /// `frame`-th one was over when the earliest of them was taken; `images` are positions of arrays.
    pub fn lightning_lag(&self, event: usize, images: &[usize], frame: usize) -> usize {
        self.times.lightning_lag(event, images, frame)
    }

    /// Whether an event has the `array`-th modality.
    pub fn has(&self, event: usize, array: usize) -> bool {
        self.present.get(event * self.arrays.len() + array).copied().unwrap_or(false) && array < self.arrays.len()
    }

    /// Hands out some frames of the `array`-th modality of an event in order, as they are stored, little-endian, at an
    /// address that is a multiple of their numbers' width; `None` for a frame that is not there.
    ///
    /// # Errors
    /// Where the store fails, or what is there is damaged.
    pub fn each_frame(
        &self,
        event: usize,
        array: usize,
        frames: Range<usize>,
        scratch: &mut Scratch,
        mut take: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<(), ZarrError> {
        let Some(window) = self.window(event, array, frames.clone())? else {
            (0..frames.len()).for_each(|at| take(at, None));
            return Ok(());
        };
        let range = window.range();
        let packed = room(&mut scratch.packed, (range.end - range.start) as usize);
        self.objects.get_range_into(&window.key, range.start, packed)?;
        for (at, place) in window.places.iter().enumerate() {
            let stored = place.as_ref().map(|place| {
                let inside = (place.start - range.start) as usize..(place.end - range.start) as usize;
                packed.get(inside).unwrap_or_default()
            });
            let frame = stored.map(|stored| scratch.unpacker.unpack(self.packing, stored, window.bytes)).transpose();
            take(at, frame.map_err(|reason| self.bad(window.key.clone(), reason))?);
        }
        Ok(())
    }

    /// Fills `out` with some frames of the `array`-th modality of an event, as they are stored, little-endian; frames
    /// that are not there hold the missing value.
    ///
    /// # Errors
    /// As [`EventReader::each_frame`]. `out` is to hold exactly the frames asked for.
    pub fn read(
        &self,
        event: usize,
        array: usize,
        frames: Range<usize>,
        scratch: &mut Scratch,
        out: &mut [u8],
    ) -> Result<(), ZarrError> {
        let kind = self.arrays.get(array);
        let bytes = kind.map_or(0, |kind| kind.points() * kind.element().width());
        if out.len() != frames.len() * bytes {
            let reason = format!("room for {} bytes; expected {} of {bytes}", out.len(), frames.len());
            return Err(self.bad(self.key(array, event / self.group), reason));
        }
        if let Some(window) = self.window(event, array, frames.clone())?
            && self.packing == Packing::None
            && window.is_whole()
        {
            return Ok(self.objects.get_range_into(&window.key, window.range().start, out)?);
        }
        let mut places = out.chunks_exact_mut(bytes.max(1));
        self.each_frame(event, array, frames, scratch, |_, frame| match (places.next(), frame) {
            (Some(out), Some(frame)) => out.copy_from_slice(frame),
            (Some(out), None) => kind.into_iter().for_each(|kind| fill(out, kind)),
            (None, _) => (),
        })
    }

    /// Where some frames of an event lie; `None` where none of them is there.
    fn window(&self, event: usize, array: usize, frames: Range<usize>) -> Result<Option<Window>, ZarrError> {
        let (shard, inside) = (event / self.group, event % self.group);
        let key = self.key(array, shard);
        let kind = self.arrays.get(array).filter(|_| event < self.events && frames.end <= FRAMES);
        let Some(kind) = kind else {
            let reason = format!("event {event}, modality {array}, frames {frames:?} are not there");
            return Err(self.bad(key, reason));
        };
        let bytes = kind.points() * kind.element().width();
        let Some(index) = self.index(array, shard, &key)? else { return Ok(None) };
        let places = index.get(inside * FRAMES + frames.start..inside * FRAMES + frames.end).unwrap_or_default();
        let window = Window { key, bytes, places: places.to_vec() };
        Ok(Some(window).filter(|window| window.places.iter().any(Option::is_some)))
    }

    fn bad(&self, key: String, reason: String) -> ZarrError {
        ZarrError::Shard { store: self.name.clone(), key, reason }
    }

    fn key(&self, array: usize, shard: usize) -> String {
        let modality = self.arrays.get(array).map_or("", |array| array.modality.label());
        format!("{}{modality}/c/{shard}/0/0/0", self.prefix)
    }

    /// Where the frames of a shard lie, read once.
    fn index(&self, array: usize, shard: usize, key: &str) -> Result<Option<Index>, ZarrError> {
        let lock = || self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&(array, shard)) {
            return Ok(known.clone());
        }
        let read = self.read_index(array, shard, key)?;
        lock().insert((array, shard), read.clone());
        Ok(read)
    }

    fn read_index(&self, array: usize, shard: usize, key: &str) -> Result<Option<Index>, ZarrError> {
        let Some(meta) = self.objects.head(key)? else { return self.none_there(array, shard, key) };
        let damaged = || ZarrError::Shard {
            store: self.name.clone(),
            key: key.into(),
            reason: "its index is damaged; remove the shard's entry from the ledger to write it anew".into(),
        };
        let length = index_bytes(self.group * FRAMES) as u64;
        let body = meta.size.checked_sub(length).ok_or_else(damaged)?;
        let bytes = self.objects.get_range(key, body..meta.size)?;
        let (index, sum) = bytes.split_at(bytes.len() - size_of::<u32>());
        if crc32c::crc32c(index).to_le_bytes() != *sum {
            return Err(damaged());
        }
        let words: Vec<u64> =
            index.chunks_exact(8).map(|word| word.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b))).collect();
        let place = |pair: &[u64]| match *pair {
            [u64::MAX, u64::MAX] => Ok(None),
            [offset, length] if offset.checked_add(length).is_some_and(|end| end <= body) => {
                Ok(Some(offset..offset + length))
            }
            _ => Err(damaged()),
        };
        Ok(Some(Arc::new(words.chunks_exact(2).map(place).collect::<Result<_, _>>()?)))
    }

    /// A shard without an object, which is one of events that all lack the modality.
    fn none_there(&self, array: usize, shard: usize, key: &str) -> Result<Option<Index>, ZarrError> {
        let mut events = shard * self.group..self.events.min((shard + 1) * self.group);
        match events.find(|event| self.has(*event, array)) {
            None => Ok(None),
            Some(event) => {
                let text = "run the backfill again, which writes it anew";
                Err(self
                    .bad(key.into(), format!("it is gone, and `{PRESENT}` says that event {event} is in it; {text}")))
            }
        }
    }

    /// A small object that must be there and so long.
    fn whole(&self, key: &str, length: usize) -> Result<Vec<u8>, ZarrError> {
        let found = self.objects.get(&format!("{}{key}", self.prefix))?;
        let reason = format!("{} bytes; expected {length}", found.as_ref().map_or(0, |bytes| bytes.len()));
        let fits = found.filter(|bytes| bytes.len() == length);
        let error = || ZarrError::Shard { store: self.name.clone(), key: key.into(), reason };
        fits.map(|bytes| bytes.to_vec()).ok_or_else(error)
    }
}

/// What a store's root says.
pub(super) struct Root {
    pub(super) arrays: Vec<EventArray>,
    events: usize,
    group: usize,
    packing: Packing,
    attributes: Map<String, Value>,
    /// Attributes of lightning's frames.
    lightning: Option<Value>,
}

/// Reads the root of a store; `None` where there is none.
///
/// # Errors
/// Where there is something else, or what is there cannot be read.
pub(super) fn root(objects: &dyn ObjectStore, prefix: &str, name: &str) -> Result<Option<Root>, ZarrError> {
    let Some(document) = objects.get(&format!("{prefix}zarr.json"))? else { return Ok(None) };
    let broken = |reason: String| ZarrError::Metadata { store: name.into(), key: "zarr.json".into(), reason };
    let root: Value = serde_json::from_slice(&document).map_err(|error| broken(error.to_string()))?;
    let lacks = |what: &str| broken(format!("no {what}; expected a store of events"));
    let found = root["attributes"][VERSION].as_u64().ok_or_else(|| lacks(VERSION))?;
    if found != FORMAT_VERSION {
        return Err(ZarrError::Version { store: name.into(), found, expected: FORMAT_VERSION });
    }
    let metadata = root["consolidated_metadata"]["metadata"].as_object().ok_or_else(|| lacks("arrays"))?;
    let modalities = metadata.iter().filter_map(|(name, array)| Some((name.parse::<Modality>().ok()?, array)));
    let (mut arrays, mut first) = (Vec::new(), None);
    for (modality, array) in modalities {
        arrays.push(read_array(modality, array).ok_or_else(|| lacks("array as it is written"))?);
        first = first.or(Some(array));
    }
    let first = first.ok_or_else(|| lacks("modality"))?;
    let (events, group) = (number(&first["shape"][0]), number(&first["chunk_grid"]["configuration"]["chunk_shape"][0]));
    let (Some(events), Some(group @ 1..)) = (events, group) else { return Err(lacks("shape")) };
    let packed = first["codecs"][0]["configuration"]["codecs"].as_array().is_some_and(|codecs| codecs.len() > 1);
    let packing = if packed { Packing::Zstd } else { Packing::None };
    let lightning = metadata.get(Modality::Lght.label()).map(|array| array["attributes"].clone());
    let attributes = root["attributes"].as_object().cloned().unwrap_or_default();
    Ok(Some(Root { arrays, events, group, packing, attributes, lightning }))
}

/// Fills with the missing value.
fn fill(out: &mut [u8], array: &EventArray) {
    let missing = array.element().missing().to_le_bytes();
    let width = array.element().width();
    out.iter_mut().zip(missing.iter().take(width).cycle()).for_each(|(to, from)| *to = *from);
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn read_array(modality: Modality, array: &Value) -> Option<EventArray> {
    let [_, frames, y, x] = array["shape"].as_array()?.as_slice() else { return None };
    let (frames, size) = (number(frames)?, number(y)?);
    let normalisation = match (array["attributes"][SHIFT].as_f64(), array["attributes"][SCALE].as_f64()) {
        (Some(shift), Some(scale)) => Some(Normalisation { shift, scale }),
        _ => None,
    };
    let found = EventArray { modality, size, normalisation };
    let fits = frames == FRAMES && number(x)? == size && array["data_type"] == found.element().name();
    fits.then_some(found)
}
