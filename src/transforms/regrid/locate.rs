//! Finds the places of one grid in another.

use crate::domain::{Grid, GridError, Map};

/// A source and a target grid with the constants of their maps worked out.
pub(super) struct Locator<'a> {
    pub(super) source: &'a Grid,
    pub(super) source_map: Map,
    pub(super) target: &'a Grid,
    target_map: Map,
}

impl<'a> Locator<'a> {
    pub(super) fn new(source: &'a Grid, target: &'a Grid) -> Result<Self, GridError> {
        source.check()?;
        target.check()?;
        Ok(Locator { source, source_map: source.map()?, target, target_map: target.map()? })
    }

    /// Latitude and longitude of a fractional index of the target, which ends at the poles; `None` off its map.
    pub(super) fn geographic(&self, i: f64, j: f64) -> Option<(f64, f64)> {
        let (x, y) = self.target.place(i, j);
        match self.target_map {
            Map::LatLon { .. } => self.target_map.inverse(x, y.clamp(-90.0, 90.0)),
            _ => self.target_map.inverse(x, y),
        }
    }

    /// The fractional source index of a target point; `None` where a map has no answer.
    pub(super) fn source_index(&self, i: usize, j: usize) -> Option<(f64, f64)> {
        let (x, y) = self.target.xy(i, j);
        let (latitude, longitude) = self.target_map.inverse(x, y)?;
        self.source.index_with(&self.source_map, latitude, longitude)
    }
}
