//! The parameters of a network by name: made with their first values, then loaded, trained and saved.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::weights::{WeightFile, save};
use super::{NnError, Result};
use crate::domain::Philox;
use crate::tensor::{DType, Device, Parameter, Shape, Tensor};

/// The purpose of the random numbers that parameters begin with.
const FIRST_VALUES: u32 = 0x6e6e;

/// What a parameter begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// The same number everywhere.
    Constant(f32),
    /// Uniform between minus and plus a bound.
    Uniform(f64),
    /// Standard normal.
    Normal,
    /// The whole number 0: a count, held as indices.
    Count,
}

impl Start {
    /// Values keyed by the seed and the parameter's name: the order in which parameters are made does not matter.
    fn tensor(self, device: &Device, shape: Shape, seed: u64, name: &str) -> Result<Tensor> {
        let (random, key) = (Philox::new(seed, FIRST_VALUES), fnv(name));
        let counter = |block: usize| [block as u32, (block as u64 >> 32) as u32, key as u32, (key >> 32) as u32];
        let four = |block: usize| match self {
            Start::Uniform(bound) => random.uniform(counter(block)).map(|u| ((2.0 * u - 1.0) * bound) as f32),
            _ => random.normal(counter(block)).map(|z| z as f32),
        };
        Ok(match self {
            Start::Constant(value) => Tensor::full(device, shape, value)?,
            Start::Count => Tensor::indices(device, shape, &vec![0; shape.len()])?,
            Start::Uniform(_) | Start::Normal => {
                let values: Vec<f32> = (0..shape.len().div_ceil(4)).flat_map(four).take(shape.len()).collect();
                Tensor::new(device, shape, &values)?
            }
        })
    }
}

/// The FNV-1a hash (Fowler, Noll and Vo, 1991) of a name.
fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A named tensor of a network.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The tensor.
    pub parameter: Parameter,
    /// Whether training changes it by its gradient; else it is a buffer, such as a running mean.
    pub trained: bool,
}

/// Every parameter and buffer of a network, by name.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<String, Entry>);

impl Parameters {
    /// A parameter or buffer.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name).map(|entry| &entry.parameter)
    }

    /// Parameters and buffers in the order of their names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Entry> {
        self.0.iter()
    }

    /// What training changes, in the order of names.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.0.iter().filter(|(_, entry)| entry.trained).map(|(name, entry)| (name.as_str(), &entry.parameter))
    }

    /// Number of elements that training changes.
    pub fn count(&self) -> usize {
        self.trained().map(|(_, parameter)| parameter.get().len()).sum()
    }

    /// Forgets every gradient.
    pub fn clear_gradients(&self) {
        self.trained().for_each(|(_, parameter)| parameter.clear_gradient());
    }

    /// Reads every parameter and buffer from a safetensors file that names the same ones with the same shapes; values
    /// are rounded to the dtype that the network holds. Gives back the file's notes.
    ///
    /// # Errors
    /// Where the file cannot be read or does not hold the same names and shapes: then nothing is changed.
    pub fn load(&self, path: &Path) -> Result<BTreeMap<String, String>> {
        let file = WeightFile::open(path)?;
        self.load_from(&file, "")?;
        Ok(file.notes())
    }

    /// [`Parameters::load`] of those tensors of a file whose names begin with `prefix`.
    ///
    /// # Errors
    /// As [`Parameters::load`].
    pub fn load_from(&self, file: &WeightFile, prefix: &str) -> Result<()> {
        self.expect_same_names(file, prefix)?;
        let mut values = Vec::with_capacity(self.0.len());
        for (name, entry) in &self.0 {
            let held = entry.parameter.get();
            values.push(file.tensor(&format!("{prefix}{name}"), &held)?);
        }
        for (entry, value) in self.0.values().zip(values) {
            entry.parameter.set(value)?;
        }
        Ok(())
    }

    /// The error that a file has other names or shapes.
    fn expect_same_names(&self, file: &WeightFile, prefix: &str) -> Result<()> {
        let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
        for (name, entry) in &self.0 {
            let held = entry.parameter.get().shape();
            match file.shape(&format!("{prefix}{name}")) {
                None => missing.push(name.clone()),
                Some(found) if found != held.sizes() => misshapen.push(format!("{name} {found:?} for {held}")),
                Some(_) => (),
            }
        }
        let named = file.names().filter_map(|name| name.strip_prefix(prefix).map(str::to_owned));
        let surplus: Vec<String> = named.filter(|name| !self.0.contains_key(name)).collect();
        if missing.is_empty() && surplus.is_empty() && misshapen.is_empty() {
            return Ok(());
        }
        Err(NnError::Mismatch { path: file.path().to_owned(), missing, surplus, misshapen })
    }

    /// Writes every parameter and buffer as a safetensors file with notes; who reads sees the file before or after.
    ///
    /// # Errors
    /// Where a device or the file system fails.
    pub fn save(&self, path: &Path, notes: &BTreeMap<String, String>) -> Result<()> {
        let tensors = self.0.iter().map(|(name, entry)| (name.as_str(), entry.parameter.get().detach()));
        save(path, tensors.collect(), notes)
    }
}

/// Makes the parameters of a network, part by part: a part's names begin with its own.
#[derive(Clone)]
pub struct Builder {
    device: Device,
    seed: u64,
    prefix: String,
    made: Arc<Mutex<Parameters>>,
}

impl Builder {
    /// A network's root on a device; parameters begin with random numbers of a seed.
    pub fn new(device: &Device, seed: u64) -> Self {
        Builder { device: device.clone(), seed, prefix: String::new(), made: Arc::default() }
    }

    /// The builder of a part: its names are `self's.part.name`.
    pub fn at(&self, part: impl Display) -> Builder {
        Builder { prefix: format!("{}{part}.", self.prefix), ..self.clone() }
    }

    /// The device that parameters are made on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Name of this part, for errors.
    pub fn name(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// A parameter that training changes.
    ///
    /// # Errors
    /// Where the name is taken, or the device is out of memory.
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, start: Start) -> Result<Parameter> {
        self.entry(name, shape.into(), start, true)
    }

    /// A tensor that is kept with the parameters and that gradients do not change.
    ///
    /// # Errors
    /// As [`Builder::parameter`].
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, start: Start) -> Result<Parameter> {
        self.entry(name, shape.into(), start, false)
    }

    fn entry(&self, name: &str, shape: Shape, start: Start, trained: bool) -> Result<Parameter> {
        let name = format!("{}{name}", self.prefix);
        let parameter = Parameter::new(start.tensor(&self.device, shape, self.seed, &name)?);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.0.entry(name) {
            btree_map::Entry::Occupied(taken) => Err(NnError::NamedTwice(taken.key().clone())),
            btree_map::Entry::Vacant(free) => {
                free.insert(Entry { parameter: parameter.clone(), trained });
                Ok(parameter)
            }
        }
    }

    /// Everything that was made so far, by this builder and those of its parts.
    pub fn parameters(&self) -> Parameters {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The error that this layer's sizes do not go together.
    pub(crate) fn refuse<T>(&self, sizes: impl Display, expected: &'static str) -> Result<T> {
        Err(NnError::Sizes { layer: self.name().to_owned(), sizes: sizes.to_string(), expected })
    }
}

/// Whether a tensor holds whole numbers.
pub(crate) fn is_whole(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::I32
}
