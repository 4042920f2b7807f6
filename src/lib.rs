//! Streams of weather data in, storm-scale forecasts that know how sure they are out.
//!
//! The modules below are listed in reading order, which is also the order the data takes and the
//! only direction a `use crate::…` may point: a module sees those above it, never those below.

pub mod domain;
pub mod config;
pub mod telemetry;
pub mod storage;
pub mod formats;
pub mod sources;
pub mod transforms;
pub mod tensor;
pub mod nn;
pub mod loader;
pub mod models;
pub mod verify;
pub mod sinks;
pub mod flow;
