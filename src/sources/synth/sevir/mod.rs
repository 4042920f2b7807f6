//! Synthetic SEVIR: events of four hours in files of the true layout, cut out of the storms of a seed.
//!
//! Radar, both infrared channels, visible light and lightning are all seen of the same cells. Every file says in its
//! attribute `origin` that nothing in it was observed.

mod catalog;
mod files;
mod lightning;
mod place;
mod plan;
mod scene;
mod views;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{SynthError, origin};
use crate::domain::{Modality, Moment};
use crate::sources::sevir::LATEST;
use files::Files;

/// Where a missing value stands in the files: VIL.
pub(super) const MISSING_LEVEL: u8 = 255;
/// Where a missing value stands in the files: infrared and visible light.
pub(super) const MISSING_NUMBER: i16 = i16::MIN;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// How dense values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SevirStorage {
    /// In one run, as SEVIR's own.
    Contiguous,
    /// In chunks of one frame of one event, by gzip.
    Chunked,
    /// One file so, the next otherwise.
    Mixed,
}

/// Which synthetic events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SevirOptions {
    /// How many events, at least one.
    pub events: usize,
    /// Same seed, same bytes.
    pub seed: u64,
    /// No event before this day …
    pub from: Moment,
    /// … and none from this one on.
    pub to: Moment,
    /// What is written of an event that has it.
    pub modalities: BTreeSet<Modality>,
    /// How dense values are stored.
    pub storage: SevirStorage,
    /// Whether the catalogue begins with a column without a name.
    pub index_column: bool,
    /// Whether the VIL of one event is damaged and another file is cut short.
    pub flaws: bool,
    /// Write into a folder that holds something else.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SevirSummary {
    /// Events done.
    pub events: usize,
    /// Rows of the catalogue.
    pub rows: usize,
    /// HDF5 files.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
    /// What was damaged, where that was asked for.
    pub flaws: Vec<String>,
}

/// Writes events into `folder`: `data/…` first and `CATALOG.csv` last. `watch` sees the number of events done, 0 at first,
/// and says whether to go on.
///
/// # Errors
/// Options that make no event; a folder that holds something else, unless forced, or cannot be written to; being told not
/// to go on. What was not finished is taken away.
pub fn write_sevir(
    folder: &Path,
    options: &SevirOptions,
    watch: &mut dyn FnMut(usize) -> bool,
) -> Result<SevirSummary, SynthError> {
    check(folder, options)?;
    let events = plan::events(options);
    let mut files = Files::create(folder, options, &events)?;
    for (done, event) in events.iter().enumerate() {
        if !watch(done) {
            return Err(SynthError::Stopped(done));
        }
        let views = views::of(options.seed, event, &options.modalities);
        files.add(event, &views)?;
    }
    watch(events.len());
    let mut summary = files.finish()?;
    summary.events = events.len();
    Ok(summary)
}

fn check(folder: &Path, options: &SevirOptions) -> Result<(), SynthError> {
    let refuse = |reason: String| Err(SynthError::Options(reason));
    if options.events == 0 || options.events > 100_000 || options.modalities.is_empty() {
        return refuse("1 to 100000 events and at least one modality are needed".into());
    }
    if options.flaws && !options.modalities.contains(&Modality::Vil) {
        return refuse("what is damaged on purpose is VIL; vil is needed among the modalities, or no flaws".into());
    }
    if options.to.0 <= options.from.0 + DAY || options.to > LATEST {
        return refuse(format!(
            "from {} to {}; expected more than one day between them, from 1970-01-01 to {LATEST} at the latest",
            options.from, options.to
        ));
    }
    let location = folder.display().to_string();
    if location.contains("://") {
        return refuse(format!(
            "`{location}` is no folder; expected one: HDF5 is written to folders alone, and may be copied to a bucket then"
        ));
    }
    let is_empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !options.force {
        let key = "what is in it".to_string();
        return Err(SynthError::Foreign { location, key, origin: origin(options.seed) });
    }
    Ok(())
}
