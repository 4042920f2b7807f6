//! Opens everything a backfill needs, and finds out what earlier runs did, before the first byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Map;

use super::BackfillOptions;
use super::normalising::Normalising;
use super::record::{CATALOG, CatalogRecord, RowReject, ShardRecord};
use super::totals::Shared;
use super::work::Outcome;
use crate::config::{
    Codec, DeviceChoice, FrameBins, Pipeline, SevirOptions, SplitOptions, Stage, StageNode, StoreOptions,
};
use crate::domain::{Event, Modality};
use crate::flow::identity::{bind, made};
use crate::flow::plan::{open_output, s3};
use crate::flow::{RunError, open_device};
use crate::formats::zarr::events::{
    AFTER, BEFORE, CatalogueEvent, EventArray, EventStore, EventStoreSpec, LIGHTNING_BINS, Packing, SPLITS,
};
use crate::sinks::SinkError;
use crate::sources::SourceError;
use crate::sources::sevir::{EventFilter, EventSource, LightningBins, Sevir, SplitRule};
use crate::storage::{Ledger, Metered, ObjectStore, clear_partial, open_existing};
use crate::telemetry::{Progress, metrics};
use crate::transforms::resize::fits;

/// The object beside the catalogue that says that nothing was observed.
const SYNTHETIC_NOTE: &str = "SYNTHETIC.txt";
/// Of so many objects, the first that the catalogue names, one must be there.
const FIRST_OBJECTS: usize = 64;
/// What a store says of values that were.
const OBSERVED: &str = "SEVIR (Veillette et al., 2020): NEXRAD, GOES-16 ABI and GLM";

/// A pipeline of storm events with everything opened.
pub(super) struct Plan {
    pub(super) pipeline: Pipeline,
    pub(super) source: Arc<dyn EventSource>,
    /// What the source reads from.
    pub(super) input: Arc<dyn ObjectStore>,
    pub(super) store: EventStore,
    /// The name of the sink.
    pub(super) sink: Arc<str>,
    /// Points along a side that frames are brought to; `None` for their own.
    pub(super) size: Option<usize>,
    /// What readers are told to normalise with.
    pub(super) normalising: Normalising,
    /// Threads a worker.
    pub(super) writers: usize,
    pub(super) ledger: Ledger,
    /// Shards to be done, ascending; known to the first process alone.
    pub(super) pending: Vec<u64>,
    /// The same number wherever the same work is meant.
    pub(super) work: u64,
    pub(super) totals: Shared,
    is_first: bool,
    progress: Progress,
    stop: Arc<AtomicBool>,
}

impl Plan {
    /// Opens the source and the output. The first process alone writes: it binds the output to the pipeline, takes away
    /// what a killed run left unfinished, and reads what is committed.
    pub(super) fn new(pipeline: Pipeline, options: &BackfillOptions, stop: Arc<AtomicBool>) -> Result<Self, RunError> {
        check(&pipeline)?;
        let (sink, store_options) = sink(&pipeline)?;
        let (sink, store_options) = (sink.name.clone(), store_options.clone());
        let options_in = events(&pipeline)?.clone();
        let normalising = Normalising::new(&pipeline, &options_in)?;
        let (sevir, input, origin) = open_source(&options_in)?;
        let rows = sevir.set_aside().iter().map(row_reject).collect::<Vec<_>>();
        let source: Arc<dyn EventSource> = Arc::new(sevir);
        if source.events().is_empty() {
            return Err(SourceError::Empty { location: options_in.input, expected: no_events(&rows) }.into());
        }
        let size = size(&pipeline);
        let mut spec = spec(&options_in, &store_options, &*source, size, &normalising);
        normalising.check(&spec)?;
        spec.attributes.insert("pipeline".into(), pipeline.name.as_str().into());
        spec.attributes.insert("source".into(), origin.into());
        if let Some(source) = normalising.source() {
            spec.attributes.insert("normalisation".into(), source.into());
        }
        if options_in.modalities.contains(&Modality::Lght) {
            spec.attributes.insert(LIGHTNING_BINS.into(), bins_label(options_in.lightning_bins).into());
        }
        let (objects, ledger) = open_output(&pipeline)?;
        let store = EventStore::new(Arc::new(Metered::new(objects.clone(), &sink)), &store_options.path, spec)
            .map_err(SinkError::from)?;
        let work = fingerprint(&pipeline, store.spec());
        let is_first = options.process() == 0;
        let show = options.progress && is_first;
        let progress = if show { Progress::counting(&pipeline.name, "shards") } else { Progress::hidden() };
        let (writers, totals) = (store_options.writers, Shared::default());
        let mut plan = Plan {
            pipeline,
            source,
            input,
            store,
            sink,
            size,
            normalising,
            writers,
            ledger,
            pending: Vec::new(),
            work,
            totals,
            is_first,
            progress,
            stop,
        };
        plan.totals.count(|totals| totals.shards = plan.store.spec().shards());
        if is_first {
            plan.begin(&*objects, rows)?;
            plan.store.spec().empty_splits().for_each(|split| tracing::warn!("no event is for {split}"));
        }
        Ok(plan)
    }

