//! Gathers the score lines of a cycle and replaces its file once the frontier proves the cycle complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::domain::{Lead, Moment, Slot};
use crate::flow::offload::Offload;
use crate::flow::totals::Shared;
use crate::sinks::ScoreFiles;
use crate::telemetry::metrics;
use crate::verify::ScoreLine;

use super::route;

/// The cycles whose files have been replaced, each at the time its last lead could be verified or later.
pub(in crate::flow) fn lines<'scope>(
    scores: StreamVec<'scope, Slot, ScoreLine>,
    stage: &str,
    files: Arc<ScoreFiles>,
    last_lead: Lead,
    shared: Arc<Shared>,
) -> StreamVec<'scope, Slot, Slot> {
    let stage = stage.to_string();
    let worker = scores.scope().worker();
    let by_init = Exchange::new(|line: &ScoreLine| route(line.init));
    scores.unary_frontier(by_init, &stage.clone(), move |_, info| {
        let activator = worker.sync_activator_for(info.address.to_vec());
        let name = stage.clone();
        let mut threads = Offload::start(&stage, 1, activator, move |(at, init, lines): (Slot, Moment, _)| {
            let _timer = metrics().time(&name);
            (at, init, files.publish(init, lines))
        });
        let mut gathering: BTreeMap<(Slot, Moment), (Vec<ScoreLine>, Capability<Slot>)> = BTreeMap::new();
        let mut publishing: BTreeMap<(Slot, Moment), Capability<Slot>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, batches| {
                for line in batches.flat_map(|batch| batch.drain(..)) {
                    let at = time.time().join(Slot::new(line.init.plus(last_lead), last_lead));
                    let capability = || time.delayed(&at, output.output_index());
                    let entry = gathering.entry((at, line.init)).or_insert_with(|| (Vec::new(), capability()));
                    entry.0.push(line);
                }
            });
            for (at, init, result) in threads.poll() {
                let Some(capability) = publishing.remove(&(at, init)) else { continue };
                match result {
                    Ok(()) => {
                        shared.published(&stage, Slot::new(init, last_lead), true);
                        output.session(&capability).give(Slot::new(init, last_lead));
                    }
                    Err(error) => shared.fail(error.to_string()),
                }
            }
            // One file is replaced at a time: a correction of a cycle waits for the file it corrects.
            let ready = gathering.keys().find(|(at, _)| !frontier.less_equal(at)).copied();
            let turn = ready.filter(|_| publishing.is_empty());
            if let Some((key, (lines, capability))) = turn.and_then(|key| Some((key, gathering.remove(&key)?))) {
                publishing.insert(key, capability);
                threads.submit((key.0, key.1, lines));
            }
        }
    })
}
