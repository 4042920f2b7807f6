//! Takes any bytes as an index and the size of its object.

#![no_main]

#[allow(dead_code, reason = "every target uses a part of it")]
#[path = "../../tests/grib2/fuzz_targets.rs"]
mod fuzz_targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::index(bytes));
