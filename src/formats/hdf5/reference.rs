//! The structure of a file of this machine by the reference library, and its own reading of what is stored oddly.
//!
//! The library works for one thread at a time, behind a lock of its bindings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use hdf5::datatype::Datatype;
use hdf5::types::{FixedAscii, FixedUnicode, FloatSize, IntSize, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{
    Attribute, Container, File, Group, H5Type, Hyperslab, IndexType, IterationOrder, LinkType, Location, LocationType,
    SliceOrIndex,
};
use ndarray::{ArrayD, IxDyn};

use super::chunks::Chunk;
use super::element::for_number;
use super::links::leads_out;
use super::structure::{Description, Refusal, Structure, Value};
use super::{Element, Filter, Layout};

/// Groups inside groups are followed so far: links may lead back.
const DEEPEST: usize = 16;
/// Texts of a fixed length that the library itself must read may have so many bytes.
const WIDEST: usize = 1024;

/// A file open for reading.
pub(super) struct Reference {
    file: File,
    /// What the library calls the file: objects that a link finds in another one bear another number.
    number: u64,
}

impl Reference {
    /// Opens a file without locking it.
    pub(super) fn open(path: &Path) -> Result<Reference, String> {
        let file = File::with_options().with_fapl(|access| access.file_locking(false)).open(path).map_err(told)?;
        let number = file.loc_info().map_err(told)?.fileno;
        Ok(Reference { file, number })
    }

    fn dataset(&self, name: &str) -> Result<hdf5::Dataset, String> {
        self.find(name).map_err(Refusal::reason)
    }

    fn find(&self, name: &str) -> Result<hdf5::Dataset, Refusal> {
        let dataset = self.file.dataset(name).map_err(|error| self.why_absent(name, error))?;
        self.check_place(&dataset).map(|()| dataset)
    }

    /// Refuses an object that a link found in another file, whose bytes are not at these places of this one.
    fn check_place(&self, object: &Location) -> Result<(), Refusal> {
        let place = object.loc_info().map_err(|error| Refusal::Absent(told(error)))?;
        if place.fileno == self.number { Ok(()) } else { Err(Refusal::Unsupported(leads_out(&object.filename()))) }
    }

    /// A link that leads nowhere is told from a name that is not there.
    fn why_absent(&self, name: &str, error: hdf5::Error) -> Refusal {
        let kind = self.file.find_link(IndexType::Name, IterationOrder::Native, |found, link| {
            Ok((found == name.trim_start_matches('/')).then_some(link.link_type))
        });
        match kind {
            Ok(Some(LinkType::External)) => Refusal::Unsupported(leads_out("not found")),
            Ok(Some(LinkType::Soft)) => Refusal::Absent("a soft link that leads nowhere".into()),
            _ => Refusal::Absent(told(error)),
        }
    }
}

fn told(error: hdf5::Error) -> String {
    error.to_string()
}

impl Structure for Reference {
    fn names(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        walk(&self.file, "", 0, &mut names).map_err(told)?;
        Ok(names)
    }

    fn describe(&self, name: &str) -> Result<Description, Refusal> {
        description(&self.find(name)?).map_err(Refusal::Absent)
    }

    fn chunks(&self, name: &str) -> Result<Vec<Chunk>, String> {
        let dataset = self.dataset(name)?;
        let mut chunks = Vec::new();
        let keep = |chunk: hdf5::dataset::ChunkInfoRef<'_>| {
            let (first, skipped) = (chunk.offset.to_vec(), chunk.filter_mask);
            chunks.push(Chunk { first, address: chunk.addr, size: chunk.size, skipped });
            0
        };
        dataset.chunks_visit(keep).map_err(told)?;
        Ok(chunks)
    }

    fn rows(&self, name: &str, element: &Element, rows: Range<u64>) -> Result<Vec<u8>, String> {
        let dataset = self.dataset(name)?;
        if let Element::Text(width) = element {
            return fixed_texts(&dataset, *width, rows);
        }
        for_number!(
            element,
            Type => Ok(bytemuck::cast_slice(&slice::<Type>(&dataset, rows)?).to_vec()),
            else Err(format!("elements of {element} cannot be read"))
        )
    }

    fn texts(&self, name: &str, rows: Range<u64>) -> Result<Vec<String>, String> {
        let dataset = self.dataset(name)?;
        if is_unicode(&dataset.dtype().map_err(told)?) {
            Ok(slice::<VarLenUnicode>(&dataset, rows)?.iter().map(|text| lossy(text.as_bytes())).collect())
        } else {
            Ok(slice::<VarLenAscii>(&dataset, rows)?.iter().map(|text| lossy(text.as_bytes())).collect())
        }
    }

    fn attributes(&self, name: &str) -> Result<BTreeMap<String, Value>, String> {
        let of_all = |place: &Location| -> Result<BTreeMap<String, Value>, String> {
            let names = place.attr_names().map_err(told)?;
            names.into_iter().map(|name| Ok((name.clone(), value(&place.attr(&name).map_err(told)?)?))).collect()
        };
        match self.file.dataset(name) {
            Ok(dataset) => self.check_place(&dataset).map_err(Refusal::reason).and_then(|()| of_all(&dataset)),
            Err(_) => {
                let group = self.file.group(name).map_err(told)?;
                self.check_place(&group).map_err(Refusal::reason).and_then(|()| of_all(&group))
            }
        }
    }
}

