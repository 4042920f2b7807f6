//! The structure of a file read by byte ranges of an object, wherever it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hdf5_pure::{AttrValue, Datatype, DatatypeByteOrder, Error, File, FloatingPointLayout, FormatError, Group};

use super::blocks::Blocks;
use super::chunks::Chunk;
use super::element::for_number;
use super::links::{Groups, Link, leads_out};
use super::structure::{Description, Refusal, Structure, Value};
use super::{Element, Filter, Layout};
use crate::storage::ObjectStore;

/// Groups inside groups are followed so far: links may lead back.
const DEEPEST: usize = 16;
/// Soft links are followed so often: they may lead in a circle.
const FOLLOWED: usize = 16;

/// A file open for ranged reading.
pub(super) struct Ranged {
    file: File,
    blocks: Blocks,
}

impl Ranged {
    /// Reads the head of an object of `size` bytes.
    pub(super) fn open(objects: Arc<dyn ObjectStore>, key: &str, size: u64) -> Result<Ranged, String> {
        let blocks = Blocks::new(objects, key, size);
        let file = File::from_source(blocks.clone()).map_err(told)?;
        let end = file.superblock().eof_address;
        if end > size {
            return Err(format!("it ends at byte {size}, its own header says at {end}"));
        }
        Ok(Ranged { file, blocks })
    }

    fn dataset(&self, name: &str) -> Result<hdf5_pure::Dataset, String> {
        self.find(name).map_err(Refusal::reason)
    }

    /// The dataset of a name, or the one that soft links in the root lead from it to.
    fn find(&self, name: &str) -> Result<hdf5_pure::Dataset, Refusal> {
        let mut name = name.to_string();
        for _ in 0..FOLLOWED {
            let error = match self.file.dataset(&name) {
                Ok(dataset) => return Ok(dataset),
                Err(error) => error,
            };
            match self.link(&name, &error) {
                Some(Link::Soft(target)) => name = target.trim_start_matches('/').to_string(),
                Some(Link::External(file)) => return Err(Refusal::Unsupported(leads_out(&file))),
                None => return Err(refusal(error)),
            }
        }
        Err(Refusal::Absent("its soft links lead in a circle".into()))
    }

    /// The link in the root that the reader could not follow.
    fn link(&self, name: &str, error: &Error) -> Option<Link> {
        // It sees the soft links of symbol tables, as objects beyond the end, and no others.
        let is_in_table = !matches!(error, Error::Format(FormatError::PathNotFound(_)));
        let root = self.file.superblock().root_group_address;
        self.groups()?.find(root, name.trim_start_matches('/'), is_in_table)
    }

    /// The groups of a file whose places are numbers of eight bytes, as in all but the oldest and smallest files.
    fn groups(&self) -> Option<Groups<'_>> {
        let head = self.file.superblock();
        let is_known = (head.offset_size, head.length_size) == (8, 8);
        is_known.then(|| Groups { blocks: &self.blocks, base: head.base_address.get() })
    }

    /// As [`Structure::names`], of a root whose table has soft links, which the reader does not get over.
    fn names_beside_links(&self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for name in self.groups()?.names(self.file.superblock().root_group_address)? {
            if self.find(&name).is_ok() {
                names.push(name);
            } else if let Ok(group) = self.file.group(&name) {
                walk(&group, &format!("{name}/"), 1, &mut names).ok()?;
            }
        }
        Some(names)
    }

    /// How the values of a dataset lie; those in other files have the layout of what was never written.
    fn layout(dataset: &hdf5_pure::Dataset) -> Result<Layout, Error> {
        let layout = layout(dataset.layout()?);
        let is_external = |error| matches!(error, Error::Format(FormatError::UnsupportedExternalStorage));
        let is_elsewhere = layout == Layout::Unwritten && dataset.read_raw_rows(0, 0).is_err_and(is_external);
        Ok(if is_elsewhere { Layout::External } else { layout })
    }
}

fn told(error: Error) -> String {
    error.to_string()
}

