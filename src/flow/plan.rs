//! Opens everything a run needs, and finds out what earlier runs did, before the first byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Map;

use crate::config::{Pipeline, SourceOptions, Stage, StageNode, colour_tables_text, read_table_text, variables};
use crate::domain::{Grid, Lead, Moment, Period, Slot, Variable};
use crate::models::{Persistence, Predictor};
use crate::sinks::{Commit, PngSink, ScoreFiles, Sink, SinkError, StatisticsSink, StoreDescription, ZarrSink};
use crate::sources::hrrr::Hrrr;
use crate::sources::{Assembly, Offer, Reject, Source, SourceError};
use crate::storage::{Ledger, Metered, ObjectStore, S3Options, StorageError, clear_partial, open, open_existing};
use crate::telemetry::Progress;
use crate::transforms::normalise::Normaliser;
use crate::transforms::statistics::StatisticsTable;

use super::identity::bind;
use super::operators::Committing;
use super::resume::{Becomes, Committed, Resume, Scored};
use super::supply::{GRID, REJECTS, Supply};
use super::totals::Shared;
use super::{RunError, RunOptions};

/// The ledger's folder below the output.
pub(super) const LEDGER: &str = "ledger";
/// How far back a followed bucket is looked at where no start is given.
pub(super) const FOLLOW_BACK_SECONDS: u64 = 6 * 3600;

/// What a sink stage needs to run.
#[derive(Clone)]
pub(super) enum Output {
    /// A sink of slots.
    Slots(Committing, Option<Arc<StatisticsSink>>),
    /// Score files.
    Scores(Arc<ScoreFiles>),
}

/// A pipeline with everything opened.
pub(super) struct Plan {
    pub(super) pipeline: Pipeline,
    /// Sinks by stage.
    pub(super) outputs: BTreeMap<usize, Output>,
    /// Statistics tables by stage.
    pub(super) tables: BTreeMap<usize, StatisticsTable>,
    pub(super) variables: Vec<Arc<str>>,
    pub(super) supply: Arc<Supply>,
    pub(super) period: Period,
    /// The first listing.
    pub(super) offers: Vec<Offer>,
    pub(super) known: Vec<Reject>,
    pub(super) grid: Option<Arc<Grid>>,
    pub(super) leads: Vec<Lead>,
    /// The first init of stores that are made now.
    pub(super) origin: Moment,
}

/// The model a forecast stage runs.
pub(super) fn model(stage: &Stage) -> Option<Arc<dyn Predictor>> {
    match stage {
        Stage::Persistence(_) => Some(Arc::new(Persistence)),
        _ => None,
    }
}

impl Plan {
    /// Opens the source, the output and every sink; lists the source once.
    pub(super) fn new(pipeline: Pipeline, options: &RunOptions, stop: Arc<AtomicBool>) -> Result<Self, RunError> {
        let missing = || RunError::Pipeline(vec!["the pipeline has no source".into()]);
        let input = pipeline.source().ok_or_else(missing)?.clone();
        let tables = check_tables(&pipeline)?;
        let state_lead = input.leads.is_none().then_some(pipeline.state_lead);
        let leads = input.leads.clone().unwrap_or_else(|| vec![pipeline.state_lead]);
        let source = open_source(&input, &leads)?;
        let (objects, ledger) = open_output(&pipeline)?;
        clear_partial(&pipeline.output)?;
        let period = period(options, &input);
        let mut offers = source.list(&period)?;
        // In a live bucket an index may still be on its way; later listings see to it.
        offers.retain(|offer| offer.indexed || !options.follow);
        let (first, last) = span(&input, &leads, &period, &offers, options.follow)?;
        bind(&ledger, &pipeline)?;
        let present = |slot: Slot| state_lead.map_or(slot, |_| Slot::new(slot.valid(), Lead(0)));
        let origin = present(Slot::new(first, leads.first().copied().unwrap_or_default())).cycle;
        let shared = Arc::new(Shared::default());
        let names: Vec<Arc<str>> = input.variables.iter().map(|(name, _)| name.clone()).collect();
        let mut opening = Opening {
            pipeline: &pipeline,
            objects,
            ledger: &ledger,
            shared: &shared,
            names: &names,
            origin,
            leads: &leads,
        };
        let (known, grid) = earlier(&ledger)?;
        let identity = |o: &Offer| (o.meta.key.clone(), o.meta.etag.clone());
        let rejected = known.iter().filter(|r| r.is_final()).map(|r| (r.object.clone(), r.etag.clone()));
        let useless: BTreeSet<(String, String)> = rejected.collect();
        let useful: Vec<Offer> = offers.iter().filter(|o| !useless.contains(&identity(o))).cloned().collect();
        let (outputs, mut resume, own_store) = opening.outputs(&useful, &present, options.follow)?;
        let changed = useful.iter().map(|o| (present(o.named), o)).filter(|(slot, o)| resume.is_changed(*slot, o));
        resume.changed = changed.map(|(slot, _)| slot.cycle).collect();
        let origin = own_store.as_ref().map_or(origin, |store| store.origin());
        let progress = if options.progress { Progress::start(&pipeline.name) } else { Progress::hidden() };
        let supply = Arc::new(Supply {
            pipeline: pipeline.name.clone(),
            source,
            options: input,
            state_lead,
            workers: options.workers,
            first,
            last,
            ledger,
            resume,
            own_store,
            shared,
            progress,
            stop,
        });
        Ok(Plan { pipeline, outputs, tables, variables: names, supply, period, offers, known, grid, leads, origin })
    }

