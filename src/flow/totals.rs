//! What a run has done so far, for its report, its metrics and its exit code.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Serialize;

use crate::domain::Slot;
use crate::sources::Reject;
use crate::telemetry::metrics;
use crate::verify::ReportRow;

use super::cycles::Cycles;

/// What a sink has made visible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkTotals {
    /// Slots (for scores: cycles) published in this run.
    pub published: u64,
    /// Slots written without a variable that the pipeline requires, and therefore not flagged.
    pub partial: u64,
}

/// A run's totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Objects that were fetched.
    pub fetched_objects: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Messages that were fetched.
    pub messages: u64,
    /// Fields that were decoded.
    pub fields: u64,
    /// Slots expected.
    pub slots_expected: u64,
    /// Slots filled in this run, from the source or read back.
    pub slots_filled: u64,
    /// Slots read back from the pipeline's own store instead of being fetched again.
    pub slots_restored: u64,
    /// Slots passed over because all that is made of them is published.
    pub slots_published_before: u64,
    /// Slots declared missing.
    pub slots_missing: u64,
    /// What each sink has made visible.
    pub sinks: BTreeMap<String, SinkTotals>,
    /// Values that quality control set missing, by `variable reason`.
    pub quality: BTreeMap<String, u64>,
    /// What was set aside, in this run or an earlier one over the same objects.
    pub rejects: Vec<Reject>,
    /// Scores pooled over all cases of the output.
    pub scores: Vec<ReportRow>,
}

/// Totals shared by all threads of a run.
#[derive(Debug, Default)]
pub(super) struct Shared {
    totals: Mutex<Totals>,
    failure: Mutex<Option<String>>,
    cycles: Mutex<Cycles>,
}

impl Shared {
    /// Changes the totals.
    pub(super) fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The totals as they are now.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        totals.rejects.sort();
        totals.rejects.dedup();
        totals
    }

    /// Counts on a sink for so many leads of every cycle.
    pub(super) fn count_on(&self, sink: &str, leads: usize) {
        self.cycles.lock().unwrap_or_else(PoisonError::into_inner).count_on(sink, leads);
    }

    /// Notes a slot that a sink holds whole, from this run or an earlier one.
    pub(super) fn whole(&self, sink: &str, slot: Slot) {
        let newest = self.cycles.lock().unwrap_or_else(PoisonError::into_inner).publish(sink, slot);
        newest.into_iter().for_each(|cycle| metrics().complete_cycle(cycle));
    }

    /// Notes a slot that a sink has made visible, or written in part.
    pub(super) fn published(&self, sink: &str, slot: Slot, whole: bool) {
        self.count(|t| {
            let sink = t.sinks.entry(sink.to_string()).or_default();
            *(if whole { &mut sink.published } else { &mut sink.partial }) += 1;
        });
        if whole {
            self.whole(sink, slot);
        }
        metrics().slots.with_label_values(&[if whole { "published" } else { "partial" }]).inc();
        tracing::debug!(sink, %slot, whole, "published");
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
