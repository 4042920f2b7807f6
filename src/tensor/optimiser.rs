//! Parameters that follow their gradients: AdamW and Adam with clipping by the global norm.

use std::collections::HashSet;

use super::ops::optimiser::{AdamStep, adam_step, clip_scale, global_norm};
use super::{DType, Parameter, Result, Tensor, TensorError, no_grad};

/// What the optimiser is called in errors.
const NAME: &str = "AdamW";

/// The settings of Adam that do not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// How much of the mean gradient, and of the mean squared gradient, stays from step to step.
    pub betas: (f64, f64),
    /// What is added to the root of the mean square.
    pub epsilon: f64,
    /// How fast values decay.
    pub weight_decay: f64,
    /// Whether values decay by themselves (AdamW) or through the gradient (Adam).
    pub decoupled: bool,
    /// The greatest norm of all gradients together; longer ones are scaled down to it.
    pub max_norm: Option<f32>,
}

impl Default for AdamOptions {
    /// PyTorch's defaults of AdamW, without clipping.
    fn default() -> Self {
        AdamOptions { betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 1e-2, decoupled: true, max_norm: None }
    }
}

/// Adam over parameters, with decoupled decay unless the options say otherwise.
#[derive(Clone, Debug)]
pub struct AdamW {
    parameters: Vec<Parameter>,
    options: AdamOptions,
    states: Vec<AdamState>,
    /// How often each parameter's value had been replaced when its state was last brought up to it.
    seen: Vec<u64>,
    steps: u64,
}

/// What Adam remembers of a parameter; tensors are f32.
#[derive(Clone, Debug)]
pub struct AdamState {
    /// The value before it is rounded to the parameter's dtype; `None` where that is f32.
    pub master: Option<Tensor>,
    /// The mean of the gradient.
    pub mean: Tensor,
    /// The mean of its square.
    pub square: Tensor,
    /// Steps in which the parameter had a gradient.
    pub steps: u64,
}

impl AdamState {
    fn new(value: &Tensor) -> Result<AdamState> {
        value.expect_numbers(NAME)?;
        let zeros = || Tensor::zeros(value.device(), value.shape())?.to_layout(value.layout());
        let mut state = AdamState { master: None, mean: zeros()?, square: zeros()?, steps: 0 };
        state.follow(value)?;
        Ok(state)
    }

    /// Goes on from a value: it is kept in f32 exactly where the parameter holds less.
    fn follow(&mut self, value: &Tensor) -> Result<()> {
        self.master = if value.dtype() == DType::F32 { None } else { Some(value.to_dtype(DType::F32)?) };
        Ok(())
    }
}

