//! GRIB2 reading and writing against real messages, ecCodes' readings of them, damage, and round trips.

mod damage;
mod data;
mod index;
mod manifest;
mod round_trip;
