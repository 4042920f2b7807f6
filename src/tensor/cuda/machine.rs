//! What a machine that runs kernels provides: memory, copies and launches, all in one order.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt;
use std::ops::Range;

use crate::tensor::{HostMemory, Result};

/// A place in a machine's memory.
pub type Address = u64;

/// One kernel of a file under `kernels/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel<'a> {
    /// The file's name without its ending.
    pub family: &'static str,
    /// The kernel's name, with the suffix of its element type.
    pub name: &'a str,
}

/// How many threads run a kernel, and what they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of each block.
    pub shared_bytes: u32,
}

/// Something written down with [`Machine::begin_recording`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingId(pub u64);

/// Bytes of shared memory that every machine gives a block: what compute capability 8.0 has, and later ones exceed.
pub(super) const LEAST_SHARED_BYTES: usize = 163 * 1024;

/// A GPU, or what stands for one. Everything that is asked of it is done in the order in which it was asked, but for
/// reads: launches and writes that are asked after one may be done beside it, so none of them changes memory that may
/// be read. Only [`Machine::read`] and [`Machine::wait`] wait.
pub trait Machine: fmt::Debug + Send + Sync {
    /// Its name for people.
    fn name(&self) -> String;

    /// Its compute capability, such as 90.
    fn capability(&self) -> u32;

    /// How many multiprocessors run blocks side by side.
    fn multiprocessors(&self) -> u32;

    /// The most shared memory of a block, in bytes.
    fn shared_bytes(&self) -> usize {
        LEAST_SHARED_BYTES
    }

    /// Memory of so many bytes, aligned to 256.
    ///
    /// # Errors
    /// Where there is not as much.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Gives memory back once what was asked before is done.
    fn free(&self, address: Address, bytes: usize);

    /// So many bytes of an allocation are handed out; what they hold has no meaning, and what is behind them is not
    /// to be touched.
    fn lend(&self, address: Address, bytes: usize);

    /// Bytes onto the machine; they are taken before this returns.
    ///
    /// # Errors
    /// Where the machine fails.
    fn write(&self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Zeros in memory of the host that the machine reads by itself, where it can.
    ///
    /// # Errors
    /// Where the host has not as much.
    fn host(&self, bytes: usize) -> Result<HostMemory> {
        HostMemory::plain(bytes)
    }

    /// Bytes of such memory onto the machine; they may be taken after this returns, and before anyone can write to them.
    ///
    /// # Errors
    /// Where the machine fails.
    fn write_from(&self, to: Address, from: &HostMemory, bytes: Range<usize>) -> Result<()> {
        self.write(to, &from.bytes()[bytes])
    }

    /// Bytes back, once everything asked before is done.
    ///
    /// # Errors
    /// Where the machine, or anything asked before, failed.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Bytes of the machine to another place, from which others may be reading: reads that were asked before are done
    /// before it.
    ///
    /// # Errors
    /// Where the machine fails.
    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()>;

    /// Runs a kernel with arguments that lie behind pointers.
    ///
    /// # Safety
    /// The pointers are as many as the kernel's parameters, each points to a value of the parameter's type, and the
    /// kernel touches only memory that the machine handed out.
    ///
    /// # Errors
    /// Where the kernel cannot be compiled or started.
    unsafe fn launch(&self, kernel: Kernel<'_>, shape: Shape, arguments: &[*const c_void]) -> Result<()>;

    /// Returns once everything that was asked is done.
    ///
    /// # Errors
    /// Where anything asked before failed.
    fn wait(&self) -> Result<()>;

    /// Bytes of its memory that nobody holds, and all that there are.
    ///
    /// # Errors
    /// Where the machine fails.
    fn memory(&self) -> Result<(usize, usize)>;

    /// Whether the time of each kernel is taken from now on, which costs some time itself.
    fn time_kernels(&self, on: bool);

    /// Seconds that kernels took while their time was taken, by family; waits for them. A machine that replays as one
    /// counts that under `replay`.
    ///
    /// # Errors
    /// Where the machine fails.
    fn kernel_seconds(&self) -> Result<BTreeMap<&'static str, f64>>;

    /// From now on launches and writes are written down instead of done; reads and waits are refused.
    ///
    /// # Errors
    /// Where something is being written down already.
    fn begin_recording(&self) -> Result<()>;

    /// Ends what [`Machine::begin_recording`] began.
    ///
    /// # Errors
    /// Where what was asked meanwhile cannot be done again.
    fn end_recording(&self) -> Result<RecordingId>;

    /// Does once more what was written down, with the same memory, in the order of everything else, reads included.
    ///
    /// # Errors
    /// As for what was written down.
    fn replay(&self, recording: RecordingId) -> Result<()>;

    /// Lets go of something written down.
    fn forget(&self, recording: RecordingId);
}
