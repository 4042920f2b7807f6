//! A chosen device, opened.

use std::fmt;
use std::sync::Arc;

use crate::config::DeviceChoice;

use super::cuda::Wgmma;
use super::{Cpu, Cuda, Device, Result, Tensor};

/// A device that was chosen.
#[derive(Clone)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// The same where it is a GPU, for those who watch it.
    pub cuda: Option<Arc<Cuda>>,
    /// Why it is the CPU, where a GPU would have been taken.
    pub reason: Option<String>,
}

impl DeviceChoice {
    /// Opens the device, once a kernel was run on it. `auto` is the CPU, with the reason, where no GPU serves.
    ///
    /// # Errors
    /// Where a GPU that was asked for by its number is not there or runs no kernels, and where [`Wgmma::named`] finds
    /// no choice, whichever device is asked for.
    pub fn open(self) -> Result<Opened> {
        Wgmma::named()?;
        match self {
            DeviceChoice::Cpu => Ok(Opened::cpu(None)),
            DeviceChoice::Cuda(ordinal) => working(ordinal),
            DeviceChoice::Auto => Ok(working(0).unwrap_or_else(|error| Opened::cpu(Some(error.to_string())))),
        }
    }
}

/// A GPU on which kernels can be compiled and run.
fn working(ordinal: usize) -> Result<Opened> {
    let opened = Opened::cuda(Cuda::device(ordinal)?);
    Tensor::zeros(&opened.device, [1])?.item()?;
    Ok(opened)
}

impl Opened {
    /// The CPU, and why, where a GPU would have been taken.
    pub fn cpu(reason: Option<String>) -> Self {
        Opened { device: Cpu::device(), cuda: None, reason }
    }

    /// A GPU.
    pub fn cuda(cuda: Arc<Cuda>) -> Self {
        Opened { device: cuda.clone(), cuda: Some(cuda), reason: None }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({})", self.device.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_a_gpu_or_the_cpu_with_the_reason() {
        let opened = DeviceChoice::Auto.open().unwrap();
        assert_eq!(opened.cuda.is_none(), opened.reason.is_some());
        assert!(opened.cuda.is_none() || Cuda::count().is_ok_and(|count| count > 0));
    }

    #[test]
    fn a_device_that_is_missing_is_a_clear_error() {
        let missing = Cuda::count().unwrap_or(0);
        let error = DeviceChoice::Cuda(missing).open().unwrap_err().to_string();
        assert!(error.contains("driver") || error.contains("here, cuda:0"), "{error}");
        assert!(DeviceChoice::Cpu.open().unwrap().reason.is_none());
    }
}
