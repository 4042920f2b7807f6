//! Turns winds between the grid's own axes and true east and north.

use rayon::prelude::*;

use crate::domain::{Grid, GridError};

/// Cosine and sine of the angle between true north and the grid's y axis at every point, worked out once a grid.
///
/// Grid-relative means along increasing x and y of the plane, whichever way rows and columns are stored. On LAEA,
/// which is not conformal, the angle is that of north against the y axis (the meridian convergence).
#[derive(Clone, Debug)]
pub struct Rotation {
    cosine: Vec<f32>,
    sine: Vec<f32>,
}

impl Rotation {
    /// The rotation of a grid; values at points off its map become NaN. Fails where the grid cannot be used.
    pub fn to_earth(grid: &Grid) -> Result<Self, GridError> {
        grid.check()?;
        let map = grid.map()?;
        let turn = |at: usize| {
            let (x, y) = grid.xy(at % grid.nx, at / grid.nx);
            let angle =
                map.inverse(x, y).map_or(f64::NAN, |(latitude, longitude)| map.convergence(latitude, longitude));
            (angle.cos() as f32, angle.sin() as f32)
        };
        let (cosine, sine) = (0..grid.len()).into_par_iter().map(turn).unzip();
        Ok(Rotation { cosine, sine })
    }

    /// Cosines and sines of the angle at every point.
    pub fn cosine_and_sine(&self) -> [&[f32]; 2] {
        [&self.cosine, &self.sine]
    }

    /// Eastward and northward wind from the components along x and y.
    ///
    /// # Panics
    /// Where the fields are not of the rotation's grid.
    pub fn apply(&self, u: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let east = self.combine(u, v, |u, v, cosine, sine| cosine * u + sine * v);
        let north = self.combine(u, v, |u, v, cosine, sine| cosine * v - sine * u);
        (east, north)
    }

    /// The components along x and y from eastward and northward wind: the inverse of [`Rotation::apply`].
    ///
    /// # Panics
    /// Where the fields are not of the rotation's grid.
    pub fn invert(&self, east: &[f32], north: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let u = self.combine(east, north, |east, north, cosine, sine| cosine * east - sine * north);
        let v = self.combine(east, north, |east, north, cosine, sine| cosine * north + sine * east);
        (u, v)
    }

    fn combine(&self, first: &[f32], second: &[f32], formula: impl Fn(f32, f32, f32, f32) -> f32) -> Vec<f32> {
        let points = self.cosine.len();
        assert!(
            first.len() == points && second.len() == points,
            "both wind fields have the {points} points of the grid"
        );
        let winds = first.iter().zip(second);
        let turns = self.cosine.iter().zip(&self.sine);
        winds.zip(turns).map(|((&a, &b), (&cosine, &sine))| formula(a, b, cosine, sine)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Earth, Projection};

    fn hrrr(nx: usize, ny: usize, step: f64) -> Grid {
        let projection =
            Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
        Grid::anchored(projection, Earth::sphere(6_371_229.0), (21.138123, 237.280472), (nx, ny), (step, step))
            .expect("a grid")
    }

    #[test]
    fn on_hrrr_it_is_the_closed_form() {
        let grid = hrrr(18, 11, 300_000.0);
        let rotation = Rotation::to_earth(&grid).expect("a rotation");
        let (u, v) = (vec![7.0; grid.len()], vec![-3.0; grid.len()]);
        let (east, north) = rotation.apply(&u, &v);
        for (at, longitude) in grid.coordinates().longitude.into_iter().enumerate() {
            let angle = 38.5_f64.to_radians().sin() * (longitude + 97.5).to_radians();
            let (sine, cosine) = angle.sin_cos();
            assert!((f64::from(east[at]) - (7.0 * cosine - 3.0 * sine)).abs() < 1e-5, "{longitude}");
            assert!((f64::from(north[at]) - (-7.0 * sine - 3.0 * cosine)).abs() < 1e-5, "{longitude}");
        }
    }

    #[test]
    fn a_wind_along_a_meridian_blows_north() {
        let grid = hrrr(18, 11, 300_000.0);
        let rotation = Rotation::to_earth(&grid).expect("a rotation");
        let step = |at: usize| {
            let (x, y) = grid.xy(at % grid.nx, at / grid.nx);
            let (latitude, longitude) = grid.to_geographic(x, y).expect("on the map");
            let (north_x, north_y) = grid.to_plane(latitude + 1e-3, longitude).expect("on the map");
            ((north_x - x) as f32, (north_y - y) as f32)
        };
        let (u, v): (Vec<f32>, Vec<f32>) = (0..grid.len()).map(step).unzip();
        let (east, north) = rotation.apply(&u, &v);
        assert!(east.iter().zip(&north).all(|(east, north)| *north > 50.0 && east.abs() < 0.01 * north));
    }

    #[test]
    fn the_inverse_returns_and_speed_stays() {
        let grid = hrrr(18, 11, 300_000.0);
        let rotation = Rotation::to_earth(&grid).expect("a rotation");
        let u: Vec<f32> = (0..grid.len()).map(|at| (at % 37) as f32 - 18.0).collect();
        let v: Vec<f32> = (0..grid.len()).map(|at| (at % 23) as f32 - 11.0).collect();
        let (east, north) = rotation.apply(&u, &v);
        let (back_u, back_v) = rotation.invert(&east, &north);
        for at in 0..grid.len() {
            assert!((back_u[at] - u[at]).abs() < 1e-5 && (back_v[at] - v[at]).abs() < 1e-5);
            assert!((east[at].hypot(north[at]) - u[at].hypot(v[at])).abs() < 1e-5);
        }
    }

    #[test]
    fn lat_lon_winds_stay_and_missing_stays_missing() {
        let grid = Grid {
            projection: Projection::LatLon,
            nx: 2,
            ny: 1,
            x0: 10.0,
            y0: 50.0,
            dx: 1.0,
            dy: -1.0,
            ..hrrr(1, 1, 1.0)
        };
        let (east, north) = Rotation::to_earth(&grid).expect("a rotation").apply(&[3.0, f32::NAN], &[4.0, 5.0]);
        assert_eq!((east[0], north[0]), (3.0, 4.0));
        assert!(east[1].is_nan());
    }
}