    /// The slots' book for the run, with the first listing taken in.
    pub(super) fn assembly(&self) -> Assembly {
        let variables = self.supply.options.variables.clone();
        let mut assembly = Assembly::new(variables, self.leads.clone(), self.grid.clone(), self.known.clone());
        let listed = self.supply.listed(&mut assembly, self.offers.clone());
        self.supply.note(&listed);
        let missing = self.supply.overdue(&mut assembly);
        self.supply.note(&missing);
        assembly
    }
}

fn s3(
    endpoint: &Option<String>,
    region: &Option<String>,
    anonymous: Option<bool>,
    retry_seconds: Option<u32>,
) -> S3Options {
    S3Options { endpoint: endpoint.clone(), region: region.clone(), anonymous, path_style: None, retry_seconds }
}

/// The output of a pipeline and its ledger.
pub(super) fn open_output(pipeline: &Pipeline) -> Result<(Arc<dyn ObjectStore>, Ledger), StorageError> {
    let (endpoint, region, anonymous, retry) = &pipeline.output_s3;
    let objects = open(&pipeline.output, &s3(endpoint, region, *anonymous, *retry))?;
    let ledger = Ledger::new(objects.clone(), LEDGER);
    Ok((objects, ledger))
}

fn open_source(input: &SourceOptions, leads: &[Lead]) -> Result<Arc<dyn Source>, StorageError> {
    let objects =
        open_existing(&input.input, &s3(&input.endpoint, &input.region, input.anonymous, input.retry_seconds))?;
    let known = |(name, _): &(Arc<str>, _)| variables().get(name).cloned();
    let wanted: Vec<Arc<Variable>> = input.variables.iter().filter_map(known).collect();
    Ok(Arc::new(Hrrr::new(objects, input, leads.to_vec(), wanted)))
}

fn period(options: &RunOptions, input: &SourceOptions) -> Period {
    if !options.follow || options.period.from.is_some() {
        return options.period;
    }
    let step = u64::from(input.cycle_step.0) * 60;
    let from = Moment::now().0.saturating_sub(FOLLOW_BACK_SECONDS) / step * step;
    Period { from: Some(Moment(from)), to: options.period.to }
}

/// The first and last cycle of a run; no last one where a live bucket is followed.
fn span(
    input: &SourceOptions,
    leads: &[Lead],
    period: &Period,
    offers: &[Offer],
    follow: bool,
) -> Result<(Moment, Option<Moment>), SourceError> {
    let cycles = || offers.iter().map(|o| o.named.cycle);
    if let (true, Some(from)) = (follow, period.from) {
        return Ok((from, None));
    }
    let (Some(first), Some(last)) = (cycles().min(), cycles().max()) else {
        let lead = leads.first().copied().unwrap_or_default();
        let kind = format!("hrrr.YYYYMMDD/{}/hrrr.tHHz.{}{lead}.grib2", input.region_name, input.product);
        let bounds = match (period.from, period.to) {
            (None, None) => String::new(),
            (from, to) => {
                let text = |m: Option<Moment>| m.map_or("…".into(), |m| m.to_string());
                format!(" from {} to {}", text(from), text(to))
            }
        };
        let expected =
            format!("no objects such as {kind}{bounds}; check --input, --from, --to, `leads` and `state_lead`");
        return Err(SourceError::Empty { location: input.input.clone(), expected });
    };
    Ok((period.from.unwrap_or(first), Some(period.to.unwrap_or(last))))
}

