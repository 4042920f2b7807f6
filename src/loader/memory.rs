//! The memory of batches, which comes back when a batch is dropped: fresh pages would cost more than reading.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

use crate::tensor::{Device, HostMemory, Result};

/// What is not in use, by its length in bytes and whether a device reads it.
type Idle = HashMap<(usize, bool), Vec<Piece>>;

/// Memory that batches are made in.
pub(super) struct Pool {
    device: Device,
    idle: Mutex<Idle>,
}

/// Memory, and which frames of it are known to be ones throughout: masks mostly are, and need not be written again.
#[derive(Default)]
struct Piece {
    memory: HostMemory,
    ones: Vec<bool>,
}

impl Pool {
    /// A pool for batches that go to a device.
    pub(super) fn new(device: &Device) -> Arc<Self> {
        Arc::new(Pool { device: device.clone(), idle: Mutex::default() })
    }

    /// The device that batches go to.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Room for so many numbers, holding anything; `travels` where a device is to read it.
    pub(super) fn take<T: Pod>(self: &Arc<Self>, count: usize, travels: bool) -> Result<Numbers<T>> {
        let bytes = count * size_of::<T>();
        let used = self.lock().get_mut(&(bytes, travels)).and_then(Vec::pop);
        let fresh = || if travels { self.device.host_memory(bytes) } else { HostMemory::plain(bytes) };
        let piece = match used {
            Some(piece) => piece,
            None => Piece { memory: fresh()?, ones: Vec::new() },
        };
        Ok(Numbers { piece, travels, pool: self.clone(), number: PhantomData })
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.lock().values().map(Vec::len).sum::<usize>())
    }
}

/// Numbers of a batch, read as a slice; their memory serves another batch after them.
pub struct Numbers<T: Pod> {
    /// Empty once it was taken out.
    piece: Piece,
    travels: bool,
    pool: Arc<Pool>,
    number: PhantomData<T>,
}

impl<T: Pod> Numbers<T> {
    /// The memory itself, for an upload.
    pub(super) fn memory(&self) -> &HostMemory {
        &self.piece.memory
    }

    /// The same memory as bytes.
    pub(super) fn into_bytes(mut self) -> Numbers<u8> {
        Numbers {
            piece: mem::take(&mut self.piece),
            travels: self.travels,
            pool: self.pool.clone(),
            number: PhantomData,
        }
    }

    /// The numbers, to be written, once no device reads them any more.
    pub(super) fn fill(&mut self) -> Result<&mut [T]> {
        self.fill_frames(0).map(|(numbers, _)| numbers)
    }

    /// As [`Numbers::fill`], with what is known of so many frames: whether each is ones, to be kept true.
    pub(super) fn fill_frames(&mut self, frames: usize) -> Result<(&mut [T], &mut [bool])> {
        let Piece { memory, ones } = &mut self.piece;
        ones.resize(frames, false);
        Ok((bytemuck::cast_slice_mut(memory.bytes_mut()?), ones))
    }
}

impl<T: Pod> Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(self.memory().bytes())
    }
}

impl<T: Pod + PartialEq> PartialEq for Numbers<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod> fmt::Debug for Numbers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

impl<T: Pod> Drop for Numbers<T> {
    fn drop(&mut self) {
        let piece = mem::take(&mut self.piece);
        if !piece.memory.is_empty() {
            let key = (piece.memory.len(), self.travels);
            self.pool.lock().entry(key).or_default().push(piece);
        }
    }
}
