//! Bytes to fields and back, one file format a folder; no network.

pub mod grib2;
pub mod png;
pub mod zarr;
