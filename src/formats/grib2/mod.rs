//! GRIB edition 2 messages and their indexes: found, described, unpacked and written.
//!
//! Octets are numbered from 1, as the WMO manual on codes (FM 92) does; byte offsets in errors count from 0.

mod bits;
mod decode;
mod encode;
mod error;
mod grid;
mod header;
mod index;
mod limits;
mod packed;
mod packing;
mod product;
mod scan;
mod section;

pub use decode::decode_each;
pub use encode::{Encode, NO_CENTRE, Pack, Precision, Window, encode, index_line};
pub use error::Grib2Error;
pub use header::{Message, headers};
pub use index::{IndexEntry, parse_index};
pub use packed::{PackedField, PointOrder};
pub use packing::layout::{GroupLayout, Numbers};
pub use packing::{Ccsds, Complex, Packing, RunLength, Scale};
pub use product::{Ensemble, Process, Product, Surface, Time};
pub use scan::{Reason, Scan, Skipped, scan};
pub use section::NoSection;
