//! Every CUDA kernel, run on the host: its values, its gradients, and the harness that would notice if one were wrong.

mod backend;
mod compare;
mod compile;
#[path = "../common/data.rs"]
mod data;
mod emulation;
#[allow(dead_code, reason = "the tests of the loader use all of it")]
#[path = "../common/events.rs"]
mod events;
#[allow(dead_code, reason = "the tests of the CPU use all of it")]
#[path = "../tensor/fixtures.rs"]
mod fixtures;
mod fields;
#[allow(dead_code, reason = "other test files use the rest of it")]
#[path = "../common/flows.rs"]
mod flows;
mod gpu_check;
mod harness;
mod library;
mod lightning;
mod loader;
#[allow(dead_code, unreachable_pub, reason = "other test files include it as a module of their own")]
#[path = "../common/python.rs"]
mod python;
#[allow(dead_code, reason = "the tests of the reader use all of it")]
#[path = "../grib2/made.rs"]
mod made;
mod packed;
mod pipelines;
mod recording;
mod run_gpu;
mod sizes;
#[path = "../common/special.rs"]
mod special;
mod table;
mod tiles;
#[allow(dead_code, reason = "other test files use the rest of it")]
#[path = "../common/trees.rs"]
mod trees;
mod values;
mod wgmma;
mod wgmma_harness;
mod wide;
