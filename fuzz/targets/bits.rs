//! Takes any bytes as packed values: sections 5, 6 and 7 of an otherwise sound message.

#![no_main]

#[allow(dead_code, reason = "every target uses a part of it")]
#[path = "../../tests/grib2/fuzz_targets.rs"]
mod fuzz_targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::bits(bytes));
