//! One shard from its source to the ledger: one modality at a time is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::record::{EventReject, ShardRecord};
use crate::domain::{Cube, FRAMES, Levels, Modality};
use crate::formats::zarr::events::{CatalogueEvent, Findings};
use crate::sinks::SinkError;
use crate::sources::RejectReason;
use crate::telemetry::metrics;
use crate::transforms::level_statistics::LevelStatistics;
use crate::transforms::resize::resize;

/// So many events in a row that cannot be fetched mean that the source is away.
const OUTAGE: u32 = 8;

/// What came of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// It is committed.
    Committed {
        /// What the ledger says of it.
        record: ShardRecord,
        /// Bytes of values that were read, unpacked.
        read_bytes: u64,
        /// Bytes of shards that were written.
        written_bytes: u64,
    },
    /// It was committed before and is left so: written anew, it would lose an event.
    Left {
        /// What the ledger says of it.
        record: ShardRecord,
        /// The event that cannot be read any more.
        lost: EventReject,
        /// Bytes of values that were read, unpacked.
        read_bytes: u64,
    },
    /// The process was told to stop.
    Stopped,
    /// The run cannot go on, and why.
    Failed(String),
}

/// What the threads of one process share.
pub(super) struct Crew {
    plan: Arc<Plan>,
    unfetched: AtomicU32,
}

impl Crew {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Crew { plan, unfetched: AtomicU32::new(0) }
    }

    /// Does a shard, off the worker threads.
    pub(super) fn shard(&self, shard: u64) -> Outcome {
        if self.plan.is_stopping() {
            return Outcome::Stopped;
        }
        let _timer = metrics().time(&self.plan.sink);
        self.committed(shard).unwrap_or_else(|error| Outcome::Failed(error.to_string()))
    }

    fn committed(&self, shard: u64) -> Result<Outcome, SinkError> {
        let plan = &*self.plan;
        let unit = ShardRecord::unit(&plan.sink, shard);
        let before: Option<ShardRecord> = plan.ledger.load(&format!("{unit}.r"))?.into_values().next();
        let mut now = Attempt::new(plan, shard, before.as_ref());
        now.find_kept(self);
        while let Some(array) = now.outdated() {
            if now.lost.is_none() {
                now.write(array, self)?;
            }
            if self.unfetched.load(Ordering::Relaxed) >= OUTAGE {
                return Ok(Outcome::Failed(format!(
                    "{OUTAGE} events in a row could not be fetched: {}",
                    now.last_reason()
                )));
            }
            if let Some((lost, record)) = now.lost.take().zip(before.clone()) {
                return Ok(Outcome::Left { record, lost, read_bytes: now.read_bytes });
            }
        }
        plan.store.conclude(shard, &now.findings)?;
        let record = now.record();
        plan.ledger.commit(&unit, &record)?;
        let written_bytes = now.written_bytes.iter().sum();
        Ok(Outcome::Committed { record, read_bytes: now.read_bytes, written_bytes })
    }

    /// What is told of an event that cannot be used, with the object as it is now.
    fn reject(&self, entry: &CatalogueEvent, modality: Modality, reason: RejectReason, detail: String) -> EventReject {
        let object = self.plan.source.object(&entry.event, modality).unwrap_or_default();
        let fetched = Some(()).filter(|()| reason != RejectReason::FetchFailed);
        let etag = fetched.and_then(|()| self.plan.input.head(&object).ok().flatten()).map(|meta| meta.etag);
        EventReject { event: entry.event.id.to_string(), modality, object, etag, reason, detail }
    }

    /// One modality of one event as it is stored.
    fn read(&self, entry: &CatalogueEvent, modality: Modality, read_bytes: &mut u64) -> Result<Cube, EventReject> {
        let reject = |reason, detail| self.reject(entry, modality, reason, detail);
        let timer = metrics().time("read");
        let read = self.plan.source.read(&entry.event, modality);
        timer.observe_duration();
        let cube = read.map_err(|error| {
            if error.reason == RejectReason::FetchFailed {
                self.unfetched.fetch_add(1, Ordering::Relaxed);
            }
            reject(error.reason, error.detail)
        })?;
        self.unfetched.store(0, Ordering::Relaxed);
        let bytes = bytes_of(&cube);
        *read_bytes += bytes;
        metrics().passed("read", 0, FRAMES as u64, bytes);
        let Some(size) = self.plan.size else { return Ok(cube) };
        let _timer = metrics().time("resize");
        resize(cube, modality, size).map_err(|error| reject(RejectReason::WrongShape, error.to_string()))
    }
}

/// A shard on its way. A modality that cannot be used takes its event out of all: what was written before is written anew.
struct Attempt<'a> {
    plan: &'a Plan,
    shard: u64,
    events: &'a [CatalogueEvent],
    /// By event and array.
    findings: Vec<Vec<Findings>>,
    rejects: BTreeMap<usize, EventReject>,
    /// Events that the store holds already.
    kept: BTreeSet<usize>,
    /// One of them that cannot be read any more: nothing is written then.
    lost: Option<EventReject>,
    /// The events in each array as it was last written.
    written: Vec<Option<BTreeSet<usize>>>,
    written_bytes: Vec<u64>,
    /// Sums over the training events in each array, where they are asked for.
    statistics: Vec<LevelStatistics>,
    read_bytes: u64,
}