/// What is newer than this reader is not damaged: it says what can be done.
fn refusal(error: Error) -> Refusal {
    use FormatError as Format;
    match error {
        Error::Format(Format::InvalidLayoutVersion(version @ 5..)) => Refusal::Unsupported(format!(
            "in the data layout version {version}, of HDF5 2.0, which is read from a folder, not from a bucket; \
             `h5repack FILE NEW` (of HDF5 2.0 or newer) writes it in an older one"
        )),
        Error::Format(
            Format::UnsupportedMessage(_)
            | Format::UnsupportedFilteredHeapObject
            | Format::UnsupportedSohmReference
            | Format::UnresolvedSharedMessage(_),
        ) => Refusal::Unsupported(format!(
            "in a form that is read from a folder, not from a bucket ({error}); `h5repack FILE NEW` may write a simpler one"
        )),
        _ => Refusal::Absent(told(error)),
    }
}

impl Structure for Ranged {
    fn names(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        match walk(&self.file.root(), "", 0, &mut names) {
            Ok(()) => Ok(names),
            Err(reason) => self.names_beside_links().ok_or(reason),
        }
    }

    fn describe(&self, name: &str) -> Result<Description, Refusal> {
        let dataset = self.find(name)?;
        let (element, plain) = element(&dataset.datatype().map_err(refusal)?);
        let filters = dataset.filter_pipeline();
        Ok(Description {
            shape: dataset.shape().map_err(refusal)?,
            element,
            layout: Ranged::layout(&dataset).map_err(refusal)?,
            filters: filters.iter().map(|filter| Filter::of(filter.id.into(), &filter.client_data)).collect(),
            plain,
        })
    }

    fn chunks(&self, name: &str) -> Result<Vec<Chunk>, String> {
        let chunks = self.dataset(name)?.chunks().map_err(|error| match told(error) {
            reason if reason.contains("version 2 B-tree") => format!(
                "{reason} in a bucket, only in a folder; `h5repack FILE NEW` (without `--low`) writes an index that can"
            ),
            reason => reason,
        })?;
        let place = |chunk: hdf5_pure::Chunk| Chunk {
            first: chunk.offset,
            address: chunk.address,
            size: chunk.storage_size,
            skipped: chunk.filter_mask,
        };
        Ok(chunks.into_iter().map(place).collect())
    }

    fn rows(&self, name: &str, element: &Element, rows: Range<u64>) -> Result<Vec<u8>, String> {
        let dataset = self.dataset(name)?;
        let count = rows.end - rows.start;
        if let Element::Text(_) = element {
            return dataset.read_raw_rows(rows.start, count).map_err(told);
        }
        for_number!(
            element,
            Type => Type::read(&dataset, rows.start, count).map(|values| bytemuck::cast_slice(&values).to_vec()),
            else Err(format!("elements of {element} cannot be read"))
        )
    }

    fn texts(&self, name: &str, rows: Range<u64>) -> Result<Vec<String>, String> {
        self.dataset(name)?.read_string_rows(rows.start, rows.end - rows.start).map_err(told)
    }

    fn attributes(&self, name: &str) -> Result<BTreeMap<String, Value>, String> {
        let attributes = match name {
            "/" => self.file.root().attrs(),
            _ => match self.find(name) {
                Ok(dataset) => dataset.attrs(),
                Err(_) => self.file.group(name).and_then(|group| group.attrs()),
            },
        };
        Ok(attributes.map_err(told)?.into_iter().map(|(name, found)| (name, value(found))).collect())
    }
}

fn walk(group: &Group, path: &str, depth: usize, names: &mut Vec<String>) -> Result<(), String> {
    names.extend(group.datasets().map_err(told)?.into_iter().map(|name| format!("{path}{name}")));
    if depth == DEEPEST {
        return Ok(());
    }
    for name in group.groups().map_err(told)? {
        walk(&group.group(&name).map_err(told)?, &format!("{path}{name}/"), depth + 1, names)?;
    }
    Ok(())
}

fn layout(layout: hdf5_pure::Layout) -> Layout {
    match layout {
        hdf5_pure::Layout::Contiguous { address: Some(offset), .. } => Layout::Contiguous { offset },
        hdf5_pure::Layout::Contiguous { address: None, .. } => Layout::Unwritten,
        hdf5_pure::Layout::Chunked { chunk_shape, .. } => Layout::Chunked { shape: chunk_shape },
        hdf5_pure::Layout::Compact { .. } => Layout::Compact,
        _ => Layout::Virtual,
    }
}

