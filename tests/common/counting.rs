//! An object store that counts the bytes and the requests of what is read from it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gustfront::storage::{ObjectMeta, ObjectStore, ObjectWriter, StorageError};

/// A store in front of another.
pub(crate) struct Counting {
    inner: Arc<dyn ObjectStore>,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Counting {
    /// Nothing counted yet.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Counting {
        Counting { inner, bytes: AtomicU64::new(0), requests: AtomicU64::new(0) }
    }

    /// Bytes that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How often something was read.
    #[allow(dead_code, reason = "not every test counts both")]
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counted {:?}", self.inner)
    }
}

impl ObjectStore for Counting {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        self.inner.list(prefix)
    }

    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list_folders(prefix)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError> {
        self.inner.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        let found = self.inner.get(key)?;
        self.count(found.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(found)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let bytes = self.inner.get_range(key, range)?;
        self.count(bytes.len() as u64);
        Ok(bytes)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.inner.put(key, bytes)
    }

    fn writer<'a>(&'a self, key: &str, expected: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError> {
        self.inner.writer(key, expected)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key)
    }
}
