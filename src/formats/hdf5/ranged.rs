//! The structure of a file read by byte ranges of an object, wherever it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hdf5_pure::{AttrValue, Datatype, DatatypeByteOrder, File, FloatingPointLayout, Group};

use super::blocks::Blocks;
use super::chunks::Chunk;
use super::element::for_number;
use super::structure::{Description, Structure, Value};
use super::{Element, Filter, Layout};
use crate::storage::ObjectStore;

/// Groups inside groups are followed so far: links may lead back.
const DEEPEST: usize = 16;

/// A file open for ranged reading.
pub(super) struct Ranged {
    file: File,
}

impl Ranged {
    /// Reads the head of an object of `size` bytes.
    pub(super) fn open(objects: Arc<dyn ObjectStore>, key: &str, size: u64) -> Result<Ranged, String> {
        let file = File::from_source(Blocks::new(objects, key, size)).map_err(told)?;
        let end = file.superblock().eof_address;
        if end > size {
            return Err(format!("it ends at byte {size}, its own header says at {end}"));
        }
        Ok(Ranged { file })
    }

    fn dataset(&self, name: &str) -> Result<hdf5_pure::Dataset, String> {
        self.file.dataset(name).map_err(told)
    }
}

fn told(error: hdf5_pure::Error) -> String {
    error.to_string()
}

impl Structure for Ranged {
    fn names(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        walk(&self.file.root(), "", 0, &mut names)?;
        Ok(names)
    }

    fn describe(&self, name: &str) -> Result<Description, String> {
        let dataset = self.dataset(name)?;
        let (element, plain) = element(&dataset.datatype().map_err(told)?);
        let filters = dataset.filter_pipeline();
        Ok(Description {
            shape: dataset.shape().map_err(told)?,
            element,
            layout: layout(dataset.layout().map_err(told)?),
            filters: filters.iter().map(|filter| Filter::of(filter.id.into(), &filter.client_data)).collect(),
            plain,
        })
    }

    fn chunks(&self, name: &str) -> Result<Vec<Chunk>, String> {
        let chunks = self.dataset(name)?.chunks().map_err(told)?;
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
            _ => match self.file.dataset(name) {
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
