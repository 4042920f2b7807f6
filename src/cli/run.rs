//! `gustfront run`: a pipeline from its source to its sinks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;

use gustfront::config::Pipeline;
use gustfront::domain::{Moment, Period};
use gustfront::flow::{BackfillOptions, EventReport, Report, RunOptions, backfill, run as run_pipeline};
use gustfront::telemetry::{self, Endpoint};
use gustfront::verify::table;

use super::output::show;
use super::pipeline::PipelineArgs;
use super::{BadUsage, Exit, processes};

const EXAMPLES: &str = "Examples:
  gustfront run pipelines/hrrr_archive.toml --input bucket --output archive
  gustfront run pipelines/hrrr_archive.toml --input s3://my-bucket/hrrr \\
      --from 2018-07-22 --to 2018-07-22T23 --workers 2
  gustfront run pipelines/hrrr_archive.toml --follow --output live --set leads=0-1
  gustfront run pipelines/hrrr_forecast.toml --input bucket --output forecast \\
      --set state_lead=1 --report totals.json
  gustfront run pipelines/sevir_backfill.toml --input sevir --output events \\
      --set from=2018-06-01 --set to=2018-06-30 --set modalities=vil,lght
  gustfront run pipelines/sevir_backfill.toml --output s3://my-bucket/sevir \\
      --workers 8 --processes 4 --process 0 --hosts hosts.txt";

/// Set-aside objects that the summary names; `gustfront status` and the report name all.
const MOST_REJECTS: usize = 10;

/// Run a pipeline.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// First cycle, UTC: 2018-07-22, 2018-07-22T03 or 2018072203. Without it the first there is. Storm events have no
    /// cycles: --set from=… and --set to=…
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Last cycle. Without it the last there is. Of storm events: --set to=…
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Keep looking for new objects until stopped with Ctrl-C, from --from or six hours ago on; not of storm events.
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Worker threads of the dataflow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Processes of the run, for storm events; without --process they are started here, on this machine.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    processes: u16,
    /// Which of the processes this is, from 0.
    #[arg(long, value_name = "INDEX", requires = "hosts")]
    process: Option<u16>,
    /// A file with one host:port a process, in order; the same for all.
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<String>,
    /// Write the run's totals as JSON to this file.
    #[arg(long, value_name = "FILE")]
    report: Option<String>,
    /// Serve /metrics, /healthz and /readyz at this address; `off` for none. Without it 127.0.0.1:9464, if free.
    #[arg(long, value_name = "ADDRESS|off", value_parser = parse_metrics)]
    metrics: Option<Metrics>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metrics {
    Off,
    At(SocketAddr),
}

fn parse_metrics(text: &str) -> Result<Metrics, String> {
    if text == "off" {
        return Ok(Metrics::Off);
    }
    let address = text.parse().map(Metrics::At);
    address.map_err(|_| "expected `off` or an address and port such as 127.0.0.1:9464".into())
}

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && to < from
    {
        return Err(BadUsage(format!("--to {to} is before --from {from}; expected a time at or after it")).into());
    }
    let pipeline = args.pipeline.read()?;
    if pipeline.events().is_some() {
        return events(args, pipeline);
    }
    if args.processes > 1 || args.hosts.is_some() {
        return Err(BadUsage("a pipeline of fields runs in one process; expected --workers instead".into()).into());
    }
    make_report(args)?;
    let _endpoint = serve(args.metrics)?;
    let stop = stop_on_signals()?;
    let options = RunOptions {
        workers: usize::from(args.workers),
        period: Period { from: args.from, to: args.to },
        follow: args.follow,
        progress: true,
    };
    let output = pipeline.output.clone();
    let report = run_pipeline(pipeline, &options, stop)?;
    write_report(args, &report)?;
    show(&summary(&report, &output, args.follow))?;
    Ok(match report.totals.rejects.is_empty() {
        _ if report.stopped && !args.follow => Exit::Failed,
        true => Exit::Done,
        false => Exit::Rejects,
    })
}

/// Runs a pipeline of storm events: alone, as one of several processes, or as the parent of all.
fn events(args: &RunArgs, pipeline: Pipeline) -> anyhow::Result<Exit> {
    if args.from.is_some() || args.to.is_some() || args.follow {
        let text =
            "--from, --to and --follow are for cycles; expected --set sources.NAME.from=… or .to=… for storm events";
        return Err(BadUsage(text.into()).into());
    }
    let cluster = match (&args.hosts, args.process) {
        (Some(file), Some(process)) => Some(processes::cluster(file, process, args.processes)?),
        _ if args.processes > 1 => return processes::start_all(args.processes),
        _ => None,
    };
    make_report(args)?;
    let _endpoint = serve(args.metrics)?;
    let options = BackfillOptions { workers: usize::from(args.workers), cluster, progress: true };
    let output = pipeline.output.clone();
    let report = backfill(pipeline, &options, stop_on_signals()?)?;
    write_report(args, &report)?;
    show(&event_summary(&report, &output))?;
    Ok(match report.totals.has_rejects() {
        _ if report.stopped => Exit::Failed,
        true => Exit::Rejects,
        false => Exit::Done,
    })
}

