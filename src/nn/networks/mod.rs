//! Whole networks.

pub mod ddpm_ultra_minimal;
