//! Batches for training that a device decodes: the values and masks that the host gives, to the bit.

use std::collections::BTreeSet;
use std::sync::Arc;

use gustfront::domain::{Modality, Symmetry};
use gustfront::formats::zarr::events::{EventReader, Packing};
use gustfront::loader::{Batch, Loader, LoaderOptions, ModalityTensors, Scale, Values};
use gustfront::sources::sevir::Split;
use gustfront::tensor::{Coding, Cpu, Device, HostMemory, StoredWindows, Tensor};

use crate::emulation::{Order, cuda, device};
use crate::events::{POINTS, store};

/// Frames of a window.
const FRAMES: usize = 25;

fn loader(reader: &Arc<EventReader>, scale: Scale, device: &Device) -> Loader {
    let options = LoaderOptions {
        modalities: vec![Modality::Lght, Modality::Vil],
        split: Split::Train,
        batch: 4,
        seed: 7,
        symmetries: true,
        scale,
        ..LoaderOptions::default()
    };
    Loader::new(reader.clone(), options, device).expect("a loader")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().expect("values")
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    values(tensor).into_iter().map(f32::to_bits).collect()
}

/// Fails where two batches differ; windows and frames of which a modality has nothing.
fn compared(found: &Batch, on: &[ModalityTensors], wanted: &[ModalityTensors]) -> Vec<BTreeSet<(usize, usize)>> {
    assert!(found.values.iter().all(|values| matches!(values, Values::Coded { .. })));
    let empty = |(on, wanted): (&ModalityTensors, &ModalityTensors)| {
        assert_eq!(on.values.shape(), wanted.values.shape());
        assert!(bits(&on.values) == bits(&wanted.values), "values of {:?}", found.samples);
        assert!(bits(&on.mask) == bits(&wanted.mask), "mask of {:?}", found.samples);
        let mask = values(&on.mask);
        let frames = mask.chunks(POINTS).enumerate().filter(|(_, frame)| frame.iter().all(|there| *there == 0.0));
        frames.map(|(at, _)| (at / FRAMES, at % FRAMES)).collect()
    };
    on.iter().zip(wanted).map(empty).collect()
}

#[test]
fn batches_are_decoded_to_the_bits_of_the_host() {
    for (number, scale) in [Scale::Normalised, Scale::Physical].into_iter().enumerate() {
        let (_folder, reader) = store([Packing::Zstd, Packing::None][number], true);
        let gpu = cuda(Order::ALL[number + 1]);
        let (here, there): (Device, Device) = (Cpu::device(), gpu.clone());
        let (host, loader) = (loader(&reader, scale, &here), loader(&reader, scale, &there));
        let (mut turns, mut batches, mut lost) = (BTreeSet::new(), 0, 0);
        for (found, wanted) in (0..2).flat_map(|epoch| loader.epoch(epoch).zip(host.epoch(epoch))) {
            let (found, wanted) = (found.expect("a batch"), wanted.expect("a batch"));
            assert_eq!(found.samples, wanted.samples);
            let (on, wanted) = (found.to(&there).expect("decoded"), wanted.to(&here).expect("moved"));
            let empty = compared(&found, &on, &wanted);
            // The same by the loops of the CPU.
            compared(&found, &found.to(&here).expect("decoded"), &wanted);
            let first = found.samples.iter().enumerate().filter(|(_, sample)| sample.frames.start == 0);
            assert_eq!(empty[0], first.map(|(window, _)| (window, 0)).collect(), "lightning before the event");
            lost += empty[1].len();
            turns.extend(found.samples.iter().map(|sample| sample.symmetry.word()));
            batches += 1;
        }
        assert!(turns.len() == 8 && lost > 0, "{turns:?}, {lost} frames of VIL are lost");
        let work = gpu.work().expect("counts");
        assert_eq!((batches, work.launches["data"]), (12, 24), "one launch a modality");
        let (stored, more) = (12 * loader.batch_bytes() as u64, 1024 + 24 * 4 * size_of::<u32>() as u64);
        assert!((stored..=stored + more).contains(&work.uploads.bytes), "{} of {stored}", work.uploads.bytes);
    }
}

/// Frames that are one tile, several, and parts of tiles; each window turned in another way.
#[test]
fn frames_of_every_size_are_turned() {
    let turns: Vec<Symmetry> = (0..8).map(Symmetry::new).collect();
    let table = Coding::U8(Box::new(std::array::from_fn(|level| 1.0 / (level as f32 - 0.3))));
    for (number, size) in [0, 1, 63, 64, 65, 130].into_iter().enumerate() {
        let count = 8 * size * size;
        for coding in [table.clone(), Coding::I16 { factor: 0.017, offset: -3.3 }] {
            let bytes: Vec<u8> = match coding {
                Coding::U8(_) => (0..count).map(|at| (at * 131 % 257) as u8).collect(),
                Coding::I16 { .. } => {
                    let code = |at: usize| if at % 13 == 5 { i16::MIN } else { (at * 7919 % 65_537) as u16 as i16 };
                    (0..count).flat_map(|at| code(at).to_le_bytes()).collect()
                }
            };
            let [found, wanted] = [device(Order::ALL[number % 3]), Cpu::device()].map(|device| {
                let mut memory = device.host_memory(bytes.len()).expect("memory");
                memory.bytes_mut().expect("bytes").copy_from_slice(&bytes);
                decoded(&device, &memory, &turns, size, &coding)
            });
            assert!(found == wanted, "{size}×{size}, {} bytes a number", coding.bytes());
            let missing = wanted.1.iter().filter(|there| **there == 0).count();
            assert!(size < 63 || (0 < missing && missing < count), "{missing} of {count}");
        }
    }
}

fn decoded(
    device: &Device,
    memory: &HostMemory,
    turns: &[Symmetry],
    size: usize,
    coding: &Coding,
) -> (Vec<u32>, Vec<u32>) {
    let windows = StoredWindows { memory, turns, frames: 1, size, coding };
    let (values, mask) = Tensor::decoded(device, &windows).expect("decoded");
    (bits(&values), bits(&mask))
}
