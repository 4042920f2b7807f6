//! One dataset: any of its rows by the fewest bytes that hold them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::chunks::{Chunk, Rows};
use super::element::{fixed_text, for_number};
use super::filters::known;
use super::kept;
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

/// A chunk may be this long once unpacked: 35 events of VIL, four of visible images.
const LARGEST_CHUNK: usize = 256 << 20;
/// Stored bytes that are fetched at a time, of chunks that are not longer.
const AT_A_TIME: u64 = 32 << 20;

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
    fill: OnceLock<Option<Vec<u8>>>,
}

impl Dataset {
    pub(super) fn new(opened: Arc<Opened>, name: &str, description: Description) -> Dataset {
        let Description { shape, element, layout, filters, plain } = description;
        let (name, chunks, fill) = (name.to_string(), OnceLock::new(), OnceLock::new());
        Dataset { name, shape, element, layout, filters, plain, opened, chunks, fill }
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
                self.check_written(&rows)?;
                self.opened.structure.texts(&self.name, rows).map_err(|reason| self.fault(reason))
            }
            _ => Err(self.wrong_type("texts")),
        }
    }

    /// Whether all places of some rows were written; what was not reads as the fill value.
    ///
    /// # Errors
    /// A damaged index of the chunks.
    pub fn is_written(&self, rows: &Range<u64>) -> Result<bool, Hdf5Error> {
        match &self.layout {
            _ if rows.is_empty() || self.shape.contains(&0) => Ok(true),
            Layout::Unwritten => Ok(false),
            Layout::Chunked { shape: chunk } => {
                let chunks = self.chunks(chunk)?;
                Ok(Rows { shape: &self.shape, chunk, width: 1, rows: rows.clone() }.needed(chunks).is_some())
            }
            _ => Ok(true),
        }
    }

    /// The bytes of the element that stands where nothing was written, where the file says one.
    ///
    /// `None` where all is written, and where it is zero: files that state none have that.
    ///
    /// # Errors
    /// A damaged header.
    pub fn fill(&self) -> Result<Option<&[u8]>, Hdf5Error> {
        if let Some(known) = self.fill.get() {
            return Ok(known.as_deref());
        }
        let fill = self.read_fill()?.filter(|element| element.iter().any(|byte| *byte != 0));
        Ok(self.fill.get_or_init(|| fill).as_deref())
    }

    fn read_fill(&self) -> Result<Option<Vec<u8>>, Hdf5Error> {
        let Some(width) = self.element.size() else { return Ok(None) };
        let Some(place) = self.first_unwritten()? else { return Ok(None) };
        let row = place.first().copied().unwrap_or(0);
        self.length_of(&(row..row + 1), width)?;
        let bytes = self.converted(row..row + 1).map_err(|reason| self.fault(reason))?;
        let at = place.iter().zip(&self.shape).skip(1).fold(0, |at, (index, size)| at * size + index) as usize;
        Ok(bytes.chunks_exact(width.max(1)).nth(at).map(<[u8]>::to_vec))
    }

    /// The first place that was never written.
    fn first_unwritten(&self) -> Result<Option<Vec<u64>>, Hdf5Error> {
        match &self.layout {
            Layout::Unwritten => Ok(Some(vec![0; self.shape.len()])),
            Layout::Chunked { shape } => Ok(first_gap(self.chunks(shape)?, &self.shape, shape)),
            _ => Ok(None),
        }
    }

    /// Fails where some of the rows were never written and nothing says what stands there: zeros would be made up.
    fn check_written(&self, rows: &Range<u64>) -> Result<(), Hdf5Error> {
        if self.is_written(rows)? || self.fill()?.is_some() {
            return Ok(());
        }
        Err(Hdf5Error::Unwritten { file: self.opened.told(), dataset: self.name.clone(), rows: rows.clone() })
    }

    /// Fails where the values are not in this file, or in pieces too large to be read a few at a time.
    fn check_layout(&self) -> Result<(), Hdf5Error> {
        let reason = match &self.layout {
            Layout::External | Layout::Virtual => format!(
                "its values are {}, and a dataset is read from one file alone; write them into this one (h5py: \
                 `new[name] = old[name][()]`)",
                self.layout
            ),
            Layout::Chunked { shape } if self.is_too_large(shape) => format!(
                "each of its chunks of {} is more than the {} MB that are unpacked at a time; `h5repack -l CHUNK=…` \
                 writes smaller ones, best of one event",
                sizes(shape),
                LARGEST_CHUNK >> 20
            ),
            _ => return Ok(()),
        };
        Err(Hdf5Error::Unsupported { file: self.opened.told(), dataset: self.name.clone(), reason })
    }

    fn is_too_large(&self, chunk: &[u64]) -> bool {
        let bytes = chunk.iter().copied().fold(self.element.size().unwrap_or(1) as u64, u64::saturating_mul);
        bytes > LARGEST_CHUNK as u64
    }

    /// Bytes of some rows, checked against the file so that a damaged header asks for no impossible amount of memory.
    fn length_of(&self, rows: &Range<u64>, width: usize) -> Result<usize, Hdf5Error> {
        if rows.start > rows.end || rows.end > self.length() {
            let (file, dataset) = (self.opened.told(), self.name.clone());
            return Err(Hdf5Error::Rows { file, dataset, rows: rows.clone(), length: self.length() });
        }
        self.check_layout()?;
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
        if out.is_empty() {
            return Ok(());
        }
        self.check_written(&rows)?;
        if self.fill_from_chunks(&rows, out)? {
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
        let mut unpacked = Vec::with_capacity(needed.len());
        let mut left = needed;
        while !left.is_empty() {
            let (some, rest) = left.split_at(at_a_time(left));
            let stored = self.stored(&rows, some)?;
            unpacked.extend(rows.unpack(&self.filters, some, &stored).map_err(|reason| self.fault(reason))?);
            left = rest;
        }
        rows.gather(needed, &unpacked, out);
        Ok(true)
    }

    /// The stored bytes of some chunks; those that other rows have a part in are kept for them.
    fn stored(&self, rows: &Rows, chunks: &[Chunk]) -> Result<Vec<Bytes>, Hdf5Error> {
        let Opened { number, objects, key, .. } = &*self.opened;
        let mut stored: Vec<Option<Bytes>> = chunks.iter().map(|chunk| kept::find(*number, chunk)).collect();
        let missing = chunks.iter().zip(&mut stored).filter(|(_, stored)| stored.is_none());
        let (missing, places): (Vec<&Chunk>, Vec<&mut Option<Bytes>>) = missing.unzip();
        let ranges: Vec<Range<u64>> = missing.iter().map(|chunk| chunk.bytes()).collect();
        let fetched = get_ranges(&**objects, key, &ranges, GAP)?;
        for ((chunk, place), bytes) in missing.into_iter().zip(places).zip(fetched) {
            if rows.is_shared(chunk) {
                kept::keep(*number, chunk, &bytes);
            }
            *place = Some(bytes);
        }
        Ok(stored.into_iter().flatten().collect())
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

/// How many of some chunks are fetched together: one at least.
fn at_a_time(chunks: &[Chunk]) -> usize {
    let mut bytes = 0_u64;
    let fits = |chunk: &&Chunk| {
        bytes = bytes.saturating_add(chunk.size);
        bytes <= AT_A_TIME
    };
    chunks.iter().take_while(fits).count().max(1)
}

/// The first element of the first chunk that was never stored, of all in the order of their places.
fn first_gap(chunks: &[Chunk], shape: &[u64], chunk: &[u64]) -> Option<Vec<u64>> {
    let bands: Vec<u64> = shape.iter().zip(chunk).map(|(size, chunk)| size.div_ceil(*chunk)).collect();
    let mut place = vec![0; shape.len()];
    let first = |place: &[u64]| place.iter().zip(chunk).map(|(band, chunk)| band * chunk).collect::<Vec<u64>>();
    for stored in chunks {
        if stored.first != first(&place) {
            break;
        }
        for (band, bands) in place.iter_mut().zip(&bands).rev() {
            *band = (*band + 1) % bands;
            if *band > 0 {
                break;
            }
        }
    }
    let total = bands.iter().fold(1_u64, |total, bands| total.saturating_mul(*bands));
    ((chunks.len() as u64) < total).then(|| first(&place))
}
