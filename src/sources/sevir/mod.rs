//! SEVIR: storm events of five modalities in HDF5 files, found by a catalogue and read one event at a time.

mod catalog;
mod events;
mod files;
mod filter;
mod lightning;
mod order;
mod shards;
mod split;

pub use catalog::{Catalog, LATEST, Row, SetAside};
pub use events::group;
pub use files::refusal;
pub use filter::{EventFilter, RANDOM};
pub use lightning::{COLUMNS as LIGHTNING_COLUMNS, LightningBins, count as count_lightning};
pub use order::frames_first;
pub use shards::Shards;
pub use split::{Split, SplitRule};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{Cube, Event, Levels, MISSING_CODE, MISSING_LEVEL, Modality, Part};
use crate::formats::hdf5::Dataset;
use crate::sources::{RejectReason, SourceError};
use crate::storage::{ObjectStore, StorageError};

use files::{Failure, Files, Opened};

/// The catalogue's name in the bucket.
const CATALOG: &str = "CATALOG.csv";
/// The folder in the bucket that the catalogue's file names are below.
const DATA: &str = "data";

/// A place that events come from: each modality of each event can be read by itself, from any thread.
pub trait EventSource: Send + Sync {
    /// Every event, in order of time, then identifier.
    fn events(&self) -> &[Arc<Event>];
    /// One modality of one event, as it is encoded, on its own grid.
    ///
    /// # Errors
    /// Where the event has no such modality, or what is there is not what it should be.
    fn read(&self, event: &Event, modality: Modality) -> Result<Cube, EventError>;
    /// The key of the object that holds a modality of an event; `None` where the event has no such modality.
    fn object(&self, event: &Event, modality: Modality) -> Option<String>;
}

/// A modality of an event that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{modality} of {event}: {detail}")]
pub struct EventError {
    /// The event's identifier.
    pub event: Arc<str>,
    /// The modality.
    pub modality: Modality,
    /// Why.
    pub reason: RejectReason,
    /// What was found and what was expected, for people.
    pub detail: String,
}

/// How SEVIR is read.
#[derive(Clone, Debug, PartialEq)]
pub struct SevirOptions {
    /// The folder of the store that the catalogue's file names are below; empty for the store itself.
    pub data: String,
    /// Which events.
    pub filter: EventFilter,
    /// Which five minutes a frame of lightning counts.
    pub lightning: LightningBins,
}

impl Default for SevirOptions {
    fn default() -> Self {
        SevirOptions { data: DATA.into(), filter: EventFilter::default(), lightning: LightningBins::default() }
    }
}

/// SEVIR in a bucket or folder: the events of its catalogue that a filter takes.
pub struct Sevir {
    files: Files,
    options: SevirOptions,
    events: Vec<Arc<Event>>,
    set_aside: Vec<SetAside>,
    left_out: usize,
}

impl Sevir {
    /// SEVIR in a store with its own catalogue, `CATALOG.csv`.
    ///
    /// # Errors
    /// Where there is no catalogue, or it has no header with SEVIR's columns.
    pub fn open(objects: Arc<dyn ObjectStore>, options: SevirOptions) -> Result<Self, SourceError> {
        let missing = || StorageError::NotFound { location: objects.location().into(), key: CATALOG.into() };
        let text = objects.get(CATALOG)?.ok_or_else(missing)?;
        Self::with_catalog(objects.clone(), &text, options)
    }

    /// SEVIR in a store with the text of a catalogue from elsewhere.
    ///
    /// # Errors
    /// As [`Catalog::parse`].
    pub fn with_catalog(
        objects: Arc<dyn ObjectStore>,
        catalog: &[u8],
        options: SevirOptions,
    ) -> Result<Self, SourceError> {
        let Catalog { rows, mut set_aside } = Catalog::parse(objects.location(), catalog)?;
        let (found, contradictions) = group(rows);
        set_aside.extend(contradictions);
        set_aside.sort();
        let all = found.len();
        let taken = found.into_iter().filter_map(|event| options.filter.apply(event));
        let events: Vec<Arc<Event>> = taken.map(Arc::new).collect();
        let left_out = all - events.len();
        Ok(Sevir { files: Files::new(objects), options, events, set_aside, left_out })
    }

