//! Synthetic weather: a seeded atmosphere of moving storms, written as HRRR writes its own.

mod births;
mod cells;
mod environment;
mod fields;
mod frame;
mod lattice;
mod math;
mod noise;
mod paint;
mod systems;
mod terrain;
mod thermodynamics;
mod weather;

pub use fields::{Fields, Grounds, VARIABLES, fields, grounds};
pub use frame::{FULL, Frame};

/// The generator and its version; the number grows whenever the same seed would give other bytes.
pub const GENERATOR: &str = "gustfront-synth/1";

/// Synthetic weather that could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// No such crop of the HRRR grid.
    #[error("{0}x{1} points are no crop of HRRR's 1799x1059; expected 2x2 to 1799x1059")]
    Size(usize, usize),
}
