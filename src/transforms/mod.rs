//! Fields to fields: pure functions without I/O.

pub mod frames;
pub mod level_statistics;
pub mod lightning;
pub mod normalise;
pub mod qc;
pub mod regrid;
pub mod resize;
pub mod rotate;
pub mod scaling;
pub mod statistics;
pub mod vil;
pub mod window;
