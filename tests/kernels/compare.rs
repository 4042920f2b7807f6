//! What a case gives on a device against what is right: plain loops in f64, and what the CPU makes of it in f32.

use gustfront::tensor::cases::{Array, Case};
use gustfront::tensor::{Cpu, DType, Device, Layout, RandomKey, Result, Tensor, no_grad};

/// Half a unit in the last place of bf16: 8 bits of precision, rounded once.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

/// What a number may lose of itself where it is taken as two of bf16.
const SPLIT: f64 = 1.0 / 131_072.0;

/// Relative to a number, and to the greatest of its tensor.
pub(crate) type Tolerance = (f64, f64);

/// Against the CPU both are sums in f32 in different orders.
const SUMS: Tolerance = (2e-5, 1e-5);

/// Gradients in bf16 that are more than one rounding away from those of f32: the beginning of the case's name, how much
/// relative to the greatest, and why.
const MORE_ROUNDINGS: [(&str, f64, &str); 1] =
    [("attention/", 1.0 / 128.0, "shares and their gradients are operands of products, in bf16")];

type Outcome = std::result::Result<(), String>;

/// Values against plain loops in f64 on what the inputs hold; bf16 is rounded once. Nothing to do without such loops.
pub(crate) fn values(case: &Case, device: &Device, dtype: DType, layout: Layout) -> Outcome {
    let Some(plain) = &case.plain else { return Ok(()) };
    let what = format!("{} {dtype} {layout:?} {}", case.name, device.name());
    let failed = |e| format!("{what}: {e}");
    let inputs = case.tensors(device, dtype, layout).map_err(failed)?;
    let arrays: Result<Vec<Array>> = inputs.iter().zip(case.arrays()).map(|(x, array)| held(x, array)).collect();
    let wanted = plain(&arrays.map_err(failed)?);
    let found = no_grad(|| (case.run)(&inputs)).map_err(failed)?;
    let (rounding, lost) = if dtype == DType::Bf16 { (BF16_ROUNDING, SPLIT * case.split) } else { (0.0, 0.0) };
    let tolerance = (case.tolerance.0 + rounding, case.tolerance.1 + lost);
    if !found.iter().map(|x| x.shape().sizes().to_vec()).eq(wanted.iter().map(|x| x.shape.clone())) {
        return Err(format!("{what}: other shapes than the plain loops'"));
    }
    found.iter().zip(&wanted).try_for_each(|(found, wanted)| {
        close(&what, &found.to_vec().map_err(failed)?, wanted.values.iter().copied(), tolerance)
    })
}

/// An input's numbers as its dtype holds them.
fn held(x: &Tensor, array: Array) -> Result<Array> {
    match x.dtype() {
        DType::Bf16 => Ok(Array { values: x.to_vec()?.into_iter().map(f64::from).collect(), ..array }),
        _ => Ok(array),
    }
}

/// Whether all is within a tolerance, relative and absolute; how many are not, and which is the worst.
fn close(what: &str, found: &[f32], wanted: impl ExactSizeIterator<Item = f64>, tolerance: (f64, f64)) -> Outcome {
    if found.len() != wanted.len() {
        return Err(format!("{what}: {} elements, expected {}", found.len(), wanted.len()));
    }
    let (mut wrong, mut worst) = (0, (1.0, 0, 0.0));
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let times = excess(f64::from(*found), wanted, tolerance);
        wrong += usize::from(times > 1.0);
        worst = if times > worst.0 { (times, i, wanted) } else { worst };
    }
    let (times, i, wanted) = worst;
    let worst = || format!("element {i} is {}, expected {wanted}: {times:.1} times as far off as is right", found[i]);
    if wrong == 0 { Ok(()) } else { Err(format!("{what}: {wrong} of {} are wrong; {}", found.len(), worst())) }
}

/// How many times as far as is right a number is off.
fn excess(found: f64, wanted: f64, (relative, absolute): (f64, f64)) -> f64 {
    if found == wanted || (found.is_nan() && wanted.is_nan()) {
        return 0.0;
    }
    let times = (found - wanted).abs() / (absolute + relative * wanted.abs());
    if times.is_nan() { f64::INFINITY } else { times }
}

/// Gradients of every input against those that the CPU works out in f32 from the same numbers, which are compared with
/// differences elsewhere; those of bf16 are rounded once.
pub(crate) fn gradients(case: &Case, device: &Device, dtype: DType) -> Outcome {
    if !case.inputs.iter().any(|input| input.gradient) {
        return Ok(());
    }
    let what = format!("{} {dtype} {}", case.name, device.name());
    let inputs = case.tensors(device, dtype, Layout::Channels).map_err(|e| format!("{what}: {e}"))?;
    let reference = Reference::of(case, &inputs)?;
    let more = MORE_ROUNDINGS.iter().find(|(name, ..)| case.name.starts_with(name)).map_or(0.0, |(_, more, _)| *more);
    let rounded = (SUMS.0 + BF16_ROUNDING, SUMS.1 + more);
    reference.compare_gradients(case, &inputs, if dtype == DType::Bf16 { rounded } else { SUMS })
}

/// What the CPU makes of the numbers that a device's inputs hold, in f32.
pub(crate) struct Reference {
    outputs: Vec<Vec<f32>>,
    gradients: Vec<Option<Vec<f32>>>,
    /// What each output is multiplied by before all are added up, on the CPU: numbers that bf16 holds.
    weights: Vec<Tensor>,
}

/// The outputs of a case, and its inputs with the gradients of the sum of all outputs times their weights.
struct Pass {
    outputs: Vec<Tensor>,
    leaves: Vec<Tensor>,
}

