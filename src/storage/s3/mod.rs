//! A bucket as an object store, through the AWS client: paged listings, verified ranges, bounded retries.

mod client;
mod failure;

use std::fmt::{self, Debug};
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use super::location::{Location, check_key, check_prefix, is_key, parse};
use super::{Gathered, ObjectMeta, ObjectStore, ObjectWriter, Retry, StorageError};
use failure::{Cause, Kind};

pub use client::S3Options;

/// Threads that move bytes for every bucket; the threads that ask wait outside.
const RUNTIME_THREADS: usize = 2;

/// More bytes than an object can have, and still a number that servers read.
const BEYOND_ANY_OBJECT: u64 = i64::MAX as u64;

static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();

/// A bucket, or what lies below a prefix of it. Its methods wait: call them from plain threads, not from async code.
pub struct S3Store {
    location: String,
    bucket: String,
    /// Empty, or with its closing slash.
    prefix: String,
    client: Client,
    anonymous: bool,
    retry: Retry,
    /// Whether the server has ever answered: until then it may not exist.
    answered: AtomicBool,
}

impl Debug for S3Store {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "S3Store({}{})", self.location, if self.anonymous { ", anonymous" } else { "" })
    }
}

impl S3Store {
    /// The store at `s3://bucket/prefix`. Looks for credentials unless told not to; sends the bucket nothing yet.
    pub fn open(location: &str, options: &S3Options, retry: Retry) -> Result<S3Store, StorageError> {
        let Location::Bucket { name, prefix } = parse(location)? else {
            let reason = "it is a folder".to_string();
            return Err(StorageError::Location { location: location.to_string(), reason });
        };
        let (client, anonymous) = runtime(location)?.block_on(client::connect(location, &name, options, &retry))?;
        let location = location.to_string();
        Ok(S3Store { location, bucket: name, prefix, client, anonymous, retry, answered: AtomicBool::new(false) })
    }

    /// The name in the bucket.
    fn name(&self, key: &str) -> Result<String, StorageError> {
        check_key(&self.location, key).map(|()| format!("{}{key}", self.prefix))
    }

    /// Runs a request until it succeeds, fails for good, or has been tried enough.
    fn run<T>(
        &self,
        action: &'static str,
        key: &str,
        request: impl AsyncFn() -> Result<T, Cause>,
    ) -> Result<T, StorageError> {
        let runtime = runtime(&self.location)?;
        let answer = self.retry.run(&self.location, || {
            let answer = runtime.block_on(request());
            let spoke = !matches!(&answer, Err(cause) if cause.kind == Kind::Unreachable);
            self.answered.fetch_or(spoke, Ordering::Relaxed);
            answer.map_err(|cause| cause.worth(self.answered.load(Ordering::Relaxed)))
        });
        answer.map_err(|(cause, tries)| self.error(action, key, cause, tries))
    }

    fn error(&self, action: &'static str, key: &str, cause: Cause, tries: u32) -> StorageError {
        let (location, key) = (self.location.clone(), key.to_string());
        match cause.kind {
            Kind::Missing => StorageError::NotFound { location, key },
            _ => {
                let advice = cause.advice(self.anonymous);
                StorageError::S3 { location, action, key, tries, reason: cause.to_string(), advice }
            }
        }
    }

    fn short(&self, key: &str, range: Range<u64>, got: u64) -> StorageError {
        StorageError::Short { location: self.location.clone(), key: key.to_string(), range, got }
    }

    /// Hands every page of a listing to `each`.
    fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        mut each: impl FnMut(ListObjectsV2Output),
    ) -> Result<(), StorageError> {
        check_prefix(&self.location, prefix)?;
        let mut token: Option<String> = None;
        loop {
            let page = self.run("list", prefix, async || {
                let full = format!("{}{prefix}", self.prefix);
                let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(full);
                let request = request.set_delimiter(delimiter.map(str::to_string));
                let page = request.set_continuation_token(token.clone()).send().await.map_err(Cause::of)?;
                let endless = page.is_truncated() == Some(true)
                    && (page.next_continuation_token().is_none() || page.next_continuation_token == token);
                match endless {
                    true => Err(Cause::strange(Kind::Lasting, "the listing says that it goes on, but not where")),
                    false => Ok(page),
                }
            })?;
            token = page.next_continuation_token().map(str::to_string);
            let done = page.is_truncated() != Some(true);
            each(page);
            if done {
                return Ok(());
            }
        }
    }

    /// A range that asks for at least one byte: the bytes, or how many there are where that is another number.
    fn get_bytes(&self, key: &str, range: &Range<u64>) -> Result<Result<Bytes, u64>, StorageError> {
        let name = self.name(key)?;
        if range.start >= BEYOND_ANY_OBJECT {
            return Ok(Err(0));
        }
        let last = range.end.min(BEYOND_ANY_OBJECT) - 1;
        let read = self.run("read", key, async || {
            let bytes = format!("bytes={}-{last}", range.start);
            let request = self.client.get_object().bucket(&self.bucket).key(&name).range(bytes);
            match request.send().await.map_err(Cause::of) {
                Err(cause) if cause.is_range_refused() => Ok(Err(0)),
                Err(cause) => Err(cause),
                Ok(answer) => match misfit(&answer, range) {
                    Some(got) => Ok(Err(got)),
                    None => whole(answer).await.map(Ok),
                },
            }
        })?;
        Ok(read.and_then(|bytes| match bytes.len() as u64 == range.end - range.start {
            true => Ok(bytes),
            false => Err(bytes.len() as u64),
        }))
    }
}

