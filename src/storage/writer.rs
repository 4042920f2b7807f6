//! Objects that are written piece by piece and appear whole.

use bytes::Bytes;

use super::{ObjectStore, StorageError};

/// An object that is being written; it appears, whole, when it is finished, and never where it is dropped before.
pub trait ObjectWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// Where they cannot be kept; nothing of the object appears then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;
    /// Makes the object appear in place of what may be there.
    ///
    /// # Errors
    /// Where the store does not take it.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// The pieces in memory, for stores that take objects whole.
pub struct Gathered<'a> {
    objects: &'a dyn ObjectStore,
    key: String,
    bytes: Vec<u8>,
}

impl<'a> Gathered<'a> {
    /// An object of about `expected` bytes; nothing of it is there yet.
    pub fn new(objects: &'a dyn ObjectStore, key: &str, expected: usize) -> Self {
        Gathered { objects, key: key.to_string(), bytes: Vec::with_capacity(expected) }
    }
}

impl ObjectWriter for Gathered<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.objects.put(&self.key, Bytes::from(self.bytes))
    }
}
