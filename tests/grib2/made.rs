//! Messages taken apart into sections, changed and put together again, with lengths that are right or that lie.

use std::path::{Path, PathBuf};

/// The committed synthetic messages, indexes and inputs of the fuzz targets.
pub(crate) fn seeds(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/grib2/seeds").join(kind);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).expect("a seed"))).collect()
}

/// One committed synthetic message.
pub(crate) fn seed(name: &str) -> Vec<u8> {
    let found = seeds("message").into_iter().find(|(seed, _)| seed == name);
    found.unwrap_or_else(|| panic!("no seed {name}")).1
}

/// A message's sections 1 to 7, each with its number and without its length.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) sections: Vec<(u8, Vec<u8>)>,
}

impl Made {
    /// Takes apart the whole message at the start of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Made {
        let mut sections = Vec::new();
        for range in section_ranges(bytes) {
            sections.push((bytes[range.start + 4], bytes[range.start + 5..range.end].to_vec()));
        }
        Made { sections }
    }

    /// The content of the first section of a number; octet n is at n − 6.
    pub(crate) fn section(&mut self, number: u8) -> &mut Vec<u8> {
        let found = self.sections.iter_mut().find(|(n, _)| *n == number);
        &mut found.unwrap_or_else(|| panic!("no section {number}")).1
    }

    /// Writes octets of the first section of a number.
    pub(crate) fn set(&mut self, number: u8, octet: usize, octets: &[u8]) {
        self.section(number)[octet - 6..octet - 6 + octets.len()].copy_from_slice(octets);
    }

    /// The whole message, its lengths right.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GRIB\xff\xff\x00\x02\0\0\0\0\0\0\0\0".to_vec();
        for (number, content) in &self.sections {
            bytes.extend_from_slice(&(content.len() as u32 + 5).to_be_bytes());
            bytes.push(*number);
            bytes.extend_from_slice(content);
        }
        bytes.extend_from_slice(b"7777");
        set_length(&mut bytes);
        bytes
    }
}

/// Writes a message's true length into its section 0.
pub(crate) fn set_length(message: &mut [u8]) {
    let length = message.len() as u64;
    message[8..16].copy_from_slice(&length.to_be_bytes());
}

/// Where sections 1 to 7 of the whole message at the start of `bytes` lie.
pub(crate) fn section_ranges(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut position) = (Vec::new(), 16);
    while bytes.get(position..position + 4).is_some_and(|b| b != b"7777") {
        let length = u32::from_be_bytes(bytes[position..position + 4].try_into().expect("four bytes"));
        found.push(position..position + length as usize);
        position += length as usize;
    }
    found
}
