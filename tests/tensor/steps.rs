//! Whole trajectories against PyTorch and NumPy: a clipped optimiser, samplers; and the random numbers of both.

use gustfront::tensor::cases::Array;
use gustfront::tensor::{AdamOptions, AdamW, Cpu, Level, Parameter, RandomKey, Result, SamplerStep, Tensor};

use crate::assert_close;
use crate::fixtures::Fixtures;

/// What f32 results are compared with stored ones to.
const TOLERANCE: (f64, f64) = (1e-5, 1e-6);
/// Rounding of every step goes through the network of the steps that follow.
const SAMPLED: (f64, f64) = (1e-5, 1e-5);

fn fixtures() -> Fixtures {
    Fixtures::own("steps.safetensors")
}

#[test]
fn clipped_steps_of_adam_equal_pytorchs() -> Result<()> {
    let fixtures = fixtures();
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let given = |name: &str| fixtures.tensor(&device, &format!("adam.{name}"));
        let (matrix, target) = (given("matrix"), given("target"));
        let [p, q] = ["p", "q"].map(|name| Parameter::new(given(name)));
        let options =
            AdamOptions { betas: (0.9, 0.99), weight_decay: 0.1, max_norm: Some(1.0), ..AdamOptions::default() };
        let mut optimiser = AdamW::new(vec![p.clone(), q.clone()], options)?;
        let [mut norms, mut ps, mut qs] = [const { Vec::new() }; 3];
        for _ in 0..10 {
            optimiser.clear_gradients();
            let rest = matrix.matmul(&p.get())?.sub(&target)?;
            let loss = rest.mul(&rest)?.sum(&[], false)?.mul_scalar(0.5)?.add(&q.get().sin()?.sum(&[], false)?)?;
            loss.backward()?;
            norms.push(optimiser.step(0.05)?.expect("a norm").item()?);
            ps.extend(p.get().to_vec()?);
            qs.extend(q.get().to_vec()?);
        }
        for (name, found) in [("norms", norms), ("ps", ps), ("qs", qs)] {
            assert_close(&format!("adam.{name} {level:?}"), &found, fixtures.array(&format!("adam.{name}")), TOLERANCE);
        }
    }
    Ok(())
}

#[test]
fn samplers_equal_the_papers_over_a_schedule() -> Result<()> {
    let fixtures = fixtures();
    let bars = &fixtures.array("sampler.bars").values;
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let noises = fixtures.tensor(&device, "sampler.noises");
        let network = |x: &Tensor| x.mul_scalar(0.7)?.tanh()?.add_scalar(0.1);
        let start = fixtures.tensor(&device, "sampler.start");
        let mut x = start.clone();
        for (i, pair) in bars.windows(2).enumerate() {
            let sigma = 0.5 * ((1.0 - pair[1]) / (1.0 - pair[0])).sqrt() * (1.0 - pair[0] / pair[1]).sqrt();
            let step = SamplerStep::ddim(pair[0], pair[1], sigma, None)?;
            x = x.sampler_step(&network(&x)?, None, Some(&noises.narrow(0, 2 * i, 2)?), step)?.0;
        }
        assert_close("sampler.ddim", &x.to_vec()?, fixtures.array("sampler.ddim"), SAMPLED);
        let lambda = |bar: f64| (bar.sqrt() / (1.0 - bar).sqrt()).ln();
        let (mut x, mut before, mut length) = (start, None, None);
        for pair in bars.windows(2) {
            let now = lambda(pair[1]) - lambda(pair[0]);
            let step = SamplerStep::dpm_solver_2m(pair[0], pair[1], length.map(|length: f64| length / now))?;
            let (next, clean) = x.sampler_step(&network(&x)?, before.as_ref(), None, step)?;
            (x, before, length) = (next, Some(clean), Some(now));
        }
        assert_close("sampler.dpm_solver", &x.to_vec()?, fixtures.array("sampler.dpm_solver"), SAMPLED);
    }
    Ok(())
}

#[test]
fn random_numbers_are_philoxs() -> Result<()> {
    let fixtures = fixtures();
    let key = RandomKey { seed: 987_654_321_012_345, purpose: 3, words: [7, 8, 9] };
    for level in Level::available() {
        let device = Cpu::with_level(level);
        let check = |name: &str, found: Tensor| -> Result<()> {
            let wanted: &Array = fixtures.array(name);
            assert_close(&format!("{name} {level:?}"), &found.to_vec()?, wanted, TOLERANCE);
            Ok(())
        };
        check("philox.uniform", Tensor::random_uniform(&device, [240], key)?)?;
        check("philox.normal", Tensor::random_normal(&device, [240], key)?)?;
    }
    Ok(())
}
