//! Layers, files of weights and networks, against PyTorch's conventions and numbers.

mod ddpm_ultra_minimal;
mod layers;
mod weights;
