//! The CUDA backend: every operation as launches of the kernels under `kernels/`.
//!
//! A launch returns before the machine has run it, and everything on one device happens in the order in which it was
//! asked: memory can be handed out again as soon as the host lets go of it, and only a download waits.

mod attention;
mod channels;
mod conv;
mod counters;
mod data;
mod diffusion;
mod driver;
mod elementwise;
mod fft;
mod fields;
mod graph;
mod index;
mod launch;
mod layer_norm;
mod loss;
mod machine;
mod matmul;
mod memory;
mod norm;
mod nvrtc;
mod optimiser;
mod packed;
mod pool;
mod program;
mod random;
mod record;
mod recurrent;
mod reduce;
mod resize;
mod reuse;
mod softmax;
mod sort;
mod sources;
mod splat;
mod wgmma;

pub use counters::{Copies, Work};
pub use driver::{Driver, Lent};
pub use machine::{Address, Kernel, Machine, RecordingId, Shape};
pub use nvrtc::{Compiled, NVRTC_VARIABLE, Nvrtc};
pub use program::{Programs, cache_folder, compile_family};
pub use record::Replay;
pub use reuse::Block;
pub use sources::{FAMILIES, HEADERS};
pub use wgmma::{WGMMA_VARIABLE, Wgmma};

use std::sync::Arc;

use super::{Backend, Result};
use counters::Counters;
use memory::Constants;
use reuse::Pool;
use wgmma::Gate;

/// A GPU as a device.
#[derive(Debug)]
pub struct Cuda {
    pool: Arc<Pool>,
    constants: Constants,
    counters: Counters,
    wgmma: Gate,
}

impl Cuda {
    /// How many GPUs there are.
    ///
    /// # Errors
    /// Where there is no driver, or it does not work.
    pub fn count() -> Result<usize> {
        Driver::count()
    }

    /// The newest CUDA that the driver speaks, such as 13000 for 13.0.
    ///
    /// # Errors
    /// Where there is no driver, or it does not work.
    pub fn driver_version() -> Result<u32> {
        Driver::version()
    }

    /// The GPU of a number, counted from 0.
    ///
    /// # Errors
    /// Where there is no driver or no such GPU, it cannot be used, or [`WGMMA_VARIABLE`] names no choice.
    pub fn device(ordinal: usize) -> Result<Arc<Self>> {
        let named = Wgmma::named()?;
        let cuda = Cuda::on(Box::new(Driver::open(ordinal)?));
        cuda.allow_wgmma(named);
        Ok(cuda)
    }

    /// A device that runs its kernels on a machine.
    pub fn on(machine: Box<dyn Machine>) -> Arc<Self> {
        let (constants, counters, wgmma) = Default::default();
        Arc::new(Cuda { pool: Pool::new(machine), constants, counters, wgmma })
    }

    /// The compute capability, such as 90 for 9.0.
    pub fn capability(&self) -> u32 {
        self.machine().capability()
    }

    /// Returns once everything that was asked is done.
    ///
    /// # Errors
    /// Where anything asked before failed.
    pub fn wait(&self) -> Result<()> {
        let _turn = self.pool.turn();
        self.machine().wait()
    }

    fn machine(&self) -> &dyn Machine {
        &*self.pool.machine
    }
}

impl Backend for Cuda {}