impl<'a> Attempt<'a> {
    fn new(plan: &'a Plan, shard: u64, before: Option<&ShardRecord>) -> Self {
        let (events, arrays) = (plan.store.spec().group_of(shard), plan.store.spec().arrays.len());
        let kept = |at: &usize| {
            let id = events.get(*at).map_or("", |entry| &entry.event.id);
            before.is_some_and(|before| before.rejects.iter().all(|reject| reject.event != id))
        };
        Attempt {
            plan,
            shard,
            events,
            findings: vec![vec![None; arrays]; events.len()],
            rejects: BTreeMap::new(),
            kept: (0..events.len()).filter(kept).collect(),
            lost: None,
            written: vec![None; arrays],
            written_bytes: vec![0; arrays],
            statistics: vec![LevelStatistics::default(); arrays],
            read_bytes: 0,
        }
    }

    fn modality(&self, array: usize) -> Option<Modality> {
        self.plan.store.spec().arrays.get(array).map(|array| array.modality)
    }

    /// The events that an array is to hold.
    fn wanted(&self, array: usize) -> BTreeSet<usize> {
        let Some(modality) = self.modality(array) else { return BTreeSet::new() };
        let has = |(at, entry): &(usize, &CatalogueEvent)| {
            entry.event.parts.contains_key(&modality) && !self.rejects.contains_key(at)
        };
        self.events.iter().enumerate().filter(has).map(|(at, _)| at).collect()
    }

    /// An array that does not hold what it is to hold.
    fn outdated(&self) -> Option<usize> {
        self.written.iter().enumerate().position(|(array, written)| written.as_ref() != Some(&self.wanted(array)))
    }

    /// Reads what the store holds already, so that nothing is written over where it cannot be written again.
    fn find_kept(&mut self, crew: &Crew) {
        for array in 0..self.written.len() {
            let (Some(modality), wanted) = (self.modality(array), self.wanted(array)) else { continue };
            for at in wanted.intersection(&self.kept) {
                let Some(entry) = self.events.get(*at) else { continue };
                if let Err(lost) = crew.read(entry, modality, &mut self.read_bytes) {
                    return self.lose(lost);
                }
            }
        }
    }

    fn lose(&mut self, lost: EventReject) {
        let (shard, event, detail) = (self.shard, &lost.event, &lost.detail);
        tracing::warn!("shard {shard} is left as it is: written anew, it would lose {event}: {detail}");
        self.lost = Some(lost);
    }

    /// Writes one modality of the events that have it; nothing where one that the store holds cannot be read.
    fn write(&mut self, array: usize, crew: &Crew) -> Result<(), SinkError> {
        let (store, wanted) = (&self.plan.store, self.wanted(array));
        let Some(modality) = self.modality(array) else { return Ok(()) };
        let mut writer = store.writer(array, self.shard, wanted.len())?;
        let mut sums = LevelStatistics::default();
        for (at, entry) in self.events.iter().enumerate() {
            let cube = wanted.contains(&at).then(|| crew.read(entry, modality, &mut self.read_bytes));
            let found = match cube {
                Some(Ok(cube)) => {
                    if self.plan.normalising.counts(entry) {
                        sums = sums.with(LevelStatistics::of(&cube.levels));
                    }
                    Some(writer.event(&cube)?)
                }
                Some(Err(reject)) if self.kept.contains(&at) => {
                    self.lose(reject);
                    return Ok(());
                }
                Some(Err(reject)) => {
                    tracing::warn!(event = reject.event, %modality, reason = reject.reason.label(), "set aside: {}", reject.detail);
                    self.rejects.insert(at, reject);
                    self.findings.get_mut(at).into_iter().flatten().for_each(|found| *found = None);
                    None
                }
                None => None,
            };
            if found.is_none() {
                writer.absent();
            }
            if let Some(place) = self.findings.get_mut(at).and_then(|row| row.get_mut(array)) {
                *place = found;
            }
        }
        let count = writer.finish()?;
        let kept = self.wanted(array);
        if let (Some(written), Some(bytes)) = (self.written.get_mut(array), self.written_bytes.get_mut(array)) {
            (*written, *bytes) = (Some(kept), count);
        }
        if let Some(statistics) = self.statistics.get_mut(array) {
            *statistics = sums;
        }
        Ok(())
    }

    fn last_reason(&self) -> &str {
        self.lost.as_ref().or(self.rejects.values().next_back()).map_or("", |reject| &reject.detail)
    }

    fn record(&self) -> ShardRecord {
        let (mut stored, mut statistics) = (BTreeMap::new(), BTreeMap::new());
        for (array, (written, sums)) in self.written.iter().zip(&self.statistics).enumerate() {
            if let (Some(modality), Some(written)) = (self.modality(array), written) {
                stored.insert(modality, written.len() as u64);
                statistics.insert(modality, *sums);
            }
        }
        statistics.retain(|_, sums| *sums != LevelStatistics::default());
        let rejects = self.rejects.values().cloned().collect();
        ShardRecord { shard: self.shard, events: self.events.len() as u64, stored, statistics, rejects }
    }
}

fn bytes_of(cube: &Cube) -> u64 {
    match &cube.levels {
        Levels::U8(values) => values.len() as u64,
        Levels::I16(values) => 2 * values.len() as u64,
    }
}
