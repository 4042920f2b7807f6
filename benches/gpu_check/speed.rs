//! How long operations take on a device, launch by launch and as a recording, and what they move and compute.

use std::sync::Arc;
use std::time::Instant;

use gustfront::tensor::cases::{Case, Input, Numbers};
use gustfront::tensor::cuda::Wgmma;
use gustfront::tensor::{Cuda, DType, Device, Layout, Result, Tensor, TensorError, no_grad};
use serde_json::{Value, json};

use super::check::has_forms;

/// Seconds that one measurement of a case takes, and how many there are: the median counts.
const SECONDS: f64 = 0.1;
const ROUNDS: usize = 7;
/// Elements of the f32 array whose copy shows the memory's speed: far more than any cache holds.
const COPIED: usize = 1 << 28;

/// Families whose peers know no bf16: they are timed in f32.
const SINGLE: [&str; 1] = ["fft"];

/// The inputs of the cases that are timed, for the peers.
pub(crate) fn list(cases: &[Case]) -> Value {
    let input = |input: &Input| match input.numbers {
        Numbers::Below(limit) => json!({ "shape": input.shape, "below": limit }),
        Numbers::Between(low, high) => json!({ "shape": input.shape, "between": [low, high] }),
        Numbers::Normal => json!({ "shape": input.shape }),
    };
    let timed = cases.iter().filter(|case| case.plain.is_none());
    timed
        .map(|case| {
            let inputs: Vec<Value> = case.inputs.iter().map(input).collect();
            json!({ "name": case.name, "dtype": dtype(case).to_string(), "inputs": inputs })
        })
        .collect()
}

/// Times the cases that are there for their speed, and a copy.
pub(crate) fn run(cuda: &Arc<Cuda>, cases: &[Case]) -> Value {
    let copy = copy(cuda, COPIED, SECONDS).map_err(|e| println!("copy: {e}")).unwrap_or(0.0);
    println!("a copy moves {:.0} GB/s", copy / 1e9);
    let timed = cases.iter().filter(|case| case.plain.is_none());
    let times: Vec<Value> = timed
        .map(|case| {
            let told = |e: TensorError| json!({ "error": e.to_string() });
            let timed = time(cuda, case, SECONDS).unwrap_or_else(told);
            let forms = forms(cuda, case, SECONDS).unwrap_or_else(told);
            println!("{}: {timed} {forms}", case.name);
            json!({ "name": case.name, "dtype": dtype(case).to_string(), "result": timed, "forms": forms })
        })
        .collect();
    json!({ "copy_bytes_per_second": copy, "cases": times })
}

fn dtype(case: &Case) -> DType {
    let family = case.name.split('/').next().unwrap_or_default();
    if SINGLE.contains(&family) { DType::F32 } else { DType::Bf16 }
}

/// Bytes a second that an operation moves which reads an array once and writes one.
pub(crate) fn copy(cuda: &Arc<Cuda>, len: usize, seconds: f64) -> Result<f64> {
    let device: Device = cuda.clone();
    let x = Tensor::full(&device, [len], 1.0)?;
    let took = measure(cuda, seconds, || x.relu().map(drop))?;
    Ok(8.0 * len as f64 / took)
}

/// Milliseconds of a case in bf16, channels-last, with the bytes of its inputs and outputs and its operations.
pub(crate) fn time(cuda: &Arc<Cuda>, case: &Case, seconds: f64) -> Result<Value> {
    no_grad(|| {
        let inputs = inputs(cuda, case)?;
        let outputs = (case.run)(&inputs)?;
        let bytes: usize = inputs.iter().chain(&outputs).map(|x| x.len() * x.dtype().bytes()).sum();
        let operations = operations(case, &outputs);
        drop(outputs);
        let took = measure(cuda, seconds, || (case.run)(&inputs).map(drop))?;
        let replayed = match cuda.record(|| (case.run)(&inputs)) {
            Ok((replay, _outputs)) => json!(1e3 * measure(cuda, seconds, || replay.run())?),
            Err(error) => json!(error.to_string()),
        };
        Ok(json!({ "ms": 1e3 * took, "replayed_ms": replayed, "bytes": bytes, "operations": operations }))
    })
}

/// Milliseconds of a product or convolution by each kind of kernels that the device has.
pub(crate) fn forms(cuda: &Arc<Cuda>, case: &Case, seconds: f64) -> Result<Value> {
    if cuda.capability() != 90 || !has_forms(case) {
        return Ok(json!({}));
    }
    let times = [Wgmma::Never, Wgmma::Wherever].map(|choice| {
        cuda.allow_wgmma(choice);
        no_grad(|| {
            let inputs = inputs(cuda, case)?;
            measure(cuda, seconds, || (case.run)(&inputs).map(drop))
        })
    });
    cuda.allow_wgmma(Wgmma::WhereItPays);
    let [mma, wgmma] = times;
    Ok(json!({ "mma_sync_ms": 1e3 * mma?, "wgmma_ms": 1e3 * wgmma? }))
}

/// Seconds that one call takes: many are asked for before the device is waited for.
fn measure(cuda: &Arc<Cuda>, seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut calls = |count: usize| -> Result<f64> {
        cuda.wait()?;
        let start = Instant::now();
        (0..count).try_for_each(|_| work())?;
        cuda.wait()?;
        Ok(start.elapsed().as_secs_f64() / count as f64)
    };
    calls(3)?;
    let once = calls(1)?.max(1e-6);
    let count = ((seconds / once) as usize).clamp(1, 10_000);
    let mut times = (0..ROUNDS).map(|_| calls(count)).collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

fn inputs(cuda: &Arc<Cuda>, case: &Case) -> Result<Vec<Tensor>> {
    let device: Device = cuda.clone();
    let make = |(input, number): (&Input, u32)| match input.numbers {
        Numbers::Below(_) => input.drawn(&device, number),
        _ => input.drawn(&device, number)?.to_dtype(dtype(case))?.to_layout(Layout::Channels),
    };
    case.inputs.iter().zip(0..).map(make).collect()
}

/// Multiplications and additions of products; 0 where memory alone counts.
pub(crate) fn operations(case: &Case, outputs: &[Tensor]) -> f64 {
    let shape = |number: usize| case.inputs.get(number).map_or(&[][..], |input| &input.shape[..]);
    let out = outputs.first().map_or(0, Tensor::len) as f64;
    let product = |sizes: &[usize]| sizes.iter().product::<usize>() as f64;
    match case.name.split('/').next() {
        Some("conv") => 2.0 * out * product(&shape(1)[1..]),
        Some("matmul") => 2.0 * out * product(&shape(0)[shape(0).len() - 1..]),
        Some("attention") => 4.0 * out * shape(1).get(2).map_or(0.0, |keys| *keys as f64),
        _ => 0.0,
    }
}
