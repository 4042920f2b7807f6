//! What diffusion does to whole fields between two calls of a network: noise added, and one step of a sampler.

use crate::tensor::{Buffer, Result, Slice, Tensor, TensorError};

/// One step of a sampler: x₀ = from_x·x + from_model·m, held within ± clip, and the next x is
/// keep_x·x + keep_model·m + keep_denoised·x₀ + keep_previous·(x₀ of the step before) + noise·ε, with the network's
/// answer m. Of DDPM, DDIM and DPM-Solver++, of every kind of answer, only the numbers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SamplerStep {
    /// What x counts in x₀.
    pub from_x: f32,
    /// What the network's answer counts in x₀.
    pub from_model: f32,
    /// The greatest absolute value of x₀, not negative.
    pub clip: Option<f32>,
    /// What x counts in the next one.
    pub keep_x: f32,
    /// What the network's answer counts in the next x.
    pub keep_model: f32,
    /// What x₀ counts in the next x.
    pub keep_denoised: f32,
    /// What the x₀ of the step before counts in the next x.
    pub keep_previous: f32,
    /// What new noise counts in the next x.
    pub noise: f32,
}

/// What a backend does for diffusion.
pub trait Diffusion {
    /// a·x + b·y with one a and b (f32) for every so many elements.
    fn blend(&self, x: Slice<'_>, y: Slice<'_>, factors: &[[f32; 2]]) -> Result<Buffer>;
    /// The next x, and x₀, of x, the network's answer, the x₀ before and noise.
    fn sampler_step(
        &self,
        x: Slice<'_>,
        model: Slice<'_>,
        others: [Option<Slice<'_>>; 2],
        step: SamplerStep,
    ) -> Result<[Buffer; 2]>;
}

impl SamplerStep {
    /// DDIM (Song et al., 2021) of a network that answers with the noise, from ᾱ to ᾱ' with noise of deviation σ.
    pub fn ddim(alpha_bar: f64, alpha_bar_next: f64, sigma: f64, clip: Option<f32>) -> SamplerStep {
        SamplerStep {
            from_x: (1.0 / alpha_bar.sqrt()) as f32,
            from_model: -((1.0 - alpha_bar) / alpha_bar).sqrt() as f32,
            clip,
            keep_model: (1.0 - alpha_bar_next - sigma * sigma).max(0.0).sqrt() as f32,
            keep_denoised: alpha_bar_next.sqrt() as f32,
            noise: sigma as f32,
            ..SamplerStep::default()
        }
    }

    /// DPM-Solver++(2M) (Lu et al., 2022) of a network that answers with the noise, from ᾱ to ᾱ'; `ratio` is the length
    /// of the step before over this one's, in λ = ln(√ᾱ/√(1 − ᾱ)), and `None` in the first step.
    pub fn dpm_solver_2m(alpha_bar: f64, alpha_bar_next: f64, ratio: Option<f64>) -> SamplerStep {
        let sigma = |alpha_bar: f64| (1.0 - alpha_bar).sqrt();
        let lambda = |alpha_bar: f64| (alpha_bar.sqrt() / sigma(alpha_bar)).ln();
        let grown = -alpha_bar_next.sqrt() * (lambda(alpha_bar) - lambda(alpha_bar_next)).exp_m1();
        let before = ratio.map_or(0.0, |ratio| 0.5 / ratio);
        SamplerStep {
            from_x: (1.0 / alpha_bar.sqrt()) as f32,
            from_model: (-sigma(alpha_bar) / alpha_bar.sqrt()) as f32,
            keep_x: (sigma(alpha_bar_next) / sigma(alpha_bar)) as f32,
            keep_denoised: (grown * (1.0 + before)) as f32,
            keep_previous: (-grown * before) as f32,
            ..SamplerStep::default()
        }
    }
}

impl Tensor {
    /// Noised fields √ᾱ·x + √(1 − ᾱ)·ε (Ho et al., 2020) with one ᾱ a sample, the first dimension.
    ///
    /// # Errors
    /// Where the shapes differ, there is not one ᾱ a sample, or dtypes or devices differ.
    pub fn q_sample(&self, noise: &Tensor, alpha_bars: &[f64]) -> Result<Tensor> {
        let factors = alpha_bars.iter().map(|a| [a.sqrt() as f32, (1.0 - a).max(0.0).sqrt() as f32]);
        self.blended("q_sample", noise, &factors.collect::<Vec<_>>())
    }

    /// a·x + b·y with an a and a b for every sample, the first dimension.
    ///
    /// # Errors
    /// As [`Tensor::q_sample`].
    pub fn blend(&self, other: &Tensor, factors: &[[f32; 2]]) -> Result<Tensor> {
        self.blended("blend", other, factors)
    }