impl ObjectStore for S3Store {
    fn location(&self) -> &str {
        &self.location
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let mut found = Vec::new();
        self.pages(prefix, None, |page| {
            for object in page.contents.unwrap_or_default() {
                let key = object.key.as_deref().and_then(|key| key.strip_prefix(&self.prefix));
                let Some(key) = key.filter(|key| is_key(key)) else { continue };
                found.push(object_meta(key, object.size, object.e_tag.as_deref(), object.last_modified));
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut found = Vec::new();
        self.pages(prefix, Some("/"), |page| {
            for folder in page.common_prefixes.unwrap_or_default() {
                let folder = folder.prefix.as_deref().and_then(|name| name.strip_prefix(&self.prefix));
                let key = folder.filter(|folder| folder.strip_suffix('/').is_some_and(is_key));
                found.extend(key.map(str::to_string));
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError> {
        let name = self.name(key)?;
        let answer = self.run("look at", key, async || {
            self.client.head_object().bucket(&self.bucket).key(&name).send().await.map_err(Cause::of)
        });
        let answer = present(answer)?;
        Ok(answer.map(|a| object_meta(key, a.content_length, a.e_tag.as_deref(), a.last_modified)))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        let name = self.name(key)?;
        present(self.run("read", key, async || {
            let request = self.client.get_object().bucket(&self.bucket).key(&name);
            whole(request.send().await.map_err(Cause::of)?).await
        }))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.start < range.end {
            return self.get_bytes(key, &range)?.map_err(|got| self.short(key, range, got));
        }
        // HTTP has no empty range; the object's length decides.
        let missing = || StorageError::NotFound { location: self.location.clone(), key: key.to_string() };
        let size = self.head(key)?.ok_or_else(missing)?.size;
        match range.start == range.end && range.end <= size {
            true => Ok(Bytes::new()),
            false => Err(self.short(key, range, 0)),
        }
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let name = self.name(key)?;
        self.run("write", key, async || {
            let request = self.client.put_object().bucket(&self.bucket).key(&name);
            request.body(ByteStream::from(bytes.clone())).send().await.map(drop).map_err(Cause::of)
        })
    }

    fn writer<'a>(&'a self, key: &str, expected: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError> {
        Ok(Box::new(Gathered::new(self, key, expected)))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let name = self.name(key)?;
        let answer = self.run("delete", key, async || {
            let request = self.client.delete_object().bucket(&self.bucket).key(&name);
            request.send().await.map(drop).map_err(Cause::of)
        });
        present(answer).map(drop)
    }
}

/// The runtime that every bucket shares, started with the first.
fn runtime(location: &str) -> Result<&'static Runtime, StorageError> {
    let start =
        || Builder::new_multi_thread().worker_threads(RUNTIME_THREADS).thread_name("storage").enable_all().build();
    RUNTIME.get_or_init(start).as_ref().map_err(|e| StorageError::Options {
        location: location.to_string(),
        reason: format!("the threads for network storage cannot be started: {e}"),
    })
}

/// A missing object as `None`.
fn present<T>(answer: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match answer {
        Err(StorageError::NotFound { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// How many bytes an answer announces where they are not exactly those of `range`.
fn misfit(answer: &GetObjectOutput, range: &Range<u64>) -> Option<u64> {
    let got = answer.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    let placed = match answer.content_range.as_deref() {
        Some(place) => place.starts_with(&format!("bytes {}-", range.start)),
        None => range.start == 0,
    };
    (got != range.end - range.start || !placed).then_some(got)
}

/// The body to its announced end.
async fn whole(answer: GetObjectOutput) -> Result<Bytes, Cause> {
    let announced = answer.content_length.and_then(|length| u64::try_from(length).ok());
    let bytes = answer.body.collect().await.map_err(Cause::cut)?.into_bytes();
    match announced {
        Some(length) if length != bytes.len() as u64 => {
            Err(Cause::strange(Kind::Passing, &format!("{} of {length} bytes came", bytes.len())))
        }
        _ => Ok(bytes),
    }
}

fn object_meta(key: &str, size: Option<i64>, etag: Option<&str>, modified: Option<DateTime>) -> ObjectMeta {
    let size = size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    let etag = match etag {
        Some(etag) => etag.trim_matches('"').to_string(),
        None => format!("{size}-{}", modified.map_or(0, |time| time.secs())),
    };
    ObjectMeta { key: key.to_string(), size, etag }
}
