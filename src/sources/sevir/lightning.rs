//! Lightning points of an event counted on its grid by SEVIR's own rule.

use serde::{Deserialize, Serialize};

use crate::domain::{FRAME_SECONDS, FRAMES, Modality};

/// Numbers of a point: seconds after the event's time, latitude, longitude, and x and y in cells of the grid.
pub const COLUMNS: usize = 5;

const SIZE: usize = Modality::Lght.size();
/// The frame of the event's own time.
const MIDDLE: i64 = FRAMES as i64 / 2;

/// Which five minutes a frame counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LightningBins {
    /// Those from the frame's time on, as SEVIR's code does: frame = digitize(t, −7200…7200 step 300) − 1, and −1 is 0.
    /// What is before the first frame is in the first, what is after the last in the last.
    #[default]
    After,
    /// Those up to the frame's time, which is not in them, as SEVIR's documentation says: one frame later. What is
    /// before the first frame is in the first; what is at or after the last frame's time is in none.
    Before,
}

impl LightningBins {
    /// The frame that counts a flash `seconds` after the event's time; `None` where none does.
    pub fn frame(self, seconds: f64) -> Option<usize> {
        let passed = EDGES.partition_point(|edge| *edge <= seconds);
        match self {
            _ if !seconds.is_finite() => None,
            LightningBins::After => Some(passed.saturating_sub(1)),
            LightningBins::Before => Some(passed).filter(|frame| *frame < FRAMES),
        }
    }
}

/// The times of the frames in seconds after the event's.
const EDGES: [f64; FRAMES] = {
    let mut edges = [0.0; FRAMES];
    let mut frame = 0;
    while frame < FRAMES {
        edges[frame] = ((frame as i64 - MIDDLE) * FRAME_SECONDS) as f64;
        frame += 1;
    }
    edges
};

/// Counts points, [`COLUMNS`] numbers each, on the 48 × 48 grid in order of frame, y and x.
///
/// Taken are points with 0 ≤ x, y < 48; what is no number is left out. A count ends at 32,767.
pub fn count(points: &[f64], bins: LightningBins) -> Vec<i16> {
    let mut counts = vec![0_i16; FRAMES * SIZE * SIZE];
    for point in points.chunks_exact(COLUMNS) {
        let place = place(point, bins).and_then(|at| counts.get_mut(at));
        if let Some(count) = place {
            *count = count.saturating_add(1);
        }
    }
    counts
}

fn place(point: &[f64], bins: LightningBins) -> Option<usize> {
    let &[seconds, _, _, x, y] = point else { return None };
    let cell = |place: f64| (0.0..SIZE as f64).contains(&place).then_some(place as usize);
    Some((bins.frame(seconds)? * SIZE + cell(y)?) * SIZE + cell(x)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_frame_that_begins_there() {
        let after = |t| LightningBins::After.frame(t);
        assert_eq!([after(-7200.0), after(-6900.1), after(-6900.0)], [Some(0), Some(0), Some(1)]);
        assert_eq!([after(-9000.0), after(0.0), after(7199.9)], [Some(0), Some(24), Some(47)]);
        assert_eq!([after(7200.0), after(1e9), after(f64::NAN)], [Some(48), Some(48), None]);
    }

    #[test]
    fn the_switch_moves_by_one_frame() {
        let before = |t| LightningBins::Before.frame(t);
        assert_eq!([before(-7200.1), before(-7200.0), before(-6900.1)], [Some(0), Some(1), Some(1)]);
        assert_eq!([before(-6900.0), before(7199.9), before(7200.0)], [Some(2), Some(48), None]);
    }

    #[test]
    fn only_points_on_the_grid_count() {
        let point = |x, y| [0.0, 38.0, -98.0, x, y];
        let points: Vec<f64> =
            [point(47.9, 0.0), point(47.2, 0.9), point(48.0, 0.0), point(-0.1, 0.0), point(f64::NAN, 1.0)].concat();
        let counts = count(&points, LightningBins::After);
        assert_eq!(counts[24 * SIZE * SIZE + 47], 2);
        assert_eq!(counts.iter().map(|count| i64::from(*count)).sum::<i64>(), 2);
    }
}
