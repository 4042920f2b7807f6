//! Memory that chunks across many rows may take: their stored bytes for the next rows, and a limit while unpacked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::chunks::Chunk;

/// Stored bytes that are kept, of all files together: about fifty compressed events of VIL.
const MOST: usize = 128 << 20;
/// Bytes that chunks take while they are unpacked and cut, of all threads together; a larger chunk has its turn alone.
const UNPACKED: usize = 128 << 20;

/// A chunk among all files: the file's number, its first byte and its length.
type Place = (u64, u64, u64);

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
static ROOM: Room = Room { free: Mutex::new(UNPACKED), freed: Condvar::new() };

/// Stored bytes in order of use.
#[derive(Default)]
struct Kept {
    chunks: HashMap<Place, (Bytes, u64)>,
    by_use: BTreeMap<u64, Place>,
    bytes: usize,
    now: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stored bytes of a chunk of the file of this number, where they are kept.
pub(super) fn find(file: u64, chunk: &Chunk) -> Option<Bytes> {
    locked(&KEPT).find((file, chunk.address, chunk.size))
}

/// Keeps the stored bytes of a chunk, and lets go of those not used for longest where they are too many.
pub(super) fn keep(file: u64, chunk: &Chunk, bytes: &Bytes) {
    locked(&KEPT).keep((file, chunk.address, chunk.size), bytes);
}

impl Kept {
    fn find(&mut self, place: Place) -> Option<Bytes> {
        let (bytes, used) = self.chunks.get_mut(&place)?;
        self.now += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.now, place);
        *used = self.now;
        Some(bytes.clone())
    }

    fn keep(&mut self, place: Place, bytes: &Bytes) {
        if bytes.len() > MOST || self.chunks.contains_key(&place) {
            return;
        }
        self.now += 1;
        self.bytes += bytes.len();
        // A copy, for what was read along lives as long as any part of it.
        self.chunks.insert(place, (Bytes::copy_from_slice(bytes), self.now));
        self.by_use.insert(self.now, place);
        while self.bytes > MOST {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.bytes -= self.chunks.remove(&oldest).map_or(0, |(bytes, _)| bytes.len());
        }
    }
}

/// Room for unpacked bytes.
struct Room {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Some of the room; given back at the end.
pub(super) struct Taken(usize);

/// Waits for room to unpack a chunk of `length` bytes.
pub(super) fn room(length: usize) -> Taken {
    let wanted = length.min(UNPACKED);
    let free = ROOM.freed.wait_while(locked(&ROOM.free), |free| *free < wanted);
    *free.unwrap_or_else(PoisonError::into_inner) -= wanted;
    Taken(wanted)
}

impl Drop for Taken {
    fn drop(&mut self) {
        *locked(&ROOM.free) += self.0;
        ROOM.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut kept = Kept::default();
        let quarter = Bytes::from(vec![0; MOST / 4]);
        (0..4).for_each(|k| kept.keep((1, k, 1), &quarter));
        assert!(kept.find((1, 0, 1)).is_some());
        kept.keep((1, 4, 1), &quarter);
        let left: Vec<u64> = (0..5).filter(|k| kept.chunks.contains_key(&(1, *k, 1))).collect();
        assert_eq!((left, kept.bytes), (vec![0, 2, 3, 4], MOST));
        assert!(kept.find((2, 0, 1)).is_none());
    }

    #[test]
    fn a_chunk_larger_than_all_room_still_has_its_turn() {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| drop(room(usize::MAX)));
            }
        });
        drop(room(1));
    }
}
