//! Averages the source over each target cell by the area of their overlap.
//!
//! Approximations: edges of source cells are straight in the source's plane (true parallels and meridians where x is a
//! longitude), edges of target cells are straight in their own and followed by pieces that lie within 1e-4 of a cell
//! beside them. The scale of a map that is not equal-area is that at the centroid of each overlap, as are the radii of
//! curvature of an ellipsoid.

use rayon::prelude::*;

use super::Taps;
use super::clip::{Keep, Point, clip, measure, range};
use super::locate::Locator;
use super::polygons::Plane;

/// Overlaps smaller than this share of the target cell are rounding.
const SLIVER: f64 = 1e-9;

/// Compressed sparse rows: the sources and weights of target t are those from offset t to offset t + 1.
#[derive(Clone, Debug)]
pub(super) struct Conservative {
    offsets: Vec<u32>,
    sources: Vec<u32>,
    weights: Vec<f32>,
    covered: Vec<f32>,
}

impl Conservative {
    pub(super) fn new(locator: &Locator) -> Self {
        let plane = Plane::new(locator);
        let areas = locator.target.areas_m2();
        let rows = areas.par_chunks(locator.target.nx).enumerate();
        let rows: Vec<Overlaps> = rows.map(|(j, areas)| Overlaps::of_row(locator, &plane, j, areas)).collect();
        Conservative::join(rows, areas.len())
    }

    fn join(rows: Vec<Overlaps>, targets: usize) -> Self {
        let total = rows.iter().map(|row| row.sources.len()).sum();
        let mut joined = Conservative {
            offsets: Vec::with_capacity(targets + 1),
            sources: Vec::with_capacity(total),
            weights: Vec::with_capacity(total),
            covered: Vec::with_capacity(targets),
        };
        joined.offsets.push(0);
        for row in rows {
            let before = joined.sources.len();
            joined.offsets.extend(row.ends.iter().map(|end| (before + end) as u32));
            joined.sources.extend(row.sources);
            joined.weights.extend(row.weights);
            joined.covered.extend(row.covered);
        }
        joined
    }

    pub(super) fn covered(&self) -> &[f32] {
        &self.covered
    }

    pub(super) fn taps(&self) -> Taps<'_> {
        Taps::Conservative { offsets: &self.offsets, sources: &self.sources, weights: &self.weights }
    }

    pub(super) fn apply(&self, source: &[f32], target: &mut [f32]) {
        for (value, pair) in target.iter_mut().zip(self.offsets.windows(2)) {
            let of_target = pair[0] as usize..pair[1] as usize;
            let (sources, weights) = (&self.sources[of_target.clone()], &self.weights[of_target]);
            *value = mean(source, sources, weights);
        }
    }
}

/// The weighted mean of the sources that are not missing, summed in f64; missing where there are none. The weights add
/// up to 1.
///
/// # Panics
/// Where a source is not among the values.
pub fn mean(source: &[f32], sources: &[u32], weights: &[f32]) -> f32 {
    let mut total = 0.0;
    for (&at, &weight) in sources.iter().zip(weights) {
        total += f64::from(weight) * f64::from(source[at as usize]);
    }
    if total.is_nan() || sources.is_empty() { mean_of_valid(source, sources, weights) } else { total as f32 }
}

/// The weighted mean over the sources that are not missing.
#[cold]
fn mean_of_valid(source: &[f32], sources: &[u32], weights: &[f32]) -> f32 {
    let (mut total, mut whole) = (0.0, 0.0);
    for (&at, &weight) in sources.iter().zip(weights).filter(|(at, _)| !source[**at as usize].is_nan()) {
        total += f64::from(weight) * f64::from(source[at as usize]);
        whole += f64::from(weight);
    }
    // Not left to 0/0, whose sign differs from processor to processor.
    if whole > 0.0 { (total / whole) as f32 } else { f32::NAN }
}

/// The overlaps of one row of target cells.
#[derive(Default)]
struct Overlaps {
    ends: Vec<usize>,
    sources: Vec<u32>,
    weights: Vec<f32>,
    covered: Vec<f32>,
}

