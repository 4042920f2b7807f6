//! Opens everything a backfill needs, and finds out what earlier runs did, before the first byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::BackfillOptions;
use super::cluster::Cluster;
use super::describing::{bins_label, fingerprint, size, spec, split_rule};
use super::earlier::Earlier;
use super::normalising::Normalising;
use super::record::{CATALOG, CatalogRecord, RowReject, ShardRecord};
use super::totals::{EventTotals, LeftShard, Shared};
use super::work::Outcome;
use crate::config::{DeviceChoice, FrameBins, Pipeline, SevirOptions, Stage, StageNode, StoreOptions};
use crate::domain::Modality;
use crate::flow::identity::compare;
use crate::flow::plan::{open_output, s3};
use crate::flow::running::{Running, look_for_others};
use crate::flow::{RunError, open_device};
use crate::formats::zarr::events::{EventStore, LIGHTNING_BINS, is_visible};
use crate::sinks::SinkError;
use crate::sources::SourceError;
use crate::sources::sevir::{EventFilter, EventSource, LightningBins, Sevir};
use crate::storage::{Ledger, Metered, ObjectStore, open_existing};
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
    /// This process's mark in the output, where it may write.
    pub(super) running: Option<Arc<Running>>,
    /// Committed shards, and the arrays of which their object is gone.
    gone: BTreeMap<u64, Vec<String>>,
    is_first: bool,
    progress: Progress,
    stop: Arc<AtomicBool>,
}

impl Plan {
    /// Opens the source and the output. The first process binds the output to the pipeline and reads what is committed;
    /// any other leaves no more than its mark.
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
            running: None,
            gone: BTreeMap::new(),
            is_first,
            progress,
            stop,
        };
        plan.totals.count(|totals| totals.shards = plan.store.spec().shards());
        let run = options.cluster.as_ref().map(Cluster::name);
        if is_first {
            plan.begin(&objects, rows, run.as_deref())?;
            plan.store.spec().empty_splits().for_each(|split| tracing::warn!("no event is for {split}"));
        } else {
            plan.running = Some(Arc::new(Running::begin(objects, run.as_deref(), options.process())?));
        }
        Ok(plan)
    }

    /// What the first process does before any other may write a shard: it looks at what earlier runs did, and marks and
    /// binds the output where there is something to do.
    fn begin(
        &mut self,
        output: &Arc<dyn ObjectStore>,
        rows: Vec<RowReject>,
        run: Option<&str>,
    ) -> Result<(), RunError> {
        let path = &sink(&self.pipeline)?.1.path;
        let earlier = Earlier::read(&self.ledger, &self.sink, &**output, path)?;
        let (shards, done) = (self.store.spec().shards(), earlier.done(&*self.input)?);
        self.pending = (0..shards).filter(|shard| !done.contains(shard)).collect();
        if !self.pending.is_empty() {
            self.find_any_object()?;
        }
        let binding = compare(&self.ledger, &**output, &self.pipeline)?;
        let catalog = self.catalog(rows)?;
        if self.pending.is_empty() && run.is_none() && is_visible(&**output, path).map_err(SinkError::from)? {
            look_for_others(&**output)?;
        } else {
            self.running = Some(Arc::new(Running::begin(output.clone(), run, 0)?));
        }
        binding.record(&self.ledger)?;
        self.ledger.commit(CATALOG, &catalog)?;
        self.go_on_from(earlier, &done);
        Ok(())
    }

    /// Counts what is done, and tells what is to be done anew.
    fn go_on_from(&mut self, earlier: Earlier, done: &BTreeSet<u64>) {
        for (shard, arrays) in &earlier.gone {
            let arrays = arrays.join(", ");
            tracing::warn!("shard {shard}: what the ledger says was written of {arrays} is gone; it is written anew");
        }
        let shards = self.store.spec().shards();
        self.totals.count(|totals| {
            let records = earlier.records.values().filter(|record| done.contains(&record.shard));
            records.for_each(|record| totals.shard(record));
            totals.shards_committed_before = done.len() as u64;
            metrics().completed(&self.pipeline.name, done.len() as u64, shards);
        });
        self.gone = earlier.gone;
        self.progress.set_total(self.pending.len() as u64);
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

    /// What is to be recorded of the catalogue, once it is the one that the output was begun with.
    fn catalog(&self, rows: Vec<RowReject>) -> Result<CatalogRecord, RunError> {
        self.totals.count(|totals| totals.rows(&rows));
        let spec = self.store.spec();
        let fingerprint = format!("{:016x}", self.work);
        let now = CatalogRecord { events: spec.events.len() as u64, shards: spec.shards(), fingerprint, rows };
        let recorded: BTreeMap<String, CatalogRecord> = self.ledger.load(&format!("{CATALOG}."))?;
        match recorded.into_values().next().filter(|before| before.fingerprint != now.fingerprint) {
            None => Ok(now),
            Some(before) => Err(RunError::Pipeline(vec![format!(
                "{}: it was begun with {} events, and what the catalogue says of the {} of this run or their \
                 normalisation is not the same; choose another --output, or the input and the statistics as they were",
                self.pipeline.output, before.events, now.events
            )])),
        }
    }

    /// Compares what all processes said they committed with the ledger of this output.
    ///
    /// # Errors
    /// Where they are not the same, and where the ledger cannot be read.
    pub(super) fn check_ledger(&self) -> Result<(), RunError> {
        let records: BTreeMap<String, ShardRecord> = self.ledger.load(&format!("{}/", self.sink))?;
        let (mut found, told) = (EventTotals::default(), self.totals.now());
        records.values().for_each(|record| found.shard(record));
        found.rejects.sort();
        if records.len() as u64 == told.shards && found.is_of_the_same_shards(&told) {
            return Ok(());
        }
        Err(RunError::Failed(format!(
            "{}: its ledger has {} of {} shards with {} events, and the processes of this run committed {} events: one of \
             them wrote elsewhere, or something else writes there; nothing is published",
            self.pipeline.output,
            records.len(),
            told.shards,
            found.events,
            told.events
        )))
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
            Outcome::Left { record, .. } => self.progress.advance(format!("shard {}", record.shard)),
            Outcome::Stopped => self.stop.store(true, Ordering::Relaxed),
            Outcome::Failed(_) => (),
        }
    }

    fn take(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Committed { record, read_bytes, written_bytes } => {
                self.totals.committed(&self.pipeline.name, record, *read_bytes, *written_bytes);
            }
            Outcome::Left { record, lost, read_bytes } => {
                let gone = self.gone.get(&record.shard).cloned().unwrap_or_default();
                self.totals.left(record, LeftShard { shard: record.shard, lost: lost.clone(), gone }, *read_bytes);
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

fn row_reject(aside: &crate::sources::sevir::SetAside) -> RowReject {
    RowReject { line: aside.line, event: aside.event.clone(), reason: aside.reason, detail: aside.detail.clone() }
}
