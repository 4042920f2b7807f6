//! A store whose writes are counted as those of one sink.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::telemetry::metrics;

use super::{ObjectMeta, ObjectStore, ObjectWriter, StorageError};

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
        count(&self.sink, length);
        Ok(())
    }

    fn writer<'a>(&'a self, key: &str, expected: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError> {
        let inner = self.objects.writer(key, expected)?;
        Ok(Box::new(MeteredWriter { inner, sink: self.sink.clone(), length: 0 }))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.objects.delete(key)
    }
}

/// An object whose bytes count once it is there.
struct MeteredWriter<'a> {
    inner: Box<dyn ObjectWriter + 'a>,
    sink: Arc<str>,
    length: u64,
}

impl ObjectWriter for MeteredWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.length += bytes.len() as u64;
        self.inner.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.finish()?;
        count(&self.sink, self.length);
        Ok(())
    }
}

fn count(sink: &str, bytes: u64) {
    metrics().written_bytes.with_label_values(&[sink]).inc_by(bytes);
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
        let counted = || metrics().written_bytes.with_label_values(&["a metered sink"]).get();
        assert_eq!(counted(), 5);
        assert_eq!(store.get("a/b").unwrap().unwrap(), "12345");
        let mut writer = store.writer("a/c", 4).unwrap();
        ["12", "34"].iter().for_each(|piece| writer.write(piece.as_bytes()).unwrap());
        assert_eq!(counted(), 5);
        writer.finish().unwrap();
        assert_eq!((counted(), store.get("a/c").unwrap().unwrap()), (9, Bytes::from_static(b"1234")));
    }
}
