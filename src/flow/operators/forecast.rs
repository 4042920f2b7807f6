//! Runs a model on every state once the frontier proves the state complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::domain::{Absence, Field, Item, Lead, Slot};
use crate::models::Predictor;
use crate::telemetry::metrics;

use super::{Items, route};

/// The state itself as lead 0, and the model's forecast of every other lead, each sent at (init, lead).
pub(in crate::flow) fn forecast<'scope>(
    states: Items<'scope>,
    stage: &str,
    model: Arc<dyn Predictor>,
    leads: Vec<Lead>,
) -> Items<'scope> {
    let stage = stage.to_string();
    let by_slot = Exchange::new(|item: &Item| route(item.slot()));
    states.unary_frontier(by_slot, &stage.clone(), move |_, _| {
        let mut waiting: BTreeMap<(Slot, Slot), (Vec<Item>, _)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, batches| {
                for item in batches.flat_map(|batch| batch.drain(..)) {
                    let entry = waiting.entry((*time.time(), item.slot()));
                    let (items, _) = entry.or_insert_with(|| (Vec::new(), time.retain(output.output_index())));
                    items.push(item);
                }
            });
            let complete: Vec<_> = waiting.keys().filter(|(time, _)| !frontier.less_equal(time)).copied().collect();
            for key in complete {
                let Some((items, capability)) = waiting.remove(&key) else { continue };
                let _timer = metrics().time(&stage);
                let (fields, absences) = split(items);
                for lead in std::iter::once(Lead(0)).chain(leads.iter().copied()) {
                    let slot = Slot::new(key.1.cycle, lead);
                    let made = if lead == Lead(0) { fields.clone() } else { model.predict(&fields, lead) };
                    metrics().passed(&stage, 0, made.len() as u64, 0);
                    let absent = absences.iter().map(|a| Item::Absent(Absence { slot, ..a.clone() }));
                    let at = capability.delayed(&slot.join(key.0));
                    output.session(&at).give_iterator(made.into_iter().map(Item::Field).chain(absent));
                }
            }
        }
    })
}

/// Fields sorted by variable, and the absences.
fn split(items: Vec<Item>) -> (Vec<Field>, Vec<Absence>) {
    let (mut fields, mut absences) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Field(field) => fields.push(field),
            Item::Absent(absence) => absences.push(absence),
        }
    }
    fields.sort_by(|a, b| a.variable.cmp(&b.variable));
    (fields, absences)
}
