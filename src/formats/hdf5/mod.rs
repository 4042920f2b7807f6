//! HDF5 files in a folder or a bucket: what is in them, any rows of a dataset without the others, and writing.
//!
//! The structure of a file comes from a library: the reference library for files of this machine, a reader over byte
//! ranges for objects elsewhere. The values come from the object store itself, by the fewest ranges that hold them,
//! and are unpacked here on all cores; the reference library would do that on one.

mod blocks;
mod chunks;
mod dataset;
mod element;
mod filters;
mod kept;
mod links;
mod ranged;
mod reference;
mod structure;
mod writer;

pub use dataset::Dataset;
pub use element::{Element, Number};
pub use filters::Filter;
pub use structure::{Layout, Value};
pub use writer::{DenseWriter, Hdf5Writer, Storage};

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{ObjectStore, StorageError};
use ranged::Ranged;
use reference::Reference;
use structure::{Refusal, Structure};

/// An HDF5 file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Hdf5Error {
    /// The store failed, or the file ends before the bytes that it says it has.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The object is no HDF5 file, or one cut short or damaged.
    #[error("{file}: not a readable HDF5 file: {reason}; check that it was copied whole")]
    File {
        /// The file.
        file: String,
        /// The library's own words.
        reason: String,
    },
    /// No such dataset.
    #[error("{file}: no readable dataset `{dataset}`: {reason}")]
    NoDataset {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// The library's own words.
        reason: String,
    },
    /// A dataset in a form that is not read, or not here.
    #[error("{file}: `{dataset}` is there, but {reason}")]
    Unsupported {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// The form, and what to do.
        reason: String,
    },
    /// Rows with places that were never written, in a file that does not say by a fill value what stands there.
    #[error(
        "{file}: the rows {rows:?} of `{dataset}` have places that were never written, and the file states no fill \
         value but zero; expected values at all of them"
    )]
    Unwritten {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// The rows asked for.
        rows: Range<u64>,
    },
    /// Elements of another type than asked for.
    #[error("{file}: `{dataset}` holds {found}, expected {expected}")]
    Type {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// What it holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Rows that the dataset does not have.
    #[error("{file}: `{dataset}` has {length} rows, so not the rows {rows:?}")]
    Rows {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// The rows asked for.
        rows: Range<u64>,
        /// Its length along the leading dimension.
        length: u64,
    },
    /// Values whose bytes are damaged, or stored in a way that cannot be read here.
    #[error("{file}: `{dataset}` cannot be read: {reason}")]
    Values {
        /// The file.
        file: String,
        /// The dataset.
        dataset: String,
        /// What was found and what was expected.
        reason: String,
    },
}

/// An open HDF5 file. Cheap to clone; all clones share what is known of the structure.
#[derive(Clone)]
pub struct Hdf5File {
    opened: Arc<Opened>,
}

/// How many files were opened so far.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// The file and what knows its structure.
struct Opened {
    /// Tells it from every other that this process opens.
    number: u64,
    /// Where the file is.
    objects: Arc<dyn ObjectStore>,
    /// Its key there.
    key: String,
    /// Its length in bytes.
    size: u64,
    /// Which datasets there are and where their bytes lie.
    structure: Box<dyn Structure>,
}

impl Opened {
    /// The store and the key, as errors name the file.
    fn told(&self) -> String {
        told(&*self.objects, &self.key)
    }
}

impl Hdf5File {
    /// Opens the object `key`, without locking it: files on read-only mounts, and files that another process holds
    /// open, can be read.
    ///
    /// # Errors
    /// A missing object, a store that fails, an object that is no HDF5 file or one cut short.
    pub fn open(objects: Arc<dyn ObjectStore>, key: &str) -> Result<Hdf5File, Hdf5Error> {
        match path_of(&*objects, key) {
            Some(path) => {
                let size = size_of(&*objects, key)?;
                let reference = Reference::open(&path).map_err(|reason| no_file(&*objects, key, reason))?;
                Ok(Hdf5File::of(objects, key, size, Box::new(reference)))
            }
            None => Hdf5File::open_by_ranges(objects, key),
        }
    }

    /// Opens the object `key` reading nothing but byte ranges, as for buckets; a folder's files can be read so too.
    ///
    /// # Errors
    /// As [`Hdf5File::open`].
    pub fn open_by_ranges(objects: Arc<dyn ObjectStore>, key: &str) -> Result<Hdf5File, Hdf5Error> {
        let size = size_of(&*objects, key)?;
        let ranged = Ranged::open(objects.clone(), key, size).map_err(|reason| no_file(&*objects, key, reason))?;
        Ok(Hdf5File::of(objects, key, size, Box::new(ranged)))
    }

    fn of(objects: Arc<dyn ObjectStore>, key: &str, size: u64, structure: Box<dyn Structure>) -> Hdf5File {
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        Hdf5File { opened: Arc::new(Opened { number, objects, key: key.to_string(), size, structure }) }
    }

    /// The length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.opened.size
    }

    /// The path of every dataset, sorted; those in groups with the groups' names and slashes.
    ///
    /// Looks at the header of every object: in a bucket, a file of thousands of datasets is read nearly whole for it.
    ///
    /// # Errors
    /// A damaged structure.
    pub fn names(&self) -> Result<Vec<String>, Hdf5Error> {
        let mut names =
            self.opened.structure.names().map_err(|reason| Hdf5Error::File { file: self.opened.told(), reason })?;
        names.sort();
        Ok(names)
    }

    /// What a dataset is and where its bytes lie.
    ///
    /// # Errors
    /// No such dataset, a damaged header, a form that is not read.
    pub fn dataset(&self, name: &str) -> Result<Dataset, Hdf5Error> {
        let described = self.opened.structure.describe(name);
        let (file, dataset) = (|| self.opened.told(), name.to_string());
        let description = described.map_err(|refusal| match refusal {
            Refusal::Absent(reason) => Hdf5Error::NoDataset { file: file(), dataset, reason },
            Refusal::Unsupported(reason) => Hdf5Error::Unsupported { file: file(), dataset, reason },
        })?;
        Ok(Dataset::new(self.opened.clone(), name, description))
    }

    /// The attributes of a dataset or a group by their names; those of the file itself under the name `/`.
    ///
    /// # Errors
    /// No such object, or a damaged header.
    pub fn attributes(&self, name: &str) -> Result<BTreeMap<String, Value>, Hdf5Error> {
        let (file, dataset) = (|| self.opened.told(), name.to_string());
        let attributes = self.opened.structure.attributes(name);
        attributes.map_err(|reason| Hdf5Error::NoDataset { file: file(), dataset, reason })
    }
}

/// The object as a file of this machine, where it is one.
fn path_of(objects: &dyn ObjectStore, key: &str) -> Option<PathBuf> {
    let path = PathBuf::from(objects.location()).join(key);
    (!objects.location().contains("://") && path.is_file()).then_some(path)
}

fn size_of(objects: &dyn ObjectStore, key: &str) -> Result<u64, StorageError> {
    let absent = || StorageError::NotFound { location: objects.location().to_string(), key: key.to_string() };
    objects.head(key)?.map(|meta| meta.size).ok_or_else(absent)
}

fn told(objects: &dyn ObjectStore, key: &str) -> String {
    format!("{}/{key}", objects.location().trim_end_matches('/'))
}

fn no_file(objects: &dyn ObjectStore, key: &str, reason: String) -> Hdf5Error {
    Hdf5Error::File { file: told(objects, key), reason }
}
