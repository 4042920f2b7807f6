//! A store of synthetic events whose every number is known: radar and lightning, with what is missing.

use std::sync::Arc;

use gustfront::domain::{Cube, Event, FRAMES, Levels, Modality, Moment, Part};
use gustfront::formats::zarr::events::{
    AFTER, CatalogueEvent, EventArray, EventReader, EventStore, EventStoreSpec, LIGHTNING_BINS, Normalisation, Packing,
};
use gustfront::storage::{FileStore, ObjectStore};
use tempfile::TempDir;

/// Points along a side: two tiles of a kernel that turns frames, the second one narrow.
pub(crate) const SIZE: usize = 66;
pub(crate) const POINTS: usize = SIZE * SIZE;
pub(crate) const EVENTS: usize = 11;
/// The event without lightning; no batch has it.
pub(crate) const DARK: usize = 4;
/// The event and frame of VIL that are missing.
pub(crate) const LOST: (usize, usize) = (2, 14);
const TRAIN: u8 = 1;

pub(crate) fn vil(event: usize, at: usize) -> u8 {
    let lost = event == LOST.0 && at / POINTS == LOST.1 || at % 97 == 5;
    if lost { 255 } else { ((event * 31 + at / POINTS * 7 + at % POINTS) % 254) as u8 }
}

pub(crate) fn lightning(event: usize, at: usize) -> i16 {
    (event * 1000 + at % 800) as i16
}

fn event(at: usize, timed: bool) -> Arc<Event> {
    let minutes = timed.then(|| std::array::from_fn(|frame| 5 * frame as i16 - 120));
    let part = Part { file: "none".into(), index: at, minutes, missing_share: 0.0 };
    let modalities = [Modality::Vil, Modality::Lght].into_iter().filter(|m| at != DARK || *m == Modality::Vil);
    Arc::new(Event {
        id: format!("S{at}").into(),
        time: Moment(1_500_000_000 + at as u64 * 86_400),
        kind: "Hail".into(),
        corners: [30.0, -100.0, 33.4, -96.0],
        parts: modalities.map(|modality| (modality, part.clone())).collect(),
    })
}

/// A store of eleven events in groups of four; the last two are for the test. Where it is `timed`, a window's lightning
/// lies one frame earlier than its images: the first window of an event lacks a frame.
pub(crate) fn store(packing: Packing, timed: bool) -> (TempDir, Arc<EventReader>) {
    let folder = tempfile::tempdir().expect("a folder");
    let objects: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let normalisation = Some(Normalisation { shift: 33.44, scale: 47.54 });
    let array = |modality| EventArray { modality, size: SIZE, normalisation };
    let entry = |at| CatalogueEvent { event: event(at, timed), split: if at < EVENTS - 2 { TRAIN } else { 3 } };
    let spec = EventStoreSpec {
        title: "Synthetic numbers".into(),
        arrays: vec![array(Modality::Vil), array(Modality::Lght)],
        events: (0..EVENTS).map(entry).collect(),
        group: 4,
        packing,
        attributes: timed.then(|| (LIGHTNING_BINS.to_owned(), AFTER.into())).into_iter().collect(),
    };
    let store = EventStore::new(objects.clone(), "events.zarr", spec).expect("a store");
    assert!(EventReader::open(objects.clone(), "events.zarr").expect("no error").is_none(), "nothing is visible yet");
    for shard in 0..store.spec().shards() {
        let first = shard as usize * 4;
        let group = store.spec().group_of(shard).to_vec();
        let mut findings = vec![vec![None; 2]; group.len()];
        for (array, modality) in [Modality::Vil, Modality::Lght].into_iter().enumerate() {
            let mut writer = store.writer(array, shard, group.len()).expect("a writer");
            for (at, entry) in group.iter().enumerate() {
                if !entry.event.parts.contains_key(&modality) {
                    writer.absent();
                    continue;
                }
                let levels = if array == 0 {
                    Levels::U8((0..FRAMES * POINTS).map(|i| vil(first + at, i)).collect())
                } else {
                    Levels::I16((0..FRAMES * POINTS).map(|i| lightning(first + at, i)).collect())
                };
                findings[at][array] = Some(writer.event(&Cube { size: SIZE, levels }).expect("fits"));
            }
            writer.finish().expect("written");
        }
        store.conclude(shard, &findings).expect("written");
    }
    store.publish().expect("published");
    let reader = EventReader::open(objects, "events.zarr").expect("readable").expect("there");
    (folder, Arc::new(reader))
}
