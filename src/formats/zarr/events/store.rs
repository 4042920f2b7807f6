//! Writes a store of events: shard by shard, by as many writers as there are shards, then its metadata once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::super::ZarrError;
use super::super::store::{clean, name_of};
use super::spec::{EventArray, EventStoreSpec, Normalisation};
use super::{ShardWriter, catalogue, documents, reader};
use crate::domain::{FRAMES, Modality};
use crate::storage::ObjectStore;

/// Points that are missing in each frame of one modality of one event; `None` where it lacks the modality.
pub type Findings = Option<[u32; FRAMES]>;

/// A store of events that is being written.
///
/// Any number of threads and processes may write, each its own shards; one of them publishes when all are done.
#[derive(Clone, Debug)]
pub struct EventStore {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    name: String,
    spec: EventStoreSpec,
}

impl EventStore {
    /// A store below `prefix`; nothing is written yet.
    ///
    /// # Errors
    /// Where the spec describes no store.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, spec: EventStoreSpec) -> Result<EventStore, ZarrError> {
        let (prefix, name) = (clean(prefix), name_of(&*objects, prefix));
        match spec.mistake() {
            Some(reason) => Err(ZarrError::Spec { store: name, reason }),
            None => Ok(EventStore { objects, prefix, name, spec }),
        }
    }

    /// What the store holds.
    pub fn spec(&self) -> &EventStoreSpec {
        &self.spec
    }

    /// A writer for the `array`-th modality of a shard of which `expected` events have it.
    ///
    /// # Errors
    /// Where there is no such modality, or its codec cannot be had.
    pub fn writer(&self, array: usize, shard: u64, expected: usize) -> Result<ShardWriter<'_>, ZarrError> {
        let error = |reason| ZarrError::Spec { store: self.name.clone(), reason };
        let array = *self.spec.arrays.get(array).ok_or_else(|| error(format!("there is no array {array}")))?;
        let key = format!("{}{}/c/{shard}/0/0/0", self.prefix, array.modality);
        ShardWriter::new(&*self.objects, &self.name, key, array, [self.spec.group, expected], self.spec.packing)
    }

    /// Writes what was found of each event and modality of a shard, once everything else of it is there.
    ///
    /// # Errors
    /// Where the object store fails.
    pub fn conclude(&self, shard: u64, findings: &[Vec<Findings>]) -> Result<(), ZarrError> {
        documents::conclusions(&self.spec, shard, findings).into_iter().try_for_each(|object| self.put_object(object))
    }

    /// The same store with other normalisations, where there are some for its modalities.
    pub fn normalised(&self, by: &BTreeMap<Modality, Normalisation>) -> EventStore {
        let mut store = self.clone();
        for array in &mut store.spec.arrays {
            array.normalisation = by.get(&array.modality).copied().or(array.normalisation);
        }
        store
    }

    /// Writes what is known of all events, the arrays' metadata, and last the root's, which makes the store visible.
    ///
    /// # Errors
    /// Where the object store fails.
    pub fn publish(&self) -> Result<(), ZarrError> {
        let objects = catalogue::chunks(&self.spec).into_iter().map(|(key, bytes)| (key, Bytes::from(bytes)));
        objects.chain(documents::metadata(&self.spec)).try_for_each(|object| self.put_object(object))
    }

    /// The arrays as they are visible to readers; `None` where the store is not.
    ///
    /// # Errors
    /// Where the object store fails, and where something else is there.
    pub fn published(&self) -> Result<Option<Vec<EventArray>>, ZarrError> {
        Ok(reader::root(&*self.objects, &self.prefix, &self.name)?.map(|root| root.arrays))
    }

    fn put_object(&self, (key, bytes): (String, Bytes)) -> Result<(), ZarrError> {
        Ok(self.objects.put(&format!("{}{key}", self.prefix), bytes)?)
    }
}

/// The shards of which the store below `prefix` has an object of an array: a modality, [`super::PRESENT`] or
/// [`super::MISSING_POINTS`].
///
/// # Errors
/// Where the object store fails.
pub fn shards_of(objects: &dyn ObjectStore, prefix: &str, array: &str) -> Result<BTreeSet<u64>, ZarrError> {
    let folder = format!("{}{array}/c/", clean(prefix));
    let number = |key: &str| key.strip_prefix(&folder)?.split('/').next()?.parse().ok();
    Ok(objects.list(&folder)?.iter().filter_map(|object| number(&object.key)).collect())
}

/// Whether the store below `prefix` is visible to readers.
///
/// # Errors
/// Where the object store fails.
pub fn is_visible(objects: &dyn ObjectStore, prefix: &str) -> Result<bool, ZarrError> {
    Ok(objects.head(&format!("{}zarr.json", clean(prefix)))?.is_some())
}