fn description(dataset: &hdf5::Dataset) -> Result<Description, String> {
    let created = dataset.create_plist().map_err(told)?;
    let (element, plain) = element(&dataset.dtype().map_err(told)?);
    let layout = match created.get_layout().map_err(told)? {
        hdf5::dataset::Layout::Compact => Layout::Compact,
        hdf5::dataset::Layout::Contiguous if !created.get_external().map_err(told)?.is_empty() => Layout::External,
        hdf5::dataset::Layout::Contiguous => {
            // Behind a user's block the library has an offset for what was never written, too.
            let offset = dataset.offset().filter(|_| dataset.storage_size() > 0);
            offset.map_or(Layout::Unwritten, |offset| Layout::Contiguous { offset })
        }
        hdf5::dataset::Layout::Chunked => {
            let shape = created.get_chunk().map_err(told)?.ok_or("chunks without a shape")?;
            Layout::Chunked { shape: shape.into_iter().map(|size| size as u64).collect() }
        }
        hdf5::dataset::Layout::Virtual => Layout::Virtual,
    };
    let shape = dataset.get_shape().map_err(told)?.into_iter().map(|size| size as u64).collect();
    let filters = created.get_filters().map_err(told)?.iter().map(filter).collect();
    Ok(Description { shape, element, layout, filters, plain })
}

fn walk(group: &Group, path: &str, depth: usize, names: &mut Vec<String>) -> hdf5::Result<()> {
    let mut groups = Vec::new();
    group.iter_visit_default(|name, link| {
        // A link that leads nowhere is no dataset; one to another file is listed, to be told when it is looked at.
        match group.loc_type_by_name(name) {
            _ if link.link_type == LinkType::External => names.push(format!("{path}{name}")),
            Ok(LocationType::Dataset) => names.push(format!("{path}{name}")),
            Ok(LocationType::Group) => groups.push(name.to_string()),
            _ => (),
        }
        Ok(())
    })?;
    for name in groups.into_iter().filter(|_| depth < DEEPEST) {
        walk(&group.group(&name)?, &format!("{path}{name}/"), depth + 1, names)?;
    }
    Ok(())
}

/// The type of element, and whether its bytes are those of this machine's numbers.
fn element(datatype: &Datatype) -> (Element, bool) {
    let other = |class: &str| Element::Other(class.to_string());
    let element = match datatype.to_descriptor() {
        Ok(TypeDescriptor::Integer(size)) => integer(size, [Element::I8, Element::I16, Element::I32, Element::I64]),
        Ok(TypeDescriptor::Unsigned(size)) => integer(size, [Element::U8, Element::U16, Element::U32, Element::U64]),
        Ok(TypeDescriptor::Float(FloatSize::U4)) => Element::F32,
        Ok(TypeDescriptor::Float(FloatSize::U8)) => Element::F64,
        Ok(TypeDescriptor::FixedAscii(width) | TypeDescriptor::FixedUnicode(width)) => Element::Text(width),
        Ok(TypeDescriptor::VarLenAscii | TypeDescriptor::VarLenUnicode) => Element::VariableText,
        Ok(TypeDescriptor::VarLenArray(_)) => other("lists"),
        Ok(TypeDescriptor::Compound(_)) => other("compounds"),
        Ok(TypeDescriptor::Enum(_) | TypeDescriptor::Boolean) => other("enumerated values"),
        Ok(TypeDescriptor::FixedArray(..)) => other("arrays"),
        Ok(TypeDescriptor::Reference(_)) => other("references"),
        _ => other("opaque values"),
    };
    let plain = for_number!(
        &element,
        Type => datatype.is::<Type>(),
        else matches!(element, Element::Text(_))
    );
    (element, plain)
}

