//! Binds an output to the pipeline that made it, so that a rerun never mixes results of two.

use std::collections::BTreeMap;

use crate::config::{Pipeline, Server, SevirOptions, Stage};
use crate::storage::Ledger;

use super::RunError;

/// Ledger unit of the pipeline that an output belongs to.
const PIPELINE: &str = "source/pipeline";

/// Records the pipeline in a fresh ledger, or compares it with the one recorded.
///
/// # Errors
/// Where a stage is not what it was when the output was begun: results of both would lie side by side.
pub(super) fn bind(ledger: &Ledger, pipeline: &Pipeline) -> Result<(), RunError> {
    let now: BTreeMap<String, String> =
        pipeline.stages.iter().map(|s| (s.name.to_string(), made(pipeline, &s.stage))).collect();
    let recorded: BTreeMap<String, BTreeMap<String, String>> = ledger.load(PIPELINE)?;
    let Some(before) = recorded.into_values().next() else { return Ok(ledger.commit(PIPELINE, &now)?) };
    let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
    let changed: Vec<String> = names.filter_map(|name| difference(name, before.get(name), now.get(name))).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let output = &pipeline.output;
    let advice = format!("{output} was made by another pipeline; choose another --output, or run it as it was");
    Err(RunError::Pipeline(std::iter::once(advice).chain(changed).collect()))
}

fn difference(name: &str, before: Option<&String>, now: Option<&String>) -> Option<String> {
    let text = |stage: Option<&String>| stage.map_or("not there", String::as_str).to_string();
    (before != now).then(|| format!("  {name}: was {}; is {}", text(before), text(now)))
}

/// What of a stage decides the bytes it makes: not where it reads from, nor how many threads it uses.
pub(super) fn made(pipeline: &Pipeline, stage: &Stage) -> String {
    match stage {
        Stage::Hrrr(o) => {
            let leads = o.leads.as_ref().map_or(format!("state at {}", pipeline.state_lead), |l| {
                l.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            });
            let variables: Vec<String> = o.variables.iter().map(|(name, r)| format!("{name} {r:?}")).collect();
            format!("{} {} every {}, leads {leads}: {}", o.product, o.region_name, o.cycle_step, variables.join(", "))
        }
        Stage::Sevir(o) => {
            let here = SevirOptions { input: String::new(), server: Server::default(), ..o.clone() };
            format!("{here:?}")
        }
        Stage::Zarr(o) => match o.codec {
            None => format!("Zarr in {}", o.path),
            Some(codec) => format!("Zarr in {}, {codec:?}", o.path),
        },
        Stage::Grib2(o) => {
            format!("GRIB2 in {} of {:?}, {:?}, centre {}", o.path, o.variables, o.packing, o.centre)
        }
        Stage::Png(o) => format!("Png in {} of {:?}", o.path, o.variables),
        other => format!("{other:?}"),
    }
}