/// Statistics tables of the normalising stages, each with every variable of the source.
pub(super) fn check_tables(pipeline: &Pipeline) -> Result<BTreeMap<usize, StatisticsTable>, RunError> {
    let (mut tables, mut mistakes) = (BTreeMap::new(), Vec::new());
    let names = pipeline.source().map(|s| s.variables.as_slice()).unwrap_or_default();
    for (index, node) in pipeline.stages.iter().enumerate() {
        let Stage::Normalise(name) = &node.stage else { continue };
        let mut mistake = |text: String| mistakes.push(format!("{}: {}: {text}", node.place, node.name));
        let table = read_table_text(name)
            .and_then(|text| StatisticsTable::from_toml(&text).map_err(|error| format!("{name}: {error}")));
        match table {
            Err(error) => mistake(error),
            Ok(table) => {
                let lacking = names.iter().filter_map(|(variable, _)| Normaliser::new(variable, &table).err());
                lacking.for_each(|error| mistake(format!("{name}: {error}")));
                tables.insert(index, table);
            }
        }
    }
    if mistakes.is_empty() { Ok(tables) } else { Err(RunError::Pipeline(mistakes)) }
}

/// What earlier runs set aside, and the grid they found.
fn earlier(ledger: &Ledger) -> Result<(Vec<Reject>, Option<Arc<Grid>>), SinkError> {
    let known: BTreeMap<String, Reject> = ledger.load(&format!("{REJECTS}/"))?;
    let grid: BTreeMap<String, Grid> = ledger.load(&format!("{GRID}."))?;
    Ok((known.into_values().collect(), grid.into_values().next().map(Arc::new)))
}

struct Opening<'a> {
    pipeline: &'a Pipeline,
    objects: Arc<dyn ObjectStore>,
    ledger: &'a Ledger,
    shared: &'a Arc<Shared>,
    names: &'a [Arc<str>],
    origin: Moment,
    leads: &'a [Lead],
}

type Opened = (BTreeMap<usize, Output>, Resume, Option<Arc<ZarrSink>>);

