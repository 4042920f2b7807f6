//! Brings the two components of the wind together and rotates them; everything else passes as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::domain::{Absence, Field, Item, Requirement, Slot, WindPart};
use crate::telemetry::metrics;

use super::{Items, route};

/// How a variable takes part in a wind: its component, and the name of the other.
pub(in crate::flow) type Wind = (WindPart, Arc<str>);

/// The stream with every pair of wind components replaced by what `turn` makes of (u, v).
///
/// A component whose partner did not come cannot be rotated: it becomes absent, with that reason.
pub(in crate::flow) fn rotate<'scope>(
    items: Items<'scope>,
    stage: &str,
    wind_of: impl Fn(&str) -> Option<Wind> + 'static,
    mut turn: impl FnMut(&Field, &Field) -> Result<(Field, Field), String> + 'static,
) -> Items<'scope> {
    let stage = stage.to_string();
    let by_slot = Exchange::new(|item: &Item| route(item.slot()));
    items.unary_frontier(by_slot, &stage.clone(), move |_, _| {
        let mut alone: BTreeMap<(Slot, Slot, Arc<str>), (Field, _)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, batches| {
                for item in batches.flat_map(|batch| batch.drain(..)) {
                    let (field, (part, partner)) = match item {
                        Item::Field(field) if !field.restored => match wind_of(&field.variable) {
                            Some(wind) => (field, wind),
                            None => {
                                output.session(&time).give(Item::Field(field));
                                continue;
                            }
                        },
                        other => {
                            output.session(&time).give(other);
                            continue;
                        }
                    };
                    let Some((other, _)) = alone.remove(&(*time.time(), field.slot, partner)) else {
                        let key = (*time.time(), field.slot, field.variable.clone());
                        alone.insert(key, (field, time.retain(output.output_index())));
                        continue;
                    };
                    let _timer = metrics().time(&stage);
                    metrics().passed(&stage, 0, 2, 8 * field.grid.len() as u64);
                    let (u, v) = if part == WindPart::U { (field, other) } else { (other, field) };
                    let turned = match turn(&u, &v) {
                        Ok((u, v)) => [Item::Field(u), Item::Field(v)],
                        Err(reason) => [unrotated(&u, &reason), unrotated(&v, &reason)],
                    };
                    output.session(&time).give_iterator(turned.into_iter());
                }
            });
            let complete: Vec<_> = alone.keys().filter(|(time, ..)| !frontier.less_equal(time)).cloned().collect();
            for key in complete {
                if let Some((field, capability)) = alone.remove(&key) {
                    output.session(&capability).give(unrotated(&field, "the other wind component did not come"));
                }
            }
        }
    })
}

fn unrotated(field: &Field, reason: &str) -> Item {
    let (variable, slot) = (field.variable.clone(), field.slot);
    Item::Absent(Absence { variable, slot, requirement: Requirement::Required, reason: reason.into() })
}
