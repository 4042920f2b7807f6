//! Opens the sinks of a pipeline, with what earlier runs committed to each.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;

use crate::config::{Pipeline, Stage, StageNode, colour_tables_text, variables};
use crate::domain::{Lead, Moment, Slot};
use crate::formats::zarr::Store;
use crate::sinks::{
    Commit, Grib2Sink, PngSink, ScoreFiles, Sink, SinkError, StatisticsSink, StoreDescription, ZarrSink,
};
use crate::sources::Offer;
use crate::storage::{Ledger, Metered, ObjectStore};

use super::operators::Committing;
use super::resume::{Becomes, Committed, Resume, Scored};
use super::totals::Shared;

/// What a sink stage needs to run.
#[derive(Clone)]
pub(super) enum Output {
    /// A sink of slots.
    Slots(Committing, Option<Arc<StatisticsSink>>),
    /// Score files.
    Scores(Arc<ScoreFiles>),
}

/// What sinks are opened from.
pub(super) struct Opening<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) ledger: &'a Ledger,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) names: &'a [Arc<str>],
    pub(super) origin: Moment,
    pub(super) leads: &'a [Lead],
}

/// The sinks of a pipeline.
pub(super) struct Opened {
    /// By stage.
    pub(super) outputs: BTreeMap<usize, Output>,
    /// What earlier runs did.
    pub(super) resume: Resume,
    /// The store that states are read back from.
    pub(super) own_store: Option<Arc<ZarrSink>>,
}

impl Opening<'_> {
    /// Opens every sink; `present` tells how a slot of the source flows.
    pub(super) fn open(
        &self,
        offers: &[Offer],
        present: &dyn Fn(Slot) -> Slot,
        follow: bool,
    ) -> Result<Opened, SinkError> {
        let offered = offers.iter().map(|o| present(o.named).cycle).collect();
        let mut resume = Resume { offered, follow, ..Resume::default() };
        let (mut outputs, mut own_store, mut names) = (BTreeMap::new(), None, Vec::new());
        for (index, node) in self.pipeline.stages.iter().enumerate() {
            let input = node.inputs.first().map(|i| &self.pipeline.stages[*i]);
            let Some(input) = input else { continue };
            match &node.stage {
                Stage::Zarr(_) | Stage::Png(_) | Stage::Grib2(_) | Stage::Statistics(_) => {
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
        let changed = offers.iter().map(|o| (present(o.named), o)).filter(|(slot, o)| resume.is_changed(*slot, o));
        resume.changed = changed.map(|(slot, _)| slot.cycle).collect();
        Ok(Opened { outputs, resume, own_store })
    }

    /// The latest first init of the stores that are there already.
    pub(super) fn begun(&self) -> Result<Option<Moment>, SinkError> {
        let mut latest = None;
        for stage in &self.pipeline.stages {
            if let Stage::Zarr(options) = &stage.stage {
                let store = Store::open(self.objects.clone(), &options.path)?;
                latest = latest.max(store.map(|store| store.spec().origin));
            }
        }
        Ok(latest)
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
            Stage::Grib2(options) => {
                let (objects, earth) = (self.objects_of(node), input.earth_winds);
                let made = Grib2Sink::new(&node.name, objects, options, earth, variables());
                made.publish_committed(commits.values().filter(|c| c.is_whole()))?;
                Arc::new(made)
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
            Stage::Grib2(options) => options.writers,
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
