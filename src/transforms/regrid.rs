//! Moves fields from one grid to another with weights that are worked out once and applied often.

use serde::{Deserialize, Serialize};

use crate::domain::{Grid, GridError};

mod bilinear;
mod clip;
mod conservative;
mod interpolate;
mod locate;
mod nearest;
mod polygons;

pub use conservative::mean;
pub use interpolate::linear;

/// How the value at a target point comes from the source. Points outside the source are missing with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The value of the source cell that holds the point; missing where that is missing.
    Nearest,
    /// Linear along both axes of the source plane between the four points around; where some are missing, from the
    /// others if they hold at least half the weight.
    Bilinear,
    /// The mean over the part of the target cell that valid source cells cover, by area ("fracarea"): first-order
    /// conservative. Missing only where no valid cell overlaps.
    Conservative,
}

/// The weights that take fields from one grid to another. A latitude and longitude is the same place on both, also
/// where the figures of their earths differ.
#[derive(Clone, Debug)]
pub struct Weights {
    source_points: usize,
    target_points: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Nearest(nearest::Nearest),
    Bilinear(bilinear::Bilinear),
    Conservative(conservative::Conservative),
}

/// Weights as plain numbers, for machines that apply them by themselves.
#[derive(Clone, Debug)]
pub enum Taps<'a> {
    /// The source of each target; `u32::MAX` outside.
    Nearest(&'a [u32]),
    /// Between the four points around each target, as [`linear`] does it.
    Bilinear {
        /// The south-western one; `u32::MAX` outside. The first column follows the last, and the only row itself.
        south_west: Vec<u32>,
        /// The way from it to the others along x and y, 0 to 1.
        along: Vec<[f32; 2]>,
    },
    /// The [`mean`] of the sources of target t: those from offset t to offset t + 1.
    Conservative {
        /// One more than there are targets.
        offsets: &'a [u32],
        /// Source indices.
        sources: &'a [u32],
        /// Their weights, which add up to 1 for each target.
        weights: &'a [f32],
    },
}

impl Weights {
    /// Works out the weights, on all cores; fails where either grid cannot be used.
    pub fn new(source: &Grid, target: &Grid, method: Method) -> Result<Self, GridError> {
        let locator = locate::Locator::new(source, target)?;
        let kind = match method {
            Method::Nearest => Kind::Nearest(nearest::Nearest::new(&locator)),
            Method::Bilinear => Kind::Bilinear(bilinear::Bilinear::new(&locator)),
            Method::Conservative => Kind::Conservative(conservative::Conservative::new(&locator)),
        };
        Ok(Weights { source_points: source.len(), target_points: target.len(), kind })
    }

    /// Fills `target`, on this thread; NaN is missing on both sides.
    ///
    /// # Panics
    /// Where the slices do not have the points of the grids that the weights are for.
    pub fn apply(&self, source: &[f32], target: &mut [f32]) {
        assert_eq!(source.len(), self.source_points, "the field has the points of the source grid");
        assert_eq!(target.len(), self.target_points, "the result has the points of the target grid");
        match &self.kind {
            Kind::Nearest(weights) => weights.apply(source, target),
            Kind::Bilinear(weights) => weights.apply(source, target),
            Kind::Conservative(weights) => weights.apply(source, target),
        }
    }

    /// How many points the source and the target have.
    pub fn points(&self) -> (usize, usize) {
        (self.source_points, self.target_points)
    }

    /// The weights as plain numbers.
    pub fn taps(&self) -> Taps<'_> {
        match &self.kind {
            Kind::Nearest(weights) => Taps::Nearest(weights.sources()),
            Kind::Bilinear(weights) => weights.taps(self.target_points),
            Kind::Conservative(weights) => weights.taps(),
        }
    }

    /// The share of each target cell that the source grid covers, 0 to 1; conservative weights alone know it.
    pub fn covered(&self) -> Option<&[f32]> {
        match &self.kind {
            Kind::Conservative(weights) => Some(weights.covered()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
