//! Where the values of a field are: a regular grid in a map projection of the earth.

use serde::{Deserialize, Serialize};

use super::map::{Earth, Map, Projection};

mod cells;
mod cover;

/// A grid that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GridError {
    /// The projection's parameters make no map.
    #[error("the projection {0} makes no map: {1}")]
    Projection(String, String),
    /// No points, or steps that are zero or not finite.
    #[error("a grid needs at least one point and finite non-zero steps, not {0}")]
    Shape(String),
}

/// A regular grid: point (i, j) lies at (x0 + i·dx, y0 + j·dy) in the projection's plane; values are stored j-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The plane.
    pub projection: Projection,
    /// The sphere or ellipsoid.
    #[serde(flatten)]
    pub earth: Earth,
    /// Points along x.
    pub nx: usize,
    /// Points along y.
    pub ny: usize,
    /// x of the first point: metres, or degrees where the plane is made of them.
    pub x0: f64,
    /// y of the first point.
    pub y0: f64,
    /// Step along x; never zero.
    pub dx: f64,
    /// Step along y; negative where rows run north to south.
    pub dy: f64,
}

/// Latitude and longitude of every point of a grid in degrees, j-major; NaN where the projection has no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinates {
    /// Degrees north.
    pub latitude: Vec<f64>,
    /// Degrees east, −180..180.
    pub longitude: Vec<f64>,
}

impl Grid {
    /// A grid whose first point is given as latitude and longitude, as GRIB gives it.
    ///
    /// Fails where the projection makes no map, does not show the first point, or the shape is empty.
    pub fn anchored(
        projection: Projection,
        earth: Earth,
        first: (f64, f64),
        size: (usize, usize),
        step: (f64, f64),
    ) -> Result<Self, GridError> {
        let map = Map::new(projection, earth)?;
        let off = || GridError::Projection(format!("{projection:?}"), format!("it does not show the point {first:?}"));
        let (x0, y0) = match projection {
            Projection::LatLon | Projection::Gaussian { .. } => {
                map.forward(first.0, first.1).map(|(_, y)| (first.1, y)).ok_or_else(off)?
            }
            _ => map.forward(first.0, first.1).ok_or_else(off)?,
        };
        let grid = Grid { projection, earth, nx: size.0, ny: size.1, x0, y0, dx: step.0, dy: step.1 };
        grid.check().map(|()| grid)
    }

    /// Whether the grid can be used: it has points, its steps are finite and not zero, its projection makes a map.
    pub fn check(&self) -> Result<(), GridError> {
        let finite = [self.x0, self.y0, self.dx, self.dy].iter().all(|number| number.is_finite());
        let points = self.nx.checked_mul(self.ny).is_some_and(|points| points > 0 && points < u32::MAX as usize);
        if !finite || !points || self.dx == 0.0 || self.dy == 0.0 {
            let Grid { nx, ny, x0, y0, dx, dy, .. } = self;
            return Err(GridError::Shape(format!("{nx}×{ny} points from ({x0}, {y0}) in steps of ({dx}, {dy})")));
        }
        self.map().map(|_| ())
    }

    /// The projection with its constants worked out.
    pub(crate) fn map(&self) -> Result<Map, GridError> {
        Map::new(self.projection, self.earth)
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.nx * self.ny
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where point (i, j) lies in the plane.
    pub fn xy(&self, i: usize, j: usize) -> (f64, f64) {
        self.place(i as f64, j as f64)
    }

    /// Where a fractional index lies in the plane.
    pub(crate) fn place(&self, i: f64, j: f64) -> (f64, f64) {
        (self.x0 + i * self.dx, self.y0 + j * self.dy)
    }

    /// Latitude and longitude (−180..180) in degrees of a place in the plane; `None` off the map.
    pub fn to_geographic(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        self.map().ok()?.inverse(x, y)
    }

    /// The place in the plane of a latitude and longitude; `None` where the projection has no answer.
    ///
    /// Where x is a longitude it is on the branch nearest to the grid's middle.
    pub fn to_plane(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        let (i, j) = self.index(latitude, longitude)?;
        Some(self.place(i, j))
    }

    /// The fractional index (i, j) of a latitude and longitude; it may lie outside the grid.
    ///
    /// `None` where the projection has no answer. Where x is a longitude i is on the branch nearest to the grid's middle.
    pub fn index(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        self.index_with(&self.map().ok()?, latitude, longitude)
    }

    /// [`Grid::index`] for many points.
    pub(crate) fn index_with(&self, map: &Map, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        let (x, y) = map.forward(latitude, longitude)?;
        let (i, j) = ((x - self.x0) / self.dx, (y - self.y0) / self.dy);
        let Some(turn) = map.turn().map(|turn| turn / self.dx.abs()) else { return Some((i, j)) };
        let middle = (self.nx as f64 - 1.0) / 2.0;
        Some((i - turn * ((i - middle) / turn).round(), j))
    }

    /// Columns in one turn around the globe, where x is longitude.
    pub(crate) fn turn(&self) -> Option<f64> {
        Some(self.map().ok()?.turn()? / self.dx.abs())
    }

    /// Whether the last column is followed by the first: a grid once around the globe.
    pub fn wraps(&self) -> bool {
        self.turn().is_some_and(|turn| (turn - self.nx as f64).abs() < 1e-3)
    }

    /// Latitude and longitude of every point.
    pub fn coordinates(&self) -> Coordinates {
        let map = self.map().ok();
        let geographic = |i: usize, j: usize| {
            let (x, y) = self.xy(i, j);
            map.as_ref().and_then(|map| map.inverse(x, y)).unwrap_or((f64::NAN, f64::NAN))
        };
        let points = (0..self.ny).flat_map(|j| (0..self.nx).map(move |i| (i, j)));
        let (latitude, longitude) = points.map(|(i, j)| geographic(i, j)).unzip();
        Coordinates { latitude, longitude }
    }

    /// Angle in radians by which true north at a place lies to the left of the plane's y axis (meridian convergence).
    ///
    /// Zero where rows run along the parallels and where the projection makes no map. On a turned globe the y axis is its
    /// meridian.
    pub fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        self.map().map_or(0.0, |map| map.convergence(latitude, longitude))
    }

