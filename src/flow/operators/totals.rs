//! Keeps the pooled scores of every variable and lead up to date, corrections included, as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::config::Threshold;
use crate::domain::Slot;
use crate::telemetry::metrics;
use crate::verify::{CaseTotals, ScoreKey, ScoreLine, running_totals};

/// Shows the running totals of a stream of scores; a line for a forecast scored before takes the older one's place.
pub(in crate::flow) fn totals<'scope>(
    scores: StreamVec<'scope, Slot, ScoreLine>,
    thresholds: BTreeMap<Arc<str>, Vec<Threshold>>,
) {
    let cases = scores.unary(Pipeline, "Cases", move |_, _| {
        let mut latest: BTreeMap<(ScoreKey, Slot), CaseTotals> = BTreeMap::new();
        move |input, output| {
            input.for_each_time(|time, batches| {
                let mut session = output.session(&time);
                for line in batches.flat_map(|batch| batch.drain(..)) {
                    let (key, totals, at) = (line.key(), line.totals(), *time.time());
                    if let Some(older) = latest.insert((key.clone(), line.slot()), totals.clone()) {
                        session.give((key.clone(), older, at, -1));
                    }
                    session.give((key, totals, at, 1));
                }
            });
        }
    });
    running_totals(cases).inspect(move |((key, totals), _, change)| {
        if *change > 0 {
            let thresholds = thresholds.get(&key.variable).map_or(&[][..], Vec::as_slice);
            show(key, totals, thresholds);
        }
    });
}

fn show(key: &ScoreKey, totals: &CaseTotals, thresholds: &[Threshold]) {
    let scores = totals.scores(thresholds);
    for (name, value) in [("bias", scores.bias), ("mae", scores.mae), ("rmse", scores.rmse)] {
        if let Some(value) = value {
            metrics().scored(&key.variable, key.lead, name, value);
        }
    }
    for event in &scores.thresholds {
        for (name, value) in [("csi", event.csi), ("pod", event.pod), ("far", event.far)] {
            if let Some(value) = value {
                metrics().scored_at(&key.variable, key.lead, name, event.threshold, value);
            }
        }
    }
}
