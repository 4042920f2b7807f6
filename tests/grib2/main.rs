//! GRIB2 reading and writing against real messages, ecCodes' readings of them, damage, and round trips.

mod damage;
#[path = "../common/data.rs"]
mod data;
mod eccodes;
mod index;
mod manifest;
mod round_trip;
mod sizes;
#[allow(unreachable_pub, reason = "other test files include it as a module of their own")]
#[path = "../common/python.rs"]
mod python;
