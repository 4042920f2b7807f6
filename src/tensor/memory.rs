//! Where the elements of tensors are.

use super::{DType, cpu, cuda};

/// Memory of a device; it goes back to the device's allocator when it is dropped.
#[derive(Debug)]
pub enum Buffer {
    /// Host memory.
    Cpu(cpu::Block),
    /// Memory of a GPU.
    Cuda(cuda::Block),
}

/// A run of elements in a buffer, in the order of memory.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The buffer.
    pub buffer: &'a Buffer,
    /// The first element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
    /// What they are.
    pub dtype: DType,
}
