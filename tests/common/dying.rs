//! Objects that stop taking writes after some, as if the process had been killed then.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use gustfront::storage::{Gathered, ObjectMeta, ObjectStore, ObjectWriter, StorageError};

/// Takes so many puts, then fails every one.
#[derive(Debug)]
pub(crate) struct Dying {
    inner: Arc<dyn ObjectStore>,
    left: AtomicI64,
}

impl Dying {
    /// Dies after `puts` writes to `inner`.
    pub(crate) fn after(puts: i64, inner: Arc<dyn ObjectStore>) -> Dying {
        Dying { inner, left: puts.into() }
    }
}

impl ObjectStore for Dying {
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
        self.inner.get(key)
    }
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.inner.get_range(key, range)
    }
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return self.inner.put(key, bytes);
        }
        Err(StorageError::NotFound { location: self.location().to_string(), key: key.to_string() })
    }
    fn writer<'a>(&'a self, key: &str, expected: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError> {
        Ok(Box::new(Gathered::new(self, key, expected)))
    }
    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key)
    }
}