impl Overlaps {
    fn of_row(locator: &Locator, plane: &Plane, j: usize, areas: &[f64]) -> Self {
        let row = plane.row(j);
        let mut overlaps = Overlaps::default();
        let mut cutter = Cutter {
            locator,
            plane,
            polygon: Vec::new(),
            strip: Vec::new(),
            piece: Vec::new(),
            spare: Vec::new(),
            found: Vec::new(),
        };
        for (i, area) in areas.iter().enumerate() {
            let area_m2 = area * locator.larger(i, j);
            cutter.found.clear();
            if row.polygon(i, &mut cutter.polygon).is_some() {
                cutter.cut(area_m2);
            }
            overlaps.push(&cutter.found, area_m2);
        }
        overlaps
    }

    fn push(&mut self, found: &[(u32, f64)], area_m2: f64) {
        let total: f64 = found.iter().map(|(_, overlap)| overlap).sum();
        self.sources.extend(found.iter().map(|(source, _)| source));
        self.weights.extend(found.iter().map(|(_, overlap)| (overlap / total) as f32));
        self.ends.push(self.sources.len());
        self.covered.push((total / area_m2).min(1.0) as f32);
    }
}

/// Cuts a polygon into its overlaps with source cells; the buffers are kept from one polygon to the next.
struct Cutter<'a> {
    locator: &'a Locator<'a>,
    plane: &'a Plane<'a>,
    polygon: Vec<Point>,
    strip: Vec<Point>,
    piece: Vec<Point>,
    spare: Vec<Point>,
    /// Source cells and square metres.
    found: Vec<(u32, f64)>,
}

impl Cutter<'_> {
    /// Where x is a longitude the polygon is tried on three turns around the globe.
    fn cut(&mut self, area_m2: f64) {
        let Some(turn) = self.locator.source.turn() else { return self.cut_one(area_m2) };
        self.polygon.iter_mut().for_each(|vertex| vertex[0] -= turn);
        for _ in 0..3 {
            self.cut_one(area_m2);
            self.polygon.iter_mut().for_each(|vertex| vertex[0] += turn);
        }
    }

    fn cut_one(&mut self, area_m2: f64) {
        let rows = self.rows();
        let outside = rows.is_empty() || columns(&self.polygon, self.locator.source.nx).is_empty();
        if outside || !self.plane.plausible(&self.polygon, area_m2) {
            return;
        }
        for j in rows {
            let (low, high) = (self.plane.row_edges[j], self.plane.row_edges[j + 1]);
            clip(&self.polygon, 1, low, Keep::Above, &mut self.spare);
            clip(&self.spare, 1, high, Keep::Below, &mut self.strip);
            for i in columns(&self.strip, self.locator.source.nx) {
                self.cut_cell(i, j, area_m2);
            }
        }
    }

    fn cut_cell(&mut self, i: usize, j: usize, area_m2: f64) {
        clip(&self.strip, 0, i as f64 - 0.5, Keep::Above, &mut self.spare);
        clip(&self.spare, 0, i as f64 + 0.5, Keep::Below, &mut self.piece);
        let (area, centroid) = measure(&self.piece);
        let overlap = area * self.plane.density(centroid).unwrap_or(0.0);
        if overlap > SLIVER * area_m2 {
            self.found.push(((j * self.locator.source.nx + i) as u32, overlap));
        }
    }

    /// The source rows that the polygon reaches.
    fn rows(&self) -> std::ops::Range<usize> {
        let (low, high) = range(&self.polygon, 1);
        let edges = &self.plane.row_edges;
        let first = edges.partition_point(|edge| *edge <= low).saturating_sub(1);
        let end = edges.partition_point(|edge| *edge < high).min(self.locator.source.ny);
        first..end
    }
}

/// The source columns that a polygon reaches.
fn columns(polygon: &[Point], nx: usize) -> std::ops::Range<usize> {
    let (low, high) = range(polygon, 0);
    let first = (low + 0.5).floor().max(0.0);
    let end = (high + 0.5).ceil().min(nx as f64);
    if first < end { first as usize..end as usize } else { 0..0 }
}
