//! A folder as an object store: written whole by renaming, read by range.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::{ObjectMeta, ObjectStore, StorageError};

/// Where files live until they are whole; never listed.
const PARTIAL: &str = ".partial";

static NEXT_PARTIAL: AtomicU64 = AtomicU64::new(0);

/// Objects as files below a folder.
#[derive(Debug)]
pub struct FileStore {
    location: String,
    root: PathBuf,
}

impl FileStore {
    /// A store in `folder`, which need not exist until the first put.
    pub fn new(folder: &str) -> Self {
        FileStore { location: folder.to_string(), root: PathBuf::from(folder) }
    }

    /// Removes what a killed run left unfinished.
    pub fn clear_partial(&self) -> Result<(), StorageError> {
        match fs::remove_dir_all(self.root.join(PARTIAL)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.error("clear", PARTIAL, e)),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\\');
        if key.split('/').any(odd) {
            return Err(StorageError::Key { location: self.location.clone(), key: key.to_string() });
        }
        Ok(self.root.join(key))
    }

    fn error(&self, action: &'static str, key: &str, source: std::io::Error) -> StorageError {
        StorageError::File { location: self.location.clone(), action, key: key.to_string(), source }
    }

    /// Calls `found` with every file and folder directly below `folder` (a key), in no order.
    fn entries(&self, folder: &str, mut found: impl FnMut(String, fs::Metadata)) -> Result<(), StorageError> {
        let path = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let entries = match fs::read_dir(&path) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            other => other.map_err(|e| self.error("list", folder, e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| self.error("list", folder, e))?;
            let Some(name) = entry.file_name().to_str().map(str::to_string) else { continue };
            match fs::metadata(entry.path()) {
                Ok(meta) if name != PARTIAL => found(join(folder, &name), meta),
                _ => (),
            }
        }
        Ok(())
    }

    fn walk(&self, folder: &str, prefix: &str, found: &mut Vec<ObjectMeta>) -> Result<(), StorageError> {
        let mut folders = Vec::new();
        self.entries(folder, |key, meta| match meta.is_dir() {
            true if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) => folders.push(key),
            false if key.starts_with(prefix) => found.push(object_meta(key, &meta)),
            _ => (),
        })?;
        folders.iter().try_for_each(|f| self.walk(f, prefix, found))
    }

    fn read(&self, key: &str, range: Option<Range<u64>>) -> std::io::Result<Vec<u8>> {
        let path = self.path(key).map_err(|e| std::io::Error::new(ErrorKind::InvalidInput, e.to_string()))?;
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        match range {
            None => file.read_to_end(&mut bytes)?,
            Some(range) => {
                file.seek(SeekFrom::Start(range.start))?;
                file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?
            }
        };
        Ok(bytes)
    }
}

impl ObjectStore for FileStore {
    fn location(&self) -> &str {
        &self.location
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut found = Vec::new();
        self.walk(folder, prefix, &mut found)?;
        found.sort();
        Ok(found)
    }

    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut found = Vec::new();
        self.entries(prefix.rsplit_once('/').map_or("", |(folder, _)| folder), |key, meta| {
            if meta.is_dir() && key.starts_with(prefix) {
                found.push(format!("{key}/"));
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError> {
        match fs::metadata(self.path(key)?) {
            Ok(meta) if meta.is_file() => Ok(Some(object_meta(key.to_string(), &meta))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(self.error("look at", key, e)),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        self.path(key)?;
        match self.read(key, None) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(self.error("read", key, e)),
        }
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.path(key)?;
        let bytes = self.read(key, Some(range.clone())).map_err(|e| match e.kind() {
            ErrorKind::NotFound => StorageError::NotFound { location: self.location.clone(), key: key.to_string() },
            _ => self.error("read", key, e),
        })?;
        let got = bytes.len() as u64;
        if got != range.end.saturating_sub(range.start) {
            return Err(StorageError::Short { location: self.location.clone(), key: key.to_string(), range, got });
        }
        Ok(bytes.into())
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(key)?;
        let unique = format!("{}-{}", std::process::id(), NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed));
        let partial = self.root.join(PARTIAL).join(unique);
        let folder_of = |path: &Path| path.parent().map(fs::create_dir_all).unwrap_or(Ok(()));
        folder_of(&partial)
            .and_then(|()| fs::write(&partial, &bytes))
            .and_then(|()| folder_of(&path))
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|e| self.error("write", key, e))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        match fs::remove_file(self.path(key)?) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.error("delete", key, e)),
            _ => Ok(()),
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

fn object_meta(key: String, meta: &fs::Metadata) -> ObjectMeta {
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    ObjectMeta { key, size: meta.len(), etag: format!("{}-{}", meta.len(), modified.as_nanos()) }
}
