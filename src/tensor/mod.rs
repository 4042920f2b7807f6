//! Tensors with gradients on a device: the operations that the models are made of.
//!
//! An operation lives in files of one name: its shapes and its gradient in `ops/`, its family in `backend.rs`, its loops
//! in `cpu/`. Shapes are PyTorch's (batch, channels, rows, columns); images lie channels-last in memory.
//!
//! ```
//! use gustfront::tensor::{Conv2d, Cpu, Layout, Parameter, Tensor};
//!
//! # fn main() -> gustfront::tensor::Result<()> {
//! let device = Cpu::device();
//! let image = Tensor::new(&device, [1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?.to_layout(Layout::Channels)?;
//! let kernel = Parameter::new(Tensor::full(&device, [1, 1, 3, 3], 1.0)?);
//! let padded = Conv2d { padding: [1, 1], ..Conv2d::default() };
//! let sums = image.conv2d(&kernel.get(), None, &padded)?;
//! assert_eq!(sums.to_vec()?, [12.0, 21.0, 16.0, 12.0, 21.0, 16.0]);
//!
//! sums.mean(&[], false)?.backward()?;
//! let gradient = kernel.gradient().map(|gradient| gradient.to_vec()).transpose()?.unwrap_or_default();
//! assert_eq!(gradient[4], 21.0 / 6.0);
//! # Ok(())
//! # }
//! ```

mod autograd;
mod backend;
pub mod cases;
mod checkpoint;
mod cpu;
pub mod cuda;
mod device;
mod dtype;
mod error;
mod host;
mod memory;
mod ops;
mod optimiser;
mod parameter;
mod schedule;
mod shape;
mod views;

pub use autograd::no_grad;
pub use backend::{Backend, Memory, MemoryUse};
pub use checkpoint::checkpoint;
pub use cpu::{Block, Cpu, Level};
pub use cuda::Cuda;
pub use device::Opened;
pub use dtype::DType;
pub use error::TensorError;
pub use host::HostMemory;
pub use memory::{Buffer, Slice};
pub use ops::attention::{AttentionOptions, MultiHead};
pub use ops::conv::{Conv2d, ConvTranspose2d, Epilogue, Fused, Prologue};
pub use ops::data::{Coding, Quality, SparseMap, StoredWindows};
pub use ops::diffusion::SamplerStep;
pub use ops::elementwise::Map;
pub use ops::embedding::TimeEmbedding;
pub use ops::fft::Norm;
pub use ops::fields::FieldMap;
pub use ops::graph::{Graph, GraphAttention};
pub use ops::loss::{Penalty, Weighting};
pub use ops::matmul::LinearTail;
pub use ops::norm::{BatchNormed, NormTail};
pub use ops::optimiser::AdamStep;
pub use ops::pool::Window;
pub use ops::random::RandomKey;
pub use ops::recurrent::GruWeights;
pub use ops::resize::Interpolation;
pub use ops::splat::Splatting;
pub use ops::taps::Padding;
pub use optimiser::{AdamOptions, AdamState, AdamW, clipped_by_global_norm};
pub use parameter::Parameter;
pub use schedule::{Plateau, Schedule};
pub use shape::{Layout, MAX_RANK, Shape};

use std::fmt;
use std::sync::Arc;

use autograd::Node;

/// What an operation gives back.
pub type Result<T> = std::result::Result<T, TensorError>;

/// A device that holds tensors and runs their operations.
pub type Device = Arc<dyn Backend>;

/// An array of numbers on a device; cheap to clone, never changed in place.
#[derive(Clone)]
pub struct Tensor {
    device: Device,
    buffer: Arc<Buffer>,
    /// Where the values begin in the buffer, in elements.
    offset: usize,
    shape: Shape,
    layout: Layout,
    dtype: DType,
    node: Option<Arc<Node>>,
}

impl Tensor {
    /// A tensor of f32 from values in logical (row-major) order.
    ///
    /// # Errors
    /// Where there are not as many values as the shape has elements, or the device is out of memory.
    pub fn new(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        let shape = shape.into();
        if shape.len() != values.len() {
            return Err(TensorError::Length { shape, found: values.len() });
        }
        let shape = shape.countable("new")?;
        let buffer = device.upload(values)?;
        Ok(Tensor::dense(device, buffer, shape, Layout::Rows, DType::F32))
    }

