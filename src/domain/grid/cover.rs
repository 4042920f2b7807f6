//! The lat-lon grid that covers another grid.

use super::{Grid, GridError, Projection};
use crate::domain::map::wrap_longitude;

/// Share of a step by which a point may lie outside the cover: rounding in the projection, not distance.
const ROUNDING: f64 = 1e-6;

/// Latitudes and longitudes in degrees; longitudes run on past ±180 so that `west` ≤ `east`.
struct Extent {
    south: f64,
    north: f64,
    west: f64,
    east: f64,
}

impl Grid {
    /// The lat-lon grid of this step in degrees, at multiples of the step, that covers every point of this grid.
    ///
    /// Rows run south to north. Fails where the step is not positive, gives too many points, or nothing is on the map.
    pub fn covering_latlon(&self, step_degrees: f64) -> Result<Grid, GridError> {
        if !(step_degrees.is_finite() && step_degrees > 0.0) {
            return Err(GridError::Shape(format!("a step of {step_degrees}°")));
        }
        let extent = self.extent()?;
        let (south, ny) = multiples(extent.south, extent.north, step_degrees);
        let (west, nx) = multiples(extent.west, extent.east, step_degrees);
        let turn = (360.0 / step_degrees + ROUNDING).floor();
        let grid = Grid {
            projection: Projection::LatLon,
            earth: self.earth,
            nx: nx.min(turn) as usize,
            ny: ny as usize,
            x0: west,
            y0: south,
            dx: step_degrees,
            dy: step_degrees,
        };
        grid.check().map(|()| grid)
    }

    /// The extremes of latitude and longitude: on the edge, unless a pole lies inside.
    fn extent(&self) -> Result<Extent, GridError> {
        self.check()?;
        let edge = self.edge();
        let Some(&(_, start)) = edge.first() else {
            return Err(GridError::Projection(format!("{:?}", self.projection), "the grid's edge lies off it".into()));
        };
        let mut extent = Extent { south: 90.0, north: -90.0, west: start, east: start };
        let mut longitude = start;
        for (latitude, next) in edge {
            longitude += wrap_longitude(next - longitude);
            extent.south = extent.south.min(latitude);
            extent.north = extent.north.max(latitude);
            extent.west = extent.west.min(longitude);
            extent.east = extent.east.max(longitude);
        }
        Ok(self.with_poles(extent))
    }

    /// Widens to all longitudes and to the pole where a pole of a map lies inside the grid.
    fn with_poles(&self, mut extent: Extent) -> Extent {
        let inside = |latitude| {
            self.index(latitude, 0.0).is_some_and(|(i, j)| {
                let between = self.wraps() || (0.0..=self.nx as f64 - 1.0).contains(&i);
                between && (0.0..=self.ny as f64 - 1.0).contains(&j)
            })
        };
        for pole in [-90.0, 90.0] {
            if self.projection != Projection::LatLon && inside(pole) {
                extent =
                    Extent { south: extent.south.min(pole), north: extent.north.max(pole), west: -180.0, east: 180.0 };
            }
        }
        extent
    }

    /// Latitude and longitude of the points on the edge, once around.
    fn edge(&self) -> Vec<(f64, f64)> {
        let (last_i, last_j) = (self.nx - 1, self.ny - 1);
        let south = (0..=last_i).map(|i| (i, 0));
        let east = (0..=last_j).map(|j| (last_i, j));
        let north = (0..=last_i).rev().map(|i| (i, last_j));
        let west = (0..=last_j).rev().map(|j| (0, j));
        let places = south.chain(east).chain(north).chain(west).map(|(i, j)| self.xy(i, j));
        places.filter_map(|(x, y)| self.to_geographic(x, y)).collect()
    }
}

/// The first multiple of a step and how many there are so that they reach from `low` to `high`.
fn multiples(low: f64, high: f64, step: f64) -> (f64, f64) {
    let first = (low / step + ROUNDING).floor();
    let last = (high / step - ROUNDING).ceil().max(first);
    (first * step, last - first + 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::Earth;
    use super::super::tests::hrrr;
    use super::*;

    fn covers(cover: &Grid, grid: &Grid) {
        let all = grid.coordinates();
        for (&latitude, &longitude) in all.latitude.iter().zip(&all.longitude) {
            let (i, j) = cover.index(latitude, longitude).expect("on the map");
            assert!(j >= -1e-5 && j <= cover.ny as f64 - 1.0 + 1e-5, "{latitude} {longitude}: {j}");
            assert!(cover.wraps() || (i >= -1e-5 && i <= cover.nx as f64 - 1.0 + 1e-5), "{latitude} {longitude}: {i}");
        }
    }

    #[test]
    fn every_point_of_the_hrrr_grid_is_covered_and_little_else() {
        let cover = hrrr().covering_latlon(0.03).expect("a grid");
        covers(&cover, &hrrr());
        assert_eq!((cover.nx, cover.ny), (2441, 1051));
        assert!((cover.x0 / 0.03 - (cover.x0 / 0.03).round()).abs() < 1e-9);
    }

    #[test]
    fn the_date_line_and_a_pole_are_covered() {
        let azimuthal = |latitude_origin| Grid {
            projection: Projection::AzimuthalEqualArea { latitude_origin, longitude_origin: 180.0 },
            earth: Earth::sphere(6_371_229.0),
            nx: 41,
            ny: 31,
            x0: -1_000_000.0,
            y0: -750_000.0,
            dx: 50_000.0,
            dy: 50_000.0,
        };
        let date_line = azimuthal(10.0).covering_latlon(0.5).expect("a grid");
        covers(&date_line, &azimuthal(10.0));
        assert!(date_line.nx < 60);
        let polar = azimuthal(89.0).covering_latlon(0.5).expect("a grid");
        covers(&polar, &azimuthal(89.0));
        assert!(polar.wraps() && polar.y0 + (polar.ny as f64 - 1.0) * polar.dy == 90.0);
    }

    #[test]
    fn a_lat_lon_grid_on_multiples_covers_itself() {
        let grid = Grid {
            projection: Projection::LatLon,
            earth: Earth::sphere(6_371_229.0),
            nx: 30,
            ny: 20,
            x0: -3.0,
            y0: 1.5,
            dx: 0.1,
            dy: 0.1,
        };
        let cover = grid.covering_latlon(0.1).expect("a grid");
        assert_eq!((cover.nx, cover.ny), (30, 20));
        assert!(grid.covering_latlon(0.0).is_err() && grid.covering_latlon(1e-12).is_err());
    }
}
