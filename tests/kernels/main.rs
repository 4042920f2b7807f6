//! Every CUDA kernel, run on the host: its values, its gradients, and the harness that would notice if one were wrong.

mod backend;
#[path = "../common/data.rs"]
mod data;
mod emulation;
mod harness;
#[allow(dead_code, reason = "the tests of the reader use all of it")]
#[path = "../grib2/made.rs"]
mod made;
mod packed;
mod recording;
mod values;
