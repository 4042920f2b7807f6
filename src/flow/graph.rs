//! Wires a plan's stages into a dataflow, one operator a stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

use crate::config::{RegridOptions, ScoreOptions, Stage, StageNode, WindowOptions, variables};
use crate::domain::{Item, Moment, Slot};
use crate::transforms::window;
use crate::verify::ScoreLine;

use super::on_device::OnDevice;
use super::operators::{Intake, Items, Keep, commit, forecast, intake, lines, rotate, score, totals, transform};
use super::outputs::{Output, forecast_leads};
use super::plan::{Plan, model};
use super::stages::{PerGrid, Regridding, Turning, compare, normalise, quality, regrid, rotation};

/// What all workers share of the transforms: weights, angles and areas are computed once.
#[derive(Default)]
pub(super) struct Computed {
    weights: BTreeMap<usize, Arc<PerGrid<Regridding>>>,
    rotations: Arc<PerGrid<Turning>>,
    areas: Arc<PerGrid<Vec<f64>>>,
}

impl Computed {
    /// Room for what the stages of a plan compute.
    pub(super) fn new(plan: &Plan) -> Self {
        let regrids =
            |(i, node): (usize, &StageNode)| matches!(node.stage, Stage::Regrid(_)).then(|| (i, Arc::default()));
        Computed { weights: plan.pipeline.stages.iter().enumerate().filter_map(regrids).collect(), ..Self::default() }
    }
}

/// What flows out of a stage.
enum Flowing<'scope> {
    Items(Items<'scope>),
    Scores(StreamVec<'scope, Slot, ScoreLine>),
    Nothing,
}

/// Builds the dataflow in a scope; `slowest` then tells how far the slowest sink has come.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Slot>,
    plan: &Plan,
    computed: &Computed,
    first_worker: Option<Intake>,
    slowest: &ProbeHandle<Slot>,
) {
    let mut building = Building { plan, computed, flows: Vec::new(), published: Vec::new() };
    let mut source = Some(intake(scope, first_worker, slowest.clone()));
    for (index, node) in plan.pipeline.stages.iter().enumerate() {
        let flow = match &node.stage {
            Stage::Hrrr(_) => source.take().map_or(Flowing::Nothing, Flowing::Items),
            _ => building.stage(index, node),
        };
        building.flows.push(flow);
    }
    scope.concatenate(building.published).probe_with(slowest);
}

struct Building<'a, 'scope> {
    plan: &'a Plan,
    computed: &'a Computed,
    flows: Vec<Flowing<'scope>>,
    published: Vec<StreamVec<'scope, Slot, Slot>>,
}

impl<'scope> Building<'_, 'scope> {
    fn items(&self, node: &StageNode, input: usize) -> Option<Items<'scope>> {
        match node.inputs.get(input).map(|i| &self.flows[*i])? {
            Flowing::Items(items) => Some(items.clone()),
            _ => None,
        }
    }

    /// The stream out of a stage; a checked pipeline has the inputs that each stage reads.
    fn stage(&mut self, index: usize, node: &StageNode) -> Flowing<'scope> {
        let shared = self.plan.supply.shared.clone();
        if let Stage::Jsonl(_) = &node.stage {
            return self.score_lines(index, node);
        }
        let Some(items) = self.items(node, 0) else { return Flowing::Nothing };
        match &node.stage {
            Stage::Quality => Flowing::Items(transform(items, &node.name, quality(shared, self.device()))),
            Stage::RotateWinds => Flowing::Items(self.rotated(items, node)),
            Stage::Regrid(options) => Flowing::Items(self.regridded(index, items, node, options)),
            Stage::Normalise(_) => Flowing::Items(self.normalised(index, items, node)),
            Stage::Window(options) => Flowing::Items(windows(items, options.clone(), self.plan.origin.midnight())),
            Stage::Persistence(options) => Flowing::Items(match model(&node.stage) {
                Some(model) => forecast(items, &node.name, model, options.leads.clone()),
                None => items,
            }),
            Stage::Scores(options) => self.scored(items, node, options),
            _ => {
                if let Some(Output::Slots(committing, _)) = self.plan.outputs.get(&index) {
                    self.published.push(commit(items, committing.clone()));
                }
                Flowing::Nothing
            }
        }
    }

    fn device(&self) -> Option<OnDevice> {
        self.plan.supply.device.clone()
    }

    fn rotated(&self, items: Items<'scope>, node: &StageNode) -> Items<'scope> {
        let wind_of = |name: &str| {
            let variable = variables().get(name)?;
            Some((variable.wind?, variable.wind_partner.as_deref()?.into()))
        };
        rotate(items, &node.name, wind_of, rotation(self.computed.rotations.clone(), self.device()))
    }

    fn regridded(
        &self,
        index: usize,
        items: Items<'scope>,
        node: &StageNode,
        options: &RegridOptions,
    ) -> Items<'scope> {
        let weights = self.computed.weights.get(&index).cloned().unwrap_or_default();
        transform(items, &node.name, regrid(options.clone(), weights, self.device()))
    }

    fn normalised(&self, index: usize, items: Items<'scope>, node: &StageNode) -> Items<'scope> {
        let made = self.plan.tables.get(&index).map(|table| normalise(&self.plan.variables, table, self.device()));
        match made {
            Some(Ok(change)) => transform(items, &node.name, change),
            Some(Err(reason)) => {
                self.plan.supply.shared.fail(format!("{}: {}: {reason}", node.place, node.name));
                items
            }
            None => items,
        }
    }

    fn scored(&self, forecasts: Items<'scope>, node: &StageNode, options: &ScoreOptions) -> Flowing<'scope> {
        let Some(truths) = self.items(node, 1) else { return Flowing::Nothing };
        let model = node.inputs.first().map(|i| self.plan.pipeline.stages[*i].kind.clone()).unwrap_or_default();
        let keep = Keep { leads: forecast_leads(&self.plan.pipeline), late: options.late };
        let compare = compare(&model, options.clone(), self.computed.areas.clone(), self.plan.supply.shared.clone());
        let lines = score(forecasts, truths, &node.name, keep, compare);
        totals(lines.clone(), options.thresholds.clone());
        Flowing::Scores(lines)
    }

    fn score_lines(&mut self, index: usize, node: &StageNode) -> Flowing<'scope> {
        let input = node.inputs.first().map(|i| &self.flows[*i]);
        if let (Some(Flowing::Scores(scores)), Some(Output::Scores(files))) = (input, self.plan.outputs.get(&index)) {
            let last = forecast_leads(&self.plan.pipeline).last().copied().unwrap_or_default();
            let shared = self.plan.supply.shared.clone();
            self.published.push(lines(scores.clone(), &node.name, files.clone(), last, shared));
        }
        Flowing::Nothing
    }
}

/// Every state as a step of each window it belongs to, from the first init on.
fn windows<'scope>(items: Items<'scope>, options: WindowOptions, first: Moment) -> Items<'scope> {
    items.flat_map(move |item| {
        let slots = window::slots(item.slot().cycle, options.steps, options.step);
        slots.into_iter().filter(|slot| slot.cycle >= first).map(|slot| item.at(slot)).collect::<Vec<Item>>()
    })
}
