//! `gustfront devices`: what can do the arithmetic here, or why a GPU cannot.

use gustfront::tensor::cuda::Wgmma;
use gustfront::tensor::{Cpu, Cuda, Memory, Result};

use super::Exit;
use super::output::show;

/// Runs the command.
pub(crate) fn run() -> anyhow::Result<Exit> {
    Wgmma::named()?;
    let mut lines = vec![format!("cpu     {}", Cpu::device().name())];
    match Cuda::count() {
        Ok(0) => lines.push("cuda    none: the NVIDIA driver finds no device here".into()),
        Ok(count) => {
            lines.extend((0..count).map(|ordinal| gpu(ordinal).unwrap_or_else(|error| format!("cuda    {error}"))));
            lines.push(driver().unwrap_or_else(|error| format!("driver  {error}")));
        }
        Err(error) => lines.push(format!("cuda    none: {error}")),
    }
    show(&(lines.join("\n") + "\n"))?;
    Ok(Exit::Done)
}

fn gpu(ordinal: usize) -> Result<String> {
    let device = Cuda::device(ordinal)?;
    let (capability, work) = (device.capability(), device.work()?);
    let gigabytes = |bytes: usize| bytes as f64 / 1e9;
    Ok(format!(
        "cuda    {}: {:.1} of {:.1} GB free, compute capability {}.{}",
        device.name(),
        gigabytes(work.free_bytes),
        gigabytes(work.total_bytes),
        capability / 10,
        capability % 10,
    ))
}

fn driver() -> Result<String> {
    let version = Cuda::driver_version()?;
    Ok(format!("driver  CUDA {}.{}", version / 1000, version % 1000 / 10))
}