    /// What the first process does before any other may write.
    fn begin(&mut self, output: &dyn ObjectStore, rows: Vec<RowReject>) -> Result<(), RunError> {
        clear_partial(&self.pipeline.output)?;
        let records: BTreeMap<String, ShardRecord> = self.ledger.load(&format!("{}/", self.sink))?;
        let shards = self.store.spec().shards();
        let done = self.done(&records)?;
        self.pending = (0..shards).filter(|shard| !done.contains(shard)).collect();
        if !self.pending.is_empty() {
            self.find_any_object()?;
        }
        bind(&self.ledger, output, &self.pipeline)?;
        self.bind_catalog(rows)?;
        self.totals.count(|totals| {
            records.values().filter(|record| done.contains(&record.shard)).for_each(|record| totals.shard(record));
            totals.shards_committed_before = done.len() as u64;
            metrics().completed(&self.pipeline.name, done.len() as u64, shards);
        });
        self.progress.set_total(self.pending.len() as u64);
        Ok(())
    }

    /// The committed shards that there is nothing to do about. Those with events that were set aside are done anew where
    /// the object of one has come or changed since.
    fn done(&self, records: &BTreeMap<String, ShardRecord>) -> Result<BTreeSet<u64>, RunError> {
        let mut seen: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut etag_of = |key: &str| {
            if let Some(known) = seen.get(key) {
                return Ok(known.clone());
            }
            let etag = self.input.head(key)?.map(|meta| meta.etag);
            seen.insert(key.into(), etag.clone());
            Ok(etag)
        };
        let mut done = BTreeSet::new();
        for record in records.values() {
            if record.is_final(&mut etag_of)? {
                done.insert(record.shard);
            }
        }
        Ok(done)
    }

    /// Refuses an input of whose first objects none is there: its data were forgotten, or are not mounted.
    fn find_any_object(&self) -> Result<(), RunError> {
        let mut missing = BTreeSet::new();
        for entry in &self.store.spec().events {
            for key in entry.event.parts.keys().filter_map(|modality| self.source.object(&entry.event, *modality)) {
                if missing.len() < FIRST_OBJECTS && missing.insert(key.clone()) && self.input.head(&key)?.is_some() {
                    return Ok(());
                }
            }
        }
        let expected = format!(
            "none of the first {} objects that the catalogue names is there, such as `{}`; check --input and the \
             source's `data`, and whether that folder is mounted",
            missing.len(),
            missing.first().map_or("", String::as_str)
        );
        Err(SourceError::Empty { location: self.input.location().into(), expected }.into())
    }

    /// Records the catalogue in a fresh ledger, or compares it with the one recorded.
    fn bind_catalog(&self, rows: Vec<RowReject>) -> Result<(), RunError> {
        self.totals.count(|totals| totals.rows(&rows));
        let spec = self.store.spec();
        let fingerprint = format!("{:016x}", self.work);
        let now = CatalogRecord { events: spec.events.len() as u64, shards: spec.shards(), fingerprint, rows };
        let recorded: BTreeMap<String, CatalogRecord> = self.ledger.load(&format!("{CATALOG}."))?;
        match recorded.into_values().next().filter(|before| before.fingerprint != now.fingerprint) {
            None => Ok(self.ledger.commit(CATALOG, &now)?),
            Some(before) => Err(RunError::Pipeline(vec![format!(
                "{}: it was begun with {} events, and what the catalogue says of the {} of this run or their \
                 normalisation is not the same; choose another --output, or the input and the statistics as they were",
                self.pipeline.output, before.events, now.events
            )])),
        }
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.totals.failure().is_some()
    }

