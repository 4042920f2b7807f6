//! Mean and spread of encoded values in whole numbers: the same bits from any order and any split of the work.

use serde::{Deserialize, Serialize};

use crate::domain::{Levels, MISSING_CODE, MISSING_LEVEL};

use super::scaling::Scaling;

/// Exact sums over encoded values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelStatistics {
    /// Values that were there.
    pub count: u64,
    /// Pixels that were missing, which enter nothing else.
    pub missing: u64,
    #[serde(with = "digits")]
    sum: i128,
    #[serde(with = "digits")]
    squares: u128,
}

/// So many values are summed in 64 bits before they join the whole.
const BLOCK: usize = 1 << 16;

impl LevelStatistics {
    /// The sums over one cube.
    pub fn of(levels: &Levels) -> Self {
        match levels {
            Levels::U8(values) => Self::over(values, MISSING_LEVEL),
            Levels::I16(values) => Self::over(values, MISSING_CODE),
        }
    }

    fn over<T: Copy + PartialEq + Into<i64>>(values: &[T], missing: T) -> Self {
        let mut all = LevelStatistics::default();
        for block in values.chunks(BLOCK) {
            let (mut count, mut sum, mut squares) = (0_u64, 0_i64, 0_i64);
            for value in block {
                let there = i64::from(*value != missing);
                let number = (*value).into() * there;
                count += there as u64;
                sum += number;
                squares += number * number;
            }
            let missing = block.len() as u64 - count;
            all = all.with(LevelStatistics { count, missing, sum: sum.into(), squares: squares as u128 });
        }
        all
    }

    /// The sums over both.
    pub fn with(self, other: Self) -> Self {
        LevelStatistics {
            count: self.count + other.count,
            missing: self.missing + other.missing,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }

    /// Mean and standard deviation (of the values themselves) as a scaling; NaN where there are no values.
    pub fn scaling(&self) -> Scaling {
        let (count, sum) = (self.count as f64, self.sum as f64);
        // n Σx² − (Σx)², whose terms have up to 114 bits in archives of 2^40 values.
        let spread = (u128::from(self.count) * self.squares).saturating_sub(self.sum.unsigned_abs().pow(2));
        Scaling {
            shift: sum / count,
            scale: (spread as f64).sqrt() / count,
            count: Some(self.count),
            missing: Some(self.missing),
        }
    }
}

/// Whole numbers of 128 bits as text: few formats have room for them.
mod digits {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(number: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_sample_by_hand() {
        let codes = LevelStatistics::of(&Levels::I16(vec![2, 4, 4, MISSING_CODE, 4, 5, 5, 7, 9]));
        let row = codes.scaling();
        assert_eq!((row.shift, row.scale, row.count, row.missing), (5.0, 2.0, Some(8), Some(1)));
        let levels = LevelStatistics::of(&Levels::U8(vec![254, 255, 0]));
        assert_eq!((levels.scaling().shift, levels.scaling().scale), (127.0, 127.0));
        assert!(LevelStatistics::default().scaling().shift.is_nan());
    }

    #[test]
    fn extremes_lose_no_digit() {
        let values: Vec<i16> = [i16::MAX, -i16::MAX].repeat(100_000);
        let whole = LevelStatistics::of(&Levels::I16(values.clone()));
        assert_eq!((whole.scaling().shift, whole.scaling().scale), (0.0, f64::from(i16::MAX)));
        let parts = values.chunks(777).map(|part| LevelStatistics::of(&Levels::I16(part.to_vec())));
        assert_eq!(parts.fold(LevelStatistics::default(), LevelStatistics::with), whole);
        let text = serde_json::to_string(&whole).expect("text");
        assert_eq!(serde_json::from_str::<LevelStatistics>(&text).expect("sums"), whole, "{text}");
    }
}
