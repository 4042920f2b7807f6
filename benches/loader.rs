//! How fast batches for training come from a store in the page cache, counted in the stored type.

use std::sync::Arc;
use std::time::Instant;

use gustfront::domain::{Cube, Event, FRAMES, Levels, Modality, Moment, Part, Philox};
use gustfront::formats::zarr::events::{
    CatalogueEvent, EventArray, EventReader, EventStore, EventStoreSpec, Normalisation, Packing,
};
use gustfront::loader::{Loader, LoaderOptions, Scale};
use gustfront::sources::sevir::Split;
use gustfront::storage::{FileStore, ObjectStore};
use gustfront::tensor::Cpu;
use gustfront::transforms::frames::WindowRule;

const SIZE: usize = 384;
const TRAIN: u8 = 1;
/// Events of a shard.
const GROUP: usize = 8;
/// Windows of a batch.
const BATCH: usize = 8;
/// Epochs of which the fastest counts.
const EPOCHS: u32 = 5;
/// What is measured together, and how many events of it fit into the memory of most machines.
const STORES: [(&[Modality], usize); 2] =
    [(&[Modality::Vil], 32), (&[Modality::Vil, Modality::Ir069, Modality::Ir107, Modality::Lght], 16)];

fn event(at: usize, modalities: &[Modality]) -> Arc<Event> {
    let part = Part { file: "none".into(), index: at, minutes: None, missing_share: 0.0 };
    Arc::new(Event {
        id: format!("S{at}").into(),
        time: Moment(1_500_000_000 + at as u64 * 86_400),
        kind: "Hail".into(),
        corners: [30.0, -100.0, 33.4, -96.0],
        parts: modalities.iter().map(|modality| (*modality, part.clone())).collect(),
    })
}

/// Smooth synthetic numbers: VIL with zeros between, as storms have; infrared with the noise of an instrument; rare flashes.
fn cube(event: usize, modality: Modality) -> Cube {
    let (philox, points) = (Philox::new(event as u64, modality as u32), SIZE * SIZE);
    let wave = |at: usize| {
        let (frame, y, x) = (at / points, at / SIZE % SIZE, at % SIZE);
        ((x + 3 * frame + 17 * event) as f32 * 0.031).sin() * (y as f32 * 0.023).cos()
    };
    let noise = |at: usize| philox.words([at as u32 / 4, 0, 0, 0])[at % 4];
    let all = 0..FRAMES * points;
    let levels = match modality {
        Modality::Vil => Levels::U8(all.map(|at| (wave(at) * 180.0 - 40.0).max(0.0) as u8).collect()),
        Modality::Lght => Levels::I16(all.map(|at| i16::from(noise(at / 8).is_multiple_of(199))).collect()),
        _ => Levels::I16(all.map(|at| (wave(at) * 2000.0) as i16 + (noise(at) % 16) as i16 - 4000).collect()),
    };
    Cube { size: SIZE, levels }
}

fn store(objects: &Arc<dyn ObjectStore>, packing: Packing, modalities: &[Modality], events: usize) -> Arc<EventReader> {
    let normalisation = Some(Normalisation { shift: 33.44, scale: 47.54 });
    let array = |modality: &Modality| EventArray { modality: *modality, size: SIZE, normalisation };
    let spec = EventStoreSpec {
        title: "Synthetic numbers".into(),
        arrays: modalities.iter().map(array).collect(),
        events: (0..events).map(|at| CatalogueEvent { event: event(at, modalities), split: TRAIN }).collect(),
        group: GROUP,
        packing,
        attributes: serde_json::Map::new(),
    };
    let store = EventStore::new(objects.clone(), "events.zarr", spec).expect("a store");
    for shard in 0..store.spec().shards() {
        let mut found = vec![Vec::new(); GROUP];
        for (at, modality) in modalities.iter().enumerate() {
            let mut writer = store.writer(at, shard, GROUP).expect("a writer");
            for (inside, found) in found.iter_mut().enumerate() {
                found.push(Some(writer.event(&cube(shard as usize * GROUP + inside, *modality)).expect("fits")));
            }
            writer.finish().expect("written");
        }
        store.conclude(shard, &found).expect("written");
    }
    store.publish().expect("published");
    Arc::new(EventReader::open(objects.clone(), "events.zarr").expect("readable").expect("there"))
}

/// Seconds a batch in the fastest of some epochs.
fn seconds(loader: &Loader) -> f64 {
    let epoch = |number| {
        let begun = Instant::now();
        let batches = loader.epoch(number).map(|batch| drop(batch.expect("a batch"))).count();
        begun.elapsed().as_secs_f64() / batches as f64
    };
    (0..EPOCHS).map(epoch).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    let device = Cpu::device();
    for (modalities, events) in STORES {
        for packing in [Packing::None, Packing::Zstd] {
            let folder = tempfile::tempdir().expect("a folder");
            let objects: Arc<dyn ObjectStore> = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
            let reader = store(&objects, packing, modalities, events);
            for (symmetries, normalise) in [(false, false), (true, false), (true, true)] {
                for threads in [1, 2, 4] {
                    let options = LoaderOptions {
                        modalities: modalities.to_vec(),
                        split: Split::Train,
                        windows: WindowRule::default(),
                        batch: BATCH,
                        seed: 1,
                        symmetries,
                        scale: if normalise { Scale::Normalised } else { Scale::Stored },
                        threads,
                        ahead: 2 * threads,
                    };
                    let loader = Loader::new(reader.clone(), options, &device).expect("a loader");
                    let seconds = seconds(&loader);
                    println!(
                        "{} modalities, {packing:?}, symmetries {symmetries}, normalised {normalise}, {threads} threads: \
                         {:.2} GB/s stored, {:.0} windows/s",
                        modalities.len(),
                        loader.batch_bytes() as f64 / seconds / 1e9,
                        BATCH as f64 / seconds
                    );
                }
            }
        }
    }
}
