//! Memory of the host that a device fetches numbers from by itself, where it can.

use super::memory::zeroed;
use super::{Result, cuda};

/// Bytes at a multiple of 64, which a cache fetches as one.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes of the host at a multiple of 64, from [`super::Memory::host_memory`].
#[derive(Debug)]
pub struct HostMemory {
    held: Held,
    len: usize,
}

#[derive(Debug)]
enum Held {
    Plain(Vec<Line>),
    Pinned(cuda::Lent),
}

impl Default for HostMemory {
    /// None.
    fn default() -> Self {
        HostMemory { held: Held::Plain(Vec::new()), len: 0 }
    }
}

impl HostMemory {
    /// Zeros in ordinary memory.
    ///
    /// # Errors
    /// Where the host has not as much.
    pub fn plain(len: usize) -> Result<Self> {
        Ok(HostMemory { held: Held::Plain(zeroed(len.div_ceil(size_of::<Line>()))?), len })
    }

    pub(in crate::tensor) fn pinned(lent: cuda::Lent, len: usize) -> Self {
        HostMemory { held: Held::Pinned(lent), len }
    }

    /// The memory that a GPU reads by itself; `None` for ordinary memory.
    pub(in crate::tensor) fn lent(&self) -> Option<&cuda::Lent> {
        match &self.held {
            Held::Plain(_) => None,
            Held::Pinned(lent) => Some(lent),
        }
    }

    /// Whether a GPU reads it by itself.
    pub fn is_pinned(&self) -> bool {
        self.lent().is_some()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let all = match &self.held {
            Held::Plain(lines) => bytemuck::cast_slice(lines),
            Held::Pinned(lent) => lent.bytes(),
        };
        all.get(..self.len).unwrap_or_default()
    }

    /// The bytes, to be written; waits until no upload reads them any more.
    ///
    /// # Errors
    /// Where the device failed meanwhile.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        let all = match &mut self.held {
            Held::Plain(lines) => bytemuck::cast_slice_mut(lines),
            Held::Pinned(lent) => lent.bytes_mut()?,
        };
        Ok(all.get_mut(..self.len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_memory_is_aligned_zeros_that_can_be_written() {
        for len in [0, 1, 64, 1000] {
            let mut memory = HostMemory::plain(len).unwrap();
            assert_eq!((memory.len(), memory.is_empty(), memory.is_pinned()), (len, len == 0, false));
            assert_eq!((memory.bytes(), memory.bytes().as_ptr().align_offset(64)), (&vec![0; len][..], 0));
            memory.bytes_mut().unwrap().fill(7);
            assert_eq!(memory.bytes(), vec![7; len]);
        }
    }
}
