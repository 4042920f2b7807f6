//! What a message of so many bytes may claim, so that its claims can be trusted for allocation.

use std::ops::Range;

use super::Grib2Error;
use super::section::Section;

/// Points that a message of any length may have: constant fields of real mosaics have 24.5 million in 200 bytes.
const FREE_POINTS: usize = 1 << 25;
/// Points that every byte of a message justifies beyond those: what Deflate and runs of constant groups reach.
const POINTS_A_BYTE: usize = 1024;
/// Bytes before the bits of section 6.
const BITMAP_HEADER: usize = 6;
/// Bytes that writers fill a bitmap up with.
const BITMAP_PADDING: usize = 7;

/// Checks the points that section 3 claims in a message of so many bytes.
pub(super) fn check_points(section: &Section, points: usize, bytes: usize) -> Result<(), Grib2Error> {
    let most = FREE_POINTS.saturating_add(bytes.saturating_mul(POINTS_A_BYTE));
    if points <= most {
        return Ok(());
    }
    Err(section.damaged(7, format!("at most {most} points in a message of {bytes} bytes, found {points}")))
}

/// Checks the points of a field against the section 7 that they are in, of which a constant field needs nothing.
pub(super) fn check_data(data: &Section, constant: bool, points: usize) -> Result<(), Grib2Error> {
    let bytes = if constant { 0 } else { data.rest(6).len() };
    let most = FREE_POINTS.saturating_add(bytes.saturating_mul(POINTS_A_BYTE));
    if points <= most {
        return Ok(());
    }
    Err(data.damaged(6, format!("at most {most} points in {bytes} bytes of data, found {points}")))
}

/// Checks the length of the section 6 that lies at `bitmap` for a grid of so many points.
pub(super) fn check_bitmap(bitmap: &Range<usize>, points: usize) -> Result<(), Grib2Error> {
    let (needed, found) = (points.div_ceil(8), bitmap.len().saturating_sub(BITMAP_HEADER));
    if (needed..=needed + BITMAP_PADDING).contains(&found) {
        return Ok(());
    }
    let expected = format!("a bitmap of {needed} bytes for {points} points, found {found}");
    Err(Grib2Error::Damaged { section: 6, offset: bitmap.start + BITMAP_HEADER, expected })
}
