//! What a device was asked to do so far: plain counts for those who watch it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Cuda;
use super::machine::Kernel;
use crate::tensor::backend::MemoryUse;
use crate::tensor::{Memory, Result};

/// Copies in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// How many.
    pub count: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// What a device did since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Launches by family, those of a recording counted once.
    pub launches: BTreeMap<&'static str, u64>,
    /// Seconds in kernels by family, while their time was taken; those of a replay are the family `replay` on a GPU.
    pub kernel_seconds: BTreeMap<&'static str, f64>,
    /// Copies from the host.
    pub uploads: Copies,
    /// Copies to the host.
    pub downloads: Copies,
    /// Recordings replayed.
    pub replays: u64,
    /// Memory that this program holds on the device.
    pub memory: MemoryUse,
    /// Bytes of the device's memory that nobody holds.
    pub free_bytes: usize,
    /// Bytes of memory that the device has.
    pub total_bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By family and kernel.
    launches: Mutex<BTreeMap<&'static str, BTreeMap<String, u64>>>,
    uploads: Count,
    downloads: Count,
    replays: AtomicU64,
}

#[derive(Debug, Default)]
struct Count {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Copies {
        Copies { count: self.count.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

impl Counters {
    pub(super) fn launched(&self, kernel: Kernel<'_>) {
        let mut launches = self.launches();
        let family = launches.entry(kernel.family).or_default();
        match family.get_mut(kernel.name) {
            Some(count) => *count += 1,
            None => drop(family.insert(kernel.name.to_owned(), 1)),
        }
    }

    fn launches(&self) -> MutexGuard<'_, BTreeMap<&'static str, BTreeMap<String, u64>>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uploaded(&self, bytes: usize) {
        self.uploads.add(bytes);
    }

    pub(super) fn downloaded(&self, bytes: usize) {
        self.downloads.add(bytes);
    }

    pub(super) fn replayed(&self) {
        self.replays.fetch_add(1, Ordering::Relaxed);
    }
}

impl Cuda {
    /// Whether the time of each kernel is taken from now on, which costs a few microseconds a kernel.
    pub fn time_kernels(&self, on: bool) {
        self.machine().time_kernels(on);
    }

    /// Launches of each kernel since the device was opened, those of a recording counted once.
    pub fn kernels(&self) -> BTreeMap<String, u64> {
        self.counters.launches().values().flatten().map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// What the device did so far; waits for kernels whose time is taken.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn work(&self) -> Result<Work> {
        let (free_bytes, total_bytes) = self.machine().memory()?;
        let counters = &self.counters;
        Ok(Work {
            launches: counters.launches().iter().map(|(family, kernels)| (*family, kernels.values().sum())).collect(),
            kernel_seconds: self.machine().kernel_seconds()?,
            uploads: counters.uploads.read(),
            downloads: counters.downloads.read(),
            replays: counters.replays.load(Ordering::Relaxed),
            memory: self.memory_use(),
            free_bytes,
            total_bytes,
        })
    }
}
