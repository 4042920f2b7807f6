//! The nouns every stage shares, without I/O: times, variables, grids, fields.

mod event;
mod field;
mod grid;
mod map;
pub(crate) mod random;
mod square;
mod symmetry;
mod time;
mod variable;

pub(crate) use event::occurrences;
pub use event::{Cube, Event, FRAME_SECONDS, FRAMES, Level, Levels, MISSING_CODE, MISSING_LEVEL, Modality, Part};
pub use field::{Absence, Field, Held, Item, Provenance, Requirement};
pub use grid::{Coordinates, Grid, GridError};
pub(crate) use map::Map;
pub use map::{Earth, Projection};
pub use random::Philox;
pub use square::Turned;
pub use symmetry::Symmetry;
pub use time::{Lead, Moment, Period, Slot, TimeError};
pub use variable::{Quality, Variable, WindPart};
