//! HDF5 files that are opened once and kept, a bounded number of them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::domain::{FRAMES, Modality};
use crate::formats::hdf5::{Dataset, Element, Hdf5Error, Hdf5File};
use crate::sources::RejectReason;
use crate::storage::{ObjectStore, StorageError};

/// Files kept open: those of all modalities around one time, of storms and of random places, twice over.
const OPEN_FILES: usize = 24;
/// Where a dense file says which event a row is of.
const IDS: &str = "id";

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: RejectReason,
    pub(super) detail: String,
}

impl From<Hdf5Error> for Failure {
    fn from(error: Hdf5Error) -> Self {
        let reason = match &error {
            Hdf5Error::Storage(StorageError::NotFound { .. })
            | Hdf5Error::NoDataset { .. }
            | Hdf5Error::Unwritten { .. } => RejectReason::MissingData,
            Hdf5Error::Storage(StorageError::Short { .. }) => RejectReason::Unreadable,
            Hdf5Error::Storage(_) => RejectReason::FetchFailed,
            Hdf5Error::File { .. } | Hdf5Error::Values { .. } => RejectReason::Unreadable,
            Hdf5Error::Unsupported { .. } => RejectReason::Unsupported,
            Hdf5Error::Type { .. } | Hdf5Error::Rows { .. } => RejectReason::WrongShape,
        };
        Failure { reason, detail: error.to_string() }
    }
}

/// A file whose structure is known.
pub(super) struct Opened {
    key: String,
    pub(super) file: Hdf5File,
    dense: OnceLock<Result<Dense, Failure>>,
}

/// The dataset of a file that has a row an event.
pub(super) struct Dense {
    pub(super) values: Dataset,
    /// The identifiers of the rows, without what they are padded with.
    pub(super) ids: Vec<Box<str>>,
}

impl Opened {
    /// A failure of this file.
    pub(super) fn fails(&self, reason: RejectReason, detail: String) -> Failure {
        Failure { reason, detail: format!("{}: {detail}", self.key) }
    }

    /// The dataset of a modality and its identifiers; a file holds one modality.
    ///
    /// Read at the first call, whose failure is remembered unless it may pass. Fails where they are missing, or of
    /// another shape or type than SEVIR's.
    pub(super) fn dense(&self, modality: Modality) -> Result<&Dense, Failure> {
        if let Some(known) = self.dense.get() {
            return known.as_ref().map_err(Clone::clone);
        }
        match dense(&self.key, &self.file, modality) {
            Err(failure) if failure.reason == RejectReason::FetchFailed => Err(failure),
            read => self.dense.get_or_init(|| read).as_ref().map_err(Clone::clone),
        }
    }
}

/// The dataset of a modality and its identifiers, where shape and type are SEVIR's.
fn dense(key: &str, file: &Hdf5File, modality: Modality) -> Result<Dense, Failure> {
    let values = file.dataset(modality.label())?;
    let wrong = |detail| Err(Failure { reason: RejectReason::WrongShape, detail: format!("{key}: {detail}") });
    let (size, frames) = (modality.size() as u64, FRAMES as u64);
    let events = match values.shape[..] {
        [events, height, width, times] if (height, width, times) == (size, size, frames) => events,
        _ => {
            let found = values.shape_text();
            return wrong(format!("`{modality}` is {found}; expected events×{size}×{size}×{frames}"));
        }
    };
    let expected = if modality == Modality::Vil { Element::U8 } else { Element::I16 };
    if values.element != expected {
        return wrong(format!("`{modality}` holds {}; expected {expected}", values.element));
    }
    let ids = file.dataset(IDS)?;
    if ids.length() != events {
        return wrong(format!("`{IDS}` has {} entries for {events} rows of `{modality}`", ids.length()));
    }
    let texts = ids.texts(0..events)?;
    let plain = |text: String| text.trim_matches(['\0', ' ']).into();
    Ok(Dense { values, ids: texts.into_iter().map(plain).collect() })
}

/// Why a run would set aside every event of a file that has a modality of images or radar; `None` where it would not.
/// `name` is for messages.
pub fn refusal(name: &str, file: &Hdf5File, modality: Modality) -> Option<String> {
    dense(name, file, modality).err().map(|failure| failure.detail)
}

/// A file that is being opened by one thread and waited for by others; empty where a try failed that may yet succeed.
type Slot = Arc<Mutex<Option<Result<Arc<Opened>, Failure>>>>;

/// The files of a store, by key.
pub(super) struct Files {
    objects: Arc<dyn ObjectStore>,
    /// In order of use, the latest last.
    slots: Mutex<Vec<(String, Slot)>>,
}

impl Files {
    pub(super) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Files { objects, slots: Mutex::default() }
    }

    /// The store.
    pub(super) fn location(&self) -> &str {
        self.objects.location()
    }

    /// A file, opened at the first call and after it was put away for others.
    ///
    /// What is wrong with a file is remembered too, except that it could not be fetched.
    pub(super) fn open(&self, key: &str) -> Result<Arc<Opened>, Failure> {
        let slot = self.slot(key);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*slot {
            return known.clone();
        }
        let opened = Hdf5File::open(self.objects.clone(), key)
            .map(|file| Arc::new(Opened { key: key.into(), file, dense: OnceLock::new() }))
            .map_err(Failure::from);
        if !opened.as_ref().is_err_and(|failure| failure.reason == RejectReason::FetchFailed) {
            *slot = Some(opened.clone());
        }
        opened
    }

    /// The slot of a key, as the latest used; the one not used for longest goes where there are too many.
    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|(name, _)| name == key);
        let entry = known.map_or_else(|| (key.to_string(), Slot::default()), |at| slots.remove(at));
        let slot = entry.1.clone();
        if slots.len() >= OPEN_FILES {
            slots.remove(0);
        }
        slots.push(entry);
        slot
    }
}
