//! Layers, files of weights and networks, against PyTorch's conventions and numbers.

mod ddpm_ultra_minimal;
#[allow(dead_code, reason = "the tests of tensors use all of it")]
#[path = "../tensor/fixtures.rs"]
mod fixtures;
mod layers;
mod memory;
mod weights;