impl Reference {
    /// # Errors
    /// Where the CPU refuses the case.
    pub(crate) fn of(case: &Case, inputs: &[Tensor]) -> std::result::Result<Self, String> {
        Reference::worked_out(case, inputs).map_err(|e| format!("{} on the CPU: {e}", case.name))
    }

    fn worked_out(case: &Case, inputs: &[Tensor]) -> Result<Self> {
        let cpu = Cpu::device();
        let inputs = inputs.iter().map(|x| wide_on(&cpu, x)).collect::<Result<Vec<Tensor>>>()?;
        let pass = Pass::run(case, &inputs, drawn)?;
        Ok(Reference {
            outputs: pass.outputs.iter().map(numbers).collect::<Result<_>>()?,
            gradients: pass.gradients()?,
            weights: pass.outputs.iter().enumerate().map(|(number, y)| drawn(number, y)).collect::<Result<_>>()?,
        })
    }

    /// Whether a case gives the same on the device of these inputs, and the same gradients.
    pub(crate) fn compare(&self, case: &Case, inputs: &[Tensor], tolerance: Tolerance) -> Outcome {
        let found = no_grad(|| (case.run)(inputs).and_then(|y| y.iter().map(numbers).collect::<Result<Vec<_>>>()));
        let found = found.map_err(|e| format!("{}: {e}", case.name))?;
        if found.len() != self.outputs.len() {
            return Err(format!("{}: {} results, expected {}", case.name, found.len(), self.outputs.len()));
        }
        for (number, (found, wanted)) in found.iter().zip(&self.outputs).enumerate() {
            near(&format!("{} result {number}", case.name), found, wanted, tolerance)?;
        }
        match case.inputs.iter().any(|input| input.gradient) {
            true => self.compare_gradients(case, inputs, tolerance),
            false => Ok(()),
        }
    }

    fn compare_gradients(&self, case: &Case, inputs: &[Tensor], tolerance: Tolerance) -> Outcome {
        let Some(device) = inputs.first().map(Tensor::device) else { return Ok(()) };
        let weight = |number: usize, y: &Tensor| self.weights[number].to_device(y.device())?.to_layout(y.layout());
        let found = Pass::run(case, inputs, weight).and_then(|pass| pass.gradients());
        let found = found.map_err(|e| format!("{} on {}: {e}", case.name, device.name()))?;
        for (number, (found, wanted)) in found.iter().zip(&self.gradients).enumerate() {
            let dtype = inputs[number].dtype();
            let what = format!("{} {dtype} gradient of input {number} on {}", case.name, device.name());
            match (found, wanted) {
                (Some(found), Some(wanted)) => near(&what, found, wanted, tolerance)?,
                (None, None) => (),
                _ => return Err(format!("{what}: there on one of two devices")),
            }
        }
        Ok(())
    }
}

impl Pass {
    /// One pass back from all outputs, where there are several: passes of their own would round what leaves gather in bf16
    /// once each. A single output is given its weight as its gradient, in its own dtype.
    fn run(case: &Case, inputs: &[Tensor], weight: impl Fn(usize, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let leaf = |(x, wanted): (&Tensor, bool)| if wanted { x.with_gradient() } else { x.clone() };
        let leaves: Vec<Tensor> = inputs.iter().zip(case.inputs.iter().map(|i| i.gradient)).map(leaf).collect();
        let outputs = (case.run)(&leaves)?;
        let mut total: Option<Tensor> = None;
        if let [y] = &outputs[..]
            && y.wants_gradient()
        {
            y.backward_with(&weight(0, y)?.to_dtype(y.dtype())?)?;
            return Ok(Pass { outputs, leaves });
        }
        for (number, y) in outputs.iter().enumerate().filter(|(_, y)| y.wants_gradient()) {
            let sum = y.to_dtype(DType::F32)?.mul(&weight(number, y)?)?.sum(&[], false)?;
            total = Some(total.map_or_else(|| Ok(sum.clone()), |total| total.add(&sum))?);
        }
        total.map_or(Ok(()), |total| total.backward())?;
        Ok(Pass { outputs, leaves })
    }

    fn gradients(&self) -> Result<Vec<Option<Vec<f32>>>> {
        self.leaves.iter().map(|x| x.gradient().map(|x| x.to_vec()).transpose()).collect()
    }
}

/// The same on a device; numbers in f32.
fn wide_on(device: &Device, x: &Tensor) -> Result<Tensor> {
    let x = x.to_device(device)?;
    if x.dtype() == DType::I32 { Ok(x) } else { x.to_dtype(DType::F32) }
}

/// The weights of an output: normal numbers that bf16 holds.
fn drawn(number: usize, y: &Tensor) -> Result<Tensor> {
    let key = RandomKey { seed: 7, purpose: number as u32, words: [0; 3] };
    let numbers = Tensor::random_normal(y.device(), y.shape(), key)?.to_dtype(DType::Bf16)?;
    numbers.to_dtype(DType::F32)?.to_layout(y.layout())
}

/// A tensor's numbers, or its indices as numbers.
fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    if x.dtype() == DType::I32 { Ok(x.to_indices()?.into_iter().map(|i| i as f32).collect()) } else { x.to_vec() }
}

fn near(what: &str, found: &[f32], wanted: &[f32], (relative, of_greatest): Tolerance) -> Outcome {
    let finite = wanted.iter().map(|x| x.abs()).filter(|x| x.is_finite());
    let greatest = finite.fold(0f32, f32::max);
    let what = format!("{what}, whose greatest is {greatest}");
    close(&what, found, wanted.iter().map(|x| f64::from(*x)), (relative, of_greatest * f64::from(greatest)))
}