    /// A tensor of the f32 values that memory of the host holds; a device that reads it by itself does so beside its work.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_host(device: &Device, shape: impl Into<Shape>, memory: &HostMemory) -> Result<Self> {
        let shape = shape.into().countable("from_host")?;
        if shape.len() * size_of::<f32>() != memory.len() {
            return Err(TensorError::Length { shape, found: memory.len() / size_of::<f32>() });
        }
        let buffer = device.upload_from(memory)?;
        Ok(Tensor::dense(device, buffer, shape, Layout::Rows, DType::F32))
    }

    /// A tensor of indices from values in logical order.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn indices(device: &Device, shape: impl Into<Shape>, values: &[i32]) -> Result<Self> {
        let shape = shape.into();
        if shape.len() != values.len() {
            return Err(TensorError::Length { shape, found: values.len() });
        }
        let shape = shape.countable("indices")?;
        let buffer = device.upload_indices(values)?;
        Ok(Tensor::dense(device, buffer, shape, Layout::Rows, DType::I32))
    }

    /// The same number everywhere.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn full(device: &Device, shape: impl Into<Shape>, value: f32) -> Result<Self> {
        let shape = shape.into().countable("full")?;
        Ok(Tensor::dense(device, device.fill(shape.len(), value, DType::F32)?, shape, Layout::Rows, DType::F32))
    }

    /// Zero everywhere.
    ///
    /// # Errors
    /// Where the device is out of memory.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        Tensor::full(device, shape, 0.0)
    }

    /// A tensor that fills a buffer of its own and is not on the tape.
    pub(crate) fn dense(device: &Device, buffer: Buffer, shape: Shape, layout: Layout, dtype: DType) -> Self {
        Tensor { device: device.clone(), buffer: Arc::new(buffer), offset: 0, shape, layout, dtype, node: None }
    }

    /// The result of an operation on `self`: its device and dtype, another shape and layout.
    pub(crate) fn derive(&self, buffer: Buffer, shape: Shape, layout: Layout) -> Self {
        Tensor::dense(&self.device, buffer, shape, layout, self.dtype)
    }

    /// Sizes in PyTorch's order.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The order of the elements in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the elements are.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the tensor is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements in the order of memory, for a backend.
    pub(crate) fn slice(&self) -> Slice<'_> {
        Slice { buffer: &self.buffer, offset: self.offset, len: self.len(), dtype: self.dtype }
    }

    /// The values in logical (row-major) order, as f32.
    ///
    /// # Errors
    /// Where the tensor holds indices, or the device fails.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.expect_numbers("to_vec")?;
        let rows = self.detach().to_layout(Layout::Rows)?;
        let mut values = vec![0.0; rows.len()];
        rows.device.download(rows.slice(), &mut values)?;
        Ok(values)
    }

    /// The indices in logical order.
    ///
    /// # Errors
    /// Where the tensor holds no indices, or the device fails.
    pub fn to_indices(&self) -> Result<Vec<i32>> {
        self.expect_dtype("to_indices", DType::I32)?;
        let (rows, mut values) = (self.detach().to_layout(Layout::Rows)?, vec![0; self.len()]);
        rows.device.download_indices(rows.slice(), &mut values)?;
        Ok(values)
    }

    /// The one value of a tensor of one element.
    ///
    /// # Errors
    /// Where there are more or fewer elements, or the device fails.
    pub fn item(&self) -> Result<f32> {
        match self.to_vec()?[..] {
            [value] => Ok(value),
            _ => Err(TensorError::shape("item", self.shape, "one element")),
        }
    }

    /// The same values with another precision: each is rounded once, to nearest even.
    ///
    /// # Errors
    /// Where one of the dtypes is that of indices, or the device is out of memory.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        self.expect_numbers("to_dtype")?;
        if dtype == DType::I32 {
            let expected = "f32 or bf16".to_owned();
            return Err(TensorError::DType { operation: "to_dtype", found: dtype, expected });
        }
        let from = self.dtype;
        let buffer = self.device.cast(self.slice(), dtype)?;
        let result = Tensor::dense(&self.device, buffer, self.shape, self.layout, dtype);
        Ok(result.record("to_dtype", [self], move |dy| Ok(vec![Some(dy.to_dtype(from)?)])))
    }

    /// The same values on another device.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if Arc::ptr_eq(device, &self.device) {
            return Ok(self.clone());
        }
        let mut moved = match self.dtype {
            DType::I32 => Tensor::indices(device, self.shape, &self.to_indices()?)?,
            dtype => Tensor::new(device, self.shape, &self.to_vec()?)?.to_dtype(dtype)?,
        };
        moved = moved.to_layout(self.layout)?;
        let home = self.device.clone();
        Ok(moved.record("to_device", [self], move |dy| Ok(vec![Some(dy.to_device(&home)?)])))
    }

    /// The error that operands of `operation` are not numbers of one dtype on one device.
    pub(crate) fn expect_same_kind(&self, operation: &'static str, other: &Tensor) -> Result<()> {
        self.expect_numbers(operation)?;
        self.expect_alike(operation, other)
    }

    /// The error that operands of `operation` lie on different devices or have different dtypes.
    pub(crate) fn expect_alike(&self, operation: &'static str, other: &Tensor) -> Result<()> {
        self.expect_same_device(operation, other)?;
        if self.dtype != other.dtype {
            return Err(TensorError::DTypes { operation, left: self.dtype, right: other.dtype });
        }
        Ok(())
    }

    /// The error that an operand holds indices, which every operation that works on numbers asks for: kernels would
    /// read their bits as those of f32.
    pub(crate) fn expect_numbers(&self, operation: &'static str) -> Result<()> {
        match self.dtype {
            DType::F32 | DType::Bf16 => Ok(()),
            found => Err(TensorError::DType { operation, found, expected: "f32 or bf16".to_owned() }),
        }
    }

    /// The error that an operand that gets none asks for a gradient, which would vanish without a word.
    pub(crate) fn expect_no_gradient(&self, operation: &'static str, expected: &'static str) -> Result<()> {
        if self.wants_gradient() { Err(TensorError::shape(operation, self.shape, expected)) } else { Ok(()) }
    }

    /// The error that operands of `operation` lie on different devices.
    pub(crate) fn expect_same_device(&self, operation: &'static str, other: &Tensor) -> Result<()> {
        if Arc::ptr_eq(&self.device, &other.device) {
            return Ok(());
        }
        let (left, right) = (self.device.name(), other.device.name());
        Err(TensorError::Devices { operation, left, right })
    }

    pub(crate) fn expect_dtype(&self, operation: &'static str, expected: DType) -> Result<()> {
        match self.dtype {
            dtype if dtype == expected => Ok(()),
            found => Err(TensorError::DType { operation, found, expected: expected.to_string() }),
        }
    }

    /// The sizes of a tensor of as many dimensions as `operation` needs.
    pub(crate) fn sizes<const N: usize>(&self, operation: &'static str) -> Result<[usize; N]> {
        self.shape.sizes().try_into().map_err(|_| TensorError::Rank { operation, shape: self.shape, expected: N })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?} {:?} on {})", self.dtype, self.shape, self.device.name())
    }
}