    /// Rows and events of the catalogue that were set aside, by line.
    pub fn set_aside(&self) -> &[SetAside] {
        &self.set_aside
    }

    /// Events that the filter left out.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Where a part is in the store.
    fn key(&self, part: &Part) -> String {
        let folder = self.options.data.trim_end_matches('/');
        if folder.is_empty() { part.file.to_string() } else { format!("{folder}/{}", part.file) }
    }

    fn read_part(&self, event: &Event, modality: Modality) -> Result<Cube, Failure> {
        let absent = || Failure { reason: RejectReason::MissingData, detail: "the catalogue has no such row".into() };
        let part = event.parts.get(&modality).ok_or_else(absent)?;
        let file = self.files.open(&self.key(part))?;
        let levels = match modality {
            Modality::Lght => self.flashes(event, &file)?,
            Modality::Vil => Levels::U8(frames_first(&frames(event, part, modality, &file)?)),
            _ => Levels::I16(frames_first(&frames(event, part, modality, &file)?)),
        };
        Ok(Cube { size: modality.size(), levels })
    }

    /// The flashes of an event, which is found by its identifier, counted.
    fn flashes(&self, event: &Event, file: &Opened) -> Result<Levels, Failure> {
        let points = file.file.dataset(&event.id)?;
        if points.shape.len() != 2 || points.shape.last() != Some(&(LIGHTNING_COLUMNS as u64)) {
            let found = points.shape_text();
            let detail = format!("`{}` is {found}; expected points×{LIGHTNING_COLUMNS}", event.id);
            return Err(file.fails(RejectReason::WrongShape, detail));
        }
        let all = 0..points.length();
        if !points.is_written(&all)? {
            let detail = format!("`{}` was never written in part; expected all its points", event.id);
            return Err(file.fails(RejectReason::MissingData, detail));
        }
        let points = points.numbers(all)?;
        Ok(Levels::I16(count_lightning(&points, self.options.lightning)))
    }
}

/// The encoded frames of an event in the file's order, if the row that the catalogue names is the event's own.
fn frames(event: &Event, part: &Part, modality: Modality, file: &Opened) -> Result<Bytes, Failure> {
    let dense = file.dense(modality)?;
    let row = part.index;
    let wrong = |detail| Err(file.fails(RejectReason::Contradiction, detail));
    match dense.ids.get(row) {
        Some(id) if **id == *event.id => written(modality, file, &dense.values, row as u64),
        Some(id) => wrong(format!("row {row} is of `{id}`; expected the `{}` of the catalogue", event.id)),
        None => wrong(format!("the catalogue names row {row}; the file has {}", dense.ids.len())),
    }
}

/// The encoded frames of a row; what was never written is missing only if the file's fill value says so.
fn written(modality: Modality, file: &Opened, values: &Dataset, row: u64) -> Result<Bytes, Failure> {
    let missing = match modality {
        Modality::Vil => MISSING_LEVEL.to_le_bytes().to_vec(),
        _ => MISSING_CODE.to_le_bytes().to_vec(),
    };
    let rows = row..row + 1;
    if !values.is_written(&rows)? && values.fill()?.is_some_and(|fill| fill != missing) {
        let detail = format!(
            "row {row} of `{modality}` has places that were never written, and the fill value is not the one of missing \
             pixels; expected values at all of them, or a fill value of {}",
            if modality == Modality::Vil { i32::from(MISSING_LEVEL) } else { i32::from(MISSING_CODE) }
        );
        return Err(file.fails(RejectReason::MissingData, detail));
    }
    Ok(values.bytes(rows)?)
}

impl EventSource for Sevir {
    fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    fn read(&self, event: &Event, modality: Modality) -> Result<Cube, EventError> {
        self.read_part(event, modality).map_err(|Failure { reason, detail }| EventError {
            event: event.id.clone(),
            modality,
            reason,
            detail,
        })
    }

    fn object(&self, event: &Event, modality: Modality) -> Option<String> {
        event.parts.get(&modality).map(|part| self.key(part))
    }
}

impl fmt::Debug for Sevir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SEVIR at {}: {} events", self.files.location(), self.events.len())
    }
}