/// The type of element, and whether its bytes are those of this machine's numbers.
fn element(datatype: &Datatype) -> (Element, bool) {
    let other = |class: &str| (Element::Other(class.to_string()), false);
    match datatype {
        Datatype::FixedPoint { size, byte_order, layout } => {
            let element = match (size, layout.signed) {
                (1, true) => Element::I8,
                (2, true) => Element::I16,
                (4, true) => Element::I32,
                (8, true) => Element::I64,
                (1, false) => Element::U8,
                (2, false) => Element::U16,
                (4, false) => Element::U32,
                (8, false) => Element::U64,
                _ => return other("integers of a width not known here"),
            };
            let whole = layout.bit_offset == 0 && u32::from(layout.bit_precision) == size * 8;
            (element, whole && (*size == 1 || *byte_order == DatatypeByteOrder::LittleEndian))
        }
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let (element, ieee) = match size {
                4 => (Element::F32, FloatingPointLayout::IEEE754_BINARY32),
                8 => (Element::F64, FloatingPointLayout::IEEE754_BINARY64),
                _ => return other("floating point of a width not known here"),
            };
            (element, *layout == ieee && *byte_order == DatatypeByteOrder::LittleEndian)
        }
        Datatype::String { size, .. } => (Element::Text(*size as usize), true),
        Datatype::VariableLength { is_string: true, .. } => (Element::VariableText, false),
        Datatype::VariableLength { .. } => other("lists"),
        Datatype::Compound { .. } => other("compounds"),
        Datatype::Enumeration { .. } => other("enumerated values"),
        Datatype::Array { .. } => other("arrays"),
        Datatype::Reference { .. } => other("references"),
        _ => other("opaque values"),
    }
}

/// Numbers that the reader converts from whatever the file has.
trait Convert: super::Number {
    /// Some rows.
    fn read(dataset: &hdf5_pure::Dataset, start: u64, count: u64) -> Result<Vec<Self>, String>;
}

/// Names the reader's method for each type.
macro_rules! convert {
    ($($type:ty: $method:ident),*) => {
        $(impl Convert for $type {
            fn read(dataset: &hdf5_pure::Dataset, start: u64, count: u64) -> Result<Vec<Self>, String> {
                dataset.$method(start, count).map_err(told)
            }
        })*
    };
}

convert!(
    i8: read_i8_rows, i16: read_i16_rows, i32: read_i32_rows, i64: read_i64_rows, u8: read_u8_rows,
    u16: read_u16_rows, u32: read_u32_rows, u64: read_u64_rows, f32: read_f32_rows, f64: read_f64_rows
);

fn value(found: AttrValue) -> Value {
    fn many<T: super::Number>(numbers: &[T]) -> Value {
        Value::of_numbers(numbers.iter().map(|number| number.to_f64()).collect())
    }
    match found {
        AttrValue::F32(n) => Value::Number(n.into()),
        AttrValue::F64(n) => Value::Number(n),
        AttrValue::I8(n) => Value::Number(n.into()),
        AttrValue::I16(n) => Value::Number(n.into()),
        AttrValue::I32(n) => Value::Number(n.into()),
        AttrValue::I64(n) => Value::Number(n as f64),
        AttrValue::U8(n) => Value::Number(n.into()),
        AttrValue::U16(n) => Value::Number(n.into()),
        AttrValue::U32(n) => Value::Number(n.into()),
        AttrValue::U64(n) => Value::Number(n as f64),
        AttrValue::F32Array(n) => many(&n),
        AttrValue::F64Array(n) => many(&n),
        AttrValue::I8Array(n) => many(&n),
        AttrValue::I16Array(n) => many(&n),
        AttrValue::I32Array(n) => many(&n),
        AttrValue::I64Array(n) => many(&n),
        AttrValue::U8Array(n) => many(&n),
        AttrValue::U16Array(n) => many(&n),
        AttrValue::U32Array(n) => many(&n),
        AttrValue::U64Array(n) => many(&n),
        other => match other.as_strings() {
            Some(texts) => Value::of_texts(texts.to_vec()),
            None => Value::Other(format!("{other:?}")),
        },
    }
}