    /// Set where the run is to end.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Notes, in a process that is not the first, what it did itself.
    pub(super) fn note_own(&self, outcome: &Outcome) {
        if !self.is_first {
            self.take(outcome);
        }
    }

    /// Notes, in the first process, what came of a shard anywhere.
    pub(super) fn note(&self, outcome: &Outcome) {
        self.take(outcome);
        match outcome {
            Outcome::Committed { record, written_bytes, .. } => {
                self.progress.add_bytes(*written_bytes);
                self.progress.advance(format!("shard {}", record.shard));
            }
            Outcome::Stopped => self.stop.store(true, Ordering::Relaxed),
            Outcome::Failed(_) => (),
        }
    }

    fn take(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Committed { record, read_bytes, written_bytes } => {
                self.totals.committed(&self.pipeline.name, record, *read_bytes, *written_bytes);
            }
            Outcome::Failed(reason) => self.totals.fail(reason.clone()),
            Outcome::Stopped => (),
        }
    }
}

/// The stage that stores the events; a pipeline of events has exactly one.
pub(super) fn sink(pipeline: &Pipeline) -> Result<(&StageNode, &StoreOptions), RunError> {
    let stores = pipeline.stages.iter().filter_map(|node| match &node.stage {
        Stage::Zarr(options) => Some((node, options)),
        _ => None,
    });
    match stores.collect::<Vec<_>>()[..] {
        [store] => Ok(store),
        ref all => Err(RunError::Pipeline(vec![format!(
            "{}: {} sinks of storm events; expected exactly one with type = \"zarr\"",
            pipeline.file,
            all.len()
        )])),
    }
}

fn events(pipeline: &Pipeline) -> Result<&SevirOptions, RunError> {
    let missing = || RunError::Pipeline(vec![format!("{}: it has no source of storm events", pipeline.file)]);
    pipeline.events().ok_or_else(missing)
}

/// Why there is no event to store.
fn no_events(rows: &[RowReject]) -> String {
    let text =
        "no events that the pipeline's filters take; check --input, `years`, `from`, `to`, `kinds` and `require`";
    let aside = rows.first().map(|first| {
        format!(
            "; {} rows of the catalogue were set aside, the first: line {}, {}",
            rows.len(),
            first.line,
            first.detail
        )
    });
    text.to_string() + &aside.unwrap_or_default()
}

/// Checks what a pipeline of events names beyond its file: a device that is there, and a size that its frames can be
/// brought to.
///
/// # Errors
/// Each mistake with its place.
pub(in crate::flow) fn check(pipeline: &Pipeline) -> Result<(), RunError> {
    sink(pipeline)?;
    let input = events(pipeline)?;
    Normalising::new(pipeline, input)?;
    let mistake = |reason| RunError::Pipeline(vec![format!("{}: {reason}", pipeline.file)]);
    split_rule(input.split).check().map_err(mistake)?;
    check_sizes(pipeline, input)?;
    // Storm events need no arithmetic of a device; one that is asked for by its number is to be there all the same.
    if matches!(pipeline.device, DeviceChoice::Cuda(_)) { open_device(pipeline).map(|_| ()) } else { Ok(()) }
}

/// Whether the frames of every modality can be brought to the size of each stage that changes it.
fn check_sizes(pipeline: &Pipeline, input: &SevirOptions) -> Result<(), RunError> {
    let mut mistakes = Vec::new();
    for node in &pipeline.stages {
        let Stage::Resize(size) = node.stage else { continue };
        let odd = input.modalities.iter().filter_map(|modality| fits(*modality, size).err());
        mistakes.extend(odd.map(|error| format!("{}: {}: {error}", node.place, node.name)));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(RunError::Pipeline(mistakes)) }
}

/// What the pipeline brings frames to; the last stage that does counts.
fn size(pipeline: &Pipeline) -> Option<usize> {
    pipeline.stages.iter().rev().find_map(|node| match node.stage {
        Stage::Resize(size) => Some(size),
        _ => None,
    })
}

