//! What the values of a field are like, and how long unpacking them takes.

use std::time::Instant;

use gustfront::formats::grib2::{Grib2Error, Message};

/// How values are distributed; NaN is missing.
pub(super) struct Statistics {
    pub(super) count: usize,
    pub(super) missing: usize,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    /// Median time to unpack the field once, in milliseconds, where it was measured.
    pub(super) decode_ms: Option<f64>,
}

impl Statistics {
    /// Unpacks a field so many times and takes the median time.
    pub(super) fn measured(message: &Message, bytes: &[u8], repeat: usize) -> Result<Self, Grib2Error> {
        let mut values = message.decode(bytes)?;
        let mut times = Vec::new();
        for _ in 0..repeat {
            let start = Instant::now();
            message.decode_into(bytes, &mut values)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Statistics { decode_ms: median(times), ..Self::of(&values) })
    }

    /// What values are like; their times are not known.
    pub(super) fn of(values: &[f32]) -> Self {
        let present = || values.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v));
        let count = present().count();
        Statistics {
            count,
            missing: values.len() - count,
            min: present().fold(f64::INFINITY, f64::min),
            max: present().fold(f64::NEG_INFINITY, f64::max),
            mean: present().sum::<f64>() / count as f64,
            decode_ms: None,
        }
    }

    /// Missing, min, max and mean for people, in the precision of the values.
    pub(super) fn shown(&self) -> [String; 4] {
        let text = |value: f64| if self.count == 0 { "-".to_string() } else { (value as f32).to_string() };
        [self.missing.to_string(), text(self.min), text(self.max), text(self.mean)]
    }
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
