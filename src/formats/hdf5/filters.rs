//! Undoes what was done to a chunk before it was stored: deflate, shuffle and checksums.

use std::borrow::Cow;
use std::fmt;

use libdeflater::Decompressor;

/// One step of a chunk's way into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// zlib at this level (filter 1).
    Deflate(u32),
    /// The first bytes of all elements, then the second ones, … (filter 2).
    Shuffle,
    /// A checksum behind the bytes (filter 3).
    Fletcher32,
    /// Any other, by its registered number.
    Other(u32),
}

impl Filter {
    /// The filter of a registered number and its parameters.
    pub(super) fn of(id: u32, parameters: &[u32]) -> Filter {
        match id {
            1 => Filter::Deflate(parameters.first().copied().unwrap_or(0)),
            2 => Filter::Shuffle,
            3 => Filter::Fletcher32,
            other => Filter::Other(other),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Deflate(level) => write!(f, "gzip {level}"),
            Filter::Shuffle => f.write_str("shuffle"),
            Filter::Fletcher32 => f.write_str("fletcher32"),
            Filter::Other(4) => f.write_str("szip"),
            Filter::Other(5) => f.write_str("n-bit"),
            Filter::Other(6) => f.write_str("scale-offset"),
            Filter::Other(32000) => f.write_str("lzf"),
            Filter::Other(32001) => f.write_str("blosc"),
            Filter::Other(32015) => f.write_str("zstd"),
            Filter::Other(id) => write!(f, "filter {id}"),
        }
    }
}

/// Bytes of a checksum.
const CHECKSUM: usize = 4;
/// Deflate makes nothing more than about a thousand times smaller; what claims to be is damaged.
const DEFLATE_MOST: usize = 1100;

/// Whether chunks that went through these filters can be unpacked here.
pub(super) fn known(filters: &[Filter]) -> bool {
    let deflates = filters.iter().filter(|filter| matches!(filter, Filter::Deflate(_))).count();
    deflates <= 1 && !filters.iter().any(|filter| matches!(filter, Filter::Other(_)))
}

/// The `length` bytes of a chunk of elements of `width` bytes that was stored as `stored`.
///
/// A set bit of `skipped` says that the filter at that place was left out for this chunk.
pub(super) fn undo<'a>(
    filters: &[Filter],
    skipped: u32,
    stored: &'a [u8],
    width: usize,
    length: usize,
) -> Result<Cow<'a, [u8]>, String> {
    let is_applied = |k: usize| skipped.checked_shr(k as u32).unwrap_or(0) & 1 == 0;
    let applied: Vec<&Filter> = filters.iter().enumerate().filter(|(k, _)| is_applied(*k)).map(|(_, f)| f).collect();
    let mut bytes = Cow::Borrowed(stored);
    for (k, filter) in applied.iter().enumerate().rev() {
        let sums = applied.iter().take(k).filter(|f| ***f == Filter::Fletcher32).count();
        bytes = Cow::Owned(match filter {
            Filter::Deflate(_) => inflated(&bytes, length.saturating_add(CHECKSUM * sums))?,
            Filter::Shuffle => unshuffled(&bytes, width),
            Filter::Fletcher32 => checked(&bytes)?.to_vec(),
            Filter::Other(id) => return Err(format!("filter {id} is not known here")),
        });
    }
    if bytes.len() == length { Ok(bytes) } else { Err(format!("{} bytes, expected {length}", bytes.len())) }
}

fn inflated(stored: &[u8], length: usize) -> Result<Vec<u8>, String> {
    if length / DEFLATE_MOST > stored.len() {
        return Err(format!("{} compressed bytes cannot be the {length} expected", stored.len()));
    }
    let mut bytes = vec![0; length];
    let found = Decompressor::new().zlib_decompress(stored, &mut bytes).map_err(|e| format!("gzip: {e}"))?;
    if found == length { Ok(bytes) } else { Err(format!("gzip: {found} bytes, expected {length}")) }
}

/// Puts the bytes of every element side by side again; what is left over stays at the end.
fn unshuffled(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = if width > 1 { bytes.len() / width } else { 0 };
    if count < 2 {
        return bytes.to_vec();
    }
    let (planes, rest) = bytes.split_at(count * width);
    let mut out = vec![0; bytes.len()];
    match width {
        2 => interleave::<2>(planes, count, &mut out),
        4 => interleave::<4>(planes, count, &mut out),
        8 => interleave::<8>(planes, count, &mut out),
        _ => {
            for (k, plane) in planes.chunks_exact(count).enumerate() {
                plane.iter().zip(out.iter_mut().skip(k).step_by(width)).for_each(|(byte, out)| *out = *byte);
            }
        }
    }
    out[count * width..].copy_from_slice(rest);
    out
}

