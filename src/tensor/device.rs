//! Which device a run uses, as people write it: `auto`, `cpu`, or `cuda:N`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Cpu, Cuda, Device, Result, TensorError};

/// The choice of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU, or the CPU where there is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of a number, counted from 0.
    Cuda(usize),
}

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
    /// Opens the device.
    ///
    /// # Errors
    /// Where a GPU that was asked for by its number is not there or cannot be used.
    pub fn open(self) -> Result<Opened> {
        match self {
            DeviceChoice::Cpu => Ok(Opened::cpu(None)),
            DeviceChoice::Cuda(ordinal) => Ok(Opened::cuda(Cuda::device(ordinal)?)),
            DeviceChoice::Auto => Ok(match Cuda::device(0) {
                Ok(cuda) => Opened::cuda(cuda),
                Err(error) => Opened::cpu(Some(error.to_string())),
            }),
        }
    }
}

impl Opened {
    fn cpu(reason: Option<String>) -> Self {
        Opened { device: Cpu::device(), cuda: None, reason }
    }

    fn cuda(cuda: Arc<Cuda>) -> Self {
        Opened { device: cuda.clone(), cuda: Some(cuda), reason: None }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({})", self.device.name())
    }
}

impl FromStr for DeviceChoice {
    type Err = TensorError;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, number) {
            ("auto", _) => Ok(DeviceChoice::Auto),
            ("cpu", _) => Ok(DeviceChoice::Cpu),
            (_, Some(ordinal)) => Ok(DeviceChoice::Cuda(ordinal)),
            _ => {
                let what = "there is no such device; expected auto, cpu, or cuda: and a number such as cuda:0".into();
                Err(TensorError::Device { device: format!("{text:?}"), what })
            }
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = TensorError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(11)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<DeviceChoice>(&json).unwrap(), choice);
        }
        for wrong in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = wrong.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("expected auto, cpu"), "{error}");
        }
    }

    #[test]
    fn auto_is_a_gpu_or_the_cpu_with_the_reason() {
        let opened = DeviceChoice::Auto.open().unwrap();
        assert_eq!(opened.cuda.is_none(), opened.reason.is_some());
        assert_eq!(opened.cuda.is_some(), Cuda::count().is_ok_and(|count| count > 0));
    }

    #[test]
    fn a_device_that_is_missing_is_a_clear_error() {
        let missing = Cuda::count().unwrap_or(0);
        let error = DeviceChoice::Cuda(missing).open().unwrap_err().to_string();
        assert!(error.contains("driver") || error.contains("here, cuda:0"), "{error}");
        assert!(DeviceChoice::Cpu.open().unwrap().reason.is_none());
    }
}
