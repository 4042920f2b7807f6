//! The HRRR grid and crops of it, and where a point lies on the Earth to the precision weather needs.

use std::sync::Arc;

use super::SynthError;
use crate::domain::{Earth, Grid, Projection};

/// Points of HRRR's whole grid along x and y.
pub const FULL: [usize; 2] = [1799, 1059];
/// Radius of HRRR's sphere.
const RADIUS_M: f64 = 6_371_229.0;
/// Grid step in metres.
const STEP_M: f64 = 3000.0;
/// Plane coordinates of HRRR's first point in metres.
const ORIGIN_M: [f64; 2] = [-2_697_520.142_5, -1_587_306.152_6];
/// The tangent latitude and the longitude of the y axis in degrees.
const TANGENT: [f64; 2] = [38.5, -97.5];
/// The grid indices crops are centred on: the border of Kansas and Oklahoma.
const CENTRE: [usize; 2] = [899, 479];
/// Distance from the cone's apex to the plane's origin, R·cot 38.5°.
const APEX_KM: f64 = 8009.84;
/// sin 38.5°, by which longitudes shrink to angles around the apex.
const CONE: f64 = 0.622_514_6;
/// Degrees in a radian.
const DEGREES: f64 = 57.295_779_513_1;

/// A rectangle of the HRRR grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The rectangle as a grid.
    pub grid: Arc<Grid>,
    /// The indices of its first point on HRRR's whole grid.
    pub first: [usize; 2],
}

impl Frame {
    /// A crop of `size` points along x and y, centred on the border of Kansas and Oklahoma as far as the whole
    /// grid allows; refused where it is empty or larger than the whole.
    pub fn new(size: [usize; 2]) -> Result<Frame, SynthError> {
        if (0..2).any(|axis| size[axis] < 2 || size[axis] > FULL[axis]) {
            return Err(SynthError::Size(size[0], size[1]));
        }
        let first = [0, 1].map(|axis| CENTRE[axis].saturating_sub(size[axis] / 2).min(FULL[axis] - size[axis]));
        let projection = Projection::Lambert {
            latitude_origin: TANGENT[0],
            parallels: [TANGENT[0]; 2],
            longitude_origin: TANGENT[1],
        };
        let [x0, y0] = [0, 1].map(|axis| ORIGIN_M[axis] + first[axis] as f64 * STEP_M);
        let grid = Grid {
            projection,
            earth: Earth::sphere(RADIUS_M),
            nx: size[0],
            ny: size[1],
            x0,
            y0,
            dx: STEP_M,
            dy: STEP_M,
        };
        Ok(Frame { grid: Arc::new(grid), first })
    }

    /// Points along x and y.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.grid.nx, self.grid.ny]
    }
}

/// Where a point of HRRR's whole grid lies in the plane; indices may lie outside the grid.
pub(super) fn plane_km(i: i64, j: i64) -> [f64; 2] {
    [(ORIGIN_M[0] + i as f64 * STEP_M) / 1000.0, (ORIGIN_M[1] + j as f64 * STEP_M) / 1000.0]
}

/// Latitude and longitude in degrees, within half a degree: enough for climate and the height of the sun.
pub(super) fn roughly_geographic(x_km: f64, y_km: f64) -> [f64; 2] {
    let down = (APEX_KM - y_km).max(1000.0);
    let radius = (x_km * x_km + down * down).sqrt();
    let z = x_km / down;
    let angle = z * (1.0 - z * z * (1.0 / 3.0 - z * z / 5.0));
    [TANGENT[0] + (APEX_KM - radius) / 111.2, TANGENT[1] + angle / CONE * DEGREES]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_lie_on_the_whole_grid() {
        let whole = Frame::new(FULL).expect("the whole grid");
        let crop = Frame::new([256, 256]).expect("a crop");
        assert_eq!((whole.first, crop.first), ([0, 0], [771, 351]));
        assert_eq!(crop.grid.x0, whole.grid.x0 + 771.0 * 3000.0);
        assert_eq!(Frame::new([1799, 100]).expect("a strip").first, [0, 429]);
        for size in [[0, 5], [1800, 1059], [5, 1060], [1, 1]] {
            assert!(Frame::new(size).is_err(), "{size:?}");
        }
    }

    #[test]
    fn the_first_point_is_where_hrrr_says() {
        let [x, y] = plane_km(0, 0);
        let [latitude, longitude] = roughly_geographic(x, y);
        assert!((latitude - 21.138).abs() < 0.5 && (longitude + 122.7195).abs() < 0.5, "{latitude} {longitude}");
    }
}
