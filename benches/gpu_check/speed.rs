//! How long operations take on a device, launch by launch and as a recording, and what they move and compute.

use std::sync::Arc;
use std::time::Instant;

use gustfront::tensor::cases::{Case, Input, Numbers};
use gustfront::tensor::cuda::Wgmma;
use gustfront::tensor::{Cuda, DType, Device, Layout, Result, Tensor, no_grad};
use serde_json::{Value, json};

use super::check::{has_forms, has_wgmma, usual};

/// Seconds that one measurement of a case takes, and how many there are: the median counts.
pub(crate) const SECONDS: f64 = 0.1;
const ROUNDS: usize = 7;
/// Seconds below which a measurement shows that something runs, not how long it takes.
const GLANCE: f64 = 1e-3;
/// Elements of the f32 array whose copy shows the memory's speed: far more than any cache holds.
const COPIED: usize = 1 << 28;

/// Families that are timed in f32: their peers know no bf16, or it does not tell places apart.
const SINGLE: [&str; 2] = ["fft", "graph"];

/// The inputs of the cases that are timed, for the peers.
pub(crate) fn list(cases: &[Case]) -> Value {
    let input = |input: &Input| match input.numbers {
        Numbers::Below(limit) => json!({ "shape": input.shape, "below": limit }),
        Numbers::Between(low, high) => {
            json!({ "shape": input.shape, "between": [low, high], "gradient": input.gradient })
        }
        Numbers::Normal => json!({ "shape": input.shape, "gradient": input.gradient }),
    };
    let timed = cases.iter().filter(|case| case.plain.is_none());
    timed
        .map(|case| {
            let inputs: Vec<Value> = case.inputs.iter().map(input).collect();
            json!({ "name": case.name, "dtype": dtype(case).to_string(), "inputs": inputs })
        })
        .collect()
}

/// Times the cases that are there for their speed.
pub(crate) fn run(cuda: &Arc<Cuda>, cases: &[Case], seconds: f64) -> Vec<Value> {
    let timed = cases.iter().filter(|case| case.plain.is_none());
    timed
        .map(|case| {
            let [forward, both] = [forward(cuda, case, seconds), both(cuda, case, seconds)].map(told);
            let forms = told(forms(cuda, case, seconds));
            println!("{}: {forward} {both} {forms}", case.name);
            json!({ "name": case.name, "dtype": dtype(case).to_string(), "forward": forward, "both": both, "forms": forms })
        })
        .collect()
}

