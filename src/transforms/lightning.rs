//! Where lightning is on any grid, and the bins of time and place that it is counted in.

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

/// A regular grid in time, y and x; a bin holds its lower edge and not its upper one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bins {
    /// The lower edge of the first bin of t, y and x.
    pub origin: [f64; 3],
    /// The width of a bin of t, y and x; negative where the axis runs down.
    pub step: [f64; 3],
    /// Number of bins of t, y and x.
    pub count: [usize; 3],
}

impl TimeBins {
    /// Bins of these times around the points of a grid, for points of [`places`]: from half a step before a point,
    /// included, to half a step after.
    pub fn around(&self, grid: &Grid) -> Bins {
        Bins {
            origin: [self.start.0 as f64, -0.5, -0.5],
            step: [f64::from(self.seconds), 1.0, 1.0],
            count: [self.count, grid.ny, grid.nx],
        }
    }
}

impl Bins {
    /// The bin of a point (x, y, t) in order of t, y and x, if any.
    #[inline]
    pub fn of(&self, [x, y, t]: [f64; 3]) -> Option<usize> {
        let bin = |at: f64, axis: usize| {
            let bin = ((at - self.origin[axis]) / self.step[axis]).floor();
            (0.0..self.count[axis] as f64).contains(&bin).then_some(bin as usize)
        };
        Some((bin(t, 0)? * self.count[1] + bin(y, 1)?) * self.count[2] + bin(x, 2)?)
    }
}

/// Where strikes are as (x, y, t): column and row of a grid, whole numbers at its points, and seconds since 1970; NaN
/// where the grid's map has no such place. Which strikes count, flashes or groups and of what quality, is the caller's
/// choice.
///
/// # Errors
/// Where the grid makes no map.
pub fn places(
    grid: &Grid,
    strikes: impl IntoIterator<Item = Strike>,
) -> Result<impl Iterator<Item = [f64; 3]>, GridError> {
    let (map, wraps) = (grid.map()?, grid.wraps());
    Ok(strikes.into_iter().map(move |strike| {
        let place = grid.index_with(&map, strike.latitude, strike.longitude);
        let (x, y) = place.unwrap_or((f64::NAN, f64::NAN));
        let x = if wraps { (x + 0.5).rem_euclid(grid.nx as f64) - 0.5 } else { x };
        [x, y, strike.seconds]
    }))
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

    /// Counts in order of bin, row and column, and the flashes that are in none of them.
    fn count(grid: &Grid, times: TimeBins, flashes: impl IntoIterator<Item = Strike>) -> (Vec<u32>, u64) {
        let (mut values, mut outside) = (vec![0; times.count * grid.len()], 0);
        for place in places(grid, flashes).expect("a grid") {
            match times.around(grid).of(place) {
                Some(at) => values[at] += 1,
                None => outside += 1,
            }
        }
        (values, outside)
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
        let (counts, outside) = count(&globe(), bins, flashes);
        assert_eq!((counts[0], counts[36 * 18], outside), (2, 1, 4));
        assert_eq!(counts[36 * 18 + 17 * 36 + 35], 1);
        assert_eq!(counts.iter().sum::<u32>(), 4);
    }

    #[test]
    fn what_is_beyond_a_regional_grid_is_outside() {
        let region = Grid { nx: 3, ny: 2, x0: -100.0, y0: 30.0, dx: 1.0, dy: 1.0, ..globe() };
        let bins = TimeBins { start: Moment(0), seconds: 60, count: 1 };
        let flashes = [(29.5, -100.5), (31.49, -97.51), (31.5, -98.0), (29.4, -98.0), (30.0, -97.4)];
        let flashes = flashes.map(|(latitude, longitude)| flash(5.0, latitude, longitude));
        assert_eq!(count(&region, bins, flashes), (vec![1, 0, 0, 0, 0, 1], 3));
    }
}
