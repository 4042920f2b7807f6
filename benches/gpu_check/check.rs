//! Every case on a device: f32 and bf16, both layouts, gradients, and the same bits in a second run.

use std::io::Write;
use std::sync::Arc;

use gustfront::tensor::cases::Case;
use gustfront::tensor::cuda::Wgmma;
use gustfront::tensor::{Cuda, DType, Device, Layout, Result, no_grad};
use serde_json::{Value, json};

use crate::compare::{gradients, values};

/// What came of the comparisons.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) cases: usize,
    pub(crate) comparisons: usize,
    pub(crate) failures: Vec<String>,
}

impl Checked {
    fn note(&mut self, outcome: std::result::Result<(), String>) {
        self.comparisons += 1;
        if let Err(what) = outcome {
            println!("WRONG {what}");
            self.failures.push(what);
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "cases": self.cases, "comparisons": self.comparisons, "failures": self.failures })
    }
}

/// Runs the cases that have plain loops.
pub(crate) fn run(device: &Device, cases: &[Case]) -> Checked {
    let mut checked = Checked::default();
    for case in cases.iter().filter(|case| case.plain.is_some()) {
        checked.cases += 1;
        checked.note(values(case, device, DType::F32, Layout::Channels));
        checked.note(values(case, device, DType::F32, Layout::Rows));
        checked.note(values(case, device, DType::Bf16, Layout::Channels));
        checked.note(gradients(case, device));
        checked.note(repeated(case, device));
        print!("\r{} cases", checked.cases);
        // Progress alone.
        let _ = std::io::stdout().flush();
    }
    println!();
    checked
}

/// Runs products and convolutions by the kernels on `wgmma` wherever those can be used, on devices that have them.
pub(crate) fn run_wgmma(cuda: &Arc<Cuda>, cases: &[Case], checked: &mut Checked) {
    if cuda.capability() != 90 {
        return;
    }
    let device: Device = cuda.clone();
    cuda.allow_wgmma(Wgmma::Wherever);
    for case in cases.iter().filter(|case| case.plain.is_some() && has_forms(case)) {
        checked.note(values(case, &device, DType::Bf16, Layout::Channels));
    }
    cuda.allow_wgmma(Wgmma::WhereItPays);
}

/// Whether a case may be worked out by `wgmma` or by `mma.sync`.
pub(crate) fn has_forms(case: &Case) -> bool {
    case.name.starts_with("matmul/") || case.name.starts_with("conv/")
}

/// The same bits in two runs.
fn repeated(case: &Case, device: &Device) -> std::result::Result<(), String> {
    let bits = || -> Result<Vec<Vec<u32>>> {
        let inputs = case.tensors(device, DType::F32, Layout::Channels)?;
        let outputs = no_grad(|| (case.run)(&inputs))?;
        outputs.iter().map(|y| Ok(y.to_vec()?.into_iter().map(f32::to_bits).collect())).collect()
    };
    match (bits(), bits()) {
        (Ok(first), Ok(second)) if first == second => Ok(()),
        (Ok(_), Ok(_)) => Err(format!("{}: two runs give different bits on {}", case.name, device.name())),
        (Err(error), _) | (_, Err(error)) => Err(format!("{}: {error}", case.name)),
    }
}
