//! Lightning counted in the cells of any grid and in bins of time.

use std::ops::Range;

use crate::domain::{Grid, GridError, Moment};
use crate::formats::glm::Strike;

/// Bins of time, one after the other: the first instant of a bin is in it, the last is in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBins {
    /// Where the first begins.
    pub start: Moment,
    /// How long each is, in seconds.
    pub seconds: u32,
    /// How many there are.
    pub count: usize,
}

impl TimeBins {
    /// The bin of a time, if any.
    fn of(&self, seconds: f64) -> Option<usize> {
        let bin = ((seconds - self.start.0 as f64) / f64::from(self.seconds)).floor();
        (0.0..self.count as f64).contains(&bin).then_some(bin as usize)
    }
}

/// How many strikes there were, and how many were nowhere on the grid or at no time of the bins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Counts in order of bin, row and column.
    pub values: Vec<u32>,
    /// Strikes that are in none of them.
    pub outside: u64,
}

/// Counts strikes in the cell around each point of a grid: from half a step before it, included, to half a step after.
///
/// A strike whose place or time is no number is outside. Which strikes count, flashes or groups and of what quality, is
/// the caller's choice.
///
/// # Errors
/// Where the grid makes no map.
pub fn count(grid: &Grid, bins: TimeBins, strikes: impl IntoIterator<Item = Strike>) -> Result<Counts, GridError> {
    let (map, wraps) = (grid.map()?, grid.wraps());
    let place = |strike: &Strike| {
        let bin = bins.of(strike.seconds)?;
        let (i, j) = grid.index_with(&map, strike.latitude, strike.longitude)?;
        let i = if wraps { (i + 0.5).rem_euclid(grid.nx as f64) - 0.5 } else { i };
        Some((bin * grid.ny + cell(j, 0..grid.ny)?) * grid.nx + cell(i, 0..grid.nx)?)
    };
    let mut counts = Counts { values: vec![0; bins.count * grid.len()], outside: 0 };
    for strike in strikes {
        match place(&strike).and_then(|at| counts.values.get_mut(at)) {
            Some(count) => *count += 1,
            None => counts.outside += 1,
        }
    }
    Ok(counts)
}

/// The cell around a fractional index, if it is one of a range.
fn cell(index: f64, range: Range<usize>) -> Option<usize> {
    let nearest = (index + 0.5).floor();
    (range.start as f64..range.end as f64).contains(&nearest).then_some(nearest as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Earth, Projection};

    fn globe() -> Grid {
        let earth = Earth::sphere(6_370_997.0);
        Grid { projection: Projection::LatLon, earth, nx: 36, ny: 18, x0: 0.0, y0: 85.0, dx: 10.0, dy: -10.0 }
    }

    fn flash(seconds: f64, latitude: f64, longitude: f64) -> Strike {
        Strike { seconds, latitude, longitude, energy_j: 1e-14, quality: Some(0) }
    }

    #[test]
    fn a_flash_is_in_the_cell_and_bin_that_hold_it() {
        let bins = TimeBins { start: Moment(1000), seconds: 300, count: 2 };
        let flashes = [
            flash(1000.0, 84.0, 4.0),
            flash(1299.9, 84.0, -4.9),
            flash(1300.0, -85.0, 354.0),
            flash(1599.0, 84.0, 355.5),
            flash(999.9, 84.0, 0.0),
            flash(1600.0, 84.0, 0.0),
            flash(1000.0, f64::NAN, 0.0),
            flash(f64::NAN, 0.0, 0.0),
        ];
        let counts = count(&globe(), bins, flashes).expect("a grid");
        assert_eq!((counts.values[0], counts.values[36 * 18], counts.outside), (2, 1, 4));
        assert_eq!(counts.values[36 * 18 + 17 * 36 + 35], 1);
        assert_eq!(counts.values.iter().sum::<u32>(), 4);
    }

    #[test]
    fn what_is_beyond_a_regional_grid_is_outside() {
        let region = Grid { nx: 3, ny: 2, x0: -100.0, y0: 30.0, dx: 1.0, dy: 1.0, ..globe() };
        let bins = TimeBins { start: Moment(0), seconds: 60, count: 1 };
        let flashes = [(29.5, -100.5), (31.49, -97.51), (31.5, -98.0), (29.4, -98.0), (30.0, -97.4)];
        let flashes = flashes.map(|(latitude, longitude)| flash(5.0, latitude, longitude));
        let counts = count(&region, bins, flashes).expect("a grid");
        assert_eq!((counts.values, counts.outside), (vec![1, 0, 0, 0, 0, 1], 3));
    }
}
