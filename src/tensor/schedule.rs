//! How the learning rate changes from step to step.

use std::f64::consts::PI;

use super::{Result, TensorError};

/// What schedules are called in errors.
const NAME: &str = "a schedule of rates";

/// A learning rate as a function of the step (or epoch), counted from 0; as PyTorch's schedulers of these names.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Always the base rate.
    Constant,
    /// Half a cosine from the base rate to `least` at step `length`, and up again behind it.
    Cosine {
        /// Steps from the base rate to the least one; above 0.
        length: f64,
        /// The least rate.
        least: f64,
    },
    /// Half a cosine from the base rate to `least`, again and again (Loshchilov and Hutter, 2017).
    WarmRestarts {
        /// Steps of the first run; at least 1.
        length: u64,
        /// How many times longer each run is than the one before; at least 1.
        growth: u64,
        /// The least rate, which is never quite reached.
        least: f64,
    },
    /// The base rate times `factor` once more after every `length` steps.
    Step {
        /// Steps between two changes; at least 1.
        length: u64,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// The base rate times `factor` once more after every step.
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// A straight line from `start` times the base rate to all of it at step `length`; then another schedule, from its
    /// own step 0 on.
    WarmUp {
        /// Steps of the rise; none where it is 0.
        length: u64,
        /// The share of the base rate at step 0.
        start: f64,
        /// What comes behind.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// The rate of a step, counted from 0.
    ///
    /// # Errors
    /// Where a length, a growth, a rate or a factor is out of its range: no rate is right then.
    pub fn rate(&self, base: f64, step: u64) -> Result<f64> {
        expect_number("a base rate", base)?;
        self.expect_fine()?;
        Ok(self.rate_of(base, step))
    }

    /// The error that a number is out of its range, here or in what comes behind.
    fn expect_fine(&self) -> Result<()> {
        let positive =
            |name: &'static str, found: u64| TensorError::unless(found > 0, NAME, (name, found as f64), "at least 1");
        match self {
            Schedule::Constant => Ok(()),
            Schedule::Exponential { factor } => expect_number("a factor", *factor),
            Schedule::Cosine { length, least } => {
                TensorError::unless(*length > 0.0, NAME, ("a length", *length), "above 0")?;
                expect_number("a least rate", *least)
            }
            Schedule::WarmRestarts { length, growth, least } => {
                positive("a length", *length)?;
                positive("a growth", *growth)?;
                expect_number("a least rate", *least)
            }
            Schedule::Step { length, factor } => {
                positive("a length", *length)?;
                expect_number("a factor", *factor)
            }
            Schedule::WarmUp { start, then, .. } => {
                expect_number("a share at the start", *start)?;
                then.expect_fine()
            }
        }
    }

    fn rate_of(&self, base: f64, step: u64) -> f64 {
        match self {
            Schedule::Constant => base,
            Schedule::Cosine { length, least } => half_cosine(base, *least, step as f64 / length),
            Schedule::WarmRestarts { length, growth, least } => {
                let (into, of) = run_of(step, *length, *growth);
                half_cosine(base, *least, into as f64 / of as f64)
            }
            Schedule::Step { length, factor } => base * power(*factor, step / length),
            Schedule::Exponential { factor } => base * power(*factor, step),
            Schedule::WarmUp { length, start, .. } if step < *length => {
                base * (start + (1.0 - start) * step as f64 / *length as f64)
            }
            Schedule::WarmUp { length, then, .. } => then.rate_of(base, step - length),
        }
    }
}

/// The error that a rate, or what one is multiplied by, is none.
fn expect_number(name: &'static str, found: f64) -> Result<()> {
    TensorError::unless(found >= 0.0 && found.is_finite(), NAME, (name, found), "a finite number, 0 or more")
}

fn half_cosine(base: f64, least: f64, share: f64) -> f64 {
    least + (base - least) * (1.0 + (PI * share).cos()) / 2.0
}

fn power(factor: f64, times: u64) -> f64 {
    factor.powf(times as f64)
}

/// How far a step is into its run, and how long that run is.
fn run_of(step: u64, length: u64, growth: u64) -> (u64, u64) {
    if growth == 1 {
        return (step % length, length);
    }
    let (mut into, mut of) = (step, length);
    while into >= of {
        into -= of;
        of = of.saturating_mul(growth);
    }
    (into, of)
}

/// A rate that falls where a number that should fall does not: PyTorch's `ReduceLROnPlateau` in mode `min`, with a
/// relative threshold and no cool-down.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// What the rate is multiplied by; above 0 and below 1.
    pub factor: f64,
    /// How many times in a row the number may fail to improve.
    pub patience: u64,
    /// By which share a number must be below the best one to be better.
    pub threshold: f64,
    /// The least rate.
    pub least: f64,
    /// The best number so far.
    pub best: f64,
    /// How many times in a row it was not improved.
    pub failed: u64,
}

