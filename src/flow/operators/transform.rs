//! Applies a function to every field; absences and fields read back from the pipeline's own store pass as they are.

use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::domain::{Field, Item};
use crate::telemetry::metrics;

use super::{Items, route};

/// The stream with `change` applied to each of its fields, spread over the workers by slot and variable.
pub(in crate::flow) fn transform<'scope>(
    items: Items<'scope>,
    stage: &str,
    mut change: impl FnMut(Field) -> Item + 'static,
) -> Items<'scope> {
    let stage = stage.to_string();
    let by_field = Exchange::new(|item: &Item| route((item.slot(), item.variable())));
    items.unary(by_field, &stage.clone(), move |_, _| {
        move |input, output| {
            input.for_each_time(|time, batches| {
                let mut session = output.session(&time);
                for item in batches.flat_map(|batch| batch.drain(..)) {
                    session.give(match item {
                        Item::Field(field) if !field.restored => {
                            let _timer = metrics().time(&stage);
                            metrics().passed(&stage, 0, 1, 4 * field.grid.len() as u64);
                            change(field)
                        }
                        other => other,
                    });
                }
            });
        }
    })
}
