//! Cuts polygons along the lines of a grid and measures what is left.

/// A place in a plane.
pub(super) type Point = [f64; 2];

/// Which side of a line is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Above,
    Below,
}

/// Sutherland and Hodgman (1974): the part of a polygon on one side of the line where coordinate `axis` is `bound`.
pub(super) fn clip(polygon: &[Point], axis: usize, bound: f64, keep: Keep, out: &mut Vec<Point>) {
    out.clear();
    let Some(&last) = polygon.last() else { return };
    let inside = |point: Point| if keep == Keep::Above { point[axis] >= bound } else { point[axis] <= bound };
    let (mut before, mut was_inside) = (last, inside(last));
    for &point in polygon {
        let is_inside = inside(point);
        if is_inside != was_inside {
            out.push(crossing(before, point, axis, bound));
        }
        if is_inside {
            out.push(point);
        }
        (before, was_inside) = (point, is_inside);
    }
}

fn crossing(a: Point, b: Point, axis: usize, bound: f64) -> Point {
    let other = 1 - axis;
    let way = (bound - a[axis]) / (b[axis] - a[axis]);
    let mut point = [bound; 2];
    point[other] = a[other] + way * (b[other] - a[other]);
    point
}

/// The area (positive whichever way it turns) and the centroid of a polygon.
pub(super) fn measure(polygon: &[Point]) -> (f64, Point) {
    let Some(&origin) = polygon.first() else { return (0.0, [0.0; 2]) };
    let (mut twice, mut moment) = (0.0, [0.0; 2]);
    for pair in polygon.windows(2) {
        let [ax, ay] = [pair[0][0] - origin[0], pair[0][1] - origin[1]];
        let [bx, by] = [pair[1][0] - origin[0], pair[1][1] - origin[1]];
        let cross = ax * by - bx * ay;
        twice += cross;
        moment[0] += cross * (ax + bx);
        moment[1] += cross * (ay + by);
    }
    if twice == 0.0 {
        return (0.0, origin);
    }
    let centroid = [origin[0] + moment[0] / (3.0 * twice), origin[1] + moment[1] / (3.0 * twice)];
    (twice.abs() / 2.0, centroid)
}

/// The lowest and highest value of one coordinate.
pub(super) fn range(polygon: &[Point], axis: usize) -> (f64, f64) {
    let widen = |(low, high): (f64, f64), point: &Point| (low.min(point[axis]), high.max(point[axis]));
    polygon.iter().fold((f64::INFINITY, f64::NEG_INFINITY), widen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: [Point; 4] = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]];

    #[test]
    fn the_two_sides_of_a_line_add_up() {
        let (mut above, mut below) = (Vec::new(), Vec::new());
        for (axis, bound, expected) in [(0, 0.5, 3.0), (1, 1.5, 1.0), (0, -1.0, 4.0), (1, 3.0, 0.0)] {
            clip(&SQUARE, axis, bound, Keep::Above, &mut above);
            clip(&SQUARE, axis, bound, Keep::Below, &mut below);
            assert_eq!((measure(&above).0, measure(&below).0), (expected, 4.0 - expected));
        }
    }

    #[test]
    fn area_and_centroid_are_those_of_a_triangle_either_way_round() {
        for triangle in [[[1.0, 1.0], [4.0, 1.0], [1.0, 4.0]], [[1.0, 1.0], [1.0, 4.0], [4.0, 1.0]]] {
            assert_eq!(measure(&triangle), (4.5, [2.0, 2.0]));
        }
        assert_eq!(measure(&[]).0, 0.0);
    }

    #[test]
    fn a_cut_through_a_dented_polygon_keeps_its_area() {
        let dented = [[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [2.0, 1.0], [0.0, 3.0]];
        let mut above = Vec::new();
        clip(&dented, 1, 2.0, Keep::Above, &mut above);
        assert_eq!(measure(&above).0, 1.0);
    }
}
