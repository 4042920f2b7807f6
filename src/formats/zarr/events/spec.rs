//! What a store of events holds.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::{Event, FRAMES, Modality};

/// Longest side of a frame: longer ones come from a mistaken option.
const MOST_POINTS: usize = 4096;
/// Most events of a shard: one modality of it is held in memory.
const MOST_EVENTS: usize = 64;

/// The splits that an event can belong to; the stored number is the position in this list.
pub const SPLITS: [&str; 4] = ["none", "train", "validation", "test"];

/// How whole numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 8 bits; 255 is missing.
    U8,
    /// 16 bits; −32768 is missing.
    I16,
}

impl Element {
    /// How a modality is stored.
    pub const fn of(modality: Modality) -> Element {
        match modality {
            Modality::Vil => Element::U8,
            Modality::Vis | Modality::Ir069 | Modality::Ir107 | Modality::Lght => Element::I16,
        }
    }

    /// Bytes a number.
    pub const fn width(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::I16 => 2,
        }
    }

    /// The number that stands for a missing one.
    pub const fn missing(self) -> i16 {
        match self {
            Element::U8 => u8::MAX as i16,
            Element::I16 => i16::MIN,
        }
    }

    /// Zarr's name of the type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Element::U8 => "uint8",
            Element::I16 => "int16",
        }
    }
}

/// How frames are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all: read at the speed of the disk.
    None,
    /// Zstandard, each frame by itself.
    Zstd,
}

impl Packing {
    /// The name in pipelines and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Packing::None => "none",
            Packing::Zstd => "zstd",
        }
    }
}

/// What a reader subtracts from stored numbers and divides the rest by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Subtracted.
    pub shift: f64,
    /// Divided by.
    pub scale: f64,
}

/// One modality as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventArray {
    /// What was observed.
    pub modality: Modality,
    /// Points along one side of a frame.
    pub size: usize,
    /// How a model is given it, where that is known.
    pub normalisation: Option<Normalisation>,
}

impl EventArray {
    /// How its numbers are stored.
    pub fn element(&self) -> Element {
        Element::of(self.modality)
    }

    /// Numbers of one frame.
    pub fn points(&self) -> usize {
        self.size * self.size
    }
}

/// An event and the split it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueEvent {
    /// The event.
    pub event: Arc<Event>,
    /// Position in [`SPLITS`].
    pub split: u8,
}

/// What a store of events is made of; its metadata is a function of this alone.
#[derive(Clone, Debug, PartialEq)]
pub struct EventStoreSpec {
    /// For people.
    pub title: String,
    /// The modalities, in the order of their names in `present`.
    pub arrays: Vec<EventArray>,
    /// Every event, in the order of the first dimension.
    pub events: Vec<CatalogueEvent>,
    /// Events of a shard.
    pub group: usize,
    /// How frames are packed.
    pub packing: Packing,
    /// Further attributes of the root.
    pub attributes: Map<String, Value>,
}

impl EventStoreSpec {
    /// Shards along the first dimension.
    pub fn shards(&self) -> u64 {
        self.events.len().div_ceil(self.group.max(1)) as u64
    }

    /// The events of a shard; fewer in the last one, none beyond it.
    pub fn group_of(&self, shard: u64) -> &[CatalogueEvent] {
        let shard = usize::try_from(shard).unwrap_or(usize::MAX);
        self.events.chunks(self.group.max(1)).nth(shard).unwrap_or_default()
    }

    /// The splits other than `none` that no event belongs to.
    pub fn empty_splits(&self) -> impl Iterator<Item = &'static str> {
        let is_empty = |at: &usize| !self.events.iter().any(|entry| usize::from(entry.split) == *at);
        (1..SPLITS.len()).filter(is_empty).filter_map(|at| SPLITS.get(at).copied())
    }

    /// Bytes of one modality of a shard, unpacked.
    pub fn shard_bytes(&self, array: &EventArray) -> usize {
        self.group * FRAMES * array.points() * array.element().width()
    }

    /// What no store can be made of, in words.
    pub(super) fn mistake(&self) -> Option<String> {
        let odd = |array: &&EventArray| !(1..=MOST_POINTS).contains(&array.size);
        if self.arrays.is_empty() || self.events.is_empty() {
            return Some("no modalities or no events; expected at least one of each".into());
        }
        if !(1..=MOST_EVENTS).contains(&self.group) {
            return Some(format!("{} events a shard; expected 1 to {MOST_EVENTS}", self.group));
        }
        let odd = self.arrays.iter().find(odd)?;
        Some(format!("{} has {} points along a side; expected 1 to {MOST_POINTS}", odd.modality, odd.size))
    }
}
