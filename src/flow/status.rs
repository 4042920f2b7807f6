//! What an output holds, cycle by cycle, told from its ledger alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::{Pipeline, Stage};
use crate::domain::{Lead, Moment, Slot};
use crate::sinks::{Commit, ScoreRecord};
use crate::sources::Reject;

use super::RunError;
use super::plan::open_output;
use super::supply::REJECTS;

/// One cycle of one sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CycleStatus {
    /// Leads that are whole and visible (for scores: verified).
    pub published: BTreeSet<Lead>,
    /// Leads that lack something required, with what they lack.
    pub partial: BTreeMap<Lead, String>,
    /// Optional variables that did not come, with the leads they are absent from.
    pub absent: BTreeMap<String, BTreeSet<Lead>>,
}

/// What an output holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// By sink and cycle.
    pub sinks: BTreeMap<String, BTreeMap<Moment, CycleStatus>>,
    /// What was set aside.
    pub rejects: Vec<Reject>,
}

impl Status {
    /// Whether a slot is whole in a sink.
    fn holds(&self, slot: Slot) -> bool {
        let published = |cycle: &CycleStatus| cycle.published.contains(&slot.lead);
        self.sinks.values().any(|cycles| cycles.get(&slot.cycle).is_some_and(published))
    }
}

/// Reads the ledger of a pipeline's output.
pub fn status(pipeline: &Pipeline) -> Result<Status, RunError> {
    let (_, ledger) = open_output(pipeline)?;
    let mut status = Status::default();
    for node in &pipeline.stages {
        let folder = format!("{}/", node.name);
        match &node.stage {
            Stage::Zarr(_) | Stage::Png(_) | Stage::Grib2(_) | Stage::Statistics(_) => {
                let commits: BTreeMap<String, Commit> = ledger.load(&folder)?;
                status.sinks.insert(node.name.to_string(), by_cycle(commits.values()));
            }
            Stage::Jsonl(_) => {
                let records: BTreeMap<String, ScoreRecord> = ledger.load(&folder)?;
                let cycle = |r: ScoreRecord| (r.init, CycleStatus { published: r.verified, ..CycleStatus::default() });
                status.sinks.insert(node.name.to_string(), records.into_values().map(cycle).collect());
            }
            _ => (),
        }
    }
    let rejects: BTreeMap<String, Reject> = ledger.load(&format!("{REJECTS}/"))?;
    let filled = |reject: &Reject| !reject.is_final() && status.holds(reject.named);
    status.rejects = rejects.into_values().filter(|reject| !filled(reject)).collect();
    Ok(status)
}

fn by_cycle<'a>(commits: impl Iterator<Item = &'a Commit>) -> BTreeMap<Moment, CycleStatus> {
    let mut cycles: BTreeMap<Moment, CycleStatus> = BTreeMap::new();
    for commit in commits {
        let cycle = cycles.entry(commit.slot.cycle).or_default();
        let lead = commit.slot.lead;
        if commit.is_whole() {
            cycle.published.insert(lead);
        } else {
            cycle.partial.insert(lead, commit.lacking());
        }
        for variable in commit.optional_absences() {
            cycle.absent.entry(variable.to_string()).or_default().insert(lead);
        }
    }
    cycles
}