/// A measurement, or why there is none.
pub(crate) fn told(measured: Result<Value>) -> Value {
    measured.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

/// What a case is timed in.
pub(crate) fn dtype(case: &Case) -> DType {
    let family = case.name.split('/').next().unwrap_or_default();
    if SINGLE.contains(&family) { DType::F32 } else { DType::Bf16 }
}

/// Bytes a second of a copy; 0 where it fails.
pub(crate) fn copied(cuda: &Arc<Cuda>) -> f64 {
    let copied = copy(cuda, COPIED, SECONDS).map_err(|e| println!("copy: {e}")).unwrap_or(0.0);
    println!("a copy moves {:.0} GB/s", copied / 1e9);
    copied
}

/// Bytes a second that an operation moves which reads an array once and writes one.
pub(crate) fn copy(cuda: &Arc<Cuda>, len: usize, seconds: f64) -> Result<f64> {
    let device: Device = cuda.clone();
    let x = Tensor::full(&device, [len], 1.0)?;
    let took = measure(cuda, seconds, || x.relu().map(drop))?;
    Ok(8.0 * len as f64 / took)
}

/// Milliseconds of work that is asked for launch by launch, and of its recording.
pub(crate) fn times(cuda: &Arc<Cuda>, seconds: f64, work: impl Fn() -> Result<()>) -> Result<Value> {
    let took = measure(cuda, seconds, &work)?;
    let replayed = match cuda.record(&work) {
        Ok((replay, ())) => json!(1e3 * measure(cuda, seconds, || replay.run())?),
        Err(error) => json!(error.to_string()),
    };
    Ok(json!({ "ms": 1e3 * took, "replayed_ms": replayed }))
}

/// The same with what one run needs to move, in bytes, and to multiply and add.
pub(crate) fn needing(mut times: Value, bytes: usize, operations: f64) -> Value {
    (times["bytes"], times["operations"]) = (json!(bytes), json!(operations));
    times
}

/// A case in bf16, channels-last, with the bytes of its inputs and outputs.
pub(crate) fn forward(cuda: &Arc<Cuda>, case: &Case, seconds: f64) -> Result<Value> {
    no_grad(|| {
        let inputs = inputs(cuda, case)?;
        let moved = bytes(&inputs) + bytes(&(case.run)(&inputs)?);
        let times = times(cuda, seconds, || (case.run)(&inputs).map(drop))?;
        Ok(needing(times, moved, case.operations.unwrap_or(0.0)))
    })
}

/// A case and the gradients of its inputs; nothing where there are none. Each input and output is moved twice, and each
/// gradient once; a product has two in its gradients.
pub(crate) fn both(cuda: &Arc<Cuda>, case: &Case, seconds: f64) -> Result<Value> {
    let inputs = inputs(cuda, case)?;
    let leaf = |(x, input): (&Tensor, &Input)| if input.gradient { x.with_gradient() } else { x.clone() };
    let leaves = || -> Vec<Tensor> { inputs.iter().zip(&case.inputs).map(leaf).collect() };
    let outputs = (case.run)(&leaves())?;
    let Some(first) = outputs.first().filter(|y| y.wants_gradient()) else { return Ok(Value::Null) };
    let upstream =
        Tensor::full(first.device(), first.shape(), 1.0)?.to_dtype(first.dtype())?.to_layout(first.layout())?;
    let wanted: Vec<Tensor> = leaves().into_iter().filter(Tensor::wants_gradient).collect();
    let moved = 2 * bytes(&inputs) + 2 * bytes(&outputs) + bytes(&wanted);
    drop((outputs, wanted));
    let work = || match (case.run)(&leaves())?.first() {
        Some(y) => y.backward_with(&upstream),
        None => Ok(()),
    };
    Ok(needing(times(cuda, seconds, work)?, moved, 3.0 * case.operations.unwrap_or(0.0)))
}

fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|x| x.len() * x.dtype().bytes()).sum()
}

/// Milliseconds of a product or convolution by each kind of kernels that the device has.
pub(crate) fn forms(cuda: &Arc<Cuda>, case: &Case, seconds: f64) -> Result<Value> {
    if !has_wgmma(cuda) || !has_forms(case) {
        return Ok(json!({}));
    }
    let times = [Wgmma::Never, Wgmma::Wherever].map(|choice| {
        cuda.allow_wgmma(choice);
        no_grad(|| {
            let inputs = inputs(cuda, case)?;
            measure(cuda, seconds, || (case.run)(&inputs).map(drop))
        })
    });
    cuda.allow_wgmma(usual());
    let [mma, wgmma] = times;
    Ok(json!({ "mma_sync_ms": 1e3 * mma?, "wgmma_ms": 1e3 * wgmma? }))
}

/// Seconds that one call takes: many are asked for before the device is waited for.
pub(crate) fn measure(cuda: &Arc<Cuda>, seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut calls = |count: usize| -> Result<f64> {
        cuda.wait()?;
        let start = Instant::now();
        (0..count).try_for_each(|_| work())?;
        cuda.wait()?;
        Ok(start.elapsed().as_secs_f64() / count as f64)
    };
    // A glance is taken once.
    let rounds = if seconds < GLANCE { 1 } else { ROUNDS };
    calls(rounds / 2)?;
    let once = calls(1)?.max(1e-6);
    let count = ((seconds / once) as usize).clamp(1, 10_000);
    let mut times = (0..rounds).map(|_| calls(count)).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[rounds / 2])
}

/// A case's inputs, drawn on the device.
pub(crate) fn inputs(cuda: &Arc<Cuda>, case: &Case) -> Result<Vec<Tensor>> {
    let device: Device = cuda.clone();
    let make = |(input, number): (&Input, u32)| match input.numbers {
        Numbers::Below(_) => input.drawn(&device, number),
        _ => input.drawn(&device, number)?.to_dtype(dtype(case))?.to_layout(Layout::Channels),
    };
    case.inputs.iter().zip(0..).map(make).collect()
}
