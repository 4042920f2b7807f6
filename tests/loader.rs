//! Batches for training: every window once an epoch, in an order that only the seed decides, with the values of the store.

#[path = "../examples/batches.rs"]
#[allow(dead_code, reason = "the example is a program of its own")]
mod batches;
#[path = "common/events.rs"]
mod events;

use std::collections::BTreeSet;
use std::sync::Arc;

use events::{DARK, EVENTS, POINTS, SIZE, lightning, store, vil};
use gustfront::domain::Modality;
use gustfront::formats::zarr::events::{EventReader, Packing};
use gustfront::loader::{Batch, Loader, LoaderOptions, Sample, Scale, Values};
use gustfront::sources::sevir::Split;
use gustfront::storage::FileStore;
use gustfront::tensor::Cpu;
use gustfront::transforms::frames::WindowRule;

fn options(threads: usize) -> LoaderOptions {
    LoaderOptions {
        modalities: vec![Modality::Lght, Modality::Vil],
        split: Split::Train,
        windows: WindowRule::default(),
        batch: 4,
        seed: 7,
        symmetries: true,
        scale: Scale::Stored,
        threads,
        ahead: 3,
    }
}

fn epoch(reader: &Arc<EventReader>, options: LoaderOptions, number: u32) -> Vec<Batch> {
    let loader = Loader::new(reader.clone(), options, &Cpu::device()).expect("a loader");
    let batches: Vec<Batch> = loader.epoch(number).map(|batch| batch.expect("a batch")).collect();
    assert_eq!(batches.len(), loader.batches());
    batches
}

#[test]
fn the_order_is_the_same_for_any_number_of_threads_and_another_in_every_epoch() {
    let (_folder, reader) = store(Packing::Zstd, false);
    let alone = epoch(&reader, options(1), 0);
    for threads in [2, 5] {
        assert_eq!(epoch(&reader, options(threads), 0), alone, "{threads} threads");
    }
    let order = |batches: &[Batch]| batches.iter().flat_map(|b| b.samples.clone()).collect::<Vec<Sample>>();
    assert_ne!(order(&epoch(&reader, options(1), 1)), order(&alone));
    assert_ne!(order(&epoch(&reader, LoaderOptions { seed: 8, ..options(1) }, 0)), order(&alone));
}

#[test]
fn an_epoch_has_every_window_of_the_split_at_most_once_and_no_other() {
    let (_folder, reader) = store(Packing::None, false);
    let batches = epoch(&reader, LoaderOptions { batch: 1, ..options(3) }, 0);
    let seen: BTreeSet<(usize, usize)> =
        batches.iter().map(|b| (b.samples[0].event, b.samples[0].frames.start)).collect();
    let train = (0..EVENTS - 2).filter(|event| *event != DARK);
    let wanted: BTreeSet<(usize, usize)> = train.flat_map(|event| [0, 12, 24].map(|first| (event, first))).collect();
    assert_eq!((batches.len(), seen), (24, wanted));
    assert!(batches.iter().all(|batch| batch.samples[0].frames.len() == 25));
}

/// The numbers of a window as the store was given them, turned as the sample says.
fn expected(sample: &Sample, value: impl Fn(usize, usize) -> i32) -> Vec<i32> {
    let first = sample.frames.start * POINTS;
    let turned = |at: usize| {
        let mirrored = |mirrored: bool, at: usize| if mirrored { SIZE - 1 - at } else { at };
        let (y, x) = (mirrored(sample.symmetry.rows, at / SIZE % SIZE), mirrored(sample.symmetry.columns, at % SIZE));
        let (y, x) = if sample.symmetry.diagonal { (x, y) } else { (y, x) };
        value(sample.event, first + at / POINTS * POINTS + y * SIZE + x)
    };
    (0..25 * POINTS).map(turned).collect()
}

