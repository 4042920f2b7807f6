//! The rows of a Gaussian grid, at the roots of a Legendre polynomial, as a plane of longitudes and row numbers.
//!
//! Abramowitz and Stegun (1964) 22.7.10 (recurrence), 22.8.5 (derivative); the first guess is that of Tricomi (1950).

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

/// As many rows as the largest model has: N = 2560.
const MOST_ROWS: u32 = 5120;
/// Tables of latitudes kept for the next map with as many rows.
const KEPT: usize = 8;
/// Change of a root below which it is found.
const CONVERGED: f64 = 1e-15;
/// Newton steps; three are enough from 2 rows on.
const MOST_STEPS: usize = 8;

/// Latitudes in degrees of all rows from pole to pole, south first: row k is at y = k.
#[derive(Clone, Debug)]
pub(crate) struct Gaussian {
    latitudes: Arc<[f64]>,
}

impl Gaussian {
    pub(super) fn new(rows: u32) -> Result<Self, String> {
        if !(2..=MOST_ROWS).contains(&rows) || !rows.is_multiple_of(2) {
            return Err(format!("the number of rows must be even and 2 to {MOST_ROWS}"));
        }
        static TABLES: Mutex<BTreeMap<u32, Arc<[f64]>>> = Mutex::new(BTreeMap::new());
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.len() > KEPT {
            tables.clear();
        }
        Ok(Gaussian { latitudes: tables.entry(rows).or_insert_with(|| latitudes(rows)).clone() })
    }

    /// y where the plane ends: half a row beyond the last, at the pole.
    pub(super) fn clamp(&self, y: f64) -> f64 {
        y.clamp(-0.5, self.latitudes.len() as f64 - 0.5)
    }

    /// The latitude at a fractional row: linear between rows, and from the last row to the pole half a row on.
    pub(super) fn latitude(&self, y: f64) -> Option<f64> {
        if self.clamp(y) != y {
            return None;
        }
        let (low, high) = self.around((y.floor() + 1.0) as usize)?;
        Some(low.1 + (high.1 - low.1) * (y - low.0) / (high.0 - low.0))
    }

    /// The fractional row of a latitude.
    pub(super) fn row(&self, latitude: f64) -> Option<f64> {
        let (low, high) = self.around(self.latitudes.partition_point(|row| *row <= latitude))?;
        Some(low.0 + (high.0 - low.0) * (latitude - low.1) / (high.1 - low.1))
    }

    /// Degrees of latitude for one row at y.
    pub(super) fn slope(&self, y: f64) -> Option<f64> {
        let (low, high) = self.around((self.clamp(y).floor() + 1.0) as usize)?;
        Some((high.1 - low.1) / (high.0 - low.0))
    }

    /// Row and latitude of the two nodes around the gap before row `above`: a pole takes the place of no row.
    fn around(&self, above: usize) -> Option<((f64, f64), (f64, f64))> {
        let count = self.latitudes.len();
        let node = |row: usize| self.latitudes.get(row).map(|latitude| (row as f64, *latitude));
        match above.checked_sub(1) {
            None => Some(((-0.5, -90.0), node(0)?)),
            Some(below) if above >= count => Some((node(below.min(count - 1))?, (count as f64 - 0.5, 90.0))),
            Some(below) => Some((node(below)?, node(above)?)),
        }
    }
}

/// The latitudes of all rows in degrees, south first.
fn latitudes(rows: u32) -> Arc<[f64]> {
    let north = (1..=rows / 2).map(|k| root(rows, k).asin().to_degrees());
    let mut all: Vec<f64> = north.clone().map(|latitude| -latitude).collect();
    all.extend(north.rev());
    all.into()
}

/// The k-th root of the Legendre polynomial of degree n, the largest first.
fn root(n: u32, k: u32) -> f64 {
    let degree = f64::from(n);
    let shrink = 1.0 - 1.0 / (8.0 * degree.powi(2)) + 1.0 / (8.0 * degree.powi(3));
    let mut x = shrink * (PI * (4.0 * f64::from(k) - 1.0) / (4.0 * degree + 2.0)).cos();
    for _ in 0..MOST_STEPS {
        let step = newton_step(n, x);
        x -= step;
        if step.abs() < CONVERGED {
            break;
        }
    }
    x
}

/// P(x) / P′(x) of the Legendre polynomial of degree n.
fn newton_step(n: u32, x: f64) -> f64 {
    let (mut before, mut here) = (1.0, x);
    for degree in 1..n {
        let degree = f64::from(degree);
        (before, here) = (here, ((2.0 * degree + 1.0) * x * here - degree * before) / (degree + 1.0));
    }
    let derivative = f64::from(n) * (x * here - before) / (x * x - 1.0);
    here / derivative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_those_of_abramowitz_and_stegun() {
        // Table 25.4: abscissas for n = 2, 4 and 8.
        for (rows, sines) in [
            (2, vec![0.577_350_269_189_626]),
            (4, vec![0.861_136_311_594_053, 0.339_981_043_584_856]),
            (8, vec![0.960_289_856_497_536, 0.796_666_477_413_627, 0.525_532_409_916_329, 0.183_434_642_495_650]),
        ] {
            let gaussian = Gaussian::new(rows).expect("a table");
            for (k, sine) in sines.iter().enumerate() {
                let (south, north) = (gaussian.latitudes[k], gaussian.latitudes[rows as usize - 1 - k]);
                assert_eq!(south, -north);
                assert!((north.to_radians().sin() - sine).abs() < 1e-14, "{rows} {k}: {north}");
            }
        }
    }

    #[test]
    fn rows_and_latitudes_are_inverses_from_pole_to_pole() {
        let gaussian = Gaussian::new(1536).expect("a table");
        // As ecCodes gives the first row of N768.
        assert!((gaussian.latitudes[1535] - 89.910_324_534_662_68).abs() < 1e-11);
        for y in [-0.5, -0.2, 0.0, 0.3, 767.5, 1534.9, 1535.0, 1535.4, 1535.5] {
            let latitude = gaussian.latitude(y).expect("a latitude");
            assert!((gaussian.row(latitude).expect("a row") - y).abs() < 1e-9, "{y} {latitude}");
            assert!(gaussian.slope(y).expect("a slope") > 0.0);
        }
        assert_eq!((gaussian.latitude(-0.5), gaussian.latitude(1535.5)), (Some(-90.0), Some(90.0)));
        assert_eq!((gaussian.latitude(-0.6), gaussian.latitude(f64::NAN)), (None, None));
    }

    #[test]
    fn odd_and_endless_tables_are_refused() {
        for rows in [0, 1, 3, 5122, u32::MAX] {
            assert!(Gaussian::new(rows).is_err(), "{rows}");
        }
    }
}
