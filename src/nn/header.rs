//! The header of a file of weights, read without the numbers behind it and compared with the file's length.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use safetensors::tensor::Metadata;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{NnError, Result};

/// Bytes before the header: its length.
pub(super) const LENGTH_BYTES: u64 = 8;
/// The longest header that the format allows, in bytes.
const LONGEST: u64 = 100_000_000;
/// The first bytes of a zip archive, which is what `torch.save` writes since PyTorch 1.6.
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// The first byte of a pickle of protocol 2 to 5, the second of which is the protocol.
const PICKLE: u8 = 0x80;

/// What a file that begins so is, if it is one of PyTorch's own and what to do about it.
pub(super) fn pickle(begin: &[u8]) -> Option<&'static str> {
    match begin {
        _ if begin.starts_with(&ZIP) => {
            Some("it is a zip archive, such as a PyTorch pickle; save it with safetensors.torch.save_file")
        }
        [PICKLE, 2..=5, ..] => Some("it is a PyTorch pickle; save it with safetensors.torch.save_file"),
        _ => None,
    }
}

/// Whether a file that begins so is one of weights: the length of a header, and the brace of one.
pub(super) fn begins(begin: &[u8]) -> bool {
    let (Some(length), Some(brace)) = (begin.first_chunk(), begin.get(LENGTH_BYTES as usize)) else { return false };
    *brace == b'{' && (2..=LONGEST).contains(&u64::from_le_bytes(*length))
}

/// The header of a file, and where the numbers begin.
///
/// # Errors
/// A file that cannot be read, is none of weights, names a tensor twice, or is not as long as its header says.
pub(super) fn read(path: &Path, file: &File) -> Result<(Metadata, u64)> {
    let failed = |source| NnError::File { path: path.to_owned(), source };
    let refused = |reason| NnError::Format { path: path.to_owned(), reason };
    let found = file.metadata().map_err(failed)?.len();
    let length = header_length(file, found).map_err(failed)?.map_err(refused)?;
    let mut header = vec![0; length as usize];
    file.read_exact_at(&mut header, LENGTH_BYTES).map_err(failed)?;
    let wrong = |error: serde_json::Error| refused(format!("its header cannot be read: {error}"));
    serde_json::from_slice::<Names>(&header).map_err(wrong)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(wrong)?;
    let start = LENGTH_BYTES + length;
    let expected = start.saturating_add(header.data_len() as u64);
    if found == expected {
        return Ok((header, start));
    }
    let why = if found < expected { "it was cut short" } else { "something was added to it" };
    Err(refused(format!("{found} bytes; expected the {expected} that its header speaks of: {why}")))
}

/// The length of the header of a file of so many bytes; else why it has none.
fn header_length(file: &File, bytes: u64) -> std::io::Result<std::result::Result<u64, String>> {
    let mut begin = [0; LENGTH_BYTES as usize];
    if bytes < LENGTH_BYTES {
        return Ok(Err(format!("{bytes} bytes; expected at least the {LENGTH_BYTES} of a header's length")));
    }
    file.read_exact_at(&mut begin, 0)?;
    if let Some(other) = pickle(&begin) {
        return Ok(Err(other.into()));
    }
    let length = u64::from_le_bytes(begin);
    Ok(if length > LONGEST {
        Err(format!("a header of {length} bytes; expected at most {LONGEST}"))
    } else if length > bytes - LENGTH_BYTES {
        Err(format!("{bytes} bytes; expected {length} of a header behind the first {LENGTH_BYTES}: it was cut short"))
    } else {
        Ok(length)
    })
}

/// The keys of a header, each once.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Names)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Names, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if let Some(twice) = seen.replace(name) {
                return Err(A::Error::custom(format!("{twice:?} is named twice; expected each tensor once")));
            }
        }
        Ok(Names)
    }
}