#[test]
fn batches_hold_what_was_stored_packed_or_not() {
    for packing in [Packing::None, Packing::Zstd] {
        let (_folder, reader) = store(packing, false);
        let mut turned = 0;
        for batch in epoch(&reader, options(2), 0) {
            let [Values::I16(flashes), Values::U8(levels)] = batch.values.as_slice() else {
                panic!("other types: {:?}", batch.samples)
            };
            for (at, sample) in batch.samples.iter().enumerate() {
                let window = at * 25 * POINTS..(at + 1) * 25 * POINTS;
                let found: Vec<i32> = levels[window.clone()].iter().map(|v| i32::from(*v)).collect();
                assert!(found == expected(sample, |e, i| vil(e, i).into()), "VIL of {sample:?}, {packing:?}");
                let found: Vec<i32> = flashes[window].iter().map(|v| i32::from(*v)).collect();
                assert!(
                    found == expected(sample, |e, i| lightning(e, i).into()),
                    "lightning of {sample:?}, {packing:?}"
                );
                turned += usize::from(sample.symmetry.diagonal);
            }
        }
        assert!(turned > 0, "nothing was turned");
    }
}

#[test]
fn normalised_numbers_come_with_a_mask_of_what_is_missing() {
    let (_folder, reader) = store(Packing::None, false);
    for batch in epoch(&reader, LoaderOptions { scale: Scale::Normalised, ..options(2) }, 0) {
        let [_, Values::Scaled { values, mask, missing }] = batch.values.as_slice() else { panic!("other values") };
        let stored = batch.samples.iter().flat_map(|sample| expected(sample, |e, i| vil(e, i).into()));
        assert_eq!(*missing, mask.iter().filter(|there| **there == 0).count());
        for ((value, mask), stored) in values.iter().zip(&**mask).zip(stored) {
            let wanted = if stored == 255 { 0.0 } else { (f64::from(stored) - 33.44) / 47.54 };
            assert_eq!(*mask, u8::from(stored != 255));
            // One rounding of the factor, one of the product, one of the sum, all below 6.
            assert!((f64::from(*value) - wanted).abs() < 1e-6, "{value}, expected {wanted}");
        }
    }
}

/// VIL by the published formula (Veillette et al. 2020), lightning as it is counted.
#[test]
fn physical_numbers_are_in_units_of_the_field() {
    let (_folder, reader) = store(Packing::Zstd, false);
    let liquid = |level: i32| match level {
        255 | ..=5 => 0.0,
        6..=18 => (f64::from(level) - 2.0) / 90.66,
        _ => ((f64::from(level) - 83.9) / 38.9).exp(),
    };
    for batch in epoch(&reader, LoaderOptions { scale: Scale::Physical, ..options(2) }, 0) {
        let [Values::Scaled { values: flashes, .. }, Values::Scaled { values, mask, .. }] = batch.values.as_slice()
        else {
            panic!("other values")
        };
        let stored = |value: fn(usize, usize) -> i32| batch.samples.iter().flat_map(move |s| expected(s, value));
        for ((value, mask), level) in values.iter().zip(&**mask).zip(stored(|e, i| vil(e, i).into())) {
            assert_eq!(*mask, u8::from(level != 255));
            assert!((f64::from(*value) - liquid(level)).abs() <= 1e-5 * liquid(level), "{level}: {value}");
        }
        assert!(flashes.iter().zip(stored(|e, i| lightning(e, i).into())).all(|(found, count)| *found == count as f32));
    }
}

#[test]
fn an_epoch_is_read_as_the_example_does_it_and_what_lacks_a_modality_is_counted() {
    let (folder, reader) = store(Packing::Zstd, false);
    let told = batches::epoch(folder.path().join("events.zarr").to_str().expect("a path"), 4).expect("an epoch");
    assert!(told.contains(&format!("24 windows in batches of [4, 25, {SIZE}, {SIZE}], ")), "{told}");
    assert!(told.ends_with("events that lack a modality: 1"), "{told}");
    let vil = LoaderOptions { modalities: vec![Modality::Vil], ..options(1) };
    assert_eq!(Loader::new(reader, vil, &Cpu::device()).expect("a loader").left_out(), 0);
}

