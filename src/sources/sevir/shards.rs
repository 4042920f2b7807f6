//! Fixed groups of consecutive events: the unit of work and of writing.

use std::ops::Range;

/// A list of events cut into groups of the same size, the last of which may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    events: usize,
    size: usize,
}

impl Shards {
    /// `events` events in groups of `size`; a size of 0 is taken for 1.
    pub fn new(events: usize, size: usize) -> Self {
        Shards { events, size: size.max(1) }
    }

    /// Events in every group but the last.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.events.div_ceil(self.size)
    }

    /// The places of a group's events in the list; empty past the last group.
    pub fn events(&self, shard: usize) -> Range<usize> {
        let first = shard.saturating_mul(self.size).min(self.events);
        first..first.saturating_add(self.size).min(self.events)
    }

    /// The group of the event at a place in the list.
    pub fn of(&self, event: usize) -> usize {
        event / self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_in_one_group() {
        for (events, size) in [(0, 8), (1, 8), (8, 8), (17, 8), (5, 1), (3, 0)] {
            let shards = Shards::new(events, size);
            let all: Vec<usize> = (0..shards.count()).flat_map(|shard| shards.events(shard)).collect();
            assert_eq!(all, (0..events).collect::<Vec<_>>());
            assert!((0..shards.count()).all(|shard| shards.events(shard).all(|event| shards.of(event) == shard)));
            assert!(shards.events(shards.count()).is_empty() && shards.events(usize::MAX).is_empty());
        }
    }
}
