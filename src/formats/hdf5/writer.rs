//! Writes HDF5 files by the reference library, without times of creation: the same values give the same bytes.

use std::path::Path;

use hdf5::types::FixedAscii;
use hdf5::{Dataset, File, H5Type, Hyperslab, SliceOrIndex};
use ndarray::ArrayView;

use super::Number;

/// Bytes of a text attribute.
const ATTRIBUTE: usize = 128;

/// How the values of a dataset are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In one run.
    Contiguous,
    /// In chunks of this shape, by gzip at this level.
    Gzip {
        /// Elements of a chunk along every dimension.
        chunk: Vec<usize>,
        /// From 0, none, to 9.
        level: u8,
    },
}

/// A file being written; every failure is said in the library's own words.
pub struct Hdf5Writer {
    file: File,
}

/// A dataset of numbers that is written row by row.
pub struct DenseWriter {
    dataset: Dataset,
    row: Vec<usize>,
}

fn told(error: hdf5::Error) -> String {
    error.to_string()
}

impl Hdf5Writer {
    /// Makes a file, in place of any that is there.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn create(path: &Path) -> Result<Hdf5Writer, String> {
        let untimed = File::with_options().with_fcpl(|created| created.obj_track_times(false)).create(path);
        Ok(Hdf5Writer { file: untimed.map_err(told)? })
    }

    /// Makes a dataset whose rows come later.
    ///
    /// # Errors
    /// A name that is taken, chunks that do not fit the shape, a full disk.
    pub fn dense<T: Number + H5Type>(
        &self,
        name: &str,
        shape: &[usize],
        storage: &Storage,
    ) -> Result<DenseWriter, String> {
        let builder = self.file.new_dataset::<T>().obj_track_times(false);
        let builder = match storage {
            Storage::Contiguous => builder.no_chunk(),
            Storage::Gzip { chunk, level } => builder.chunk(chunk.clone()).deflate(*level),
        };
        let dataset = builder.shape(shape.to_vec()).create(name).map_err(told)?;
        Ok(DenseWriter { dataset, row: shape.get(1..).unwrap_or_default().to_vec() })
    }

    /// Writes texts of at most `WIDTH` bytes of ASCII, filled up with NULs.
    ///
    /// # Errors
    /// As [`Hdf5Writer::dense`]; a text that is longer, or not ASCII.
    pub fn texts<const WIDTH: usize>(&self, name: &str, texts: &[String]) -> Result<(), String> {
        let fixed = |text: &String| FixedAscii::<WIDTH>::from_ascii(text).map_err(|error| format!("`{text}`: {error}"));
        let texts: Vec<FixedAscii<WIDTH>> = texts.iter().map(fixed).collect::<Result<_, _>>()?;
        let builder = self.file.new_dataset_builder().obj_track_times(false).no_chunk();
        builder.with_data(&texts).create(name).map_err(told)?;
        Ok(())
    }

    /// Writes rows of `N` numbers; there may be none.
    ///
    /// # Errors
    /// As [`Hdf5Writer::dense`].
    pub fn table<const N: usize>(&self, name: &str, rows: &[[f64; N]]) -> Result<(), String> {
        let builder = self.file.new_dataset::<f64>().obj_track_times(false).no_chunk();
        let dataset = builder.shape([rows.len(), N]).create(name).map_err(told)?;
        if rows.is_empty() {
            return Ok(());
        }
        let view = ArrayView::from_shape((rows.len(), N), rows.as_flattened()).map_err(|error| error.to_string())?;
        dataset.write(view).map_err(told)
    }

    /// Sets a text of the file itself; what is longer than 128 bytes is cut.
    ///
    /// # Errors
    /// A name that is taken, a text that is not ASCII.
    pub fn attribute(&self, name: &str, text: &str) -> Result<(), String> {
        let text = text.get(..text.len().min(ATTRIBUTE)).unwrap_or_default();
        let text = FixedAscii::<ATTRIBUTE>::from_ascii(text).map_err(|error| error.to_string())?;
        let attribute = self.file.new_attr::<FixedAscii<ATTRIBUTE>>().create(name).map_err(told)?;
        attribute.write_scalar(&text).map_err(told)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// A full disk.
    pub fn close(self) -> Result<(), String> {
        self.file.flush().map_err(told)?;
        self.file.close().map_err(told)
    }
}

impl DenseWriter {
    /// Writes one row, in C order.
    ///
    /// # Errors
    /// Another number of values than a row has, another type than the dataset's, a row beyond the end, a full disk.
    pub fn row<T: Number + H5Type>(&self, row: usize, values: &[T]) -> Result<(), String> {
        let whole = |count: &usize| SliceOrIndex::SliceCount { start: 0, step: 1, count: *count, block: 1 };
        let place: Vec<SliceOrIndex> =
            [SliceOrIndex::Index(row)].into_iter().chain(self.row.iter().map(whole)).collect();
        let view = ArrayView::from_shape(self.row.clone(), values).map_err(|error| error.to_string())?;
        self.dataset.write_slice(view, Hyperslab::from(place)).map_err(told)
    }

    /// Where a chunk's bytes are in the file, and how many; once all is written.
    pub fn chunk_bytes(&self, number: usize) -> Option<(u64, u64)> {
        self.dataset.chunk_info(number).map(|chunk| (chunk.addr, chunk.size))
    }
}
