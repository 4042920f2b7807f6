//! Files of weights in the safetensors format, as PyTorch writes and reads them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::parameters::is_whole;
use super::{NnError, Result};
use crate::tensor::{DType, Tensor};

/// Bytes before the header: its length.
const LENGTH_BYTES: usize = 8;

/// A safetensors file in memory, its header checked.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Metadata,
    /// Where the values begin.
    start: usize,
}

/// What is to be known of a tensor of a file without looking at every number.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The tensor's name.
    pub name: String,
    /// The kind of its elements as the format names it: `F32`, `BF16`, …
    pub dtype: String,
    /// Sizes in PyTorch's order.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub count: usize,
    /// What the elements are; `None` of kinds that this program does not read, such as F8.
    pub numbers: Option<Numbers>,
}

/// What is to be known of numbers. All but `missing` is of those that are not NaN, and NaN where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// How many are NaN.
    pub missing: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (of all, not unbiased).
    pub deviation: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl WeightFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, or is no safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|source| NnError::File { path: path.to_owned(), source })?;
        let format = |source| NnError::Format { path: path.to_owned(), source };
        let (length, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
        Ok(WeightFile { path: path.to_owned(), bytes, header, start: LENGTH_BYTES + length })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tensors, in the order in which they lie.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.header.offset_keys().into_iter()
    }

    /// The file's own notes.
    pub fn notes(&self) -> BTreeMap<String, String> {
        self.header.metadata().iter().flatten().map(|(key, note)| (key.clone(), note.clone())).collect()
    }

    /// The sizes of a tensor in PyTorch's order.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// The elements of a tensor in logical order; `None` where the file has none of that name.
    ///
    /// # Errors
    /// Where the elements are no numbers that networks use.
    pub fn values(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(info) = self.header.info(name) else { return Ok(None) };
        match (info.dtype, self.numbers(info)) {
            (Dtype::F64 | Dtype::F32 | Dtype::BF16 | Dtype::F16 | Dtype::I64 | Dtype::I32, Some(values)) => {
                Ok(Some(values))
            }
            (dtype, _) => Err(NnError::DType { path: self.path.clone(), name: name.to_owned(), dtype }),
        }
    }

    /// The elements of a tensor; `None` of kinds that are not read. The header's offsets lie within the file: they were
    /// checked when it was opened.
    fn numbers(&self, info: &TensorInfo) -> Option<Vec<f64>> {
        let (begin, end) = info.data_offsets;
        let raw = self.bytes.get(self.start + begin..self.start + end).unwrap_or_default();
        let (twos, fours, eights) = (raw.as_chunks().0.iter(), raw.as_chunks().0.iter(), raw.as_chunks().0.iter());
        Some(match info.dtype {
            Dtype::F64 => eights.map(|x| f64::from_le_bytes(*x)).collect(),
            Dtype::F32 => fours.map(|x| f64::from(f32::from_le_bytes(*x))).collect(),
            Dtype::BF16 => twos.map(|x| bf16::from_le_bytes(*x).to_f64()).collect(),
            Dtype::F16 => twos.map(|x| f16::from_le_bytes(*x).to_f64()).collect(),
            Dtype::I64 => eights.map(|x| i64::from_le_bytes(*x) as f64).collect(),
            Dtype::I32 => fours.map(|x| f64::from(i32::from_le_bytes(*x))).collect(),
            Dtype::BOOL | Dtype::U8 => raw.iter().map(|x| f64::from(*x)).collect(),
            Dtype::I8 => raw.iter().map(|x| f64::from(x.cast_signed())).collect(),
            Dtype::I16 => twos.map(|x| f64::from(i16::from_le_bytes(*x))).collect(),
            Dtype::U16 => twos.map(|x| f64::from(u16::from_le_bytes(*x))).collect(),
            Dtype::U32 => fours.map(|x| f64::from(u32::from_le_bytes(*x))).collect(),
            Dtype::U64 => eights.map(|x| u64::from_le_bytes(*x) as f64).collect(),
            _ => return None,
        })
    }

    /// A tensor of the file on the device and of the shape and dtype of `like`.
    pub(crate) fn tensor(&self, name: &str, like: &Tensor) -> Result<Tensor> {
        let values = self.values(name)?.unwrap_or_default();
        if is_whole(like) {
            let whole = values.into_iter().map(|x| self.whole(name, x)).collect::<Result<Vec<i32>>>()?;
            return Ok(Tensor::indices(like.device(), like.shape(), &whole)?);
        }
        let values = values.into_iter().map(|x| self.narrow(name, x, like.dtype())).collect::<Result<Vec<f32>>>()?;
        Ok(Tensor::new(like.device(), like.shape(), &values)?.to_dtype(like.dtype())?)
    }

    /// A number that a precision holds; infinite ones stay so.
    fn narrow(&self, name: &str, value: f64, dtype: DType) -> Result<f32> {
        let narrow = value as f32;
        let held = if dtype == DType::Bf16 { bf16::from_f32(narrow).to_f32() } else { narrow };
        if held.is_infinite() && value.is_finite() {
            return Err(NnError::Wide { path: self.path.clone(), name: name.to_owned(), value, dtype });
        }
        Ok(narrow)
    }

    fn whole(&self, name: &str, value: f64) -> Result<i32> {
        let whole = value as i32;
        if f64::from(whole) == value {
            return Ok(whole);
        }
        Err(NnError::Whole { path: self.path.clone(), name: name.to_owned(), value: value as i64 })
    }

    /// What is to be known of every tensor, in the order of names.
    pub fn statistics(&self) -> Vec<Statistics> {
        let infos: BTreeMap<String, &TensorInfo> = self.header.tensors().into_iter().collect();
        let statistics = |(name, info): (String, &TensorInfo)| Statistics {
            name,
            dtype: info.dtype.to_string(),
            shape: info.shape.clone(),
            count: info.shape.iter().product(),
            numbers: self.numbers(info).map(Numbers::of),
        };
        infos.into_iter().map(statistics).collect()
    }
}

