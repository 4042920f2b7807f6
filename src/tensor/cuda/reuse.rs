//! Device memory that is used again: after the first step of a loop nothing is asked of the driver.
//!
//! What a recording used stays with it: such memory waits for nobody else until the recording is let go.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::machine::{Address, Machine};
use crate::tensor::Result;
use crate::tensor::backend::MemoryUse;

/// What memory is handed out in multiples of, in bytes.
const GRANULE: usize = 512;

/// Memory of a machine that waits to be used again, by its size.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) machine: Box<dyn Machine>,
    state: Mutex<State>,
    /// Held by all who ask something of the machine; a recording holds it alone.
    turns: RwLock<()>,
    /// The thread that records; 0 where none does.
    recorder: AtomicU64,
}

type Sizes = BTreeMap<usize, Vec<Address>>;

#[derive(Debug, Default)]
struct State {
    free: Sizes,
    /// What is handed out, with its size.
    live: HashMap<Address, usize>,
    /// What recordings use.
    kept: HashMap<Address, Kept>,
    recording: Option<Recording>,
    usage: MemoryUse,
}

/// Memory that recordings use.
#[derive(Clone, Copy, Debug)]
struct Kept {
    size: usize,
    recordings: usize,
}

/// Memory that was handed out since a recording began, and what of it came back.
#[derive(Debug, Default)]
struct Recording {
    taken: HashMap<Address, usize>,
    free: Sizes,
}

/// Memory of a GPU; it goes back to the device's pool when it is dropped.
#[derive(Debug)]
pub struct Block {
    address: Address,
    pool: Arc<Pool>,
}

impl Block {
    pub(super) fn address(&self) -> Address {
        self.address
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.lock().give_back(self.address);
    }
}

impl State {
    /// Memory of a size that waits to be used again.
    fn find(&mut self, size: usize) -> Option<Address> {
        let own = self.recording.as_mut().and_then(|recording| recording.free.get_mut(&size)?.pop());
        own.or_else(|| {
            let found = self.free.get_mut(&size)?.pop()?;
            self.use_more(size);
            Some(found)
        })
    }

    fn use_more(&mut self, size: usize) {
        self.usage.used_bytes += size;
        self.usage.peak_bytes = self.usage.peak_bytes.max(self.usage.used_bytes);
    }

    fn hand_out(&mut self, address: Address, size: usize) {
        self.live.insert(address, size);
        if let Some(recording) = &mut self.recording {
            recording.taken.insert(address, size);
        }
    }

    /// A block is dropped: within a recording that took it, it may serve there again; what recordings use waits.
    fn give_back(&mut self, address: Address) {
        let Some(size) = self.live.remove(&address) else { return };
        match &mut self.recording {
            Some(recording) if recording.taken.contains_key(&address) => {
                recording.free.entry(size).or_default().push(address);
            }
            _ if self.kept.contains_key(&address) => {}
            _ => self.release(address, size),
        }
    }

    fn release(&mut self, address: Address, size: usize) {
        self.usage.used_bytes -= size;
        self.free.entry(size).or_default().push(address);
    }

    fn keep(&mut self, address: Address, size: usize) {
        self.kept.entry(address).or_insert(Kept { size, recordings: 0 }).recordings += 1;
    }

    fn let_go(&mut self, address: Address) {
        let Some(kept) = self.kept.get_mut(&address) else { return };
        kept.recordings -= 1;
        let Kept { size, recordings } = *kept;
        if recordings == 0 {
            self.kept.remove(&address);
            if !self.live.contains_key(&address) {
                self.release(address, size);
            }
        }
    }
}

impl Pool {
    pub(super) fn new(machine: Box<dyn Machine>) -> Arc<Self> {
        Arc::new(Pool { machine, state: Mutex::default(), turns: RwLock::default(), recorder: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn usage(&self) -> MemoryUse {
        self.lock().usage
    }

    /// To be held while something is asked of the machine: other threads wait while one records.
    pub(super) fn turn(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let own = self.recorder.load(Ordering::Acquire) == thread_number();
        (!own).then(|| self.turns.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Memory of at least so many bytes, holding anything.
    pub(super) fn take(pool: &Arc<Pool>, bytes: usize) -> Result<Block> {
        let _turn = pool.turn();
        let size = size_class(bytes.div_ceil(GRANULE).max(1)).saturating_mul(GRANULE);
        let found = pool.lock().find(size);
        let address = match found {
            Some(address) => address,
            None => pool.grow(size)?,
        };
        pool.machine.lend(address, bytes);
        pool.lock().hand_out(address, size);
        Ok(Block { address, pool: pool.clone() })
    }

    /// New memory of the machine; where it has none left, what waits in the pool is given back first.
    fn grow(&self, size: usize) -> Result<Address> {
        let address = self.machine.allocate(size).or_else(|_| {
            self.trim();
            self.machine.allocate(size)
        })?;
        let mut state = self.lock();
        state.usage.allocations += 1;
        state.usage.held_bytes += size;
        state.use_more(size);
        Ok(address)
    }

    /// Gives what waits in the pool back to the machine.
    pub(super) fn trim(&self) {
        let mut state = self.lock();
        for (size, addresses) in std::mem::take(&mut state.free) {
            state.usage.held_bytes -= size * addresses.len();
            addresses.into_iter().for_each(|address| self.machine.free(address, size));
        }
    }

    /// Whether this thread is recording.
    pub(super) fn records(&self) -> bool {
        self.recorder.load(Ordering::Acquire) == thread_number()
    }

    /// From now on this thread records: everything handed out stays with the recording. Other threads wait until the
    /// guard is dropped.
    pub(super) fn begin_recording(&self) -> (RwLockWriteGuard<'_, ()>, Vec<Address>) {
        let alone = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        self.recorder.store(thread_number(), Ordering::Release);
        let mut state = self.lock();
        state.recording = Some(Recording::default());
        let live: Vec<(Address, usize)> = state.live.iter().map(|(address, size)| (*address, *size)).collect();
        live.iter().for_each(|(address, size)| state.keep(*address, *size));
        (alone, live.into_iter().map(|(address, _)| address).collect())
    }

    /// Ends a recording: the memory that was handed out meanwhile, which stays with it.
    pub(super) fn end_recording(&self) -> Vec<Address> {
        self.recorder.store(0, Ordering::Release);
        let mut state = self.lock();
        let taken = state.recording.take().unwrap_or_default().taken;
        taken.iter().for_each(|(address, size)| state.keep(*address, *size));
        taken.into_keys().collect()
    }

    /// Lets memory go that stayed with a recording.
    pub(super) fn let_go(&self, addresses: &[Address]) {
        let mut state = self.lock();
        addresses.iter().for_each(|address| state.let_go(*address));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trim();
    }
}

/// Granules rounded up to one of eight sizes an octave, so that blocks of nearly one size serve each other.
fn size_class(granules: usize) -> usize {
    let step = (granules.next_power_of_two() / 16).max(1);
    granules.div_ceil(step) * step
}

/// A number of this thread, from 1 on.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread whose locals are gone already counts as one that never records.
    NUMBER.try_with(|number| *number).unwrap_or(u64::MAX)
}
