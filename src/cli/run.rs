//! `gustfront run`: a pipeline from its source to its sinks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;

use gustfront::domain::{Moment, Period};
use gustfront::flow::{Report, RunOptions, run as run_pipeline};
use gustfront::telemetry::{self, Endpoint};
use gustfront::verify::table;

use super::output::show;
use super::pipeline::PipelineArgs;
use super::{BadUsage, Exit};

const EXAMPLES: &str = "Examples:
  gustfront run pipelines/hrrr_archive.toml --input bucket --output archive
  gustfront run pipelines/hrrr_archive.toml --input s3://my-bucket/hrrr \\
      --from 2018-07-22 --to 2018-07-22T23 --workers 2
  gustfront run pipelines/hrrr_archive.toml --follow --output live --set leads=0-1
  gustfront run pipelines/hrrr_forecast.toml --input bucket --output forecast \\
      --set state_lead=1 --report totals.json";

/// Set-aside objects that the summary names; `gustfront status` and the report name all.
const MOST_REJECTS: usize = 10;

/// Run a pipeline.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// First cycle, UTC: 2018-07-22, 2018-07-22T03 or 2018072203. Without it the first there is.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Last cycle. Without it the last there is.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Keep looking for new objects until stopped with Ctrl-C, from --from or six hours ago on.
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Worker threads of the dataflow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
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
    if let Some(file) = &args.report {
        let made = std::fs::File::create(file);
        made.map_err(|error| BadUsage(format!("--report {file} cannot be written: {error}")))?;
    }
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
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(file, text).with_context(|| format!("the report cannot be written to {file}"))?;
    }
    show(&summary(&report, &output, args.follow))?;
    Ok(match report.totals.rejects.is_empty() {
        _ if report.stopped && !args.follow => Exit::Failed,
        true => Exit::Done,
        false => Exit::Rejects,
    })
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
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
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