fn integer(size: IntSize, [one, two, four, eight]: [Element; 4]) -> Element {
    match size {
        IntSize::U1 => one,
        IntSize::U2 => two,
        IntSize::U4 => four,
        IntSize::U8 => eight,
    }
}

fn filter(filter: &hdf5::filters::Filter) -> Filter {
    use hdf5::filters::Filter as Known;
    match filter {
        Known::Deflate(level) => Filter::Deflate((*level).into()),
        Known::Shuffle => Filter::Shuffle,
        Known::Fletcher32 => Filter::Fletcher32,
        Known::SZip(..) => Filter::Other(4),
        Known::NBit => Filter::Other(5),
        Known::ScaleOffset(_) => Filter::Other(6),
        Known::User(id, _) => Filter::of(u32::try_from(*id).unwrap_or(0), &[]),
    }
}

/// Some rows as the library converts them.
fn slice<T: H5Type>(dataset: &Container, rows: Range<u64>) -> Result<Vec<T>, String> {
    let shape = dataset.get_shape().map_err(told)?;
    if shape.is_empty() {
        return dataset.read_raw().map_err(told);
    }
    let size = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
    let part = |start, count| SliceOrIndex::SliceCount { start, step: 1, count, block: 1 };
    let mut parts: Vec<SliceOrIndex> = shape.iter().map(|length| part(0, *length)).collect();
    if let Some(leading) = parts.first_mut() {
        *leading = part(size(rows.start)?, size(rows.end - rows.start)?);
    }
    let values: ArrayD<T> = dataset.read_slice::<T, _, IxDyn>(Hyperslab::from(parts)).map_err(told)?;
    Ok(values.into_raw_vec_and_offset().0)
}

fn is_unicode(datatype: &Datatype) -> bool {
    matches!(datatype.to_descriptor(), Ok(TypeDescriptor::VarLenUnicode | TypeDescriptor::FixedUnicode(_)))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Texts of `width` bytes, filled up with NULs, as the library reads them.
fn fixed_texts(dataset: &Container, width: usize, rows: Range<u64>) -> Result<Vec<u8>, String> {
    let fill = |text: &[u8]| text.iter().copied().chain(std::iter::repeat(0)).take(width).collect::<Vec<u8>>();
    if width > WIDEST {
        return Err(format!(
            "texts of {width} bytes stored neither in one run nor in chunks; expected at most {WIDEST}"
        ));
    }
    if is_unicode(&dataset.dtype().map_err(told)?) {
        Ok(slice::<FixedUnicode<WIDEST>>(dataset, rows)?.iter().flat_map(|text| fill(text.as_bytes())).collect())
    } else {
        Ok(slice::<FixedAscii<WIDEST>>(dataset, rows)?.iter().flat_map(|text| fill(text.as_bytes())).collect())
    }
}

fn value(attribute: &Attribute) -> Result<Value, String> {
    let datatype = attribute.dtype().map_err(told)?;
    let texts = |texts: Vec<&[u8]>| Value::of_texts(texts.into_iter().map(lossy).collect());
    Ok(match datatype.to_descriptor() {
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_)) => {
            Value::of_numbers(attribute.read_raw::<f64>().map_err(told)?)
        }
        Ok(TypeDescriptor::FixedAscii(width)) if width <= WIDEST => {
            let found = attribute.read_raw::<FixedAscii<WIDEST>>().map_err(told)?;
            texts(found.iter().map(FixedAscii::as_bytes).collect())
        }
        Ok(TypeDescriptor::FixedUnicode(width)) if width <= WIDEST => {
            let found = attribute.read_raw::<FixedUnicode<WIDEST>>().map_err(told)?;
            texts(found.iter().map(FixedUnicode::as_bytes).collect())
        }
        Ok(TypeDescriptor::VarLenAscii) => {
            let found = attribute.read_raw::<VarLenAscii>().map_err(told)?;
            texts(found.iter().map(VarLenAscii::as_bytes).collect())
        }
        Ok(TypeDescriptor::VarLenUnicode) => {
            let found = attribute.read_raw::<VarLenUnicode>().map_err(told)?;
            texts(found.iter().map(VarLenUnicode::as_bytes).collect())
        }
        Ok(other) => Value::Other(other.to_string()),
        Err(error) => Value::Other(told(error)),
    })
}
