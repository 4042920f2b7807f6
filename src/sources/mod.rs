//! Where fields come from.

pub mod synth;
