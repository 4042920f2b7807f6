//! Objects in buckets and folders: listed, read by range, put whole.

mod file;

pub use file::FileStore;

use std::fmt::Debug;
use std::ops::Range;

use bytes::Bytes;

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

/// A storage operation that failed for good.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("{location}: there is no object `{key}`")]
    NotFound {
        /// The store.
        location: String,
        /// The object.
        key: String,
    },
    /// A range was asked for that the object does not have.
    #[error("{location}: `{key}` answered {got} bytes for the range {range:?}")]
    Short {
        /// The store.
        location: String,
        /// The object.
        key: String,
        /// The bytes asked for.
        range: Range<u64>,
        /// How many came.
        got: u64,
    },
    /// The file system refused.
    #[error("{location}: cannot {action} `{key}`: {source}")]
    File {
        /// The store.
        location: String,
        /// What was being done.
        action: &'static str,
        /// The object.
        key: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A key that would leave the store.
    #[error("{location}: `{key}` is no object name: expected parts between single slashes, none of them `.` or `..`")]
    Key {
        /// The store.
        location: String,
        /// The offending name.
        key: String,
    },
}

/// A bucket or a folder: everything Gustfront reads or writes goes through this.
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
    /// Writes an object, whole or not at all; a reader sees the old or the new one.
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError>;
    /// Removes an object; fine where there is none.
    fn delete(&self, key: &str) -> Result<(), StorageError>;
}
