//! Which events train, which choose between trained models, and which judge the choice.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Event, Moment, Philox};

/// 2019-01-01T00:00 UTC.
const VALIDATION_FROM: Moment = Moment(1_546_300_800);
/// 2019-06-01T00:00 UTC.
const TEST_FROM: Moment = Moment(1_559_347_200);
/// What the random numbers of splits are for, apart from all others.
const PURPOSE: u32 = 0x5345_5649;

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Models learn from it.
    Train,
    /// Models are chosen by it.
    Validation,
    /// Models are judged by it.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name in stores and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How events are split. The split of an event is a function of the event alone: it is in one, whatever the other events
/// are, and all its windows are in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by", deny_unknown_fields)]
pub enum SplitRule {
    /// By the event's time: train before `validation_from`, then validation, then test from `test_from` on.
    ///
    /// The default is as published for SEVIR (Veillette et al. 2020): train < 2019-06-01 ≤ test, of which 2019-01-01 to
    /// 2019-05-31 is held out for validation.
    Date {
        /// The first moment of validation; where it is that of the test there is no validation.
        #[serde(default = "validation_from")]
        validation_from: Moment,
        /// The first moment of the test.
        #[serde(default = "test_from")]
        test_from: Moment,
    },
    /// By a number uniform in (0, 1) that Philox draws from the seed and the FNV-1a hash of the event's identifier.
    ///
    /// Events that overlap in place and time, as those of one storm do, may come into different splits: prefer dates for
    /// results that are compared with others.
    Id {
        /// The seed.
        seed: u64,
        /// The share of validation, 0 to 1.
        validation: f64,
        /// The share of the test, 0 to 1; what both leave is for training.
        test: f64,
    },
}

fn validation_from() -> Moment {
    VALIDATION_FROM
}

fn test_from() -> Moment {
    TEST_FROM
}

impl Default for SplitRule {
    fn default() -> Self {
        SplitRule::Date { validation_from: VALIDATION_FROM, test_from: TEST_FROM }
    }
}

impl SplitRule {
    /// Whether the rule can be used.
    ///
    /// # Errors
    /// A test that begins before the validation, or shares that are no shares, in words.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            SplitRule::Date { validation_from, test_from } if test_from < validation_from => Err(format!(
                "the test begins at {test_from} and the validation at {validation_from}; expected `test_from` at or \
                 after `validation_from`: set both, where one is left out it is the published one"
            )),
            SplitRule::Id { validation, test, .. } if !is_parted(validation, test) => Err(format!(
                "shares of {validation} for validation and {test} for the test; expected 0 or more, together at most 1"
            )),
            _ => Ok(()),
        }
    }

    /// The split of an event.
    pub fn split(&self, event: &Event) -> Split {
        match *self {
            SplitRule::Date { test_from, .. } if event.time >= test_from => Split::Test,
            SplitRule::Date { validation_from, .. } if event.time >= validation_from => Split::Validation,
            SplitRule::Date { .. } => Split::Train,
            SplitRule::Id { seed, validation, test } => {
                let [drawn, ..] = Philox::new(seed, PURPOSE).uniform(counter(&event.id));
                match drawn {
                    _ if drawn < test => Split::Test,
                    _ if drawn < test + validation => Split::Validation,
                    _ => Split::Train,
                }
            }
        }
    }
}

/// Whether two shares leave none or some for training.
fn is_parted(validation: f64, test: f64) -> bool {
    validation >= 0.0 && test >= 0.0 && validation + test <= 1.0
}

/// The hash of an identifier (FNV-1a, 128 bits: Fowler, Noll and Vo) as a counter.
fn counter(id: &str) -> [u32; 4] {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = id.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    [hash as u32, (hash >> 32) as u32, (hash >> 64) as u32, (hash >> 96) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_dates_are_those_of_the_calendar() {
        assert_eq!("2019-01-01".parse(), Ok(VALIDATION_FROM));
        assert_eq!("2019-06-01".parse(), Ok(TEST_FROM));
    }

    #[test]
    fn the_published_hash_of_one_letter_comes_out() {
        // 128-bit FNV-1a of "a": d228cb696f1a8caf78912b704e4a8964.
        assert_eq!(counter("a"), [0x4e4a_8964, 0x7891_2b70, 0x6f1a_8caf, 0xd228_cb69]);
    }
}
