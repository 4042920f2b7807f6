//! `gustfront lightning`: strikes in files of the lightning mapper, counted on a grid.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};

use gustfront::config::{DeviceChoice, read_grid};
use gustfront::domain::{Grid, Lead, Moment, Period};
use gustfront::formats::glm::Level;
use gustfront::sinks::{LightningOptions, LightningSummary, write_lightning};
use gustfront::storage::{S3Options, clear_partial, open, open_existing};
use gustfront::tensor::Opened;

use super::output::show;
use super::{BadUsage, Exit};

const EXAMPLES: &str = "Examples:
  gustfront lightning --input glm --output lightning.zarr --step-minutes 1
  gustfront lightning --input s3://noaa-goes16/GLM-L2-LCFA/2018/183/04 --output lightning.zarr \\
      --grid hrrr_conus --step-minutes 5 --count groups";
/// Minutes of a day.
const DAY_MINUTES: u32 = 24 * 60;

/// What is counted, where and when.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LightningArgs {
    /// Where the files are, at any depth: a folder or s3://bucket/prefix.
    #[arg(long, value_name = "FOLDER|s3://…")]
    input: String,
    /// The store that is made or written on; a step that the files do not observe whole is missing in it, not zero.
    #[arg(long, value_name = "FOLDER|s3://…")]
    output: String,
    /// The grid: a name of config/grids.toml, or a file written as one table of it.
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "conus_003", value_parser = read_grid)]
    grid: Arc<Grid>,
    /// Minutes of a step; a whole number of steps makes a day.
    #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = parse_step)]
    step_minutes: Lead,
    /// What is counted, where its quality flag is 0: flashes, the groups that they are made of, or the pixels and frames
    /// of these.
    #[arg(long, value_enum, default_value = "flashes")]
    count: Counted,
    /// What counts: auto, cpu, or cuda:N. The counts are the same.
    #[arg(long, value_name = "auto|cpu|cuda:N", default_value_t)]
    device: DeviceChoice,
    /// No step that begins before this time.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// No step that begins after this time.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Counted {
    Flashes,
    Groups,
    Events,
}

/// Runs the command.
pub(crate) fn run(args: LightningArgs) -> anyhow::Result<Exit> {
    let period = Period { from: args.from, to: args.to };
    if let (Some(from), Some(to)) = (args.from, args.to)
        && to < from
    {
        return Err(BadUsage(format!("--to {to} is before --from {from}; expected a time at or after it")).into());
    }
    let level = match args.count {
        Counted::Flashes => Level::Flash,
        Counted::Groups => Level::Group,
        Counted::Events => Level::Event,
    };
    let options = LightningOptions { level, grid: args.grid, step: args.step_minutes, period };
    let input = open_existing(&args.input, &S3Options::default())?;
    let output = open(&args.output, &S3Options::default())?;
    let opened = args.device.open()?;
    let summary = write_lightning(&input, output, &options, &opened.device).context("no lightning was counted")?;
    clear_partial(&args.output)?;
    show(&told(&summary, &args.output, &opened))?;
    Ok(if summary.set_aside.is_empty() { Exit::Done } else { Exit::Rejects })
}

fn told(summary: &LightningSummary, output: &str, opened: &Opened) -> String {
    let LightningSummary { files, set_aside, steps, partial_steps, counted, outside, doubtful } = summary;
    let mut lines = vec![
        format!(
            "{output}: files read: {files}, steps written: {steps}, not observed whole and not written: {partial_steps}"
        ),
        format!("  {counted} strikes counted, {outside} beside the grid, {doubtful} of doubtful quality left out"),
    ];
    let reason = opened.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    lines.push(format!("  device: {}{reason}", opened.device.name()));
    lines.extend(set_aside.iter().map(|(key, reason)| format!("  set aside: {key}: {reason}")));
    lines.join("\n") + "\n"
}

fn parse_step(text: &str) -> Result<Lead, String> {
    let minutes = text.parse().ok().filter(|minutes: &u32| *minutes > 0 && DAY_MINUTES.is_multiple_of(*minutes));
    minutes.map(Lead).ok_or_else(|| "expected minutes that divide a day, such as 1, 5 or 60".into())
}
