//! When the frames of lightning begin and end, and how they lie to the images of a window.

use std::array;

use serde_json::{Map, Value, json};

use super::catalogue::NO_OFFSET;
use super::spec::EventStoreSpec;
use crate::domain::{FRAME_SECONDS, FRAMES};

/// The attribute of a store, and of its lightning, that says which five minutes a frame counts.
pub const LIGHTNING_BINS: &str = "lightning_bins";
/// Of [`LIGHTNING_BINS`]: those from the frame's time on.
pub const AFTER: &str = "after";
/// Of [`LIGHTNING_BINS`]: those up to the frame's time.
pub const BEFORE: &str = "before";
/// Attributes of lightning: when each frame begins and ends, in seconds after the event's time.
const BEGINS: &str = "frame_begin_seconds";
const ENDS: &str = "frame_end_seconds";
/// Seconds in a minute.
const MINUTE: i64 = 60;

/// The time of a frame of lightning in seconds after the event's.
fn frame_seconds(frame: usize) -> i64 {
    (frame as i64 - FRAMES as i64 / 2) * FRAME_SECONDS
}

/// The times of the frames of lightning in minutes after the event's.
pub(super) fn lightning_minutes() -> [i16; FRAMES] {
    array::from_fn(|frame| (frame_seconds(frame) / MINUTE) as i16)
}

/// What lightning says of the times of its frames; nothing where the store does not know.
pub(super) fn lightning_attributes(spec: &EventStoreSpec) -> Map<String, Value> {
    let (shift, rest) = match spec.attributes.get(LIGHTNING_BINS).and_then(Value::as_str) {
        Some(AFTER) => (0, "later flashes than the last frame in the last"),
        Some(BEFORE) => (-FRAME_SECONDS, "later flashes than the last frame in none"),
        _ => return Map::new(),
    };
    let begins: [i64; FRAMES] = array::from_fn(|frame| frame_seconds(frame) + shift);
    let attributes = json!({
        LIGHTNING_BINS: spec.attributes.get(LIGHTNING_BINS),
        BEGINS: begins.to_vec(),
        ENDS: begins.map(|begin| begin + FRAME_SECONDS).to_vec(),
        "comment": format!(
            "a frame counts the flashes from its begin to before its end, in seconds after the event's time; earlier \
             flashes than the first frame are in the first, {rest}. Images have times of their own (frame_offset): what \
             was known at an image's time is in the frames that end no later than that"
        ),
    });
    attributes.as_object().cloned().unwrap_or_default()
}

/// The times of all frames of a store.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameTimes {
    /// Minutes after the event's time by event, array and frame.
    offsets: Vec<i16>,
    arrays: usize,
    /// When frames of lightning end, in seconds after the event's time; empty where that is not known.
    lightning_ends: Vec<i64>,
}

impl FrameTimes {
    /// From the bytes of `frame_offset` and the attributes of lightning, where there is any.
    pub(super) fn new(offsets: &[u8], arrays: usize, lightning: Option<&Value>) -> Self {
        let ends = lightning.and_then(|attributes| attributes[ENDS].as_array());
        FrameTimes {
            offsets: offsets
                .chunks_exact(2)
                .map(|pair| pair.iter().rev().fold(0, |all, b| all << 8 | i16::from(*b)))
                .collect(),
            arrays,
            lightning_ends: ends.into_iter().flatten().filter_map(Value::as_i64).collect(),
        }
    }

    /// When an image was taken, in seconds after the event's time.
    fn image_seconds(&self, event: usize, array: usize, frame: usize) -> Option<i64> {
        let at = (event * self.arrays + array) * FRAMES + frame;
        let minutes = self.offsets.get(at).copied().filter(|minutes| *minutes != NO_OFFSET);
        minutes.map(|minutes| i64::from(minutes) * MINUTE)
    }

    /// The least number of frames by which lightning is to lie earlier than images, so that its frame beside theirs of
    /// this number has ended at the time of the earliest; one more than that number where none has.
    pub(super) fn lightning_lag(&self, event: usize, images: &[usize], frame: usize) -> usize {
        let known = images.iter().filter_map(|array| self.image_seconds(event, *array, frame)).min();
        let (Some(known), false) = (known, self.lightning_ends.is_empty()) else { return 0 };
        let has_ended = |lag: &usize| self.lightning_ends.get(frame - lag).is_some_and(|end| *end <= known);
        (0..=frame).find(has_ended).unwrap_or(frame + 1)
    }
}
