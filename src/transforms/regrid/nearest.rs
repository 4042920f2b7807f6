//! Takes each target point from the source cell that holds it.

use rayon::prelude::*;

use super::locate::Locator;

/// Stands for "outside the source": no grid has this many points.
pub(super) const OUTSIDE: u32 = u32::MAX;

/// One source index for each target point.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    source_of_target: Vec<u32>,
}

impl Nearest {
    pub(super) fn new(locator: &Locator) -> Self {
        let nx = locator.target.nx;
        let find = |at: usize| cell(locator, at % nx, at / nx).unwrap_or(OUTSIDE);
        Nearest { source_of_target: (0..locator.target.len()).into_par_iter().map(find).collect() }
    }

    pub(super) fn sources(&self) -> &[u32] {
        &self.source_of_target
    }

    pub(super) fn apply(&self, source: &[f32], target: &mut [f32]) {
        for (value, &at) in target.iter_mut().zip(&self.source_of_target) {
            *value = source.get(at as usize).copied().unwrap_or(f32::NAN);
        }
    }
}

fn cell(locator: &Locator, i: usize, j: usize) -> Option<u32> {
    let (i, j) = locator.source_index(i, j)?;
    let (nx, ny) = (locator.source.nx as f64, locator.source.ny as f64);
    let (mut i, j) = (i.round(), j.round());
    if locator.source.wraps() {
        i = i.rem_euclid(nx);
    }
    let inside = (0.0..nx).contains(&i) && (0.0..ny).contains(&j);
    inside.then_some((j * nx + i) as u32)
}
