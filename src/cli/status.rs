//! `gustfront status`: what an output holds, cycle by cycle, or of storm events shard by shard.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Map, Value, json};

use gustfront::domain::{Lead, Moment};
use gustfront::flow::{CycleStatus, EventStatus, Status, event_status, status};
use gustfront::sources::Reject;

use super::output::show;
use super::pipeline::PipelineArgs;
use super::{BadUsage, Exit};

const EXAMPLES: &str = "Examples:
  gustfront status pipelines/hrrr_archive.toml --output archive
  gustfront status pipelines/hrrr_archive.toml --output s3://my-bucket/archive --from 2018-07-22 --json
  gustfront status pipelines/sevir_backfill.toml --output sevir";

/// Tell what an output holds.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// No cycle before this time; not of storm events, whose shards are told together.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// No cycle after this time; not of storm events.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let pipeline = args.pipeline.read()?;
    if pipeline.events().is_some() {
        if args.from.is_some() || args.to.is_some() {
            let text = "--from and --to are for cycles; expected neither: storm events are told together";
            return Err(BadUsage(text.into()).into());
        }
        let found = event_status(&pipeline)?;
        let text = if args.json { format!("{:#}\n", json!(found)) } else { event_text(&pipeline.output, &found) };
        show(&text)?;
        return Ok(Exit::Done);
    }
    let mut found = status(&pipeline)?;
    let inside = |cycle: &Moment| args.from.is_none_or(|f| f <= *cycle) && args.to.is_none_or(|t| *cycle <= t);
    found.sinks.values_mut().for_each(|cycles| cycles.retain(|cycle, _| inside(cycle)));
    found.rejects.retain(|reject| inside(&reject.named.cycle));
    let text = if args.json { format!("{:#}\n", json(&found)) } else { text(&pipeline.output, &found) };
    show(&text)?;
    Ok(Exit::Done)
}

/// The same for programs; times and leads as people write them.
fn json(status: &Status) -> Value {
    let leads = |leads: &BTreeSet<Lead>| leads.iter().map(Lead::to_string).collect::<Vec<_>>();
    let cycle = |state: &CycleStatus| {
        let partial: Map<_, _> = state.partial.iter().map(|(lead, why)| (lead.to_string(), json!(why))).collect();
        let absent: Map<_, _> = state.absent.iter().map(|(name, at)| (name.clone(), json!(leads(at)))).collect();
        json!({ "published": leads(&state.published), "partial": partial, "absent": absent })
    };
    let sink = |(name, cycles): (&String, &BTreeMap<Moment, CycleStatus>)| {
        (name.clone(), cycles.iter().map(|(moment, state)| (moment.to_string(), cycle(state))).collect())
    };
    let reject = |r: &Reject| {
        let (named_cycle, named_lead) = (r.named.cycle.to_string(), r.named.lead.to_string());
        json!({ "object": r.object, "named_cycle": named_cycle, "named_lead": named_lead, "reason": r.reason,
            "detail": r.detail, "messages": r.messages })
    };
    let sinks: Map<String, Value> = status.sinks.iter().map(sink).collect();
    json!({ "sinks": sinks, "rejects": status.rejects.iter().map(reject).collect::<Vec<_>>() })
}

fn event_text(output: &str, status: &EventStatus) -> String {
    let totals = &status.totals;
    let mut lines = vec![
        format!("{output}: {}: {}", status.sink, event_state(status)),
        format!("  {} of {} shards committed", totals.shards_committed_before, totals.shards),
        format!("  {} of {} events, {} set aside", totals.events, status.events_expected, totals.events_rejected),
    ];
    let damaged = status.shards_damaged.iter();
    lines.extend(damaged.map(|(shard, arrays)| format!("  shard {shard}: {} is gone", arrays.join(", "))));
    lines.extend(totals.stored.iter().map(|(modality, events)| format!("  {modality}: {events} events")));
    lines.extend(totals.rejected_by_reason.iter().map(|(reason, count)| format!("  set aside as {reason}: {count}")));
    lines.extend(totals.rejects.iter().map(|r| format!("    {}  {} {}: {}", r.event, r.modality, r.reason, r.detail)));
    if !totals.rejects.is_empty() {
        lines.push("    a rerun tries an event again once its file has come or changed".into());
    }
    let rows = totals.rows_rejected.iter();
    lines.extend(rows.map(|r| format!("    line {} of the catalogue  {} {}: {}", r.line, r.event, r.reason, r.detail)));
    lines.join("\n") + "\n"
}

/// How far a store of events is, and what to do.
fn event_state(status: &EventStatus) -> &str {
    match (status.published, status.shards_open.is_empty(), status.shards_damaged.is_empty()) {
        (true, true, true) => "complete",
        (true, _, false) => "visible, but damaged: run again to write anew what is gone",
        (true, false, true) => "visible, but the ledger lacks shards: run again to write them anew",
        (false, true, true) => {
            "every shard is there, but nothing is published: run again, which does it or says why not"
        }
        (false, true, false) => "not visible, and damaged: run again to write anew what is gone",
        (false, false, _) => "not complete, and therefore not visible yet",
    }
}

fn text(output: &str, status: &Status) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut lines = Vec::new();
    if status.sinks.values().all(|cycles| cycles.is_empty()) {
        lines.push(format!("{output}: nothing published"));
    }
    for (sink, cycles) in status.sinks.iter().filter(|(_, cycles)| !cycles.is_empty()) {
        lines.push(format!("{sink}: {} cycle{}", cycles.len(), plural(cycles.len())));
        lines.extend(cycles.iter().map(|(cycle, state)| format!("  {cycle}  {}", describe(state))));
    }
    if !status.rejects.is_empty() {
        lines.push(format!("set aside: {} object{}", status.rejects.len(), plural(status.rejects.len())));
    }
    lines.extend(status.rejects.iter().map(|r| format!("  {}  {}: {}", r.object, r.reason, r.detail)));
    lines.join("\n") + "\n"
}

fn describe(state: &CycleStatus) -> String {
    let mut parts = Vec::new();
    if !state.published.is_empty() {
        parts.push(format!("published {}", leads(&state.published)));
    }
    parts.extend(state.partial.iter().map(|(lead, lacking)| format!("partial {lead} ({lacking})")));
    let absent = state.absent.iter().map(|(variable, at)| format!("{variable} absent (optional) {}", leads(at)));
    parts.extend(absent);
    parts.join("; ")
}

/// Leads with runs of whole hours joined: `f00–f18`.
fn leads(leads: &BTreeSet<Lead>) -> String {
    let mut runs: Vec<(Lead, Lead)> = Vec::new();
    for lead in leads {
        match runs.last_mut() {
            Some((_, last)) if last.0 + 60 == lead.0 => *last = *lead,
            _ => runs.push((*lead, *lead)),
        }
    }
    let text =
        |(first, last): &(Lead, Lead)| if first == last { first.to_string() } else { format!("{first}–{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(" ")
}
