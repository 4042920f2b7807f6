//! Binds an output to the pipeline that made it, so that a rerun never mixes results of two.

use std::collections::BTreeMap;

use crate::config::{Pipeline, SevirOptions, Stage};
use crate::domain::{Modality, Moment};
use crate::storage::{Ledger, LedgerError, ObjectStore, StorageError};

use super::RunError;

/// Ledger unit of the pipeline that an output belongs to.
const PIPELINE: &str = "source/pipeline";
/// Between the parts of what is recorded of a stage.
const PARTS: &str = "; ";

/// A pipeline that an output belongs to, or may be bound to.
pub(super) struct Binding {
    /// What is to be recorded of it: nothing where it is recorded already.
    fresh: Option<BTreeMap<String, String>>,
}

impl Binding {
    /// Records the pipeline in a fresh ledger.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub(super) fn record(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        self.fresh.as_ref().map_or(Ok(()), |stages| ledger.commit(PIPELINE, stages))
    }
}

/// Compares a pipeline with the one that the ledger speaks of, if any; writes nothing.
///
/// # Errors
/// Where a stage is not what it was when the output was begun, or where something is in a place of the output that no
/// ledger speaks of: results of both would lie side by side.
pub(super) fn compare(ledger: &Ledger, output: &dyn ObjectStore, pipeline: &Pipeline) -> Result<Binding, RunError> {
    let now: BTreeMap<String, String> =
        pipeline.stages.iter().map(|s| (s.name.to_string(), made(pipeline, &s.stage))).collect();
    let recorded: BTreeMap<String, BTreeMap<String, String>> = ledger.load(PIPELINE)?;
    let Some(before) = recorded.into_values().next() else {
        refuse_foreign(output, pipeline)?;
        return Ok(Binding { fresh: Some(now) });
    };
    let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
    let changed: Vec<String> = names.filter_map(|name| difference(name, before.get(name), now.get(name))).collect();
    if changed.is_empty() {
        return Ok(Binding { fresh: None });
    }
    let output = &pipeline.output;
    let advice = format!("{output} was made by another pipeline; choose another --output, or run it as it was");
    Err(RunError::Pipeline(std::iter::once(advice).chain(changed).collect()))
}

/// Refuses an output in which the place of a stage is taken.
fn refuse_foreign(output: &dyn ObjectStore, pipeline: &Pipeline) -> Result<(), RunError> {
    for path in pipeline.stages.iter().filter_map(|node| node.stage.path()) {
        if let Some(key) = anything_at(output, path)? {
            let text = format!(
                "{}: `{key}` is there, and no ledger says that this program wrote it; \
                 choose another --output, or take `{path}` away",
                pipeline.output
            );
            return Err(RunError::Pipeline(vec![text]));
        }
    }
    Ok(())
}

/// The first object at or below a path.
fn anything_at(output: &dyn ObjectStore, path: &str) -> Result<Option<String>, StorageError> {
    let below = output.list(&format!("{path}/"))?.into_iter().next();
    Ok(below.or(output.head(path)?).map(|meta| meta.key))
}

/// What of a stage is not what it was; parts that stayed are left out.
fn difference(name: &str, before: Option<&String>, now: Option<&String>) -> Option<String> {
    let parts =
        |stage: Option<&String>| stage.map_or("not there", String::as_str).split(PARTS).map(String::from).collect();
    let (before, now): (Vec<String>, Vec<String>) = (parts(before), parts(now));
    let only = |these: &[String], others: &[String]| {
        these.iter().filter(|part| !others.contains(part)).cloned().collect::<Vec<_>>().join(PARTS)
    };
    (before != now).then(|| format!("  {name}: was {}; is {}", only(&before, &now), only(&now, &before)))
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
        Stage::Sevir(o) => events_made(o),
        Stage::Zarr(o) => {
            let codec = o.codec.map(|codec| format!("{PARTS}{codec:?}")).unwrap_or_default();
            let title = o.title.as_ref().map(|title| format!("{PARTS}title {title:?}")).unwrap_or_default();
            format!("Zarr in {}{codec}{title}", o.path)
        }
        Stage::Grib2(o) => {
            format!("GRIB2 in {} of {:?}, {:?}, centre {}", o.path, o.variables, o.packing, o.centre)
        }
        Stage::Png(o) => format!("Png in {} of {:?}", o.path, o.variables),
        other => format!("{other:?}"),
    }
}

/// What of a source of storm events decides what is stored, an option a part.
fn events_made(o: &SevirOptions) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "all".to_string() } else { items.join(", ") };
    let names = |modalities: &[Modality]| list(modalities.iter().map(ToString::to_string).collect());
    let moment = |moment: Option<Moment>| moment.map_or("any".into(), |moment| moment.calendar().to_string());
    let share = o.max_missing_share.map_or("any".into(), |share| share.to_string());
    let require = if o.require.is_empty() { "none".into() } else { names(&o.require) };
    let parts = [
        ("catalog", o.catalog.clone()),
        ("data", o.data.clone()),
        ("modalities", names(&o.modalities)),
        ("require", require),
        ("years", list(o.years.iter().map(ToString::to_string).collect())),
        ("from", moment(o.period.from)),
        ("to", moment(o.period.to)),
        ("kinds", list(o.kinds.clone())),
        ("max_missing_share", share),
        ("shard_events", o.shard_events.to_string()),
        ("lightning_bins", format!("{:?}", o.lightning_bins).to_lowercase()),
        ("split", format!("{:?}", o.split)),
    ];
    parts.map(|(name, value)| format!("{name} {value}")).join(PARTS)
}
