//! Tries again what failed for a passing reason, waiting longer each time, with an end.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use crate::telemetry::metrics;

/// How long and how often a failed request is tried again. No part of it is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included; 1 means never again.
    pub tries: u32,
    /// The wait after the first failure; it doubles with every further one.
    pub first_wait: Duration,
    /// The longest wait between two tries.
    pub longest_wait: Duration,
    /// No try begins later than this after the first one.
    pub in_all: Duration,
    /// A server that is silent for this long has failed.
    pub patience: Duration,
}

impl Default for Retry {
    /// What S3 asks of its clients when it throttles: 16 tries, 1 to 16 s apart, 5 minutes in all.
    fn default() -> Self {
        Retry {
            tries: 16,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(16),
            in_all: Duration::from_secs(300),
            patience: Duration::from_secs(60),
        }
    }
}

/// A failed try.
#[derive(Debug)]
pub(super) struct Failure<E> {
    pub(super) error: E,
    /// How many tries this kind of failure is worth; 1 where trying again cannot help.
    pub(super) worth: u32,
}

impl Retry {
    /// The default, or as long as given.
    pub fn lasting(seconds: Option<u32>) -> Self {
        let default = Retry::default();
        Retry { in_all: seconds.map_or(default.in_all, |s| Duration::from_secs(s.into())), ..default }
    }

    /// The first success of `attempt`, or its last error and how often it was tried; retries are counted by `store`.
    pub(super) fn run<T, E: Display>(
        &self,
        store: &str,
        mut attempt: impl FnMut() -> Result<T, Failure<E>>,
    ) -> Result<T, (E, u32)> {
        let begun = Instant::now();
        let (mut tried, mut wait) = (1, self.first_wait);
        loop {
            let failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if tried >= failure.worth.min(self.tries) || begun.elapsed() + wait > self.in_all {
                return Err((failure.error, tried));
            }
            tracing::warn!(tried, wait_seconds = wait.as_secs_f64(), error = %failure.error, "will be tried again");
            metrics().retries.with_label_values(&[store]).inc();
            thread::sleep(wait);
            (tried, wait) = (tried + 1, (wait * 2).min(self.longest_wait));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Retry = Retry {
        tries: 5,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(8),
        in_all: Duration::from_secs(10),
        patience: Duration::from_secs(10),
    };

    fn failing(retry: Retry, times: u32, worth: u32) -> (Result<u32, (String, u32)>, Duration) {
        let (begun, mut calls) = (Instant::now(), 0);
        let answer = retry.run("a test of retries", || {
            calls += 1;
            if calls > times { Ok(calls) } else { Err(Failure { error: format!("failure {calls}"), worth }) }
        });
        (answer, begun.elapsed())
    }

    #[test]
    fn passing_failures_are_tried_again_and_counted() {
        let retries = || metrics().retries.with_label_values(&["a test of retries"]).get();
        let before = retries();
        let (answer, took) = failing(FAST, 4, u32::MAX);
        assert_eq!(answer, Ok(5));
        assert!(took >= Duration::from_millis(2 + 4 + 8 + 8), "{took:?}");
        assert!(retries() >= before + 4);
    }

    #[test]
    fn tries_worth_and_time_are_bounds() {
        assert_eq!(failing(FAST, 9, u32::MAX).0, Err(("failure 5".to_string(), 5)));
        assert_eq!(failing(FAST, 9, 2).0, Err(("failure 2".to_string(), 2)));
        assert_eq!(failing(FAST, 9, 1).0, Err(("failure 1".to_string(), 1)));
        let hurried = Retry { in_all: Duration::from_millis(1), ..FAST };
        assert_eq!(failing(hurried, 9, u32::MAX).0, Err(("failure 1".to_string(), 1)));
    }
}
