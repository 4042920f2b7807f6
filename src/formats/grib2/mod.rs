//! GRIB edition 2 messages and their indexes.
