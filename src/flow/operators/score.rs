//! Compares every forecast with the state at its valid time, whichever comes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;

use crate::domain::{Field, Item, Lead, Moment, Slot};
use crate::verify::ScoreLine;

use super::{Items, route};

/// Which forecasts and truths belong together.
type Key = (Moment, Arc<str>);

/// How long forecasts and truths are kept.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Keep {
    /// The leads that are forecast.
    pub(in crate::flow) leads: Vec<Lead>,
    /// How long after its time a truth may still come.
    pub(in crate::flow) late: Lead,
}

/// Score lines, each sent at the least upper bound of its forecast's and its truth's times.
pub(in crate::flow) fn score<'scope>(
    forecasts: Items<'scope>,
    truths: Items<'scope>,
    stage: &str,
    keep: Keep,
    mut compare: impl FnMut(&Field, &Field) -> Option<ScoreLine> + 'static,
) -> StreamVec<'scope, Slot, ScoreLine> {
    let by_key = || Exchange::new(|item: &Item| route((item.slot().valid(), item.variable())));
    forecasts.binary_frontier(truths, by_key(), by_key(), stage, move |_, _| {
        let mut forecasts: BTreeMap<Key, BTreeMap<Slot, Field>> = BTreeMap::new();
        let mut truths: BTreeMap<Key, Field> = BTreeMap::new();
        move |(forecast_input, forecast_frontier), (truth_input, truth_frontier), output| {
            forecast_input.for_each_time(|time, batches| {
                let fields = batches.flat_map(|batch| batch.drain(..)).filter_map(field);
                for forecast in fields.filter(|f| f.slot.lead > Lead(0)) {
                    let key = (forecast.slot.valid(), forecast.variable.clone());
                    if let Some(truth) = truths.get(&key) {
                        let at = time.delayed(&time.time().join(truth.slot), output.output_index());
                        output.session(&at).give_iterator(compare(&forecast, truth).into_iter());
                    }
                    forecasts.entry(key).or_default().insert(forecast.slot, forecast);
                }
            });
            truth_input.for_each_time(|time, batches| {
                for truth in batches.flat_map(|batch| batch.drain(..)).filter_map(field) {
                    let key = (truth.slot.valid(), truth.variable.clone());
                    for forecast in forecasts.get(&key).into_iter().flat_map(BTreeMap::values) {
                        let at = time.delayed(&time.time().join(forecast.slot), output.output_index());
                        output.session(&at).give_iterator(compare(forecast, &truth).into_iter());
                    }
                    truths.insert(key, truth);
                }
            });
            forecasts.retain(|(valid, _), _| truth_frontier.less_equal(&Slot::new(valid.plus(keep.late), Lead(0))));
            truths.retain(|(valid, _), _| may_be_forecast(*valid, &keep, forecast_frontier));
        }
    })
}

fn field(item: Item) -> Option<Field> {
    match item {
        Item::Field(field) => Some(field),
        Item::Absent(_) => None,
    }
}

/// Whether a forecast that is valid then can still come.
fn may_be_forecast(valid: Moment, keep: &Keep, frontier: &MutableAntichain<Slot>) -> bool {
    keep.leads.iter().any(|lead| {
        let init = Moment((valid.0 + u64::from(keep.late.0) * 60).saturating_sub(u64::from(lead.0) * 60));
        frontier.less_equal(&Slot::new(init, *lead))
    })
}
