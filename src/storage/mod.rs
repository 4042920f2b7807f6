//! Objects in buckets and folders: listed, read by range, put whole.

mod coalesce;
mod error;
mod file;
mod ledger;
mod location;
mod metered;
mod retry;
mod s3;
mod writer;

pub use coalesce::{coalesce, get_ranges};
pub use error::StorageError;
pub use file::FileStore;
pub use ledger::{Ledger, LedgerError};
pub use metered::Metered;
pub use retry::Retry;
pub use s3::{S3Options, S3Store};
pub use writer::{Gathered, ObjectWriter};

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use location::Location;

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectMeta {
    /// The name, relative to the store's location, with `/` between its parts.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Changes when the object's content does: the server's ETag, or size and modification time of a file.
    pub etag: String,
}

/// A bucket or a folder: everything Gustfront reads or writes goes through this.
///
/// Keys are relative to the store's location, with single slashes between their parts; a key with an empty part, `.`,
/// `..`, a backslash or a leading `.partial` is [`StorageError::Key`], and what bears such a name is never listed.
pub trait ObjectStore: Send + Sync + Debug {
    /// The store as the user named it: `s3://bucket/prefix` or a folder.
    fn location(&self) -> &str;
    /// Every object whose key begins with `prefix`, sorted by key.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError>;
    /// The names one level below `prefix` that have objects below them, each ending in `/`, sorted.
    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError>;
    /// What is known of an object; `None` where there is none.
    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError>;
    /// An object whole; `None` where there is none.
    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError>;
    /// Exactly the bytes of a range; fewer is [`StorageError::Short`].
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError>;
    /// Fills `out` with the bytes from `start` on; fewer is [`StorageError::Short`].
    fn get_range_into(&self, key: &str, start: u64, out: &mut [u8]) -> Result<(), StorageError> {
        let bytes = self.get_range(key, start..start + out.len() as u64)?;
        out.copy_from_slice(&bytes);
        Ok(())
    }
    /// Writes an object, whole or not at all; a reader sees the old or the new one.
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError>;
    /// Begins an object of about `expected` bytes that is written piece by piece, with the same promise as [`Self::put`].
    fn writer<'a>(&'a self, key: &str, expected: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError>;
    /// Removes an object; fine where there is none.
    fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// The store at `location`: `s3://bucket/prefix`, or a folder that the first put makes where it is missing.
///
/// Looks for credentials where a bucket may need them, but sends the bucket nothing yet.
pub fn open(location: &str, options: &S3Options) -> Result<Arc<dyn ObjectStore>, StorageError> {
    Ok(match location::parse(location)? {
        Location::Folder => Arc::new(FileStore::new(location)),
        Location::Bucket { .. } => Arc::new(S3Store::open(location, options, Retry::lasting(options.retry_seconds))?),
    })
}

/// The store at `location`, to be read: as [`open`], but a missing folder is [`StorageError::NoFolder`].
///
/// A missing bucket shows at the first request.
pub fn open_existing(location: &str, options: &S3Options) -> Result<Arc<dyn ObjectStore>, StorageError> {
    match location::parse(location)? {
        Location::Folder => Ok(Arc::new(FileStore::existing(location)?)),
        Location::Bucket { .. } => open(location, options),
    }
}

/// Removes what a killed process left unfinished at a location, and the folder it was in; a bucket has neither.
///
/// No other process may be writing there meanwhile.
pub fn clear_partial(location: &str) -> Result<(), StorageError> {
    match location::parse(location)? {
        Location::Folder => FileStore::new(location).clear_partial(),
        Location::Bucket { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_can_be_written_but_not_read() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new/folder");
        let folder = folder.to_str().unwrap();
        let options = S3Options::default();
        assert!(matches!(open_existing(folder, &options), Err(StorageError::NoFolder { .. })));
        let written = open(folder, &options).unwrap();
        assert!(written.list("").unwrap().is_empty());
        written.put("a/b", Bytes::from_static(b"c")).unwrap();
        assert_eq!(open_existing(folder, &options).unwrap().get("a/b").unwrap().unwrap(), "c");
        assert!(matches!(open_existing(&format!("{folder}/a/b"), &options), Err(StorageError::NoFolder { .. })));
        assert!(matches!(open("gs://bucket", &options), Err(StorageError::Location { .. })));
    }
}
