//! Stores of storm events in Zarr v3: an array a modality over (event, frame, y, x), cut into groups of events.
//!
//! A shard is one modality of a fixed group of consecutive events with all their frames, each frame an inner chunk, in
//! order: some frames of one event are one range of bytes, and a shard has one writer. What an event lacks is not
//! written: its frames hold the fill value, and `present` says so. What is known of events beforehand (time, place,
//! kind, split, offsets of frames) is written when every shard is there, and the root's metadata last of all.

mod catalogue;
mod documents;
mod reader;
mod shard;
mod spec;
mod store;
mod times;

pub use documents::{MISSING_POINTS, PRESENT};
pub use reader::{EventReader, Scratch};
pub use shard::ShardWriter;
pub use spec::{CatalogueEvent, Element, EventArray, EventStoreSpec, Normalisation, Packing, SPLITS};
pub use store::{EventStore, Findings, is_visible, shards_of};
pub use times::{AFTER, BEFORE, LIGHTNING_BINS};
