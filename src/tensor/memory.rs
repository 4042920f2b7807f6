//! Where the elements of tensors are.

use super::{DType, Result, TensorError, cpu, cuda};

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

/// Host memory for so many zeros.
pub(crate) fn zeroed<T: bytemuck::Zeroable>(len: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| host_refusal(len.saturating_mul(size_of::<T>()), 0))
}

/// Host memory for so many values, none of them there yet.
pub(crate) fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let had = values.try_reserve_exact(len);
    had.map_err(|_| host_refusal(len.saturating_mul(size_of::<T>()), 0))?;
    Ok(values)
}

/// The error that the host has no such memory; `held` is what its pool holds.
pub(crate) fn host_refusal(bytes: usize, held: usize) -> TensorError {
    TensorError::Memory { device: "cpu".to_owned(), bytes, held, free: available_bytes() }
}

/// Bytes that the system says it could still give, 0 where it does not say.
fn available_bytes() -> usize {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}
