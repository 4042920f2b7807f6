//! The CUDA backend: every operation as launches of the kernels under `kernels/`.
//!
//! A launch returns before the machine has run it, and everything on one device happens in the order in which it was
//! asked: memory can be handed out again as soon as the host lets go of it, and only a download waits.

mod attention;
mod channels;
mod conv;
mod data;
mod diffusion;
mod elementwise;
mod fft;
mod graph;
mod index;
mod launch;
mod layer_norm;
mod loss;
mod machine;
mod matmul;
mod memory;
mod norm;
mod optimiser;
mod pool;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod softmax;
mod sources;
mod splat;

pub use machine::{Address, Kernel, Machine, Shape};
pub use memory::Block;
pub use sources::{COMMON, FAMILIES};

use std::sync::Arc;

use super::{Backend, Device};
use memory::{Constants, Pool};

/// A GPU as a device.
#[derive(Debug)]
pub struct Cuda {
    pool: Arc<Pool>,
    constants: Constants,
}

impl Cuda {
    /// A device that runs its kernels on a machine.
    pub fn on(machine: Box<dyn Machine>) -> Device {
        Arc::new(Cuda { pool: Pool::new(machine), constants: Constants::default() })
    }

    fn machine(&self) -> &dyn Machine {
        &*self.pool.machine
    }
}

impl Backend for Cuda {}

impl Cuda {
    fn absent<T>(&self) -> crate::tensor::Result<T> {
        Err(crate::tensor::TensorError::Length { shape: crate::tensor::Shape::from([1]), found: 0 })
    }
}
