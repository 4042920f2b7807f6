//! An object as the ranged reader sees it: small reads of metadata come from whole blocks that are fetched once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hdf5_pure::{FormatError, Source};

use crate::storage::ObjectStore;

/// Bytes of a block: one request each, so that headers near each other cost one; the pieces of an index often lie
/// far apart, so that much larger ones would fetch the data between.
const BLOCK: u64 = 16 << 10;
/// Blocks kept, 16 MiB in all.
const KEPT: usize = 1024;
/// What is longer is data and not kept.
const LONGEST: usize = 16 * BLOCK as usize;

/// Blocks of one object; clones share what is kept.
#[derive(Clone)]
pub(super) struct Blocks {
    objects: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    kept: Arc<Mutex<Kept>>,
}

/// Blocks by their number, each with when it was last asked for.
#[derive(Default)]
struct Kept {
    blocks: HashMap<u64, (Bytes, u64)>,
    now: u64,
}

impl Blocks {
    /// The blocks of an object of `size` bytes.
    pub(super) fn new(objects: Arc<dyn ObjectStore>, key: &str, size: u64) -> Blocks {
        Blocks { objects, key: key.to_string(), size, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes, FormatError> {
        self.objects.get_range(&self.key, range).map_err(|error| FormatError::Source(error.to_string()))
    }

    /// A block, from the store if it is not kept.
    fn block(&self, number: u64) -> Result<Bytes, FormatError> {
        if let Some(bytes) = self.kept().find(number) {
            return Ok(bytes);
        }
        let start = number * BLOCK;
        let bytes = self.fetch(start..(start + BLOCK).min(self.size))?;
        self.kept().keep(number, bytes.clone());
        Ok(bytes)
    }

    fn beyond(&self, offset: u64, length: usize) -> FormatError {
        let whole = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        FormatError::UnexpectedEof { expected: whole(offset).saturating_add(length), available: whole(self.size) }
    }
}

impl Kept {
    fn find(&mut self, number: u64) -> Option<Bytes> {
        self.now += 1;
        let (bytes, asked) = self.blocks.get_mut(&number)?;
        *asked = self.now;
        Some(bytes.clone())
    }

    fn keep(&mut self, number: u64, bytes: Bytes) {
        let oldest = self.blocks.iter().min_by_key(|(_, (_, asked))| *asked).map(|(number, _)| *number);
        if let Some(oldest) = oldest.filter(|_| self.blocks.len() >= KEPT) {
            self.blocks.remove(&oldest);
        }
        self.blocks.insert(number, (bytes, self.now));
    }
}

impl Source for Blocks {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        let length = buffer.len();
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size);
        let end = end.ok_or_else(|| self.beyond(offset, length))?;
        if length > LONGEST {
            buffer.copy_from_slice(&self.fetch(offset..end)?);
            return Ok(());
        }
        let mut at = offset;
        while at < end {
            let block = self.block(at / BLOCK)?;
            let from = (at % BLOCK) as usize;
            let to = (from as u64 + (end - at)).min(block.len() as u64) as usize;
            let part =
                block.get(from..to).filter(|part| !part.is_empty()).ok_or_else(|| self.beyond(offset, length))?;
            let done = (at - offset) as usize;
            buffer[done..done + part.len()].copy_from_slice(part);
            at += part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStore;

    #[test]
    fn any_bytes_come_out_and_none_beyond_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..20 * BLOCK + 77).map(|i| (i * 7 / 3) as u8).collect();
        std::fs::write(folder.path().join("a"), &bytes).unwrap();
        let objects = Arc::new(FileStore::new(folder.path().to_str().unwrap()));
        let blocks = Blocks::new(objects, "a", bytes.len() as u64);
        for range in [0..8, 65_530..65_540, 65_536..131_072, 3..250_000, 3..320_000, bytes.len() - 5..bytes.len()] {
            let mut buffer = vec![0; range.len()];
            blocks.read_at(range.start as u64, &mut buffer).unwrap();
            assert_eq!(buffer, bytes[range.clone()], "{range:?}");
        }
        assert!(blocks.read_at(bytes.len() as u64 - 4, &mut [0; 5]).is_err());
        assert!(blocks.read_at(u64::MAX, &mut [0; 5]).is_err());
        blocks.read_at(bytes.len() as u64, &mut []).unwrap();
    }
}
