//! Synthetic weather: a seeded atmosphere of moving storms, written as HRRR writes its own, and as SEVIR has its events.
//!
//! The state at a valid time is a pure function of seed, place and time: any cycle and any crop can be made alone.
//! Lead 0 is the truth; a longer lead shares the truth's storms up to its cycle and then draws its own, from places
//! and air that err a little. Field values use exactly rounded arithmetic alone, so a seed gives the same bits on
//! every machine; of the bytes of a file, only the corner of the grid in its header rests on the platform's
//! trigonometry, rounded to a millionth of a degree.

mod births;
mod cells;
mod environment;
mod fields;
mod file;
mod frame;
mod lattice;
mod math;
mod noise;
mod paint;
mod sevir;
mod systems;
mod terrain;
#[cfg(test)]
mod tests;
mod thermodynamics;
mod weather;
mod writer;

pub use fields::{Fields, Grounds, VARIABLES, fields, grounds};
pub use frame::{FULL, Frame};
pub use sevir::{SevirOptions, SevirStorage, SevirSummary, write_sevir};
pub use writer::{Summary, SynthOptions, write_hrrr, write_hrrr_watched};

use crate::formats::grib2::Grib2Error;
use crate::storage::StorageError;

/// The generator and its version; the number grows whenever the same seed would give other bytes.
pub const GENERATOR: &str = "gustfront-synth/1";

/// Synthetic weather that could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// No such crop of the HRRR grid.
    #[error("{0}x{1} points are no crop of HRRR's 1799x1059; expected 2x2 to 1799x1059")]
    Size(usize, usize),
    /// Options that make no cycle or event.
    #[error("no synthetic weather can be made: {0}")]
    Options(String),
    /// The variables table lacks a variable that is written.
    #[error("the variables table has no `{0}`")]
    Variable(String),
    /// The output holds something else.
    #[error("{location}: `{key}` is not `{origin}`; expected an empty output or one with that weather alone")]
    Foreign {
        /// The store.
        location: String,
        /// The first object that is something else.
        key: String,
        /// What would be written.
        origin: String,
    },
    /// An object of this seed has other bytes: another grid, or a file cut short.
    #[error("{location}: `{key}` exists with other content; expected the same grid and version, or none")]
    Differs {
        /// The store.
        location: String,
        /// The object.
        key: String,
    },
    /// Whoever watched said so; nothing unfinished is left.
    #[error("stopped after {0} events, of which nothing is left; run again to make all of them")]
    Stopped(usize),
    /// A field that could not be written as GRIB2.
    #[error(transparent)]
    Grib2(#[from] Grib2Error),
    /// A file that could not be written as HDF5, or put into its folder.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// The library's or the system's own words.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Who made the weather of a seed, as every message says in its section 2.
pub fn origin(seed: u64) -> String {
    format!("SYNTHETIC {GENERATOR} seed={seed}")
}
