//! Every CUDA kernel, run on the host: its values, its gradients, and the harness that would notice if one were wrong.

mod emulation;
mod harness;
mod tiles;
mod values;
