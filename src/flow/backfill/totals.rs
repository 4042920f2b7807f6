//! What a run over storm events has done so far, for its report, its metrics and its exit code.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::record::{EventReject, RowReject, ShardRecord};
use crate::domain::Modality;
use crate::telemetry::metrics;
use crate::transforms::level_statistics::LevelStatistics;

/// A committed shard that was to be written anew, and was left as it is: an event that it holds cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftShard {
    /// Its number.
    pub shard: u64,
    /// The event that it would have lost, and why.
    pub lost: EventReject,
    /// The arrays of which its object is gone.
    pub gone: Vec<String>,
}

/// A normalisation that stays as it was published, though the training events have become others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KeptNormalisation {
    /// Whose it is.
    pub modality: Modality,
    /// Shift and scale as published.
    pub published: [f64; 2],
    /// Shift and scale of all training events that the store holds now.
    pub now: [f64; 2],
}

/// A run's totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EventTotals {
    /// Shards that the events make.
    pub shards: u64,
    /// Shards committed in this run.
    pub shards_committed: u64,
    /// Shards committed before.
    pub shards_committed_before: u64,
    /// Shards committed before that were to be written anew and were left as they are.
    pub shards_left: Vec<LeftShard>,
    /// Events in committed shards.
    pub events: u64,
    /// Events of them that were set aside.
    pub events_rejected: u64,
    /// Events of them that the store holds, by modality.
    pub stored: BTreeMap<String, u64>,
    /// Sums over the training events, by modality.
    #[serde(skip)]
    pub statistics: BTreeMap<Modality, LevelStatistics>,
    /// Bytes of values read in this run, unpacked.
    pub read_bytes: u64,
    /// Bytes of shards written in this run.
    pub written_bytes: u64,
    /// How many events and rows were set aside, by reason.
    pub rejected_by_reason: BTreeMap<String, u64>,
    /// Events that were set aside, in this run or an earlier one.
    pub rejects: Vec<EventReject>,
    /// Rows of the catalogue that were set aside.
    pub rows_rejected: Vec<RowReject>,
    /// Normalisations that stay as they were published, though they would be others now.
    pub normalisations_kept: Vec<KeptNormalisation>,
}

impl EventTotals {
    /// Whether every shard is committed, and all objects of it are there.
    pub fn is_through(&self) -> bool {
        let left = self.shards_left.iter().filter(|left| left.gone.is_empty()).count() as u64;
        self.shards_committed + self.shards_committed_before + left == self.shards
    }

    /// Whether anything was set aside.
    pub fn has_rejects(&self) -> bool {
        !self.rejects.is_empty() || !self.rows_rejected.is_empty() || !self.shards_left.is_empty()
    }

    /// What a person is to know of the run beside its counts, a line each.
    pub fn remarks(&self) -> Vec<String> {
        let left = self.shards_left.iter().map(|LeftShard { shard, lost, gone }| {
            let gone =
                if gone.is_empty() { String::new() } else { format!(", though its {} is gone", gone.join(", ")) };
            let EventReject { event, modality, reason, detail, .. } = lost;
            format!("shard {shard} is left as it is{gone}: it would lose {event} ({modality}, {reason}): {detail}")
        });
        let kept = self.normalisations_kept.iter().map(|KeptNormalisation { modality, published, now }| {
            let [shift, scale] = published;
            let text =
                format!("the normalisation of {modality} stays as published: shift {shift:.6}, scale {scale:.6}");
            format!("{text}; of all training events there are now it would be {:.6} and {:.6}", now[0], now[1])
        });
        left.chain(kept).collect()
    }

    /// Whether the same was committed.
    pub(super) fn is_of_the_same_shards(&self, other: &EventTotals) -> bool {
        let counts = |totals: &EventTotals| (totals.events, totals.stored.clone(), totals.statistics.clone());
        counts(self) == counts(other) && self.rejects == other.rejects
    }

    /// Takes in the rows of the catalogue that were set aside.
    pub(super) fn rows(&mut self, rows: &[RowReject]) {
        for row in rows {
            *self.rejected_by_reason.entry(row.reason.label().into()).or_default() += 1;
        }
        self.rows_rejected.extend_from_slice(rows);
    }

    /// Takes in a committed shard.
    pub(super) fn shard(&mut self, record: &ShardRecord) {
        self.events += record.events;
        self.events_rejected += record.rejects.len() as u64;
        for (modality, events) in &record.stored {
            *self.stored.entry(modality.to_string()).or_default() += events;
        }
        for (modality, sums) in &record.statistics {
            let all = self.statistics.entry(*modality).or_default();
            *all = all.with(*sums);
        }
        for reject in &record.rejects {
            *self.rejected_by_reason.entry(reject.reason.label().into()).or_default() += 1;
        }
        self.rejects.extend_from_slice(&record.rejects);
    }
}

/// Totals shared by all threads of a process.
#[derive(Debug, Default)]
pub(super) struct Shared {
    totals: Mutex<EventTotals>,
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// Changes the totals.
    pub(super) fn count(&self, change: impl FnOnce(&mut EventTotals)) {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The totals as they are now.
    pub(super) fn now(&self) -> EventTotals {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        totals.rejects.sort();
        totals
    }

    /// Takes in a shard that was committed in this run, by whatever process.
    pub(super) fn committed(&self, pipeline: &str, record: &ShardRecord, read_bytes: u64, written_bytes: u64) {
        self.count(|totals| {
            totals.shard(record);
            totals.shards_committed += 1;
            totals.read_bytes += read_bytes;
            totals.written_bytes += written_bytes;
            metrics().completed(pipeline, totals.shards_committed + totals.shards_committed_before, totals.shards);
        });
        metrics().slots.with_label_values(&["published"]).inc();
        for reject in &record.rejects {
            metrics().rejected_objects.with_label_values(&[reject.reason.label()]).inc();
        }
    }

    /// Takes in a shard that was committed before and is left so.
    pub(super) fn left(&self, record: &ShardRecord, left: LeftShard, read_bytes: u64) {
        self.count(|totals| {
            totals.shard(record);
            totals.read_bytes += read_bytes;
            totals.shards_left.push(left);
            totals.shards_left.sort();
        });
    }

    /// Notes that the run cannot go on; the first reason is kept.
    pub(super) fn fail(&self, reason: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            tracing::error!("{reason}");
            *failure = Some(reason);
        }
    }

    /// Why the run cannot go on.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
