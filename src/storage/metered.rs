//! A store whose writes are counted as those of one sink.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::telemetry::metrics;

use super::{ObjectMeta, ObjectStore, StorageError};

/// Another store, with every byte written through it counted.
#[derive(Clone, Debug)]
pub struct Metered {
    objects: Arc<dyn ObjectStore>,
    sink: Arc<str>,
}

impl Metered {
    /// What is written to `objects` through this counts as written by `sink`.
    pub fn new(objects: Arc<dyn ObjectStore>, sink: &str) -> Self {
        Metered { objects, sink: sink.into() }
    }
}

impl ObjectStore for Metered {
    fn location(&self) -> &str {
        self.objects.location()
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        self.objects.list(prefix)
    }

    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.objects.list_folders(prefix)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError> {
        self.objects.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        self.objects.get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.objects.get_range(key, range)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let length = bytes.len() as u64;
        self.objects.put(key, bytes)?;
        metrics().written_bytes.with_label_values(&[&self.sink]).inc_by(length);
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.objects.delete(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStore;

    #[test]
    fn bytes_that_were_written_are_counted_and_refused_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Metered::new(Arc::new(FileStore::new(folder.path().to_str().unwrap())), "a metered sink");
        store.put("a/b", Bytes::from_static(b"12345")).unwrap();
        assert!(store.put("a/../b", Bytes::from_static(b"123")).is_err());
        assert_eq!(metrics().written_bytes.with_label_values(&["a metered sink"]).get(), 5);
        assert_eq!(store.get("a/b").unwrap().unwrap(), "12345");
    }
}
