//! Everything that can go wrong with an object, said with its store, its key and what to do.

use std::ops::Range;

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
    /// A key that would leave the store, or that is reserved.
    #[error(
        "{location}: `{key}` is no object name: expected parts between single slashes, none of them `.` or `..`, \
         no backslash, and not `.partial` first"
    )]
    Key {
        /// The store.
        location: String,
        /// The offending name.
        key: String,
    },
    /// A location that names neither a bucket nor a folder.
    #[error("`{location}` is no storage location: {reason}; expected s3://bucket, s3://bucket/prefix or a folder")]
    Location {
        /// What was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder that should be read does not exist, or is a file.
    #[error("{location}: there is no such folder; check the path, it is read from and not created")]
    NoFolder {
        /// The folder.
        location: String,
    },
    /// An option for reaching the server that cannot be used.
    #[error("{location}: {reason}")]
    Options {
        /// The store.
        location: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// No credentials, or none that could be read.
    #[error(
        "{location}: no usable credentials: {reason}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, \
         or the option `anonymous = true` where the bucket is public"
    )]
    Credentials {
        /// The store.
        location: String,
        /// The credential chain's own words.
        reason: String,
    },
    /// The server refused, or could not be reached, for good.
    #[error("{location}: cannot {action} `{key}` ({tries} tried): {reason}; {advice}")]
    S3 {
        /// The store.
        location: String,
        /// What was being done.
        action: &'static str,
        /// The object, or the prefix of a listing.
        key: String,
        /// How often it was tried.
        tries: u32,
        /// The server's or the network's own words.
        reason: String,
        /// What to look at.
        advice: String,
    },
}

impl StorageError {
    /// Whether a server failed again and again, however long it was waited for; other objects will fare no better.
    pub fn is_outage(&self) -> bool {
        matches!(self, StorageError::S3 { tries, .. } if *tries > 1)
    }
}