/// The source, what it reads from, and who made its values: a note beside the catalogue says so of synthetic ones.
fn open_source(input: &SevirOptions) -> Result<(Sevir, Arc<dyn ObjectStore>, String), RunError> {
    let objects = open_existing(&input.input, &s3(&input.server))?;
    let missing = || SourceError::Empty {
        location: input.input.clone(),
        expected: format!("there is no catalogue `{}`; check --input and the source's `catalog`", input.catalog),
    };
    let catalog = objects.get(&input.catalog)?.ok_or_else(missing)?;
    let filter = EventFilter {
        years: input.years.clone(),
        period: input.period,
        kinds: input.kinds.clone(),
        modalities: input.modalities.clone(),
        max_missing_share: input.max_missing_share,
        require: input.require.clone(),
    };
    let lightning = match input.lightning_bins {
        FrameBins::After => LightningBins::After,
        FrameBins::Before => LightningBins::Before,
    };
    let note = objects.get(SYNTHETIC_NOTE)?;
    let origin = note.map_or_else(|| OBSERVED.to_string(), |note| String::from_utf8_lossy(&note).trim().to_string());
    let options = crate::sources::sevir::SevirOptions { data: input.data.clone(), filter, lightning };
    Ok((Sevir::with_catalog(objects.clone(), &catalog, options)?, objects, origin))
}

fn bins_label(bins: FrameBins) -> &'static str {
    match bins {
        FrameBins::After => AFTER,
        FrameBins::Before => BEFORE,
    }
}

fn row_reject(aside: &crate::sources::sevir::SetAside) -> RowReject {
    RowReject { line: aside.line, event: aside.event.clone(), reason: aside.reason, detail: aside.detail.clone() }
}

fn split_rule(options: SplitOptions) -> SplitRule {
    match options {
        SplitOptions::Id { seed, validation, test } => SplitRule::Id { seed, validation, test },
        SplitOptions::Date { validation_from, test_from } => match SplitRule::default() {
            SplitRule::Date { validation_from: published_validation, test_from: published_test } => SplitRule::Date {
                validation_from: validation_from.unwrap_or(published_validation),
                test_from: test_from.unwrap_or(published_test),
            },
            other => other,
        },
    }
}

/// What the store is to hold.
fn spec(
    input: &SevirOptions,
    options: &StoreOptions,
    source: &dyn EventSource,
    size: Option<usize>,
    normalising: &Normalising,
) -> EventStoreSpec {
    let rule = split_rule(input.split);
    let position = |label: &str| SPLITS.iter().position(|name| *name == label).unwrap_or(0) as u8;
    let entry =
        |event: &Arc<Event>| CatalogueEvent { event: event.clone(), split: position(rule.split(event).label()) };
    let array = |modality: &Modality| EventArray {
        modality: *modality,
        size: size.unwrap_or(modality.size()),
        normalisation: normalising.of(*modality),
    };
    let packing = match options.codec {
        Some(Codec::None) => Packing::None,
        Some(Codec::Zstd) | None => Packing::Zstd,
    };
    EventStoreSpec {
        title: options.title.clone().unwrap_or_else(|| "SEVIR events".into()),
        arrays: input.modalities.iter().map(array).collect(),
        events: source.events().iter().map(entry).collect(),
        group: input.shard_events,
        packing,
        attributes: Map::new(),
    }
}

/// The same number for the same pipeline over the same events: FNV-1a (Fowler, Noll and Vo), 64 bits.
fn fingerprint(pipeline: &Pipeline, spec: &EventStoreSpec) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    let mut take = |text: &str| {
        let bytes = text.bytes().chain([0]);
        hash = bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    };
    pipeline.stages.iter().for_each(|node| take(&format!("{} {}", node.name, made(pipeline, &node.stage))));
    take(&format!("{:?} {:?}", spec.attributes, spec.arrays));
    for entry in &spec.events {
        let event = &entry.event;
        take(&format!("{} {} {} {} {:?}", event.id, event.time.0, event.kind, entry.split, event.corners));
        for (modality, part) in &event.parts {
            take(&format!("{modality} {} {} {:?}", part.file, part.index, part.minutes));
        }
    }
    hash
}
