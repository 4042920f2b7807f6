//! Reads an epoch of training batches from a store of storm events, turned, mirrored and normalised, and tells how fast:
//! `cargo run --release --example batches -- sevir/sevir.zarr`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use gustfront::formats::zarr::events::EventReader;
use gustfront::loader::{Loader, LoaderOptions, Scale};
use gustfront::sources::sevir::Split;
use gustfront::storage::{S3Options, open_existing};
use gustfront::tensor::Cpu;

fn main() -> Result<(), Box<dyn Error>> {
    let store = std::env::args().nth(1).ok_or("expected a store, such as sevir/sevir.zarr")?;
    println!("{}", epoch(&store, 8)?);
    Ok(())
}

/// Brings every batch of the training events of a store to a device; what there was of them.
pub(crate) fn epoch(store: &str, batch: usize) -> Result<String, Box<dyn Error>> {
    let objects = open_existing(store, &S3Options::default())?;
    let reader = EventReader::open(objects, "")?.ok_or("there is no complete store of storm events")?;
    let options = LoaderOptions {
        modalities: reader.arrays().iter().map(|array| array.modality).collect(),
        split: Split::Train,
        scale: Scale::Normalised,
        symmetries: true,
        batch,
        seed: 1,
        ..LoaderOptions::default()
    };
    let device = Cpu::device();
    let loader = Loader::new(Arc::new(reader), options, &device)?;
    let (begun, mut windows, mut shape) = (Instant::now(), 0, Vec::new());
    for batch in loader.epoch(0) {
        let batch = batch?;
        let modalities = batch.to(&device)?;
        // A step of training takes `values` and `mask` of each modality: windows, frames, y, x.
        windows += batch.samples.len();
        shape = modalities.first().map(|first| first.values.shape().sizes().to_vec()).unwrap_or_default();
    }
    Ok(format!(
        "{windows} windows in batches of {shape:?}, {:.0} windows/s; events that lack a modality: {}",
        windows as f64 / begun.elapsed().as_secs_f64(),
        loader.left_out()
    ))
}
