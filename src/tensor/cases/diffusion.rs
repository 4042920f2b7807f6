//! Noising and sampler steps.

use super::{Array, Case, Input};
use crate::tensor::{Result, SamplerStep, Tensor};

const SHAPE: [usize; 4] = [3, 2, 5, 7];
const ALPHA_BARS: [f64; 3] = [0.99, 0.5, 0.0625];

const CLIPPED: SamplerStep = SamplerStep {
    from_x: 1.25,
    from_model: -0.75,
    clip: Some(1.0),
    keep_x: 0.5,
    keep_model: 0.25,
    keep_denoised: 0.625,
    keep_previous: -0.125,
    noise: 0.375,
};

/// A case of a step; one that cannot be made fails when it is run.
fn sampled(name: &str, step: Result<SamplerStep>) -> Case {
    let plain_step = step.clone().unwrap_or_default();
    let run = move |x: &[Tensor]| {
        let (next, denoised) = x[0].sampler_step(&x[1], Some(&x[2]), Some(&x[3]), step.clone()?)?;
        Ok(vec![next, denoised])
    };
    let plain = move |x: &[Array]| {
        let step = plain_step;
        let denoised = Array::from_fn(&SHAPE, |i| {
            let limit = step.clip.map_or(f64::INFINITY, f64::from);
            (f64::from(step.from_x) * x[0].at(i) + f64::from(step.from_model) * x[1].at(i)).clamp(-limit, limit)
        });
        let next = Array::from_fn(&SHAPE, |i| {
            f64::from(step.keep_x) * x[0].at(i)
                + f64::from(step.keep_model) * x[1].at(i)
                + f64::from(step.keep_denoised) * denoised.at(i)
                + f64::from(step.keep_previous) * x[2].at(i)
                + f64::from(step.noise) * x[3].at(i)
        });
        vec![next, denoised]
    };
    let inputs = (0..4).map(|_| Input::normal(&SHAPE).constant()).collect();
    Case::new(format!("diffusion/step {name}"), inputs, run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let noised = |x: &[Tensor]| Ok(vec![x[0].q_sample(&x[1], &ALPHA_BARS)?]);
    let plain = |x: &[Array]| {
        let of = |i: &[usize]| {
            let a = ALPHA_BARS[i[0]];
            a.sqrt() * x[0].at(i) + (1.0 - a).sqrt() * x[1].at(i)
        };
        vec![Array::from_fn(&SHAPE, of)]
    };
    let mut cases =
        vec![Case::new("diffusion/q_sample", vec![Input::normal(&SHAPE), Input::normal(&SHAPE)], noised, plain)];
    cases.push(sampled("clipped", Ok(CLIPPED)));
    cases.push(sampled("DDIM", SamplerStep::ddim(0.25, 0.5, 0.1, None)));
    cases.push(sampled("DPM-Solver++ 2M", SamplerStep::dpm_solver_2m(0.25, 0.5, Some(0.8))));
    let big = || Input::normal(&[1, 16, 1059, 1799]);
    cases.push(Case::speed("diffusion/q_sample 16×1059×1799", vec![big(), big()], |x| {
        Ok(vec![x[0].q_sample(&x[1], &[0.5])?])
    }));
    cases.push(Case::speed("diffusion/DPM-Solver++ 16×1059×1799", vec![big(), big(), big()], |x| {
        let step = SamplerStep::dpm_solver_2m(0.25, 0.5, Some(0.8))?;
        let (next, denoised) = x[0].sampler_step(&x[1], Some(&x[2]), None, step)?;
        Ok(vec![next, denoised])
    }));
    cases
}
