//! Files of weights in the safetensors format, as PyTorch writes and reads them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::header::{self, LENGTH_BYTES};
use super::parameters::is_whole;
use super::statistics::{self, First, Number, Statistics};
use super::{NnError, Result};
use crate::tensor::{DType, Tensor};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A safetensors file whose header is checked; numbers are read when they are asked for.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the values begin.
    start: u64,
}

impl WeightFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Where it cannot be read, is no safetensors file, or was cut short.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| NnError::File { path: path.to_owned(), source })?;
        let (header, start) = header::read(path, &file)?;
        Ok(WeightFile { path: path.to_owned(), file, header, start })
    }

    /// Whether a file that begins so is to be opened as one: of this format, or one of PyTorch's own, of which
    /// [`WeightFile::open`] says what to do. Nine bytes are enough.
    pub fn is_one(begin: &[u8]) -> bool {
        header::begins(begin) || header::pickle(begin).is_some()
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
    /// Where the elements are no numbers that networks use, or cannot be read.
    pub fn values(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(info) = self.header.info(name) else { return Ok(None) };
        let dtype = info.dtype;
        if !matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::BF16 | Dtype::F16 | Dtype::I64 | Dtype::I32) {
            return Err(NnError::DType { path: self.path.clone(), name: name.to_owned(), dtype });
        }
        let mut values = Vec::with_capacity(info.shape.iter().product());
        self.each(info, |number| values.push(number.real()))?;
        Ok(Some(values))
    }

    /// Hands out the elements of a tensor; `false` of kinds that are not read. The header's offsets lie within the file:
    /// they were checked when it was opened.
    fn each(&self, info: &TensorInfo, mut take: impl FnMut(Number)) -> Result<bool> {
        let (mut at, end) = info.data_offsets;
        let mut piece = vec![0; PIECE.min(end - at)];
        let mut is_read = statistics::each(info.dtype, &[], &mut take);
        while is_read && at < end {
            piece.truncate(end - at);
            let read = self.file.read_exact_at(&mut piece, self.start + at as u64);
            read.map_err(|source| NnError::File { path: self.path.clone(), source })?;
            is_read = statistics::each(info.dtype, &piece, &mut take);
            at += piece.len();
        }
        Ok(is_read)
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
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn statistics(&self) -> Result<Vec<Statistics>> {
        let infos: BTreeMap<String, &TensorInfo> = self.header.tensors().into_iter().collect();
        infos.into_iter().map(|(name, info)| self.statistics_of(name, info)).collect()
    }

    fn statistics_of(&self, name: String, info: &TensorInfo) -> Result<Statistics> {
        let mut first = First::default();
        let is_read = self.each(info, |number| first.take(number))?;
        let mut second = first.second();
        self.each(info, |number| second.take(number))?;
        Ok(Statistics {
            name,
            dtype: info.dtype.to_string(),
            shape: info.shape.clone(),
            count: info.shape.iter().product(),
            numbers: is_read.then(|| second.numbers()),
        })
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
    let padded = text.len().next_multiple_of(LENGTH_BYTES as usize);
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
