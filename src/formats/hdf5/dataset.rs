//! One dataset: any of its rows by the fewest bytes that hold them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::chunks::{Chunk, Rows};
use super::element::{fixed_text, for_number};
use super::filters::known;
use super::ranged::Ranged;
use super::structure::{Description, Structure, sizes};
use super::{Element, Filter, Hdf5Error, Layout, Number, Opened};
use crate::storage::get_ranges;

/// Holes between chunks up to this many bytes are read along.
const GAP: u64 = 64 << 10;
/// Compression makes nothing this many times smaller: a header that says so is damaged …
const SMALLEST: u64 = 1100;
/// … unless it is about no more than this many bytes, all of which may be the fill value.
const HARMLESS: u64 = 1 << 28;

/// A dataset whose structure is known; reading rows touches no header again.
pub struct Dataset {
    /// Its path in the file.
    pub name: String,
    /// Elements along every dimension; none for a single value.
    pub shape: Vec<u64>,
    /// What an element is.
    pub element: Element,
    /// How the values lie in the file.
    pub layout: Layout,
    /// What was done to every chunk before it was stored, in that order.
    pub filters: Vec<Filter>,
    plain: bool,
    opened: Arc<Opened>,
    chunks: OnceLock<Vec<Chunk>>,
}

impl Dataset {
    pub(super) fn new(opened: Arc<Opened>, name: &str, description: Description) -> Dataset {
        let Description { shape, element, layout, filters, plain } = description;
        Dataset { name: name.to_string(), shape, element, layout, filters, plain, opened, chunks: OnceLock::new() }
    }

