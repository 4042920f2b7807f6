//! A folder as an object store: written whole by renaming, read by range.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::location::{PARTIAL, check_key, check_prefix, is_key};
use super::{ObjectMeta, ObjectStore, ObjectWriter, StorageError};

static NEXT_PARTIAL: AtomicU64 = AtomicU64::new(0);

/// Objects as files below a folder.
///
/// Links to files and folders are followed; a link to a folder above itself is not entered, a dangling one is no
/// object, and neither are pipes, sockets and devices. A put survives the end of the process at any instant; it is
/// not forced to disk, so a power cut may lose it.
#[derive(Debug)]
pub struct FileStore {
    location: String,
    root: PathBuf,
}

impl FileStore {
    /// A store in `folder`, which need not exist until the first put; without it the store is empty.
    pub fn new(folder: &str) -> Self {
        FileStore { location: folder.to_string(), root: PathBuf::from(folder) }
    }

    /// A store in a folder that is there already; [`StorageError::NoFolder`] where it is not.
    pub fn existing(folder: &str) -> Result<Self, StorageError> {
        match fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => Ok(FileStore::new(folder)),
            Err(e) if !is_absence(&e) => Err(FileStore::new(folder).error("look at", "", e)),
            _ => Err(StorageError::NoFolder { location: folder.to_string() }),
        }
    }

    /// Removes what a killed run left unfinished; no other process may be writing to the folder meanwhile.
    pub fn clear_partial(&self) -> Result<(), StorageError> {
        match fs::remove_dir_all(self.root.join(PARTIAL)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.error("clear", PARTIAL, e)),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        check_key(&self.location, key).map(|()| self.root.join(key))
    }

    fn error(&self, action: &'static str, key: &str, source: io::Error) -> StorageError {
        StorageError::File { location: self.location.clone(), action, key: key.to_string(), source }
    }

    /// What lies directly below `folder` (a key) and begins with `prefix`, in no order.
    fn entries(&self, folder: &str, prefix: &str) -> Result<Vec<(String, Metadata)>, StorageError> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Err(e) if is_absence(&e) => return Ok(Vec::new()),
            other => other.map_err(|e| self.error("list", folder, e))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| self.error("list", folder, e))?;
            let Some(key) = entry.file_name().to_str().map(|name| join(folder, name)) else { continue };
            if !key.starts_with(prefix) || !is_key(&key) {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(meta) => found.push((key, meta)),
                Err(e) if is_absence(&e) || path.is_symlink() => (),
                Err(e) => return Err(self.error("look at", &key, e)),
            }
        }
        Ok(found)
    }

    /// Calls `found` with every file below `folder` that begins with `prefix`, until it answers `false`.
    ///
    /// `above` holds the device and inode of each folder on the way down: links may lead back to one.
    fn walk(
        &self,
        folder: &str,
        prefix: &str,
        above: &[(u64, u64)],
        found: &mut dyn FnMut(ObjectMeta) -> bool,
    ) -> Result<bool, StorageError> {
        for (key, meta) in self.entries(folder, prefix)? {
            let identity = (meta.dev(), meta.ino());
            let go_on = if meta.is_file() {
                found(object_meta(key, &meta))
            } else if meta.is_dir() && !above.contains(&identity) {
                self.walk(&key, prefix, &[above, &[identity]].concat(), found)?
            } else {
                true
            };
            if !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The folders from the root down to `folder`, by device and inode.
    fn identities(&self, folder: &str) -> Vec<(u64, u64)> {
        let path = self.root.join(folder);
        let inside = path.ancestors().take_while(|p| p.starts_with(&self.root));
        inside.filter_map(|p| fs::metadata(p).ok()).map(|meta| (meta.dev(), meta.ino())).collect()
    }

    /// Opens a file, and nothing but a file: opening a pipe would wait for its writer.
    fn open(&self, key: &str) -> Result<Option<(File, u64)>, StorageError> {
        let path = self.path(key)?;
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => (),
            Err(e) if !is_absence(&e) => return Err(self.error("look at", key, e)),
            _ => return Ok(None),
        }
        match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((size, file)) => Ok(Some((file, size))),
            Err(e) if is_absence(&e) => Ok(None),
            Err(e) => Err(self.error("read", key, e)),
        }
    }

    fn read(&self, key: &str, file: &File, start: u64, size: u64) -> Result<Bytes, StorageError> {
        let too_large = |_| self.error("read", key, io::Error::from(ErrorKind::OutOfMemory));
        let mut bytes = vec![0; usize::try_from(size).map_err(too_large)?];
        file.read_exact_at(&mut bytes, start).map_err(|e| self.error("read", key, e))?;
        Ok(bytes.into())
    }

    /// A file that will be the object, under a name of its own.
    fn begin(&self, key: &str) -> Result<FileWriter<'_>, StorageError> {
        let path = self.path(key)?;
        let unique = format!("{}-{}", std::process::id(), NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed));
        let partial = self.root.join(PARTIAL).join(unique);
        let made = make_folder_of(&partial).and_then(|()| File::create(&partial));
        let file = made.map_err(|e| self.error("write", key, e))?;
        Ok(FileWriter { store: self, key: key.to_string(), file, partial, path, done: false })
    }
}

