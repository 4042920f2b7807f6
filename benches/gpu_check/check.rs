//! Every case on a device: f32 and bf16, both layouts, gradients, and the same bits in a second run; and the sizes of
//! consumers, forward and backward, which reach the tiles that small cases do not.

use std::io::Write;
use std::sync::Arc;

use gustfront::tensor::cases::Case;
use gustfront::tensor::cuda::Wgmma;
use gustfront::tensor::{Cuda, DType, Device, Layout, Result, no_grad};
use serde_json::{Value, json};

use crate::compare::{Reference, Tolerance, gradients, values};

use super::speed;

/// How far results of consumers' sizes may be from the CPU's in f32: bf16 rounds a result, and what it is worked out
/// from, once each; sums have up to two million terms.
const ROUNDED_TWICE: Tolerance = (1.0 / 128.0, 1.0 / 1024.0);
/// Shares and their gradients are operands of products and are rounded to bf16 as such.
const ATTENTION: Tolerance = (1.0 / 128.0, 1.0 / 128.0);
/// In f32: sums in another order.
const SINGLE: Tolerance = (2e-5, 1e-5);

/// What came of the comparisons.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) cases: usize,
    pub(crate) comparisons: usize,
    pub(crate) failures: Vec<String>,
}

impl Checked {
    pub(crate) fn note(&mut self, outcome: std::result::Result<(), String>) {
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
        checked.note(gradients(case, device, DType::F32));
        checked.note(gradients(case, device, DType::Bf16));
        checked.note(repeated(case, device));
        print!("\r{} cases", checked.cases);
        // Progress alone.
        let _ = std::io::stdout().flush();
    }
    println!();
    checked
}

/// Runs products and convolutions by the kernels on `wgmma` wherever those can be used, on devices that have them.
pub(crate) fn run_wgmma(cuda: &Arc<Cuda>, cases: &[Case], tiles: &[Case], checked: &mut Checked) {
    if !has_wgmma(cuda) {
        return;
    }
    let device: Device = cuda.clone();
    cuda.allow_wgmma(Wgmma::Wherever);
    for case in cases.iter().filter(|case| case.plain.is_some() && has_forms(case)) {
        checked.note(values(case, &device, DType::Bf16, Layout::Channels));
        checked.note(gradients(case, &device, DType::Bf16));
    }
    tiles.iter().filter(|case| has_forms(case)).for_each(|case| run_tile(&device, case, DType::Bf16, checked));
    cuda.allow_wgmma(usual());
}

/// Runs cases that have no plain loops in f32 and in bf16, against the CPU.
pub(crate) fn run_tiles(device: &Device, tiles: &[Case], checked: &mut Checked) {
    checked.cases += tiles.len();
    for case in tiles {
        [DType::F32, DType::Bf16].into_iter().for_each(|dtype| run_tile(device, case, dtype, checked));
    }
}

fn run_tile(device: &Device, case: &Case, dtype: DType, checked: &mut Checked) {
    let inputs = case.tensors(device, dtype, Layout::Channels).map_err(|e| format!("{}: {e}", case.name));
    let compare = |inputs: Vec<_>| Reference::of(case, &inputs)?.compare(case, &inputs, tolerance(case, dtype));
    checked.note(inputs.and_then(compare).map_err(|what| format!("{what} ({dtype})")));
}

/// Runs the cases that are timed once, on the numbers and by the kernels that are timed, against the CPU.
pub(crate) fn run_timed(cuda: &Arc<Cuda>, cases: &[Case], checked: &mut Checked) {
    for case in cases.iter().filter(|case| case.plain.is_none()) {
        checked.cases += 1;
        println!("{} beside the CPU", case.name);
        let choices = [usual(), Wgmma::Never, Wgmma::Wherever];
        let choices = if has_wgmma(cuda) && has_forms(case) { &choices[..] } else { &choices[..1] };
        let inputs = speed::inputs(cuda, case).map_err(|e| format!("{}: {e}", case.name));
        let worked_out = inputs.and_then(|inputs| Ok((Reference::of(case, &inputs)?, inputs)));
        for choice in choices {
            cuda.allow_wgmma(*choice);
            let outcome = worked_out.as_ref().map_err(String::clone);
            let outcome =
                outcome.and_then(|(wanted, inputs)| wanted.compare(case, inputs, tolerance(case, speed::dtype(case))));
            checked.note(outcome.map_err(|what| format!("{what} (wgmma: {choice:?})")));
        }
        cuda.allow_wgmma(usual());
    }
}

fn tolerance(case: &Case, dtype: DType) -> Tolerance {
    match (dtype, case.name.starts_with("attention/")) {
        (DType::F32, _) => SINGLE,
        (_, true) => ATTENTION,
        _ => ROUNDED_TWICE,
    }
}

/// Whether a device multiplies by `wgmma`, and may.
pub(crate) fn has_wgmma(cuda: &Cuda) -> bool {
    cuda.capability() == 90 && usual() != Wgmma::Never
}

/// Where kernels on `wgmma` serve unless something else is asked for: what the environment says.
pub(crate) fn usual() -> Wgmma {
    // A device is opened only where the environment says something that is understood.
    Wgmma::named().unwrap_or_default()
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
