//! Reads many byte ranges of one object with few requests.

use std::ops::Range;

use bytes::Bytes;

use super::{ObjectStore, StorageError};

/// The fewest ranges that cover `ranges` when holes of up to `gap` bytes are read along; sorted, empty ones left out.
pub fn coalesce(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().filter(|r| r.start < r.end).cloned().collect();
    sorted.sort_by_key(|r| (r.start, r.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The bytes of each of `ranges`, in their order, read with one request for every run of near ones.
///
/// The answers share the memory of the requests they came with.
pub fn get_ranges(
    store: &dyn ObjectStore,
    key: &str,
    ranges: &[Range<u64>],
    gap: u64,
) -> Result<Vec<Bytes>, StorageError> {
    let merged = coalesce(ranges, gap);
    let read: Vec<Bytes> = merged.iter().map(|r| store.get_range(key, r.clone())).collect::<Result<_, _>>()?;
    ranges.iter().map(|range| cut(store, key, range, &merged, &read)).collect()
}

/// One range out of what was read.
fn cut(
    store: &dyn ObjectStore,
    key: &str,
    range: &Range<u64>,
    merged: &[Range<u64>],
    read: &[Bytes],
) -> Result<Bytes, StorageError> {
    if range.start >= range.end {
        return store.get_range(key, range.clone());
    }
    let run = merged.partition_point(|m| m.end < range.end);
    let found = merged.get(run).zip(read.get(run)).and_then(|(m, bytes)| {
        let start = usize::try_from(range.start.checked_sub(m.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(m.start)?).ok()?;
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    });
    found.ok_or_else(|| StorageError::Short {
        location: store.location().to_string(),
        key: key.to_string(),
        range: range.clone(),
        got: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileStore;
    use proptest::prelude::*;

    #[test]
    fn near_ranges_become_one() {
        let ranges = [20..30, 0..10, 12..15, 30..31, 5..5, 90..100];
        assert_eq!(coalesce(&ranges, 0), [0..10, 12..15, 20..31, 90..100]);
        assert_eq!(coalesce(&ranges, 2), [0..15, 20..31, 90..100]);
        assert_eq!(coalesce(&ranges, 5), [0..31, 90..100]);
        assert_eq!(coalesce(&ranges, u64::MAX), [Range { start: 0, end: 100 }]);
        assert!(coalesce(&[], 3).is_empty());
        assert_eq!(coalesce(&[0..50, 10..20], 0), [Range { start: 0, end: 50 }]);
    }

    proptest! {
        #[test]
        fn every_range_gets_its_own_bytes(
            starts in proptest::collection::vec((0u64..900, 0u64..100), 0..20),
            gap in 0u64..200,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = FileStore::new(folder.path().to_str().unwrap());
            let content: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
            store.put("object", content.clone().into()).unwrap();
            let ranges: Vec<Range<u64>> = starts.iter().map(|&(start, size)| start..start + size).collect();
            let read = get_ranges(&store, "object", &ranges, gap).unwrap();
            prop_assert_eq!(read.len(), ranges.len());
            for (bytes, range) in read.iter().zip(&ranges) {
                prop_assert_eq!(&bytes[..], &content[range.start as usize..range.end as usize]);
            }
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path().to_str().unwrap());
        store.put("object", Bytes::from_static(b"0123456789")).unwrap();
        assert!(matches!(get_ranges(&store, "object", &[0..4, 6..11], 2), Err(StorageError::Short { .. })));
        assert!(matches!(get_ranges(&store, "none", &[0..4, 6..11], 2), Err(StorageError::NotFound { .. })));
    }
}
