//! What parameters and surfaces are called.

use grib::codetables::{ArrayLookup, CodeTable4_2};
use gustfront::formats::grib2::Surface;

/// The name that WMO's code table 4.2 has for a parameter; `None` for local and reserved codes.
pub(super) fn parameter([discipline, category, number]: [u8; 3]) -> Option<&'static str> {
    let name = CodeTable4_2::new(discipline, category).data().get(usize::from(number))?;
    Some(*name).filter(|name| !name.is_empty() && !name.starts_with("Reserved"))
}

/// A fixed surface and its level in the words of an NCEP index (code table 4.5).
pub(super) fn surface(Surface { kind, level }: Surface) -> String {
    match kind {
        1 => "surface".into(),
        2 => "cloud base".into(),
        3 => "cloud top".into(),
        4 => "0C isotherm".into(),
        6 => "max wind".into(),
        7 => "tropopause".into(),
        8 => "top of atmosphere".into(),
        10 | 200 => "entire atmosphere".into(),
        20 => format!("{level} K level"),
        100 => format!("{} mb", level / 100.0),
        101 => "mean sea level".into(),
        102 => format!("{level} m above mean sea level"),
        103 => format!("{level} m above ground"),
        104 => format!("{level} sigma level"),
        105 => format!("{level} hybrid level"),
        106 => format!("{level} m below ground"),
        108 => format!("{} mb above ground", level / 100.0),
        other => format!("surface type {other}, {level}"),
    }
}
