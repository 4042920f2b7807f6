//! What the store of a pipeline of events is to hold, and the number by which the same work is known.

use std::sync::Arc;

use serde_json::Map;

use super::normalising::Normalising;
use crate::config::{Codec, FrameBins, Pipeline, SevirOptions, SplitOptions, Stage, StoreOptions};
use crate::domain::{Event, Modality};
use crate::flow::identity::made;
use crate::formats::zarr::events::{AFTER, BEFORE, CatalogueEvent, EventArray, EventStoreSpec, Packing, SPLITS};
use crate::sources::sevir::{EventSource, SplitRule};

/// What the pipeline brings frames to; the last stage that does counts.
pub(super) fn size(pipeline: &Pipeline) -> Option<usize> {
    pipeline.stages.iter().rev().find_map(|node| match node.stage {
        Stage::Resize(size) => Some(size),
        _ => None,
    })
}

/// How events are split.
pub(super) fn split_rule(options: SplitOptions) -> SplitRule {
    match options {
        SplitOptions::Id { seed, validation, test } => SplitRule::Id { seed, validation, test },
        SplitOptions::Date { validation_from, test_from } => match SplitRule::default() {
            SplitRule::Date { validation_from: published_validation, test_from: published_test } => SplitRule::Date {
                validation_from: validation_from.unwrap_or(published_validation),
                test_from: test_from.unwrap_or(published_test),
            },
            other => other,
        },
    }
}

/// What the store is to hold.
pub(super) fn spec(
    input: &SevirOptions,
    options: &StoreOptions,
    source: &dyn EventSource,
    size: Option<usize>,
    normalising: &Normalising,
) -> EventStoreSpec {
    let rule = split_rule(input.split);
    let position = |label: &str| SPLITS.iter().position(|name| *name == label).unwrap_or(0) as u8;
    let entry =
        |event: &Arc<Event>| CatalogueEvent { event: event.clone(), split: position(rule.split(event).label()) };
    let array = |modality: &Modality| EventArray {
        modality: *modality,
        size: size.unwrap_or(modality.size()),
        normalisation: normalising.of(*modality),
    };
    let packing = match options.codec {
        Some(Codec::None) => Packing::None,
        Some(Codec::Zstd) | None => Packing::Zstd,
    };
    EventStoreSpec {
        title: options.title.clone().unwrap_or_else(|| "SEVIR events".into()),
        arrays: input.modalities.iter().map(array).collect(),
        events: source.events().iter().map(entry).collect(),
        group: input.shard_events,
        packing,
        attributes: Map::new(),
    }
}

/// The same number for the same pipeline over the same events: FNV-1a (Fowler, Noll and Vo), 64 bits.
pub(super) fn fingerprint(pipeline: &Pipeline, spec: &EventStoreSpec) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    let mut take = |text: &str| {
        let bytes = text.bytes().chain([0]);
        hash = bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    };
    pipeline.stages.iter().for_each(|node| take(&format!("{} {}", node.name, made(pipeline, &node.stage))));
    take(&format!("{:?} {:?}", spec.attributes, spec.arrays));
    for entry in &spec.events {
        let event = &entry.event;
        take(&format!("{} {} {} {} {:?}", event.id, event.time.0, event.kind, entry.split, event.corners));
        for (modality, part) in &event.parts {
            take(&format!("{modality} {} {} {:?}", part.file, part.index, part.minutes));
        }
    }
    hash
}
/// What a store calls the five minutes of a frame of lightning.
pub(super) fn bins_label(bins: FrameBins) -> &'static str {
    match bins {
        FrameBins::After => AFTER,
        FrameBins::Before => BEFORE,
    }
}