    /// One line for people, such as `Lambert 1799×1059, 3000 m`.
    pub fn describe(&self) -> String {
        let (name, unit) = match self.projection {
            Projection::LatLon => ("lat-lon", "°"),
            Projection::RotatedLatLon { .. } => ("rotated lat-lon", "°"),
            Projection::Gaussian { rows } => return self.describe_gaussian(rows),
            Projection::Mercator { .. } => ("Mercator", " m"),
            Projection::PolarStereographic { .. } => ("polar stereographic", " m"),
            Projection::Lambert { .. } => ("Lambert", " m"),
            Projection::Albers { .. } => ("Albers", " m"),
            Projection::AzimuthalEqualArea { .. } => ("LAEA", " m"),
        };
        let (dx, dy) = (rounded(self.dx), rounded(self.dy));
        let step = if dx == dy { format!("{dx}{unit}") } else { format!("{dx}×{dy}{unit}") };
        format!("{name} {}×{}, {step}", self.nx, self.ny)
    }

    /// N is the number of rows between a pole and the equator; rows have no common step.
    fn describe_gaussian(&self, rows: u32) -> String {
        format!("Gaussian N{} {}×{}, {}°", rows / 2, self.nx, self.ny, rounded(self.dx))
    }
}

/// A step's size in millionths, for people.
fn rounded(step: f64) -> f64 {
    (step.abs() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The HRRR CONUS grid.
    pub(super) fn hrrr() -> Grid {
        let projection =
            Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
        Grid::anchored(projection, Earth::sphere(6_371_229.0), (21.138123, 237.280472), (1799, 1059), (3000.0, 3000.0))
            .expect("a grid")
    }

    fn latlon(x0: f64, y0: f64, nx: usize, ny: usize, dx: f64, dy: f64) -> Grid {
        Grid { projection: Projection::LatLon, earth: Earth::sphere(6_371_229.0), nx, ny, x0, y0, dx, dy }
    }

    #[test]
    fn the_hrrr_grid_lies_where_its_definition_says() {
        let grid = hrrr();
        assert!((grid.x0 + 2_697_520.142_5).abs() < 0.01 && (grid.y0 + 1_587_306.152_6).abs() < 0.01);
        // Corners as NCEP publishes them for the HRRR CONUS domain.
        for (i, j, latitude, longitude) in [
            (0, 0, 21.138123, -122.719528),
            (1798, 0, 21.140547, -72.289718),
            (0, 1058, 47.838623, -134.095480),
            (1798, 1058, 47.842195, -60.917193),
        ] {
            let (x, y) = grid.xy(i, j);
            let (got_latitude, got_longitude) = grid.to_geographic(x, y).expect("on the map");
            assert!((got_latitude - latitude).abs() < 1e-5, "{i} {j}: {got_latitude}");
            assert!((got_longitude - longitude).abs() < 1e-5, "{i} {j}: {got_longitude}");
        }
    }

    #[test]
    fn an_index_is_the_inverse_of_the_coordinates() {
        for grid in [hrrr(), latlon(0.0, 90.0, 1440, 721, 0.25, -0.25), latlon(170.0, -10.0, 40, 20, 0.5, 0.5)] {
            let all = grid.coordinates();
            for (i, j) in [(0, 0), (grid.nx - 1, 0), (3, grid.ny / 2), (grid.nx - 1, grid.ny - 1)] {
                let at = j * grid.nx + i;
                let index = grid.index(all.latitude[at], all.longitude[at]).expect("on the map");
                assert!((index.0 - i as f64).abs() < 1e-6 && (index.1 - j as f64).abs() < 1e-6, "{index:?} {i} {j}");
            }
        }
    }

    #[test]
    fn only_a_whole_turn_wraps() {
        assert!(latlon(0.0, 90.0, 1440, 721, 0.25, -0.25).wraps());
        assert!(!latlon(0.0, 90.0, 1439, 721, 0.25, -0.25).wraps());
        assert!(!hrrr().wraps());
    }

    #[test]
    fn a_grid_without_points_or_steps_is_refused() {
        for bad in
            [latlon(0.0, 0.0, 0, 1, 1.0, 1.0), latlon(0.0, 0.0, 1, 1, 0.0, 1.0), latlon(f64::NAN, 0.0, 1, 1, 1.0, 1.0)]
        {
            assert!(matches!(bad.check(), Err(GridError::Shape(_))));
        }
        assert!(matches!(latlon(0.0, 0.0, usize::MAX, 2, 1.0, 1.0).check(), Err(GridError::Shape(_))));
    }

    #[test]
    fn a_grid_describes_itself_for_people() {
        assert_eq!(hrrr().describe(), "Lambert 1799×1059, 3000 m");
        assert_eq!(latlon(0.0, 0.0, 20, 10, 0.25, -0.25).describe(), "lat-lon 20×10, 0.25°");
    }
}
