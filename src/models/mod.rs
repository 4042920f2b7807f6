//! States to forecasts.

use std::sync::Arc;

use crate::domain::{Field, Lead, Slot};

/// Something that forecasts the fields of a state.
pub trait Predictor: Send + Sync {
    /// The model's name in stores and scores.
    fn name(&self) -> &str;
    /// The forecast `lead` after the state: one field for each of the state's, on the same grid.
    ///
    /// `state` holds the variables of one moment, sorted by name; a variable that did not come is absent from it.
    fn predict(&self, state: &[Field], lead: Lead) -> Vec<Field>;
}

/// Nothing changes: the forecast every other forecast has to beat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence;

impl Predictor for Persistence {
    fn name(&self) -> &str {
        "persistence"
    }

    fn predict(&self, state: &[Field], lead: Lead) -> Vec<Field> {
        let ahead = |field: &Field| Field {
            slot: Slot::new(field.slot.cycle, lead),
            values: Arc::clone(&field.values),
            ..field.clone()
        };
        state.iter().map(ahead).collect()
    }
}
