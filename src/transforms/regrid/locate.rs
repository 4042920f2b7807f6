//! Finds the places of one grid in another.

use crate::domain::{Grid, GridError, Map};

/// A source and a target grid with the constants of their maps worked out.
pub(super) struct Locator<'a> {
    pub(super) source: &'a Grid,
    pub(super) source_map: Map,
    pub(super) target: &'a Grid,
    pub(super) target_map: Map,
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
        self.target_map.inverse(x, self.target_map.within(y))
    }

    /// The fractional source index of a target point; `None` where a map has no answer.
    pub(super) fn source_index(&self, i: usize, j: usize) -> Option<(f64, f64)> {
        let (x, y) = self.target.xy(i, j);
        let (latitude, longitude) = self.target_map.inverse(x, y)?;
        self.source.index_with(&self.source_map, latitude, longitude)
    }
    /// How much larger the source's earth is than the target's around a target point, in area: a latitude and longitude
    /// is the same place on both.
    pub(super) fn larger(&self, i: usize, j: usize) -> f64 {
        let (source, target) = (self.source_map.earth(), self.target_map.earth());
        let sine = match self.geographic(i as f64, j as f64) {
            Some((latitude, _)) if !(source.is_sphere() && target.is_sphere()) => latitude.to_radians().sin(),
            _ => 0.0,
        };
        source.element_m2(sine) / target.element_m2(sine)
    }
}
