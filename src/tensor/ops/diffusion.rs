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
    ///
    /// # Errors
    /// Where ᾱ is not above 0, where x is noise alone, ᾱ or ᾱ' is above 1 or ᾱ' below 0, or σ is negative or endless.
    pub fn ddim(alpha_bar: f64, alpha_bar_next: f64, sigma: f64, clip: Option<f32>) -> Result<SamplerStep> {
        const NAME: &str = "DDIM";
        let expected = "above 0 and up to 1";
        TensorError::unless(alpha_bar > 0.0 && alpha_bar <= 1.0, NAME, ("ᾱ", alpha_bar), expected)?;
        expect_share(NAME, "the next ᾱ", alpha_bar_next)?;
        TensorError::unless(sigma >= 0.0 && sigma.is_finite(), NAME, ("σ", sigma), "0 or more")?;
        Ok(SamplerStep {
            from_x: (1.0 / alpha_bar.sqrt()) as f32,
            from_model: -((1.0 - alpha_bar) / alpha_bar).sqrt() as f32,
            clip,
            keep_model: (1.0 - alpha_bar_next - sigma * sigma).max(0.0).sqrt() as f32,
            keep_denoised: alpha_bar_next.sqrt() as f32,
            noise: sigma as f32,
            ..SamplerStep::default()
        })
    }

    /// DPM-Solver++(2M) (Lu et al., 2022) of a network that answers with the noise, from ᾱ to ᾱ'; `ratio` is the length
    /// of the step before over this one's, in λ = ln(√ᾱ/√(1 − ᾱ)), and `None` in the first step. The step to ᾱ' = 1,
    /// where λ has no end, is of first order whatever the ratio is: the next x is x₀.
    ///
    /// # Errors
    /// Where ᾱ is not between 0 (x is noise alone) and 1 (none is left), ᾱ' is not from 0 to 1, or the ratio is not above
    /// 0, but for that of the step to ᾱ' = 1, which is 0.
    pub fn dpm_solver_2m(alpha_bar: f64, alpha_bar_next: f64, ratio: Option<f64>) -> Result<SamplerStep> {
        const NAME: &str = "DPM-Solver++";
        TensorError::unless(alpha_bar > 0.0 && alpha_bar < 1.0, NAME, ("ᾱ", alpha_bar), "between 0 and 1")?;
        expect_share(NAME, "the next ᾱ", alpha_bar_next)?;
        let last = alpha_bar_next == 1.0;
        if let Some(ratio) = ratio {
            let fine = ratio > 0.0 || (last && ratio == 0.0);
            TensorError::unless(fine, NAME, ("a ratio of steps", ratio), "above 0")?;
        }
        let (kept, kept_next) = (alpha_bar.sqrt(), alpha_bar_next.sqrt());
        let (sigma, sigma_next) = ((1.0 - alpha_bar).sqrt(), (1.0 - alpha_bar_next).sqrt());
        // √ᾱ'·(1 − e^(λ − λ')), which has a value where λ' has none.
        let grown = kept_next - kept * sigma_next / sigma;
        let before = ratio.filter(|_| !last).map_or(0.0, |ratio| 0.5 / ratio);
        Ok(SamplerStep {
            from_x: (1.0 / kept) as f32,
            from_model: (-sigma / kept) as f32,
            keep_x: (sigma_next / sigma) as f32,
            keep_denoised: (grown * (1.0 + before)) as f32,
            keep_previous: (-grown * before) as f32,
            ..SamplerStep::default()
        })
    }

    /// The error that a factor is not a finite number.
    fn expect_finite(&self) -> Result<()> {
        let factors = [
            ("from_x", self.from_x),
            ("from_model", self.from_model),
            ("keep_x", self.keep_x),
            ("keep_model", self.keep_model),
            ("keep_denoised", self.keep_denoised),
            ("keep_previous", self.keep_previous),
            ("noise", self.noise),
        ];
        let check = |(name, factor): (&'static str, f32)| {
            TensorError::unless(factor.is_finite(), "sampler_step", (name, f64::from(factor)), "a finite number")
        };
        factors.into_iter().try_for_each(check)
    }
}

/// The error that a share of signal is not from 0 to 1.
fn expect_share(operation: &'static str, name: &'static str, share: f64) -> Result<()> {
    TensorError::unless((0.0..=1.0).contains(&share), operation, (name, share), "from 0 to 1")
}