impl AdamW {
    /// An optimiser that has taken no step yet.
    ///
    /// # Errors
    /// Where a parameter is there twice or holds indices, a number of the options is out of its range, or a device is out
    /// of memory.
    pub fn new(parameters: Vec<Parameter>, options: AdamOptions) -> Result<AdamW> {
        options.expect_fine()?;
        let mut seen = HashSet::with_capacity(parameters.len());
        if let Some(twice) = parameters.iter().find(|parameter| !seen.insert(parameter.identity())) {
            return Err(TensorError::shape(NAME, twice.get().shape(), "every parameter once, not twice"));
        }
        let (mut states, mut seen) = (Vec::with_capacity(parameters.len()), Vec::with_capacity(parameters.len()));
        for parameter in &parameters {
            let (value, changes) = parameter.value_and_changes();
            states.push(AdamState::new(&value)?);
            seen.push(changes);
        }
        Ok(AdamW { parameters, options, states, seen, steps: 0 })
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes one step with the gradients that the parameters hold, each in one pass; parameters without a gradient stay.
    /// A value that was set since the last step, or since [`AdamW::restore`], is the one the step starts from.
    /// Returns the norm of all gradients before clipping, on their device, where the options ask for clipping.
    ///
    /// # Errors
    /// Where the rate or the greatest norm is negative or no number, a gradient does not fit its parameter, or a device is
    /// out of memory.
    pub fn step(&mut self, rate: f64) -> Result<Option<Tensor>> {
        TensorError::unless(rate >= 0.0 && rate.is_finite(), NAME, ("a rate", rate), "0 or more")?;
        let limit = self.options.max_norm.map_or(0.0, f64::from);
        TensorError::unless(limit >= 0.0, NAME, ("a greatest norm", limit), "0 or more")?;
        no_grad(|| {
            let gradients: Vec<Option<Tensor>> = self.parameters.iter().map(Parameter::gradient).collect();
            let norm = match self.options.max_norm {
                Some(_) => global_norm(&gradients.iter().flatten().collect::<Vec<_>>())?,
                None => None,
            };
            let scale = match (&norm, self.options.max_norm) {
                (Some(norm), Some(limit)) => Some(clip_scale(norm, limit)?),
                _ => None,
            };
            self.steps += 1;
            let states = self.states.iter_mut().zip(&mut self.seen);
            for ((parameter, (state, seen)), gradient) in self.parameters.iter().zip(states).zip(gradients) {
                if let Some(gradient) = gradient {
                    state.steps += 1;
                    let step = self.options.step(rate, state.steps);
                    *seen = state.advance(parameter, *seen, &gradient, scale.as_ref(), step)?;
                }
            }
            Ok(norm)
        })
    }

    /// Forgets the gradients of all parameters.
    pub fn clear_gradients(&self) {
        self.parameters.iter().for_each(Parameter::clear_gradient);
    }

    /// What is remembered of each parameter, in their order, for a checkpoint.
    pub fn state(&self) -> Vec<AdamState> {
        self.states.clone()
    }

    /// Goes on from a checkpoint of [`AdamW::state`] after so many steps. The parameters hold their values of that time
    /// already: one that is set later is a new one, and what its state knew beyond bf16 is forgotten.
    ///
    /// # Errors
    /// Where there is not one state of the right shapes a parameter.
    pub fn restore(&mut self, steps: u64, states: Vec<AdamState>) -> Result<()> {
        if states.len() != self.states.len() {
            let expected = format!("{} states, found {}", self.states.len(), states.len());
            return Err(TensorError::shape("restore", [states.len()].into(), expected));
        }
        for ((parameter, own), state) in self.parameters.iter().zip(&self.states).zip(&states) {
            let AdamState { master, mean, square, .. } = state;
            for other in [Some(mean), Some(square), master.as_ref()].into_iter().flatten() {
                own.mean.expect_same_kind("restore", other)?;
                if own.mean.shape() != other.shape() {
                    let expected = "a state of the parameter's shape";
                    return Err(TensorError::shapes("restore", own.mean.shape(), other.shape(), expected));
                }
            }
            if (parameter.get().dtype() != DType::F32) != master.is_some() {
                return Err(TensorError::shape("restore", mean.shape(), "a value in f32 where the parameter is bf16"));
            }
        }
        self.seen = self.parameters.iter().map(|parameter| parameter.value_and_changes().1).collect();
        (self.states, self.steps) = (states, steps);
        Ok(())
    }
}

impl AdamState {
    /// One step; `seen` is how often the value had been replaced when the state was last brought up to it. Returns the
    /// same number after the step.
    fn advance(
        &mut self,
        parameter: &Parameter,
        seen: u64,
        gradient: &Tensor,
        scale: Option<&Tensor>,
        step: AdamStep,
    ) -> Result<u64> {
        let (held, changes) = parameter.value_and_changes();
        if changes != seen {
            self.follow(&held)?;
        }
        let value = self.master.as_ref().unwrap_or(&held);
        let [value, mean, square] = adam_step([value, &self.mean, &self.square], gradient, scale, step)?;
        let changes = parameter.replace(value.to_dtype(held.dtype())?)?;
        (self.mean, self.square) = (mean, square);
        if self.master.is_some() {
            self.master = Some(value);
        }
        Ok(changes)
    }
}

impl AdamOptions {
    /// The error that a number is out of its range.
    fn expect_fine(&self) -> Result<()> {
        for beta in [self.betas.0, self.betas.1] {
            TensorError::unless((0.0..1.0).contains(&beta), NAME, ("a beta", beta), "from 0 up to, but not, 1")?;
        }
        // Steps are of f32, which must still tell it from 0.
        let epsilon = self.epsilon as f32;
        TensorError::unless(epsilon > 0.0 && epsilon.is_finite(), NAME, ("an epsilon", self.epsilon), "above 0")?;
        let decay = self.weight_decay;
        TensorError::unless(decay >= 0.0 && decay.is_finite(), NAME, ("a decay", decay), "0 or more")
    }