#[test]
fn batches_on_a_device_hold_the_same_numbers() {
    let (_folder, reader) = store(Packing::Zstd, false);
    let device = Cpu::device();
    for batch in epoch(&reader, LoaderOptions { scale: Scale::Normalised, ..options(2) }, 0) {
        for (moved, values) in batch.to(&device).expect("moved").iter().zip(&batch.values) {
            let Values::Scaled { values, mask, .. } = values else { panic!("other values") };
            assert_eq!(moved.values.shape().sizes(), [4, 25, SIZE, SIZE]);
            assert!(moved.values.to_vec().expect("numbers") == **values, "batch {}", batch.number);
            let there: Vec<f32> = mask.iter().map(|there| f32::from(*there)).collect();
            assert!(moved.mask.to_vec().expect("a mask") == there, "mask of batch {}", batch.number);
        }
    }
    let stored = epoch(&reader, options(1), 0);
    let told = stored[0].to(&device).err().expect("refused").to_string();
    assert!(told.contains("expected Scale::Normalised"), "{told}");
}

#[test]
fn memory_that_comes_back_keeps_nothing_of_the_batch_before() {
    let (_folder, reader) = store(Packing::None, false);
    let options = LoaderOptions { scale: Scale::Normalised, ..options(2) };
    let kept = epoch(&reader, options.clone(), 3);
    let loader = Loader::new(reader.clone(), options, &Cpu::device()).expect("a loader");
    loader.epoch(2).for_each(|batch| drop(batch.expect("a batch")));
    for (again, kept) in loader.epoch(3).zip(&kept) {
        assert!(again.expect("a batch") == *kept, "batch {}", kept.number);
    }
}

#[test]
fn a_loader_that_is_dropped_in_the_middle_ends_its_threads() {
    let (_folder, reader) = store(Packing::None, false);
    let options = LoaderOptions { batch: 1, ..options(4) };
    let loader = Loader::new(reader, options, &Cpu::device()).expect("a loader");
    for taken in 0..4 {
        let mut batches = loader.epoch(taken);
        for _ in 0..taken {
            batches.next().expect("a batch").expect("fine");
        }
    }
}

#[test]
fn what_cannot_be_loaded_is_told() {
    let (folder, reader) = store(Packing::None, false);
    let told = |options| Loader::new(reader.clone(), options, &Cpu::device()).expect_err("refused").to_string();
    assert!(told(LoaderOptions { modalities: vec![Modality::Vis], ..options(1) }).contains("the store has no vis"));
    assert!(told(LoaderOptions { split: Split::Validation, ..options(1) }).contains("0 windows of validation events"));
    let long = WindowRule { input: 40, target: 12, stride: 12 };
    assert!(told(LoaderOptions { windows: long, ..options(1) }).contains("40 + 12 frames"));
    let shard = folder.path().join("events.zarr/vil/c/0/0/0/0");
    let mut bytes = std::fs::read(&shard).expect("a shard");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(&shard, &bytes).expect("written");
    let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let reader = Arc::new(EventReader::open(objects, "events.zarr").expect("fine").expect("there"));
    let loader = Loader::new(reader, options(1), &Cpu::device()).expect("a loader");
    let errors: Vec<String> = loader.epoch(0).filter_map(|batch| batch.err()).map(|e| e.to_string()).collect();
    assert!(!errors.is_empty() && errors.iter().all(|e| e.contains("its index is damaged")), "{errors:?}");
    std::fs::remove_file(&shard).expect("removed");
    let objects = Arc::new(FileStore::new(folder.path().to_str().expect("a path")));
    let reader = Arc::new(EventReader::open(objects, "events.zarr").expect("fine").expect("there"));
    let loader = Loader::new(reader, options(1), &Cpu::device()).expect("a loader");
    let errors: Vec<String> = loader.epoch(0).filter_map(|batch| batch.err()).map(|e| e.to_string()).collect();
    assert!(!errors.is_empty() && errors.iter().all(|e| e.contains("it is gone, and `present` says")), "{errors:?}");
}