/// An object on its way into a folder.
struct FileWriter<'a> {
    store: &'a FileStore,
    key: String,
    file: File,
    partial: PathBuf,
    path: PathBuf,
    done: bool,
}

impl ObjectWriter for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(bytes).map_err(|e| self.store.error("write", &self.key, e))
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        let moved = make_folder_of(&self.path).and_then(|()| fs::rename(&self.partial, &self.path));
        moved.map_err(|e| self.store.error("write", &self.key, e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for FileWriter<'_> {
    fn drop(&mut self) {
        if !self.done {
            // What made the object fail is worth telling, not this.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

impl ObjectStore for FileStore {
    fn location(&self) -> &str {
        &self.location
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let folder = check_prefix(&self.location, prefix)?;
        let mut found = Vec::new();
        let mut push = |object| {
            found.push(object);
            true
        };
        self.walk(folder, prefix, &self.identities(folder), &mut push)?;
        found.sort();
        Ok(found)
    }

    fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let folder = check_prefix(&self.location, prefix)?;
        let mut found = Vec::new();
        for (key, meta) in self.entries(folder, prefix)? {
            let above = self.identities(&key);
            let looped = above.iter().skip(1).any(|a| *a == (meta.dev(), meta.ino()));
            if meta.is_dir() && !looped && !self.walk(&key, "", &above, &mut |_| false)? {
                found.push(format!("{}/", key));
            }
        }
        found.sort();
        Ok(found)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StorageError> {
        match fs::metadata(self.path(key)?) {
            Ok(meta) if meta.is_file() => Ok(Some(object_meta(key.to_string(), &meta))),
            Err(e) if !is_absence(&e) => Err(self.error("look at", key, e)),
            _ => Ok(None),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        match self.open(key)? {
            None => Ok(None),
            Some((file, size)) => self.read(key, &file, 0, size).map(Some),
        }
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let (location, key_owned) = (self.location.clone(), key.to_string());
        let Some((file, size)) = self.open(key)? else {
            return Err(StorageError::NotFound { location, key: key_owned });
        };
        if range.start > range.end || range.end > size {
            let got = size.min(range.end).saturating_sub(range.start);
            return Err(StorageError::Short { location, key: key_owned, range, got });
        }
        self.read(key, &file, range.start, range.end - range.start)
    }

    fn get_range_into(&self, key: &str, start: u64, out: &mut [u8]) -> Result<(), StorageError> {
        let location = self.location.clone();
        let Some((file, size)) = self.open(key)? else {
            return Err(StorageError::NotFound { location, key: key.to_string() });
        };
        let range = start..start.saturating_add(out.len() as u64);
        if range.end > size {
            let got = size.saturating_sub(start);
            return Err(StorageError::Short { location, key: key.to_string(), range, got });
        }
        file.read_exact_at(out, start).map_err(|e| self.error("read", key, e))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let mut writer = self.begin(key)?;
        writer.write(&bytes)?;
        Box::new(writer).finish()
    }

    fn writer<'a>(&'a self, key: &str, _: usize) -> Result<Box<dyn ObjectWriter + 'a>, StorageError> {
        Ok(Box::new(self.begin(key)?))
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        match fs::remove_file(self.path(key)?) {
            Err(e) if !is_absence(&e) => Err(self.error("delete", key, e)),
            _ => Ok(()),
        }
    }
}

/// Whether an error says that there is no such file, a file where a folder was expected included.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

fn object_meta(key: String, meta: &Metadata) -> ObjectMeta {
    let nanoseconds = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    ObjectMeta { key, size: meta.len(), etag: format!("{}-{nanoseconds}", meta.len()) }
}