impl Tensor {
    /// Noised fields √ᾱ·x + √(1 − ᾱ)·ε (Ho et al., 2020) with one ᾱ a sample, the first dimension.
    ///
    /// # Errors
    /// Where the shapes differ, there is not one ᾱ a sample, one is not from 0 to 1, or dtypes or devices differ.
    pub fn q_sample(&self, noise: &Tensor, alpha_bars: &[f64]) -> Result<Tensor> {
        alpha_bars.iter().try_for_each(|alpha_bar| expect_share("q_sample", "ᾱ", *alpha_bar))?;
        let factors = alpha_bars.iter().map(|a| [a.sqrt() as f32, (1.0 - a).sqrt() as f32]);
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
    /// Where shapes, dtypes or devices differ, a factor is not finite, what a factor other than 0 belongs to is not
    /// there, or x₀ is to be held within a bound that is negative or no number.
    pub fn sampler_step(
        &self,
        model: &Tensor,
        previous: Option<&Tensor>,
        noise: Option<&Tensor>,
        step: SamplerStep,
    ) -> Result<(Tensor, Tensor)> {
        let name = "sampler_step";
        step.expect_finite()?;
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
        let step = SamplerStep::dpm_solver_2m(0.5, 0.7, Some(1.0)).expect("a step");
        assert!(x.sampler_step(&x, None, None, step).is_err() && x.sampler_step(&x, Some(&x), None, step).is_ok());
        for clip in [-1.0, f32::NAN, f32::NEG_INFINITY] {
            let step = SamplerStep::ddim(0.5, 0.7, 0.0, Some(clip)).expect("a step");
            let text = x.sampler_step(&x, None, None, step).expect_err("a bound").to_string();
            assert!(text.contains("a clip of 0 or more"), "{text}");
        }
        for clip in [0.0, 1.0, f32::INFINITY] {
            let step = SamplerStep::ddim(0.5, 0.7, 0.0, Some(clip)).expect("a step");
            assert!(x.sampler_step(&x, None, None, step).is_ok());
        }
        let step = SamplerStep { keep_x: f32::NAN, ..step };
        let text = x.sampler_step(&x, Some(&x), None, step).expect_err("no number").to_string();
        assert_eq!(text, "sampler_step with keep_x NaN: expected a finite number");
    }

    #[test]
    fn shares_of_signal_outside_their_range_are_refused() {
        let x = Tensor::zeros(&Cpu::device(), [1, 2]).expect("zeros");
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(x.q_sample(&x, &[wrong]).is_err(), "{wrong}");
            assert!(SamplerStep::ddim(wrong, 0.5, 0.0, None).is_err(), "{wrong}");
            assert!(SamplerStep::ddim(0.5, wrong, 0.0, None).is_err(), "{wrong}");
            assert!(SamplerStep::dpm_solver_2m(wrong, 0.5, None).is_err(), "{wrong}");
            assert!(SamplerStep::dpm_solver_2m(0.5, wrong, None).is_err(), "{wrong}");
        }
        assert!(SamplerStep::ddim(0.5, 0.7, -0.1, None).is_err());
        let text = SamplerStep::dpm_solver_2m(0.0, 0.5, None).expect_err("noise alone").to_string();
        assert_eq!(text, "DPM-Solver++ with ᾱ 0: expected between 0 and 1");
        for ratio in [0.0, -1.0, f64::NAN] {
            assert!(SamplerStep::dpm_solver_2m(0.5, 0.7, Some(ratio)).is_err(), "{ratio}");
        }
    }

    #[test]
    fn the_ends_of_a_schedule_are_its_limits() {
        let x = Tensor::zeros(&Cpu::device(), [1, 2]).expect("zeros");
        assert!(SamplerStep::ddim(0.0, 0.5, 0.0, None).is_err() && x.q_sample(&x, &[0.0]).is_ok());
        for ratio in [None, Some(0.0), Some(0.7)] {
            let last = SamplerStep::dpm_solver_2m(0.9, 1.0, ratio).expect("the last step");
            assert_eq!((last.keep_x, last.keep_denoised, last.keep_previous), (0.0, 1.0, 0.0));
        }
        let last = SamplerStep::ddim(0.9, 1.0, 0.0, None).expect("the last step");
        assert_eq!((last.keep_model, last.keep_denoised), (0.0, 1.0));
        let near = SamplerStep::dpm_solver_2m(0.9, 1e-12, None).expect("a step");
        let end = SamplerStep::dpm_solver_2m(0.9, 0.0, None).expect("a step");
        assert!((near.keep_denoised - end.keep_denoised).abs() < 1e-5 && end.keep_denoised.is_finite());
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
            let step = step.expect("a step");
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
