//! How fast batches for training come from a store in the page cache, counted in the stored type.

use std::sync::Arc;
use std::time::Instant;

use gustfront::domain::{Cube, Event, FRAMES, Levels, Modality, Moment, Part};
use gustfront::formats::zarr::events::{
    CatalogueEvent, EventArray, EventReader, EventStore, EventStoreSpec, Normalisation, Packing,
};
use gustfront::loader::{Loader, LoaderOptions};
use gustfront::storage::{FileStore, ObjectStore};
use gustfront::transforms::frames::WindowRule;

const SIZE: usize = 384;
const EVENTS: usize = 32;
const TRAIN: u8 = 1;
/// Epochs of which the fastest counts.
const EPOCHS: u32 = 5;

fn event(at: usize) -> Arc<Event> {
    let part = Part { file: "none".into(), index: at, minutes: None, missing_share: 0.0 };
    Arc::new(Event {
        id: format!("S{at}").into(),
        time: Moment(1_500_000_000 + at as u64 * 86_400),
        kind: "Hail".into(),
        corners: [30.0, -100.0, 33.4, -96.0],
        parts: [(Modality::Vil, part)].into(),
    })
}

/// Smooth synthetic numbers with zeros between, as storms have.
fn vil(event: usize) -> Cube {
    let value = |at: usize| {
        let (frame, y, x) = (at / (SIZE * SIZE), at / SIZE % SIZE, at % SIZE);
        let wave = ((x + 3 * frame + 17 * event) as f32 * 0.031).sin() * (y as f32 * 0.023).cos();
        (wave * 180.0 - 40.0).max(0.0) as u8
    };
    Cube { size: SIZE, levels: Levels::U8((0..FRAMES * SIZE * SIZE).map(value).collect()) }
}

fn store(objects: &Arc<dyn ObjectStore>, packing: Packing) -> Arc<EventReader> {
    let normalisation = Some(Normalisation { shift: 33.44, scale: 47.54 });
    let spec = EventStoreSpec {
        title: "Synthetic numbers".into(),
        arrays: vec![EventArray { modality: Modality::Vil, size: SIZE, normalisation }],
        events: (0..EVENTS).map(|at| CatalogueEvent { event: event(at), split: TRAIN }).collect(),
        group: 8,
        packing,
        attributes: serde_json::Map::new(),
    };
    let store = EventStore::new(objects.clone(), "events.zarr", spec).expect("a store");
    for shard in 0..store.spec().shards() {
        let mut writer = store.writer(0, shard, 8).expect("a writer");
        let found =
            (0..8).map(|at| vec![Some(writer.event(&vil(shard as usize * 8 + at)).expect("fits"))]).collect::<Vec<_>>();
        writer.finish().expect("written");
        store.conclude(shard, &found).expect("written");
    }
    store.publish().expect("published");
    Arc::new(EventReader::open(objects.clone(), "events.zarr").expect("readable").expect("there"))
}

fn main() {
    for packing in [Packing::None, Packing::Zstd] {
        let folder = tempfile::tempdir().expect("a folder");
        let objects: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
        let reader = store(&objects, packing);
        for (symmetries, normalise) in [(false, false), (true, false), (true, true)] {
            for threads in [1, 2, 4] {
                let options = LoaderOptions {
                    modalities: vec![Modality::Vil],
                    split: TRAIN,
                    windows: WindowRule::default(),
                    batch: 8,
                    seed: 1,
                    symmetries,
                    normalise,
                    threads,
                    ahead: 2 * threads,
                };
                let loader = Loader::new(reader.clone(), options).expect("a loader");
                let epoch = |number| {
                    let begun = Instant::now();
                    let batches = loader.epoch(number).map(|batch| drop(batch.expect("a batch"))).count();
                    begun.elapsed().as_secs_f64() / batches as f64
                };
                let seconds = (0..EPOCHS).map(epoch).fold(f64::INFINITY, f64::min);
                println!(
                    "{packing:?}, symmetries {symmetries}, normalised {normalise}, {threads} threads: \
                     {:.2} GB/s stored, {:.0} windows/s",
                    loader.batch_bytes() as f64 / seconds / 1e9,
                    8.0 / seconds
                );
            }
        }
    }
}