/// As the general case, for a width that the compiler knows.
fn interleave<const WIDTH: usize>(planes: &[u8], count: usize, out: &mut [u8]) {
    let planes: [&[u8]; WIDTH] = std::array::from_fn(|k| &planes[k * count..(k + 1) * count]);
    for (i, element) in out.chunks_exact_mut(WIDTH).take(count).enumerate() {
        for (byte, plane) in element.iter_mut().zip(planes) {
            *byte = plane[i];
        }
    }
}

/// The bytes before a checksum that fits them.
fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((data, stored)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Err(format!("{} bytes, too few for a checksum", bytes.len()));
    };
    let (stored, found) = (u32::from_le_bytes(*stored), fletcher32(data));
    // Files of HDF5 before 1.6.3 have the bytes of each half the other way round.
    let halves_turned = (found & 0x00FF_00FF) << 8 | (found & 0xFF00_FF00) >> 8;
    if stored == found || stored == halves_turned {
        return Ok(data);
    }
    Err(format!("checksum {found:08x}, expected {stored:08x}: the bytes are damaged"))
}

/// Fletcher's checksum (1982) of words of two bytes, the greater first, as `H5_checksum_fletcher32` sums it.
fn fletcher32(data: &[u8]) -> u32 {
    let (mut sum1, mut sum2) = (0_u32, 0_u32);
    let fold = |sum: u32| (sum & 0xFFFF) + (sum >> 16);
    let pairs = data.chunks_exact(2);
    let last = pairs.remainder().first().map(|byte| u32::from(*byte) << 8);
    let words: Vec<u32> = pairs.map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).collect();
    // 360 words can be summed before the second sum overflows.
    for words in words.chunks(360) {
        for word in words {
            sum1 += word;
            sum2 += sum1;
        }
        (sum1, sum2) = (fold(sum1), fold(sum2));
    }
    if let Some(word) = last {
        sum1 += word;
        sum2 += sum1;
        (sum1, sum2) = (fold(sum1), fold(sum2));
    }
    fold(sum2) << 16 | fold(sum1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_put_together_again() {
        assert_eq!(unshuffled(&[1, 3, 5, 2, 4, 6, 9], 2), [1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(unshuffled(&[1, 4, 2, 5, 3, 6], 3), [1, 2, 3, 4, 5, 6]);
        assert_eq!(unshuffled(&[1, 2, 3], 1), [1, 2, 3]);
        let shuffled: Vec<u8> = (0..8_u8).flat_map(|byte| [byte, byte + 8]).collect();
        assert_eq!(unshuffled(&shuffled, 8), (0..16).collect::<Vec<u8>>());
    }

    #[test]
    fn a_checksum_that_does_not_fit_is_an_error() {
        let data = [7_u8, 1, 2, 250, 9];
        let stored = [&data[..], &fletcher32(&data).to_le_bytes()].concat();
        assert_eq!(undo(&[Filter::Fletcher32], 0, &stored, 1, 5).unwrap(), data.as_slice());
        let mut damaged = stored.clone();
        damaged[2] ^= 1;
        assert!(undo(&[Filter::Fletcher32], 0, &damaged, 1, 5).unwrap_err().contains("damaged"));
        assert!(undo(&[Filter::Fletcher32], 0, &[1, 2], 1, 5).is_err());
    }

    #[test]
    fn lengths_that_cannot_be_are_errors() {
        assert_eq!(undo(&[], 0, &[1, 2], 1, 2).unwrap(), &[1, 2][..]);
        assert_eq!(undo(&[Filter::Deflate(4)], 1, &[1, 2], 1, 2).unwrap(), &[1, 2][..]);
        assert!(undo(&[], 0, &[1, 2], 1, 3).is_err());
        assert!(undo(&[Filter::Deflate(4)], 0, &[1, 2], 1, usize::MAX).is_err());
        assert!(undo(&[Filter::Deflate(4)], 0, b"no zlib stream", 1, 100).is_err());
    }
}