    /// The numbers of step `step`, from 1 on.
    fn step(&self, rate: f64, step: u64) -> AdamStep {
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (beta1, beta2) = self.betas;
        AdamStep {
            rate: rate as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: self.epsilon as f32,
            decay: self.weight_decay as f32,
            decoupled: self.decoupled,
            correction1: (1.0 - beta1.powi(power)) as f32,
            correction2: (1.0 - beta2.powi(power)).sqrt() as f32,
        }
    }
}

/// Tensors scaled down together so that the norm of all their elements is at most `limit`, and that norm before; as
/// PyTorch's `clip_grad_norm_`.
///
/// # Errors
/// Where there are none, one holds indices, their devices differ, the limit is negative or no number, or the device is
/// out of memory.
pub fn clipped_by_global_norm(gradients: &[&Tensor], limit: f32) -> Result<(Vec<Tensor>, Tensor)> {
    let none = || TensorError::shape("clipped_by_global_norm", [0].into(), "at least one tensor");
    no_grad(|| {
        let norm = global_norm(gradients)?.ok_or_else(none)?;
        let scale = clip_scale(&norm, limit)?;
        let scaled = |x: &&Tensor| x.to_dtype(DType::F32)?.mul(&scale)?.to_dtype(x.dtype());
        Ok((gradients.iter().map(scaled).collect::<Result<_>>()?, norm))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, Device};

    fn parameter(device: &Device, dtype: DType) -> Parameter {
        let values = Tensor::new(device, [3], &[0.5, -1.0, 2.0]).and_then(|x| x.to_dtype(dtype));
        Parameter::new(values.expect("values"))
    }

    /// One step down Σp².
    fn step(optimiser: &mut AdamW, parameter: &Parameter) {
        let p = parameter.get();
        p.mul(&p).and_then(|squares| squares.sum(&[], false)).and_then(|sum| sum.backward()).expect("a gradient");
        optimiser.step(0.125).expect("a step");
        optimiser.clear_gradients();
    }

    #[test]
    fn a_parameter_may_change_its_precision_between_steps() {
        let device = Cpu::device();
        for (first, then) in [(DType::F32, DType::Bf16), (DType::Bf16, DType::F32)] {
            let (changed, always) = (parameter(&device, first), parameter(&device, then));
            let options = AdamOptions { weight_decay: 0.0, ..AdamOptions::default() };
            let mut optimiser = AdamW::new(vec![changed.clone()], options).expect("an optimiser");
            let mut other = AdamW::new(vec![always.clone()], options).expect("an optimiser");
            changed.set(changed.get().to_dtype(then).expect("numbers")).expect("a value");
            for _ in 0..3 {
                step(&mut optimiser, &changed);
                step(&mut other, &always);
            }
            assert_eq!(changed.get().to_vec(), always.get().to_vec());
            assert_eq!(optimiser.state()[0].master.is_some(), then == DType::Bf16);
        }
    }

    /// A value that is set counts, whatever the optimiser knew of the one before it beyond bf16.
    #[test]
    fn a_step_starts_from_the_value_that_was_set() {
        let device = Cpu::device();
        let options = AdamOptions { weight_decay: 0.0, betas: (0.0, 0.0), ..AdamOptions::default() };
        for dtype in [DType::F32, DType::Bf16] {
            let [changed, fresh] = [0, 1].map(|_| parameter(&device, dtype));
            let mut optimiser = AdamW::new(vec![changed.clone()], options).expect("an optimiser");
            step(&mut optimiser, &changed);
            changed.set(fresh.get().detach()).expect("a value");
            step(&mut optimiser, &changed);
            let mut other = AdamW::new(vec![fresh.clone()], options).expect("an optimiser");
            step(&mut other, &fresh);
            assert_eq!(changed.get().to_vec(), fresh.get().to_vec(), "{dtype}");
            assert_eq!(optimiser.state()[0].master.is_some(), dtype == DType::Bf16);
        }
    }

    #[test]
    fn numbers_out_of_their_range_are_refused() {
        let device = Cpu::device();
        let one = parameter(&device, DType::F32);
        let usual = AdamOptions::default();
        let new = |options| AdamW::new(vec![one.clone()], options);
        for beta in [-0.1, 1.0, f64::NAN] {
            assert!(new(AdamOptions { betas: (beta, 0.9), ..usual }).is_err(), "{beta}");
            assert!(new(AdamOptions { betas: (0.9, beta), ..usual }).is_err(), "{beta}");
        }
        for wrong in [0.0, -1e-8, 1e-60, f64::NAN] {
            assert!(new(AdamOptions { epsilon: wrong, ..usual }).is_err(), "{wrong}");
        }
        assert!(new(AdamOptions { weight_decay: -0.1, ..usual }).is_err());
        let twice = AdamW::new(vec![one.clone(), one.clone()], usual).expect_err("one parameter twice").to_string();
        assert_eq!(twice, "AdamW of [3]: expected every parameter once, not twice");
        for wrong in [-1.0, f64::NAN] {
            assert!(new(usual).expect("an optimiser").step(wrong).is_err(), "{wrong}");
            let limited = new(AdamOptions { max_norm: Some(wrong as f32), ..usual });
            assert!(limited.expect("an optimiser").step(0.1).is_err(), "{wrong}");
            assert!(clipped_by_global_norm(&[&one.get()], wrong as f32).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gradient_of_another_device_is_refused() {
        let [x, gradient] = [0, 1].map(|_| Tensor::zeros(&Cpu::device(), [3]).expect("zeros"));
        let error = adam_step([&x; 3], &gradient, None, AdamOptions::default().step(0.1, 1)).expect_err("two devices");
        assert!(matches!(error, TensorError::Devices { .. }), "{error}");
    }
}
