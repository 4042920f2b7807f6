//! Where an event lies: a square of SEVIR's map, and where its points are in the plane of the storms.

use std::sync::LazyLock;

use crate::domain::{Earth, Grid, Projection};
use crate::sources::synth::frame::Frame;

/// Side of an event in kilometres.
pub(super) const SIDE_KM: f64 = 384.0;
/// Points between which places are interpolated, along one side; between them the maps differ by less than a metre.
const KNOTS: usize = 25;

/// SEVIR's map: Lambert azimuthal equal-area on a sphere.
static MAP: LazyLock<Grid> = LazyLock::new(|| Grid {
    projection: Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 },
    earth: Earth::sphere(6_370_997.0),
    nx: 2,
    ny: 2,
    x0: 0.0,
    y0: 0.0,
    dx: 1000.0,
    dy: 1000.0,
});

/// The plane of the storms.
static STORMS: LazyLock<Option<Frame>> = LazyLock::new(|| Frame::new([2, 2]).ok());

/// The square of an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// Its lower left corner on SEVIR's map, in kilometres.
    pub(super) corner_km: [f64; 2],
    /// Where the knots are in the plane of the storms, in kilometres, row by row from the south.
    knots_km: Vec<[f64; 2]>,
}

impl Place {
    /// The square whose middle is at a place in the plane of the storms; `None` far off the map.
    pub(super) fn around(x_km: f64, y_km: f64) -> Option<Place> {
        let (latitude, longitude) = STORMS.as_ref()?.grid.to_geographic(x_km * 1000.0, y_km * 1000.0)?;
        let (x, y) = MAP.to_plane(latitude, longitude)?;
        let corner_km = [x, y].map(|middle| (middle / 1000.0).round() - SIDE_KM / 2.0);
        let knot = |k: usize| {
            let share = [k % KNOTS, k / KNOTS].map(|i| i as f64 / (KNOTS - 1) as f64);
            let [x, y] = [0, 1].map(|axis| corner_km[axis] + SIDE_KM * share[axis]);
            let (latitude, longitude) = MAP.to_geographic(x * 1000.0, y * 1000.0)?;
            let (x, y) = STORMS.as_ref()?.grid.to_plane(latitude, longitude)?;
            Some([x / 1000.0, y / 1000.0])
        };
        let knots_km = (0..KNOTS * KNOTS).map(knot).collect::<Option<_>>()?;
        Some(Place { corner_km, knots_km })
    }

    /// Where a point of the square, given by its distance from the lower left corner, is in the plane of the storms.
    pub(super) fn in_storms(&self, x_km: f64, y_km: f64) -> [f64; 2] {
        let spacing = SIDE_KM / (KNOTS - 1) as f64;
        let [column, row] = [x_km, y_km].map(|d| (d / spacing).clamp(0.0, (KNOTS - 1) as f64 - 1e-9));
        let (i, j) = (column as usize, row as usize);
        let (right, up) = (column - i as f64, row - j as f64);
        let knot = |i: usize, j: usize| self.knots_km[j * KNOTS + i];
        let ([a, b], [c, d]) = ([knot(i, j), knot(i + 1, j)], [knot(i, j + 1), knot(i + 1, j + 1)]);
        [0, 1].map(|axis| {
            let (low, high) = (a[axis] + right * (b[axis] - a[axis]), c[axis] + right * (d[axis] - c[axis]));
            low + up * (high - low)
        })
    }

    /// The least and greatest coordinates of the square in the plane of the storms.
    pub(super) fn bounds_km(&self) -> [[f64; 2]; 2] {
        let end = |pick: fn(f64, f64) -> f64, start: f64| {
            [0, 1].map(|axis| self.knots_km.iter().map(|knot| knot[axis]).fold(start, pick))
        };
        [end(f64::min, f64::INFINITY), end(f64::max, f64::NEG_INFINITY)]
    }

    /// Latitude and longitude of the lower left and the upper right corner.
    pub(super) fn corners(&self) -> [f64; 4] {
        let at = |shift: f64| self.geographic(shift, shift);
        let ([south, west], [north, east]) = (at(0.0), at(SIDE_KM));
        [south, west, north, east]
    }

    /// Latitude and longitude of a point of the square, given by its distance from the lower left corner.
    pub(super) fn geographic(&self, x_km: f64, y_km: f64) -> [f64; 2] {
        let [x, y] = [self.corner_km[0] + x_km, self.corner_km[1] + y_km];
        MAP.to_geographic(x * 1000.0, y * 1000.0).map_or([f64::NAN; 2], |(latitude, longitude)| [latitude, longitude])
    }

    /// Distance from the lower left corner, along both axes in kilometres, of a place in the plane of the storms.
    pub(super) fn in_square(&self, x_km: f64, y_km: f64) -> Option<[f64; 2]> {
        let (latitude, longitude) = STORMS.as_ref()?.grid.to_geographic(x_km * 1000.0, y_km * 1000.0)?;
        let (x, y) = MAP.to_plane(latitude, longitude)?;
        Some([x / 1000.0 - self.corner_km[0], y / 1000.0 - self.corner_km[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree_and_knots_are_dense_enough() {
        let place = Place::around(-300.0, 250.0).unwrap();
        for [x, y] in [[0.0, 0.0], [384.0, 384.0], [100.3, 7.7], [383.5, 190.2]] {
            let [u, v] = place.in_storms(x, y);
            let back = place.in_square(u, v).unwrap();
            assert!((back[0] - x).abs() < 0.01 && (back[1] - y).abs() < 0.01, "{x} {y}: {back:?}");
        }
        let [south, west, north, east] = place.corners();
        assert!(south < north && west < east && (25.0..50.0).contains(&south), "{:?}", place.corners());
    }
}
