//! A denoising step of a whole network, ddpm_ultra_minimal: right beside the CPU, and timed with what it needs.

use std::sync::Arc;

use gustfront::nn::networks::ddpm_ultra_minimal::{Sizes, UltraMinimal};
use gustfront::nn::{Builder, NnError, Parameters};
use gustfront::tensor::{Cpu, Cuda, DType, Device, Layout, RandomKey, Result, Tensor, no_grad};
use serde_json::{Value, json};

use super::check::Checked;
use super::speed::{needing, times, told};

/// Rows and columns of a forecast, forward alone, and of a training step, forward and backward.
pub(crate) const FORECAST: [usize; 2] = [1059, 1799];
pub(crate) const TRAINING: [usize; 2] = [256, 256];
/// The step of the diffusion that the network is told.
const STEP: f32 = 50.0;
/// How far a result, and all gradients of the parameters together, may be from those of the CPU in f32, as lengths of
/// vectors: every one of 26 layers rounds what the next one reads to bf16.
const RESULT: f64 = 0.02;
const GRADIENTS: f64 = 0.05;

/// The network with its input in a dtype, channels-last, and the gradient of its result.
struct Denoiser {
    network: UltraMinimal,
    parameters: Parameters,
    x: Tensor,
    upstream: Tensor,
}

impl Denoiser {
    /// Numbers that bf16 holds, in a dtype.
    fn new(device: &Device, dtype: DType, [rows, columns]: [usize; 2]) -> std::result::Result<Self, NnError> {
        let builder = Builder::new(&Cpu::device(), 1);
        UltraMinimal::new(&builder, Sizes::default())?;
        let (drawn, builder) = (builder.parameters(), Builder::new(device, 1));
        let network = UltraMinimal::new(&builder, Sizes::default())?;
        let parameters = builder.parameters();
        let held = |x: &Tensor| x.to_dtype(DType::Bf16)?.to_dtype(dtype)?.to_device(device);
        for (name, parameter) in parameters.trained() {
            drawn.get(name).map_or(Ok(()), |drawn| parameter.set(held(&drawn.get().detach())?))?;
        }
        let image = |purpose| {
            let key = RandomKey { seed: 3, purpose, words: [0; 3] };
            held(&Tensor::random_normal(&Cpu::device(), [1, 7, rows, columns], key)?)?.to_layout(Layout::Channels)
        };
        Ok(Denoiser { network, parameters, x: image(0)?, upstream: image(1)? })
    }

    fn forward(&self) -> Result<Tensor> {
        no_grad(|| self.network.forward(&self.x, &[STEP]))
    }

    /// Leaves gradients in the parameters.
    fn both(&self) -> Result<Tensor> {
        self.parameters.clear_gradients();
        let y = self.network.forward(&self.x, &[STEP])?;
        y.backward_with(&self.upstream)?;
        Ok(y)
    }

    /// The gradients of all parameters, one behind another.
    fn gradients(&self) -> Result<Vec<f32>> {
        self.both()?;
        let gradients = self.parameters.trained().filter_map(|(_, parameter)| parameter.gradient());
        Ok(gradients.map(|x| x.to_vec()).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// What is timed, for the peers.
pub(crate) fn list() -> Value {
    let step = |size: [usize; 2], passes: &[&str]| json!({ "name": name(size), "size": size, "passes": passes });
    json!([step(FORECAST, &["forward"]), step(TRAINING, &["forward", "both"])])
}

fn name([rows, columns]: [usize; 2]) -> String {
    format!("D at {rows}×{columns}")
}

/// Compares a step of two sizes with the CPU's.
pub(crate) fn check(cuda: &Arc<Cuda>, forecast: [usize; 2], training: [usize; 2], checked: &mut Checked) {
    let device: Device = cuda.clone();
    checked.cases += 2;
    let pair =
        |size| Ok([Denoiser::new(&device, DType::Bf16, size)?, Denoiser::new(&Cpu::device(), DType::F32, size)?]);
    let compare = |size: [usize; 2], what: &str, of: &dyn Fn(&Denoiser) -> Result<Vec<f32>>, most: f64| {
        let [found, wanted] = pair(size).map_err(|e: NnError| format!("{what} {size:?}: {e}"))?;
        let told = |e| format!("{what} {size:?}: {e}");
        near(&format!("{what} {size:?}"), &of(&found).map_err(told)?, &of(&wanted).map_err(told)?, most)
    };
    checked.note(compare(forecast, "a step of model D", &|of| of.forward()?.to_vec(), RESULT));
    checked.note(compare(training, "gradients of model D", &Denoiser::gradients, GRADIENTS));
}

/// Whether the length of the difference is a small part of the length of what is wanted.
fn near(what: &str, found: &[f32], wanted: &[f32], most: f64) -> std::result::Result<(), String> {
    let squared = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let difference = &mut found.iter().zip(wanted).map(|(found, wanted)| f64::from(*found) - f64::from(*wanted));
    let part = (squared(difference) / squared(&mut wanted.iter().map(|x| f64::from(*x)))).sqrt();
    match found.len() == wanted.len() && part <= most {
        true => Ok(()),
        false => Err(format!("{what}: {part:.4} of its length away from the CPU's, at most {most} are right")),
    }
}

/// Times a step of each size, forward, and forward and backward.
pub(crate) fn time(cuda: &Arc<Cuda>, forecast: [usize; 2], training: [usize; 2], seconds: f64) -> Vec<Value> {
    let device: Device = cuda.clone();
    let timed = |size: [usize; 2], both: bool| {
        let denoiser = Denoiser::new(&device, DType::Bf16, size);
        let [bytes, operations] = needs(size, both);
        let timed = denoiser.map_err(|error| json!({ "error": error.to_string() })).map(|denoiser| {
            let work = || if both { denoiser.both() } else { denoiser.forward() };
            told(times(cuda, seconds, || work().map(drop)).map(|times| needing(times, bytes, operations as f64)))
        });
        let mut row = timed.unwrap_or_else(|told| told);
        let pass = if both { "both" } else { "forward" };
        (row["name"], row["pass"], row["size"]) = (json!(name(size)), json!(pass), json!(size));
        println!("{row}");
        row
    };
    vec![timed(forecast, false), timed(training, false), timed(training, true)]
}

/// Channels of the twelve convolutions of 3×3, from the first one's input on.
const CHANNELS: [usize; 13] = [7, 16, 16, 32, 32, 32, 32, 32, 32, 16, 16, 16, 16];
const CHANNELS_OUT: usize = 7;

/// Bytes to be moved at the least, and multiplications and additions. A normalisation waits for a whole image, so each
/// convolution's result is written and read once, in bf16; on the way back it is read once more, and its gradient is
/// written, and read for two products.
fn needs([rows, columns]: [usize; 2], both: bool) -> [usize; 2] {
    let pixels = rows * columns;
    let results: usize = CHANNELS[1..].iter().sum();
    let ends = CHANNELS[0] + CHANNELS_OUT;
    let moved = if both { 5 * results + 2 * ends } else { 2 * results + ends };
    let products: usize = CHANNELS.windows(2).map(|pair| 9 * pair[0] * pair[1]).sum();
    let products = products + CHANNELS[12] * CHANNELS_OUT;
    [2 * pixels * moved, 2 * pixels * products * if both { 3 } else { 1 }]
}
