//! The cells of a target grid as polygons in a plane in which the cells of the source are rectangles.

use std::f64::consts::TAU;

use super::clip::{Point, measure};
use super::locate::Locator;

/// How far, relative to a cell, the straight pieces of its edge may lie beside the true edge.
const SAGITTA: f64 = 1e-4;

/// Most pieces an edge is cut into.
const MOST_PIECES: f64 = 16.0;

/// The plane of (column, row) of the source; where x is a longitude, of (column, sine of latitude), which is equal-area
/// on a sphere.
pub(super) struct Plane<'a> {
    locator: &'a Locator<'a>,
    /// Where row j begins and ends: j and j + 1, ascending.
    pub(super) row_edges: Vec<f64>,
    /// The plane's own area, or radians times sines, for one unit of the plane.
    unit: f64,
    /// Makes rows ascend.
    sign: f64,
    /// Straight pieces along each edge of a target cell.
    pieces: usize,
}

impl<'a> Plane<'a> {
    pub(super) fn new(locator: &'a Locator) -> Self {
        let (source, map) = (locator.source, &locator.source_map);
        let sign = source.dy.signum();
        let edge = |row: usize| row as f64 - 0.5;
        let (row_edges, unit) = match map.turn() {
            Some(turn) => {
                // Rows lie where Map::sine has an answer: it cuts them at the poles.
                let sine = |row| sign * map.sine(source.place(0.0, edge(row)).1).unwrap_or(f64::NAN);
                ((0..=source.ny).map(sine).collect(), source.dx.abs() * TAU / turn)
            }
            None => ((0..=source.ny).map(edge).collect(), (source.dx * source.dy).abs()),
        };
        Plane { locator, row_edges, unit, sign, pieces: pieces(locator) }
    }

    /// Square metres of the source's earth for one unit of the plane around a place; `None` off the map.
    pub(super) fn density(&self, [i, j]: Point) -> Option<f64> {
        let map = &self.locator.source_map;
        let (x, y) = self.locator.source.place(i, j);
        let scale = if map.turn().is_some() { map.element_m2(x, self.sign * j) } else { map.area_scale(x, y) };
        Some(self.unit * scale?)
    }

    fn vertex(&self, i: f64, j: f64) -> Option<Point> {
        let (latitude, longitude) = self.locator.geographic(i, j)?;
        let (source, map) = (self.locator.source, &self.locator.source_map);
        let (column, row) = source.index_with(map, latitude, longitude)?;
        match map.turn() {
            Some(_) => Some([column, self.sign * map.sine(source.place(column, row).1)?]),
            None => Some([column, row]),
        }
    }

    /// The edges of the cells of one target row.
    pub(super) fn row(&self, j: usize) -> Row<'_> {
        let (nx, pieces) = (self.locator.target.nx, self.pieces);
        let way = |piece: usize| piece as f64 / pieces as f64 - 0.5;
        let line = |row: f64| (0..=nx * pieces).map(|piece| self.vertex(way(piece), row)).collect();
        let side = |i: usize| (1..pieces).map(move |piece| self.vertex(i as f64 - 0.5, j as f64 + way(piece)));
        Row {
            plane: self,
            south: line(j as f64 - 0.5),
            north: line(j as f64 + 0.5),
            sides: (0..=nx).flat_map(side).collect(),
        }
    }

    /// Whether a polygon is as large as a cell of `area_m2` may be: one that is torn by the edge of the source's map,
    /// or turned inside out, is not.
    pub(super) fn plausible(&self, polygon: &[Point], area_m2: f64) -> bool {
        let (area, centroid) = measure(polygon);
        self.density(centroid).is_some_and(|density| (0.25..4.0).contains(&(area * density / area_m2)))
    }
}

/// Pieces so that an edge as long as the step, curved like a parallel at 45°, is met to [`SAGITTA`].
fn pieces(locator: &Locator) -> usize {
    let angle = locator.target_map.angle(locator.target.dx, locator.target.dy);
    (angle / 8.0 / SAGITTA).sqrt().ceil().clamp(1.0, MOST_PIECES) as usize
}

/// The vertices along the edges of one row of target cells; `None` where a map has no answer.
pub(super) struct Row<'a> {
    plane: &'a Plane<'a>,
    south: Vec<Option<Point>>,
    north: Vec<Option<Point>>,
    sides: Vec<Option<Point>>,
}

impl Row<'_> {
    /// The polygon of cell i, or `None` where a vertex is off the map or, on a source that goes round the globe, a pole is inside.
    pub(super) fn polygon(&self, i: usize, polygon: &mut Vec<Point>) -> Option<()> {
        let pieces = self.plane.pieces;
        let (along, up) = (i * pieces..=(i + 1) * pieces, pieces - 1);
        let south = self.south[along.clone()].iter();
        let east = self.sides[(i + 1) * up..(i + 2) * up].iter();
        let north = self.north[along].iter().rev();
        let west = self.sides[i * up..(i + 1) * up].iter().rev();
        polygon.clear();
        for vertex in south.chain(east).chain(north).chain(west) {
            polygon.push((*vertex)?);
        }
        match self.plane.locator.source.turn() {
            Some(turn) => unwrap(polygon, turn),
            None => Some(()),
        }?;
        polygon.dedup();
        Some(())
    }
}

/// Puts each vertex on the branch of the one before; `None` where the last does not meet the first.
fn unwrap(polygon: &mut [Point], turn: f64) -> Option<()> {
    let mut before = polygon.first()?[0];
    for vertex in polygon.iter_mut() {
        vertex[0] += turn * ((before - vertex[0]) / turn).round();
        before = vertex[0];
    }
    ((before - polygon.first()?[0]).abs() < turn / 2.0).then_some(())
}
