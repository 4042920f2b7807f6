//! GRIB2 reading and writing against real messages, ecCodes' readings of them, damage, and round trips.

mod codecs;
mod damage;
#[path = "../common/data.rs"]
mod data;
mod eccodes;
mod fuzz;
#[allow(unreachable_pub, reason = "the fuzz project includes it as a module of its own")]
mod fuzz_targets;
mod grids;
mod index;
mod made;
mod manifest;
mod memory;
mod refusals;
mod resync;
mod round_trip;
mod sizes;
#[allow(unreachable_pub, reason = "other test files include it as a module of their own")]
#[path = "../common/python.rs"]
mod python;
mod together;
