//! What parameters are called.

use grib::codetables::{ArrayLookup, CodeTable4_2};

/// The name that WMO's code table 4.2 has for a parameter; `None` for local and reserved codes.
pub(super) fn parameter([discipline, category, number]: [u8; 3]) -> Option<&'static str> {
    let name = CodeTable4_2::new(discipline, category).data().get(usize::from(number))?;
    Some(*name).filter(|name| !name.is_empty() && !name.starts_with("Reserved"))
}
