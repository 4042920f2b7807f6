//! One operator per file: each only moves data between pure functions and threads of its own.

mod commit;
mod forecast;
mod intake;
mod lines;
mod rotate;
mod score;
mod totals;
mod transform;

pub(super) use commit::{Committing, commit};
pub(super) use forecast::forecast;
pub(super) use intake::{Intake, intake};
pub(super) use lines::lines;
pub(super) use rotate::rotate;
pub(super) use score::{Keep, score};
pub(super) use totals::totals;
pub(super) use transform::transform;

use std::hash::{DefaultHasher, Hash, Hasher};

use timely::dataflow::StreamVec;

use crate::domain::{Item, Slot};

/// Fields and absences in event time.
pub(super) type Items<'scope> = StreamVec<'scope, Slot, Item>;

/// Where work on a key is done: the same worker for the same key, in every run.
pub(super) fn route(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
