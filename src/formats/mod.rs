//! Bytes to fields and back, one file format a folder; no network.

pub mod glm;
pub mod grib2;
pub mod hdf5;
pub mod png;
pub mod zarr;
