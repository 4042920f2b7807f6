//! How the learning rate changes from step to step.

use std::f64::consts::PI;

/// A learning rate as a function of the step (or epoch), counted from 0; as PyTorch's schedulers of these names.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Always the base rate.
    Constant,
    /// Half a cosine from the base rate to `least` at step `length`, and up again behind it; a length that is not above 0
    /// leaves `least` alone.
    Cosine {
        /// Steps from the base rate to the least one.
        length: f64,
        /// The least rate.
        least: f64,
    },
    /// Half a cosine from the base rate to `least`, again and again (Loshchilov and Hutter, 2017).
    WarmRestarts {
        /// Steps of the first run.
        length: u64,
        /// How many times longer each run is than the one before.
        growth: u64,
        /// The least rate, which is never quite reached.
        least: f64,
    },
    /// The base rate times `factor` once more after every `length` steps.
    Step {
        /// Steps between two changes.
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
        /// Steps of the rise.
        length: u64,
        /// The share of the base rate at step 0.
        start: f64,
        /// What comes behind.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, base: f64, step: u64) -> f64 {
        match self {
            Schedule::Constant => base,
            Schedule::Cosine { length, least } if *length <= 0.0 => *least,
            Schedule::Cosine { length, least } => half_cosine(base, *least, step as f64 / length),
            Schedule::WarmRestarts { length, growth, least } => {
                let (into, of) = run_of(step, (*length).max(1), (*growth).max(1));
                half_cosine(base, *least, into as f64 / of as f64)
            }
            Schedule::Step { length, factor } => base * power(*factor, step / (*length).max(1)),
            Schedule::Exponential { factor } => base * power(*factor, step),
            Schedule::WarmUp { length, start, .. } if step < *length => {
                base * (start + (1.0 - start) * step as f64 / *length as f64)
            }
            Schedule::WarmUp { length, then, .. } => then.rate(base, step - length),
        }
    }
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
    /// What the rate is multiplied by.
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

    /// The rate after a number was seen.
    pub fn observe(&mut self, number: f64, rate: f64) -> f64 {
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
        let rates: Vec<f64> = [0, 1, 4, 9, 14].iter().map(|step| schedule.rate(2.0, *step)).collect();
        let wanted = [0.0, 0.5, 2.0, 1.0, 0.0];
        assert!(rates.iter().zip(wanted).all(|(rate, wanted)| (rate - wanted).abs() < 1e-12), "{rates:?}");
    }

    #[test]
    fn a_cosine_of_no_length_is_at_its_end() {
        let schedule = Schedule::Cosine { length: 0.0, least: 0.25 };
        assert_eq!([0, 1, 9].map(|step| schedule.rate(1.0, step)), [0.25; 3]);
    }

    #[test]
    fn an_exponential_is_a_power() {
        let rate = Schedule::Exponential { factor: 0.5 }.rate(8.0, 3);
        assert!((rate - 1.0).abs() < 1e-12, "{rate}");
    }

    #[test]
    fn restarts_never_loop_for_ever() {
        let schedule = Schedule::WarmRestarts { length: 0, growth: 0, least: 0.0 };
        assert_eq!(schedule.rate(1.0, 7), 1.0);
    }
}