impl Opening<'_> {
    fn outputs(&mut self, offers: &[Offer], present: &dyn Fn(Slot) -> Slot, follow: bool) -> Result<Opened, SinkError> {
        let offered = offers.iter().map(|o| present(o.named).cycle).collect();
        let mut resume = Resume { offered, follow, ..Resume::default() };
        let (mut outputs, mut own_store, mut names) = (BTreeMap::new(), None, Vec::new());
        for (index, node) in self.pipeline.stages.iter().enumerate() {
            let input = node.inputs.first().map(|i| &self.pipeline.stages[*i]);
            let Some(input) = input else { continue };
            match &node.stage {
                Stage::Zarr(_) | Stage::Png(_) | Stage::Statistics(_) => {
                    let (output, committed, store) = self.slots(node, input)?;
                    if committed.restores {
                        own_store = store.or(own_store);
                    }
                    resume.add(committed);
                    names.push(&node.name);
                    outputs.insert(index, output);
                }
                Stage::Jsonl(path) => {
                    let files = ScoreFiles::new(&node.name, path, self.objects_of(node), self.ledger.clone());
                    resume.scores.push(Scored { leads: forecast_leads(self.pipeline), records: files.records()? });
                    outputs.insert(index, Output::Scores(Arc::new(files)));
                }
                _ => (),
            }
        }
        self.count_complete(&names, &resume.sinks);
        Ok((outputs, resume, own_store))
    }

    /// Counts on every sink for whole cycles, starting from what earlier runs committed.
    fn count_complete(&self, names: &[&Arc<str>], sinks: &[Committed]) {
        let sinks = || names.iter().zip(sinks);
        sinks().for_each(|(name, sink)| self.shared.count_on(name, sink.becomes.leads(self.leads.len())));
        for (name, sink) in sinks() {
            sink.commits.values().filter(|c| c.is_whole()).for_each(|c| self.shared.whole(name, c.slot));
        }
    }

    /// The output, with what is written to it counted for a sink.
    fn objects_of(&self, node: &StageNode) -> Arc<dyn ObjectStore> {
        Arc::new(Metered::new(self.objects.clone(), &node.name))
    }

    fn slots(
        &self,
        node: &StageNode,
        input: &StageNode,
    ) -> Result<(Output, Committed, Option<Arc<ZarrSink>>), SinkError> {
        let loaded: BTreeMap<String, Commit> = self.ledger.load(&format!("{}/", node.name))?;
        let commits: Arc<BTreeMap<Slot, Commit>> = Arc::new(loaded.into_values().map(|c| (c.slot, c)).collect());
        let (mut store, mut statistics) = (None, None);
        let sink: Arc<dyn Sink> = match &node.stage {
            Stage::Zarr(options) => {
                let description = self.description(input);
                let made =
                    Arc::new(ZarrSink::new(&node.name, self.objects_of(node), options, description, variables())?);
                made.publish_committed(commits.values().filter(|c| c.is_whole()).map(|c| c.slot))?;
                store = Some(made.clone());
                made
            }
            Stage::Statistics(path) => {
                let made = Arc::new(StatisticsSink::new(&node.name, path, self.objects_of(node), self.ledger.clone()));
                statistics = Some(made.clone());
                made
            }
            Stage::Png(options) => {
                let colours = colour_tables_text();
                let (objects, earth) = (self.objects_of(node), input.earth_winds);
                Arc::new(PngSink::new(&node.name, objects, options, earth, variables(), colours)?)
            }
            _ => return Err(SinkError::Variable(node.name.to_string())),
        };
        let becomes = match &input.stage {
            Stage::Window(options) => {
                Becomes::Windows(options.clone(), store.as_ref().map_or(self.origin.midnight(), |s| s.origin()))
            }
            Stage::Persistence(options) => Becomes::Forecasts(options.all_leads()),
            _ => Becomes::Itself,
        };
        let restores = store.is_some() && !matches!(becomes, Becomes::Itself);
        let writers = match &node.stage {
            Stage::Zarr(options) => options.writers,
            Stage::Png(options) => options.writers,
            _ => 1,
        };
        let (ledger, shared) = (self.ledger.clone(), self.shared.clone());
        let committing = Committing { sink, ledger, committed: commits.clone(), writers, shared };
        Ok((Output::Slots(committing, statistics), Committed { becomes, commits, restores }, store))
    }

    fn description(&self, input: &StageNode) -> StoreDescription {
        let mut attributes = Map::new();
        attributes.insert("pipeline".into(), self.pipeline.name.as_str().into());
        let (leads, step) = match &input.stage {
            Stage::Window(options) => {
                attributes.insert("input_steps".into(), options.inputs.into());
                (options.leads(), options.step)
            }
            Stage::Persistence(options) => (options.all_leads(), self.cycle_step()),
            _ => (self.leads.to_vec(), self.cycle_step()),
        };
        StoreDescription {
            pipeline: self.pipeline.name.clone(),
            origin: self.origin,
            step,
            leads,
            variables: self.names.to_vec(),
            earth_winds: input.earth_winds,
            normalised: normalised(self.pipeline, input),
            attributes,
        }
    }

    fn cycle_step(&self) -> Lead {
        self.pipeline.source().map_or(Lead::hours(1), |s| s.cycle_step)
    }
}

/// The table by which a stage's fields were normalised on their way, if they were.
fn normalised(pipeline: &Pipeline, node: &StageNode) -> Option<String> {
    match &node.stage {
        Stage::Normalise(table) => Some(table.clone()),
        _ => node.inputs.first().and_then(|i| normalised(pipeline, &pipeline.stages[*i])),
    }
}

/// The leads that the pipeline's model forecasts.
pub(super) fn forecast_leads(pipeline: &Pipeline) -> Vec<Lead> {
    let leads = pipeline.stages.iter().find_map(|s| match &s.stage {
        Stage::Persistence(options) => Some(options.leads.clone()),
        _ => None,
    });
    leads.unwrap_or_default()
}