impl Plateau {
    /// PyTorch's threshold of 1e-4, and nothing seen yet.
    pub fn new(factor: f64, patience: u64, least: f64) -> Plateau {
        Plateau { factor, patience, threshold: 1e-4, least, best: f64::INFINITY, failed: 0 }
    }

    /// The rate after a number was seen; one that is NaN is no better than any.
    ///
    /// # Errors
    /// Where the factor, the threshold or a rate is out of its range.
    pub fn observe(&mut self, number: f64, rate: f64) -> Result<f64> {
        let shrinks = self.factor > 0.0 && self.factor < 1.0;
        TensorError::unless(shrinks, NAME, ("a plateau's factor", self.factor), "above 0 and below 1")?;
        expect_number("a plateau's threshold", self.threshold)?;
        expect_number("a least rate", self.least)?;
        expect_number("a rate", rate)?;
        Ok(self.rate_after(number, rate))
    }

    fn rate_after(&mut self, number: f64, rate: f64) -> f64 {
        if number < self.best * (1.0 - self.threshold) {
            (self.best, self.failed) = (number, 0);
        } else {
            self.failed += 1;
        }
        if self.failed <= self.patience {
            return rate;
        }
        self.failed = 0;
        (rate * self.factor).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_meets_what_comes_behind() {
        let cosine = Box::new(Schedule::Cosine { length: 10.0, least: 0.0 });
        let schedule = Schedule::WarmUp { length: 4, start: 0.0, then: cosine };
        let rates = [0, 1, 4, 9, 14].map(|step| schedule.rate(2.0, step).expect("a rate"));
        let wanted = [0.0, 0.5, 2.0, 1.0, 0.0];
        assert!(rates.iter().zip(wanted).all(|(rate, wanted)| (rate - wanted).abs() < 1e-12), "{rates:?}");
    }

    #[test]
    fn lengths_of_nothing_are_refused() {
        let cosine = |length| Schedule::Cosine { length, least: 0.25 };
        let restarts = |length, growth| Schedule::WarmRestarts { length, growth, least: 0.0 };
        let behind = Schedule::WarmUp { length: 4, start: 0.0, then: Box::new(cosine(0.0)) };
        let nothing = [cosine(0.0), cosine(-1.0), cosine(f64::NAN), restarts(0, 1), restarts(1, 0), behind];
        for schedule in nothing.into_iter().chain([Schedule::Step { length: 0, factor: 0.5 }]) {
            assert!(schedule.rate(1.0, 0).is_err(), "{schedule:?}");
        }
        let told = cosine(0.0).rate(1.0, 0).expect_err("no length").to_string();
        assert_eq!(told, "a schedule of rates with a length 0: expected above 0");
        assert_eq!(Schedule::WarmUp { length: 0, start: 0.0, then: Box::new(cosine(1.0)) }.rate(2.0, 0), Ok(2.0));
    }

    #[test]
    fn rates_and_factors_that_are_none_are_refused() {
        for wrong in [f64::NAN, -0.5, f64::INFINITY] {
            let behind = Box::new(Schedule::Constant);
            for schedule in [
                Schedule::Exponential { factor: wrong },
                Schedule::Step { length: 1, factor: wrong },
                Schedule::Cosine { length: 1.0, least: wrong },
                Schedule::WarmRestarts { length: 1, growth: 1, least: wrong },
                Schedule::WarmUp { length: 1, start: wrong, then: behind },
            ] {
                assert!(schedule.rate(1.0, 0).is_err(), "{schedule:?}");
            }
            assert!(Schedule::Constant.rate(wrong, 0).is_err());
            assert!(Plateau::new(0.5, 1, wrong).observe(1.0, 1.0).is_err());
            assert!(Plateau::new(0.5, 1, 0.0).observe(1.0, wrong).is_err());
        }
        for factor in [0.0, 1.0, -0.5, 2.0, f64::NAN] {
            let told = Plateau::new(factor, 0, 0.0).observe(1.0, 1.0).expect_err("a factor").to_string();
            assert!(told.ends_with("expected above 0 and below 1"), "{told}");
        }
        assert_eq!(Plateau::new(0.5, 0, 0.0).observe(f64::NAN, 1.0), Ok(0.5));
    }

    #[test]
    fn an_exponential_is_a_power() {
        let rate = Schedule::Exponential { factor: 0.5 }.rate(8.0, 3).expect("a rate");
        assert!((rate - 1.0).abs() < 1e-12, "{rate}");
    }
}