    /// Rows along the leading dimension; a single value is one row.
    pub fn length(&self) -> u64 {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The shape as `8×384×384×49`.
    pub fn shape_text(&self) -> String {
        if self.shape.is_empty() { "one value".to_string() } else { sizes(&self.shape) }
    }

    /// The values of some rows in C order; nothing but the bytes that hold them is read.
    ///
    /// # Errors
    /// Elements that are no `T`, rows beyond the end, damaged bytes, a store that fails.
    pub fn rows<T: Number>(&self, rows: Range<u64>) -> Result<Vec<T>, Hdf5Error> {
        if self.element != T::ELEMENT {
            return Err(self.wrong_type(&T::ELEMENT.to_string()));
        }
        let length = self.length_of(&rows, size_of::<T>())?;
        let stored = self.contiguous(&rows, length)?;
        let too_large = |_| self.fault(format!("no memory for {length} bytes"));
        let mut values: Vec<T> = Vec::new();
        values.try_reserve_exact(length / size_of::<T>()).map_err(too_large)?;
        values.resize(length / size_of::<T>(), T::zeroed());
        let out = bytemuck::cast_slice_mut(&mut values);
        match stored {
            Some(bytes) => out.copy_from_slice(&bytes),
            None => self.gather(rows, out)?,
        }
        Ok(values)
    }

    /// The bytes of the values of some rows, little-endian; without a copy where they lie so in the file.
    ///
    /// # Errors
    /// Elements of no fixed length, else as [`Dataset::rows`].
    pub fn bytes(&self, rows: Range<u64>) -> Result<Bytes, Hdf5Error> {
        let width = self.element.size().ok_or_else(|| self.wrong_type("numbers or texts of a fixed length"))?;
        let length = self.length_of(&rows, width)?;
        if let Some(bytes) = self.contiguous(&rows, length)? {
            return Ok(bytes);
        }
        let mut out = vec![0; length];
        self.gather(rows, &mut out)?;
        Ok(out.into())
    }

    /// The values of some rows of any type of number; whole numbers beyond 2^53 are rounded.
    ///
    /// # Errors
    /// Elements that are no numbers, else as [`Dataset::rows`].
    pub fn numbers(&self, rows: Range<u64>) -> Result<Vec<f64>, Hdf5Error> {
        for_number!(
            &self.element,
            Type => Ok(self.rows::<Type>(rows)?.into_iter().map(Number::to_f64).collect()),
            else Err(self.wrong_type("numbers"))
        )
    }

    /// The texts of some rows, without the NULs or spaces that fill up fixed lengths.
    ///
    /// # Errors
    /// Elements that are no texts, else as [`Dataset::rows`].
    pub fn texts(&self, rows: Range<u64>) -> Result<Vec<String>, Hdf5Error> {
        match self.element {
            Element::Text(width) => Ok(self.bytes(rows)?.chunks(width.max(1)).map(fixed_text).collect()),
            Element::VariableText => {
                if self.length_of(&rows, 1)? == 0 {
                    return Ok(Vec::new());
                }
                self.opened.structure.texts(&self.name, rows).map_err(|reason| self.fault(reason))
            }
            _ => Err(self.wrong_type("texts")),
        }
    }

    /// Bytes of some rows, checked against the file so that a damaged header asks for no impossible amount of memory.
    fn length_of(&self, rows: &Range<u64>, width: usize) -> Result<usize, Hdf5Error> {
        if rows.start > rows.end || rows.end > self.length() {
            let (file, dataset) = (self.opened.told(), self.name.clone());
            return Err(Hdf5Error::Rows { file, dataset, rows: rows.clone(), length: self.length() });
        }
        let sizes = self.shape.iter().skip(1).copied().chain([width as u64]);
        let length = sizes.fold(rows.end - rows.start, u64::saturating_mul);
        if length > self.opened.size.saturating_mul(SMALLEST).max(HARMLESS) {
            let size = self.opened.size;
            return Err(
                self.fault(format!("the shape {} is more than a file of {size} bytes can hold", self.shape_text()))
            );
        }
        usize::try_from(length).map_err(|_| self.fault(format!("{length} bytes do not fit this machine")))
    }

    /// The bytes of some rows, where they are one run of the file.
    fn contiguous(&self, rows: &Range<u64>, length: usize) -> Result<Option<Bytes>, Hdf5Error> {
        let Layout::Contiguous { offset } = self.layout else { return Ok(None) };
        if !self.plain || length == 0 {
            return Ok(None);
        }
        let row = length as u64 / (rows.end - rows.start).max(1);
        let start = rows.start.checked_mul(row).and_then(|at| offset.checked_add(at));
        let end = start.and_then(|start| start.checked_add(length as u64));
        let (start, end) = start.zip(end).ok_or_else(|| self.fault("its bytes lie beyond any file".into()))?;
        Ok(Some(self.opened.objects.get_range(&self.opened.key, start..end)?))
    }

    /// Fills `out` with the values of some rows that are not one run of the file.
    fn gather(&self, rows: Range<u64>, out: &mut [u8]) -> Result<(), Hdf5Error> {
        if out.is_empty() || self.fill_from_chunks(&rows, out)? {
            return Ok(());
        }
        let bytes = self.converted(rows).map_err(|reason| self.fault(reason))?;
        if bytes.len() != out.len() {
            return Err(self.fault(format!("{} bytes came, expected {}", bytes.len(), out.len())));
        }
        out.copy_from_slice(&bytes);
        Ok(())
    }

    /// The bytes of some rows as a library reads them itself; the ranged reader knows filters that the reference
    /// library has no plug-in for.
    fn converted(&self, rows: Range<u64>) -> Result<Vec<u8>, String> {
        let by_library = self.opened.structure.rows(&self.name, &self.element, rows.clone());
        let filters = || self.filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match by_library {
            Err(_) if !known(&self.filters) => {
                let Opened { objects, key, size, .. } = &*self.opened;
                let ranged = Ranged::open(objects.clone(), key, *size)?;
                let read = ranged.rows(&self.name, &self.element, rows);
                read.map_err(|reason| format!("stored by {}, which cannot be undone: {reason}", filters()))
            }
            read => read,
        }
    }

    /// As [`Dataset::gather`], where all chunks are there and their filters known; otherwise `false`.
    fn fill_from_chunks(&self, rows: &Range<u64>, out: &mut [u8]) -> Result<bool, Hdf5Error> {
        let (Layout::Chunked { shape: chunk }, Some(width)) = (&self.layout, self.element.size()) else {
            return Ok(false);
        };
        if !self.plain || !known(&self.filters) || self.shape.is_empty() {
            return Ok(false);
        }
        let chunks = self.chunks(chunk)?;
        let rows = Rows { shape: &self.shape, chunk, width, rows: rows.clone() };
        let Some(needed) = rows.needed(chunks) else { return Ok(false) };
        let ranges: Vec<Range<u64>> = needed.iter().map(Chunk::bytes).collect();
        let stored = get_ranges(&*self.opened.objects, &self.opened.key, &ranges, GAP)?;
        let unpacked = rows.unpack(&self.filters, needed, &stored).map_err(|reason| self.fault(reason))?;
        rows.gather(needed, &unpacked, out);
        Ok(true)
    }

    /// Every stored chunk in the order of their places; read once.
    fn chunks(&self, shape: &[u64]) -> Result<&[Chunk], Hdf5Error> {
        if let Some(chunks) = self.chunks.get() {
            return Ok(chunks);
        }
        if shape.len() != self.shape.len() || shape.contains(&0) {
            return Err(self.fault(format!("chunks of {} cannot make {}", sizes(shape), self.shape_text())));
        }
        let mut chunks = self.opened.structure.chunks(&self.name).map_err(|reason| self.fault(reason))?;
        chunks.sort();
        let in_place = |chunk: &Chunk| {
            let places = chunk.first.iter().zip(shape).zip(&self.shape);
            chunk.first.len() == shape.len() && places.into_iter().all(|((at, c), size)| at % c == 0 && at < size)
        };
        // Chunks beyond the end are left over from a longer dataset.
        chunks.retain(in_place);
        if chunks.windows(2).any(|pair| pair[0].first == pair[1].first) {
            return Err(self.fault("two chunks claim the same place".into()));
        }
        Ok(self.chunks.get_or_init(|| chunks))
    }

    fn wrong_type(&self, expected: &str) -> Hdf5Error {
        Hdf5Error::Type {
            file: self.opened.told(),
            dataset: self.name.clone(),
            found: self.element.to_string(),
            expected: expected.to_string(),
        }
    }

    fn fault(&self, reason: String) -> Hdf5Error {
        Hdf5Error::Values { file: self.opened.told(), dataset: self.name.clone(), reason }
    }
}
