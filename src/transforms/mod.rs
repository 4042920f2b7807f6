//! Fields to fields: pure functions without I/O.

pub mod normalise;
pub mod qc;
pub mod regrid;
pub mod rotate;
pub mod statistics;
pub mod window;