    fn blended(&self, name: &'static str, other: &Tensor, factors: &[[f32; 2]]) -> Result<Tensor> {
        self.expect_like(name, other)?;
        if self.shape.first() != Some(&factors.len()) {
            let expected = format!("as many samples as pairs of factors: {}", factors.len());
            return Err(TensorError::shape(name, self.shape, expected));
        }
        let y = other.detach().to_layout(self.layout)?;
        let result = self.derive(self.device.blend(self.slice(), y.slice(), factors)?, self.shape, self.layout);
        let wanted = [self, other].map(Tensor::wants_gradient);
        let factors = factors.to_vec();
        let pull = move |dy: &Tensor| {
            let part = |which: usize| -> Result<Option<Tensor>> {
                if !wanted[which] {
                    return Ok(None);
                }
                let scales: Vec<[f32; 2]> = factors.iter().map(|pair| [pair[which], 0.0]).collect();
                dy.blend(dy, &scales).map(Some)
            };
            Ok(vec![part(0)?, part(1)?])
        };
        Ok(result.record(name, [self, other], pull))
    }

    /// The next x and x₀ of x, the network's answer, the x₀ of the step before and noise, in one pass; has no gradient.
    ///
    /// # Errors
    /// Where shapes, dtypes or devices differ, what a factor other than 0 belongs to is not there, or x₀ is to be held
    /// within a bound that is negative or no number.
    pub fn sampler_step(
        &self,
        model: &Tensor,
        previous: Option<&Tensor>,
        noise: Option<&Tensor>,
        step: SamplerStep,
    ) -> Result<(Tensor, Tensor)> {
        let name = "sampler_step";
        for (other, factor, what) in [(previous, step.keep_previous, "the x₀ before"), (noise, step.noise, "noise")] {
            if other.is_none() && factor != 0.0 {
                return Err(TensorError::shape(name, self.shape, format!("{what}, which counts {factor}")));
            }
        }
        if let Some(clip) = step.clip.filter(|clip| clip.is_nan() || *clip < 0.0) {
            return Err(TensorError::shape(name, self.shape, format!("a clip of 0 or more, not {clip}")));
        }
        let like = |x: &Tensor| -> Result<Tensor> {
            self.expect_like(name, x)?;
            x.detach().to_layout(self.layout)
        };
        let model = like(model)?;
        let (previous, noise) = (previous.map(like).transpose()?, noise.map(like).transpose()?);
        let others = [previous.as_ref(), noise.as_ref()].map(|x| x.map(Tensor::slice));
        let [next, denoised] = self.device.sampler_step(self.slice(), model.slice(), others, step)?;
        let tensor = |buffer| self.derive(buffer, self.shape, self.layout);
        Ok((tensor(next), tensor(denoised)))
    }

    fn expect_like(&self, operation: &'static str, other: &Tensor) -> Result<()> {
        self.expect_same_kind(operation, other)?;
        match self.shape == other.shape {
            true => Ok(()),
            false => Err(TensorError::shapes(operation, self.shape, other.shape, "equal shapes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Cpu;

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = Cpu::device();
        let zeros = |shape: [usize; 2]| Tensor::zeros(&device, shape).expect("zeros");
        let x = zeros([2, 3]);
        let text = x.q_sample(&zeros([3, 2]), &[0.5, 0.5]).expect_err("shapes").to_string();
        assert!(text.contains("[2, 3]") && text.contains("[3, 2]"), "{text}");
        let text = x.q_sample(&x, &[0.5]).expect_err("one of two").to_string();
        assert!(text.starts_with("q_sample of [2, 3]"), "{text}");
        let step = SamplerStep::dpm_solver_2m(0.5, 0.7, Some(1.0));
        assert!(x.sampler_step(&x, None, None, step).is_err() && x.sampler_step(&x, Some(&x), None, step).is_ok());
        for clip in [-1.0, f32::NAN, f32::NEG_INFINITY] {
            let step = SamplerStep::ddim(0.5, 0.7, 0.0, Some(clip));
            let text = x.sampler_step(&x, None, None, step).expect_err("a bound").to_string();
            assert!(text.contains("a clip of 0 or more"), "{text}");
        }
        for clip in [0.0, 1.0, f32::INFINITY] {
            assert!(x.sampler_step(&x, None, None, SamplerStep::ddim(0.5, 0.7, 0.0, Some(clip))).is_ok());
        }
    }

    /// A network that is always right: both samplers go along the straight path from noise to data.
    #[test]
    fn samplers_follow_a_network_that_is_right() {
        let device = Cpu::device();
        let (data, noise) = ([0.75f32, -2.0, 3.5], [1.5f32, 0.25, -0.5]);
        let tensor = |values: &[f32]| Tensor::new(&device, [1, 3], values).expect("values");
        let path = |a: f64| tensor(&data).q_sample(&tensor(&noise), &[a]).and_then(|x| x.to_vec()).expect("values");
        let steps = [SamplerStep::ddim(0.3, 0.6, 0.0, None), SamplerStep::dpm_solver_2m(0.3, 0.6, Some(0.8))];
        for step in steps {
            let x = tensor(&path(0.3));
            let (next, denoised) = x.sampler_step(&tensor(&noise), Some(&tensor(&data)), None, step).expect("a step");
            let close = |found: &Tensor, wanted: &[f32]| {
                let found = found.to_vec().expect("values");
                assert!(found.iter().zip(wanted).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?} {wanted:?}");
            };
            close(&next, &path(0.6));
            close(&denoised, &data);
        }
    }
}
