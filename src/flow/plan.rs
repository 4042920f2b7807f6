//! Opens everything a run needs, and finds out what earlier runs did, before the first byte moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::{Pipeline, Server, SourceOptions, Stage, read_table_text, variables};
use crate::domain::{Lead, Moment, Period, Slot, Variable};
use crate::models::{Persistence, Predictor};
use crate::sinks::SinkError;
use crate::sources::hrrr::Hrrr;
use crate::sources::{Assembly, Basis, Offer, Reject, Source, SourceError};
use crate::storage::{Ledger, ObjectStore, S3Options, StorageError, clear_partial, open, open_existing};
use crate::telemetry::Progress;
use crate::tensor::Cuda;
use crate::transforms::normalise::Normaliser;
use crate::transforms::statistics::StatisticsTable;

use super::identity::compare;
use super::on_device::OnDevice;
use super::outputs::{Opened, Opening, Output};
use super::running::Running;
use super::supply::{BASIS, REJECTS, Supply};
use super::totals::Shared;
use super::{RunError, RunOptions};

/// The ledger's folder below the output.
pub(super) const LEDGER: &str = "ledger";
/// How far back a followed bucket is looked at where no start is given.
pub(super) const FOLLOW_BACK_SECONDS: u64 = 6 * 3600;

/// Cycles further than this from the first or last object of a listing are not expected.
const FAR_SECONDS: u64 = 31 * 24 * 3600;

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
    pub(super) basis: Option<Basis>,
    pub(super) leads: Vec<Lead>,
    /// The first init of stores that are made now.
    pub(super) origin: Moment,
    /// The mark in the output.
    pub(super) running: Running,
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
    pub(super) fn new(
        pipeline: Pipeline,
        options: &RunOptions,
        gpu: Option<Arc<Cuda>>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, RunError> {
        let missing = || RunError::Pipeline(vec!["the pipeline has no source".into()]);
        let input = pipeline.source().ok_or_else(missing)?.clone();
        let tables = check_tables(&pipeline)?;
        let state_lead = input.leads.is_none().then_some(pipeline.state_lead);
        let leads = input.leads.clone().unwrap_or_else(|| vec![pipeline.state_lead]);
        let source = open_source(&input, &leads)?;
        let (objects, ledger) = open_output(&pipeline)?;
        let period = period(options, &input);
        let mut offers = source.list(&period)?;
        // In a live bucket an index may still be on its way; later listings see to it.
        offers.retain(|offer| offer.indexed || !options.follow);
        let (first, last) = span(&input, &leads, &period, &offers, options.follow)?;
        let binding = compare(&ledger, &*objects, &pipeline)?;
        let running = Running::begin(objects.clone(), None, 0)?;
        clear_partial(&pipeline.output)?;
        binding.record(&ledger)?;
        let present = |slot: Slot| state_lead.map_or(slot, |_| Slot::new(slot.valid(), Lead(0)));
        let origin = present(Slot::new(first, leads.first().copied().unwrap_or_default())).cycle;
        let shared = Arc::new(Shared::default());
        let names: Vec<Arc<str>> = input.variables.iter().map(|(name, _)| name.clone()).collect();
        let (known, basis) = earlier(&ledger)?;
        let opening = Opening {
            pipeline: &pipeline,
            objects,
            ledger: &ledger,
            shared: &shared,
            names: &names,
            origin,
            leads: &leads,
        };
        let Opened { outputs, resume, own_store } = opening.open(&useful(&offers, &known), &present, options.follow)?;
        let origin = own_store.as_ref().map_or(origin, |store| store.origin());
        begins_in_time(&opening, &offers, &present)?;
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
            device: gpu.map(|gpu| OnDevice::new(gpu, shared.clone())),
            shared,
            progress,
            stop,
        });
        let variables = names;
        let opened =
            Plan { pipeline, outputs, tables, variables, supply, period, offers, known, basis, leads, origin, running };
        Ok(opened)
    }

    /// The slots' book for the run, with the first listing taken in.
    pub(super) fn assembly(&self) -> Assembly {
        let variables = self.supply.options.variables.clone();
        let mut assembly = Assembly::new(variables, self.leads.clone(), self.basis.clone(), self.known.clone());
        let listed = self.supply.listed(&mut assembly, self.offers.clone());
        self.supply.note(&listed);
        let missing = self.supply.overdue(&mut assembly);
        self.supply.note(&missing);
        assembly
    }
}

/// The options of a server, as the stores take them.
pub(super) fn s3(server: &Server) -> S3Options {
    let Server { endpoint, region, anonymous, retry_seconds } = server.clone();
    S3Options { endpoint, region, anonymous, path_style: None, retry_seconds }
}

/// The output of a pipeline and its ledger.
pub(super) fn open_output(pipeline: &Pipeline) -> Result<(Arc<dyn ObjectStore>, Ledger), StorageError> {
    let objects = open(&pipeline.output, &s3(&pipeline.output_server))?;
    let ledger = Ledger::new(objects.clone(), LEDGER);
    Ok((objects, ledger))
}

fn open_source(input: &SourceOptions, leads: &[Lead]) -> Result<Arc<dyn Source>, StorageError> {
    let objects = open_existing(&input.input, &s3(&input.server))?;
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

/// A store's first init is fixed when it is made; objects from before it are refused, not dropped.
fn begins_in_time(opening: &Opening<'_>, offers: &[Offer], present: &dyn Fn(Slot) -> Slot) -> Result<(), RunError> {
    let earliest = offers.iter().map(|offer| present(offer.named).cycle).min();
    let begun = opening.begun()?;
    match earliest.zip(begun).filter(|(earliest, begun)| earliest < begun) {
        None => Ok(()),
        Some((earliest, begun)) => Err(RunError::Pipeline(vec![format!(
            "{}: its store begins at {begun}, and the source offers {earliest}, which is before it; \
             choose --from {begun} or later, or another --output",
            opening.pipeline.output
        )])),
    }
}

/// Offers that earlier runs did not find to be of no use.
fn useful(offers: &[Offer], known: &[Reject]) -> Vec<Offer> {
    let rejected = known.iter().filter(|reject| reject.is_final());
    let useless: BTreeSet<(&str, &str)> = rejected.map(|r| (r.object.as_str(), r.etag.as_str())).collect();
    let of_use = |o: &&Offer| !useless.contains(&(o.meta.key.as_str(), o.meta.etag.as_str()));
    offers.iter().filter(of_use).cloned().collect()
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
    // Far from any object, nothing is expected: a period may be as wide as the calendar.
    let from = period.from.unwrap_or(first).max(Moment(first.0.saturating_sub(FAR_SECONDS)));
    let to = period.to.unwrap_or(last).min(Moment(last.0.saturating_add(FAR_SECONDS)));
    Ok((from, Some(to)))
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

/// What earlier runs set aside, and what their fields have in common.
fn earlier(ledger: &Ledger) -> Result<(Vec<Reject>, Option<Basis>), SinkError> {
    let known: BTreeMap<String, Reject> = ledger.load(&format!("{REJECTS}/"))?;
    let basis: BTreeMap<String, Basis> = ledger.load(&format!("{BASIS}."))?;
    Ok((known.into_values().collect(), basis.into_values().next()))
}