impl Numbers {
    fn of(mut values: Vec<f64>) -> Self {
        let all = values.len();
        values.retain(|x| !x.is_nan());
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let extreme = |better: fn(f64, f64) -> f64| values.iter().copied().reduce(better).unwrap_or(f64::NAN);
        Numbers {
            missing: all - values.len(),
            mean,
            deviation: (squares / count).sqrt(),
            least: extreme(f64::min),
            greatest: extreme(f64::max),
        }
    }
}

/// How the elements of a tensor are stored: whole numbers as PyTorch counts.
fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::BF16,
        DType::I32 => Dtype::I64,
    }
}

/// Writes tensors and notes beside `path`, then renames: a reader sees the file before or after. The same tensors and
/// notes make the same bytes.
pub(crate) fn save(path: &Path, mut tensors: Vec<(&str, Tensor)>, notes: &BTreeMap<String, String>) -> Result<()> {
    // Wider elements come first, so that every tensor begins at a multiple of its elements' size.
    tensors.sort_by(|(a, x), (b, y)| stored(y.dtype()).cmp(&stored(x.dtype())).then(a.cmp(b)));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let failed = |source| NnError::File { path: path.to_owned(), source };
    let written = write(&partial, &tensors, notes).and_then(|()| fs::rename(&partial, path).map_err(failed));
    if written.is_err() {
        // What is left of a failed attempt is of no use; that it cannot be removed is no further news.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write(path: &Path, tensors: &[(&str, Tensor)], notes: &BTreeMap<String, String>) -> Result<()> {
    let failed = |source| NnError::File { path: path.to_owned(), source };
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    let header = header(tensors, notes);
    let length = (header.len() as u64).to_le_bytes();
    out.write_all(&length).and_then(|()| out.write_all(header.as_bytes())).map_err(failed)?;
    for (_, tensor) in tensors {
        out.write_all(&bytes(tensor)?).map_err(failed)?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Names, dtypes, shapes and places of tensors, padded with spaces to whole words.
fn header(tensors: &[(&str, Tensor)], notes: &BTreeMap<String, String>) -> String {
    let mut about = Map::new();
    if !notes.is_empty() {
        about.insert("__metadata__".to_owned(), json!(notes));
    }
    let mut begin = 0;
    for (name, tensor) in tensors {
        let dtype = stored(tensor.dtype());
        let end = begin + tensor.len() * dtype.bitsize() / 8;
        let shape = tensor.shape().sizes().to_vec();
        about.insert((*name).to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
        begin = end;
    }
    let text = Value::Object(about).to_string();
    let padded = text.len().next_multiple_of(LENGTH_BYTES);
    format!("{text:<padded$}", padded = text.chars().count() + padded - text.len())
}

/// The elements in logical order, as they are stored.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    Ok(match tensor.dtype() {
        DType::I32 => tensor.to_indices()?.into_iter().flat_map(|x| i64::from(x).to_le_bytes()).collect(),
        DType::F32 => tensor.to_vec()?.into_iter().flat_map(f32::to_le_bytes).collect(),
        DType::Bf16 => tensor.to_vec()?.into_iter().flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
    })
}
