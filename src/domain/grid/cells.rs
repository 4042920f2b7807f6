//! The area on the earth of each cell: the rectangle of one step around a point.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::{Grid, Projection};
use crate::domain::Map;

/// Where a Gauss point lies, in cells from the middle: 1 / (2 √3).
const GAUSS: f64 = 0.288_675_134_594_812_9;

impl Grid {
    /// Area on the earth of each cell in square metres, j-major; NaN where the projection has no answer.
    ///
    /// Exact where rows run along parallels (cut at the poles) and on equal-area maps. On conformal maps the plane's area
    /// divided by the square of the scale factor, the mean over four points (Gauss), which errs by about
    /// (step / radius)⁴: less than 1e-8 up to 60 km. On a turned ellipsoid the radii of curvature are those at the
    /// cell's middle.
    pub fn areas_m2(&self) -> Vec<f64> {
        let Ok(map) = self.map() else { return vec![f64::NAN; self.len()] };
        let area = |at: usize| self.area_m2(&map, at % self.nx, at / self.nx);
        (0..self.len()).into_par_iter().map(area).collect()
    }

    /// Area on the earth of one cell in square metres.
    fn area_m2(&self, map: &Map, i: usize, j: usize) -> f64 {
        match map.turn() {
            Some(turn) => self.band_area_m2(map, i, j) * self.dx.abs() * TAU / turn,
            None => (self.dx * self.dy).abs() * self.mean_area_scale(map, i as f64, j as f64),
        }
    }

    /// The mean over one cell of the earth's area for one unit of the plane's, by 2 × 2 Gauss points.
    fn mean_area_scale(&self, map: &Map, i: f64, j: f64) -> f64 {
        let scale = |di: f64, dj: f64| {
            let (x, y) = self.place(i + di, j + dj);
            map.area_scale(x, y).unwrap_or(f64::NAN)
        };
        (scale(-GAUSS, -GAUSS) + scale(GAUSS, -GAUSS) + scale(-GAUSS, GAUSS) + scale(GAUSS, GAUSS)) / 4.0
    }

    /// Area between the two parallels of a cell for one radian along them.
    fn band_area_m2(&self, map: &Map, i: usize, j: usize) -> f64 {
        let sine = |j: f64| map.sine(self.place(0.0, j).1).unwrap_or(f64::NAN);
        let (south, north) = (sine(j as f64 - 0.5), sine(j as f64 + 0.5));
        if !matches!(self.projection, Projection::RotatedLatLon { .. }) {
            return map.earth().band_m2(south, north);
        }
        let element = map.element_m2(self.xy(i, j).0, (south + north) / 2.0);
        element.unwrap_or(f64::NAN) * (north - south).abs()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::super::{Earth, tests::hrrr};
    use super::*;

    #[test]
    fn the_cells_of_the_globe_add_up_to_the_sphere() {
        for (y0, ny) in [(90.0, 181), (89.5, 180)] {
            let globe = Grid {
                projection: Projection::LatLon,
                earth: Earth::sphere(6_371_229.0),
                nx: 360,
                ny,
                x0: 0.0,
                y0,
                dx: 1.0,
                dy: -1.0,
            };
            let total: f64 = globe.areas_m2().iter().sum();
            let sphere = 4.0 * PI * globe.earth.radius_m.powi(2);
            assert!((total / sphere - 1.0).abs() < 1e-12, "{total} {sphere}");
        }
    }

    #[test]
    fn a_lambert_cell_agrees_with_the_spherical_triangles_of_its_corners() {
        let grid = hrrr();
        let areas = grid.areas_m2();
        for (i, j) in [(0, 0), (900, 500), (1798, 1058)] {
            let corner = |di: f64, dj: f64| {
                let (x, y) = grid.place(i as f64 + di, j as f64 + dj);
                let (latitude, longitude) = grid.to_geographic(x, y).expect("on the map");
                let ((sine, cosine), (sine_east, cosine_east)) =
                    (latitude.to_radians().sin_cos(), longitude.to_radians().sin_cos());
                [cosine * cosine_east, cosine * sine_east, sine]
            };
            let [a, b, c, d] = [corner(-0.5, -0.5), corner(0.5, -0.5), corner(0.5, 0.5), corner(-0.5, 0.5)];
            let exact = (excess(a, b, c) + excess(a, c, d)) * grid.earth.radius_m.powi(2);
            let got = areas[j * grid.nx + i];
            assert!((got / exact - 1.0).abs() < 2e-7, "{got} {exact}");
        }
    }

    /// Area of a triangle on the unit sphere (Van Oosterom and Strackee 1983).
    fn excess(a: [f64; 3], b: [f64; 3], c: [f64; 3]) -> f64 {
        let dot = |p: [f64; 3], q: [f64; 3]| p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
        let cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]];
        2.0 * dot(a, cross).atan2(1.0 + dot(a, b) + dot(b, c) + dot(c, a))
    }
}