/// Makes sure that the report can be written before anything runs.
fn make_report(args: &RunArgs) -> Result<(), BadUsage> {
    let Some(file) = &args.report else { return Ok(()) };
    let made = std::fs::File::create(file);
    made.map(drop).map_err(|error| BadUsage(format!("--report {file} cannot be written: {error}")))
}

fn write_report(args: &RunArgs, report: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(file) = &args.report else { return Ok(()) };
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(file, text).with_context(|| format!("the report cannot be written to {file}"))
}

/// The telemetry endpoint; where the usual port is taken and none was asked for, the run goes on without.
fn serve(metrics: Option<Metrics>) -> anyhow::Result<Option<Endpoint>> {
    match metrics {
        Some(Metrics::Off) => Ok(None),
        Some(Metrics::At(address)) => Ok(Some(telemetry::serve(address)?)),
        None => {
            let served = telemetry::serve(telemetry::DEFAULT_ADDRESS.parse()?);
            Ok(served.inspect_err(|error| tracing::warn!("no metrics are served: {error}")).ok())
        }
    }
}

/// A flag that Ctrl-C and SIGTERM set; the second time, the program ends at once.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(Exit::Failed as u8));
        }
        tracing::warn!("stopping after what is under way; once more to stop at once");
    })
    .context("signals cannot be caught")?;
    Ok(stop)
}

/// The shards of which a process speaks: the first one of all, any other of its own.
fn event_shards(report: &EventReport, output: &str) -> String {
    let EventReport { pipeline, process, processes, totals, .. } = report;
    let (now, before) = (totals.shards_committed, totals.shards_committed_before);
    match (process, processes) {
        (0, 1) => {
            format!("{pipeline}: {} of {} shards committed in {output} ({before} before)", now + before, totals.shards)
        }
        (0, _) => format!(
            "{pipeline}, process 0 of {processes}, for all: {} of {} shards committed in {output} ({before} before)",
            now + before,
            totals.shards
        ),
        _ => format!("{pipeline}, process {process} of {processes}, for itself: {now} shards committed in {output}"),
    }
}

fn event_summary(report: &EventReport, output: &str) -> String {
    let totals = &report.totals;
    let mut lines = vec![format!(
        "{}, {} events, {} set aside, {:.1} MB of values read and {:.1} MB written in {:.1} s",
        event_shards(report, output),
        totals.events,
        totals.events_rejected,
        totals.read_bytes as f64 / 1e6,
        totals.written_bytes as f64 / 1e6,
        report.seconds,
    )];
    lines.extend(totals.stored.iter().map(|(modality, events)| format!("  {modality}: {events} events")));
    lines.extend(totals.remarks().into_iter().map(|remark| format!("  {remark}")));
    let events =
        totals.rejects.iter().map(|r| format!("  set aside: {} ({}, {}): {}", r.event, r.modality, r.reason, r.detail));
    let rows = totals
        .rows_rejected
        .iter()
        .map(|r| format!("  set aside: line {} of the catalogue ({}): {}", r.line, r.reason, r.detail));
    lines.extend(events.chain(rows).take(MOST_REJECTS));
    let all = totals.rejects.len() + totals.rows_rejected.len();
    if all > MOST_REJECTS {
        lines.push(format!("  set aside: {all} in all; see `gustfront status`"));
    }
    if report.stopped {
        lines.push("  stopped early; run again to go on".into());
    }
    lines.join("\n") + "\n"
}

fn summary(report: &Report, output: &str, follow: bool) -> String {
    let totals = &report.totals;
    let mut lines = Vec::new();
    if !totals.scores.is_empty() {
        lines.push(table(&totals.scores));
    }
    lines.push(format!(
        "{}: {} of {} slots filled ({} published before, {} missing), {} objects and {:.1} MB fetched in {:.1} s",
        report.pipeline,
        totals.slots_filled + totals.slots_published_before,
        totals.slots_expected,
        totals.slots_published_before,
        totals.slots_missing,
        totals.fetched_objects,
        totals.fetched_bytes as f64 / 1e6,
        report.seconds,
    ));
    let reason = report.device.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    lines.push(format!("  device: {}{reason}", report.device.used));
    for (sink, done) in &totals.sinks {
        let partial = if done.partial > 0 { format!(", {} partial", done.partial) } else { String::new() };
        lines.push(format!("  {sink}: {} published{partial} in {output}", done.published));
    }
    let quality = totals.quality.iter().map(|(what, count)| format!("  quality: {count} values set missing ({what})"));
    lines.extend(quality);
    let rejects = totals.rejects.iter().map(|r| format!("  set aside: {} ({}): {}", r.object, r.reason, r.detail));
    lines.extend(rejects.take(MOST_REJECTS));
    if totals.rejects.len() > MOST_REJECTS {
        lines.push(format!("  set aside: {} in all; see `gustfront status`", totals.rejects.len()));
    }
    if report.stopped && !follow {
        lines.push("  stopped early; run again to go on".into());
    }
    lines.join("\n") + "\n"
}
