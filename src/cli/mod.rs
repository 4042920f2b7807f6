//! The commands: flags in, one call into the library out, one exit code.

mod check;
mod completions;
mod devices;
mod inspect;
mod lightning;
mod memory;
mod output;
mod pipeline;
mod processes;
mod run;
mod status;
mod synth;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use gustfront::flow::RunError;
use gustfront::sources::synth::SynthError;
use gustfront::storage::StorageError;
use gustfront::telemetry::logs;
use gustfront::tensor::TensorError;

use output::complain;

/// What the program ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// Done, and something was set aside.
    Rejects = 1,
    /// It could not be done.
    Failed = 2,
    /// The command line, a variable of the environment or the pipeline file cannot be meant.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

const EXIT_CODES: &str = "Exit codes:
  0   done
  1   done, and something was set aside: see the log, --report or `gustfront status`
  2   failed, or stopped before it was through; a rerun goes on from there
  64  bad usage: a flag, a variable or a pipeline file that cannot be meant

Examples:
  gustfront run pipelines/hrrr_forecast.toml --input bucket --output forecast
  gustfront status pipelines/hrrr_forecast.toml --output forecast
  gustfront inspect bucket/hrrr.20260520/conus/hrrr.t18z.wrfsfcf00.grib2";

/// Streams of weather data in, storm-scale forecasts out.
#[derive(Parser, Debug)]
#[command(version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    /// Least severe log messages shown: error, warn, info, debug or trace; also a filter such as gustfront=debug.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a pipeline: fetch, transform, forecast, score, write. A rerun goes on where the last one ended.
    Run(run::RunArgs),
    /// Check a pipeline without running it, and show its graph.
    Check(check::CheckArgs),
    /// Tell what an output holds: published, partial, set aside, and why.
    Status(status::StatusArgs),
    /// Show what is in a file: GRIB2, an index, HDF5, NetCDF-4, SEVIR's catalogue, weights, a Zarr store.
    Inspect(inspect::Args),
    /// Count lightning of the GOES mapper (GLM, level 2) on a grid, by steps of time, into a Zarr store.
    Lightning(lightning::LightningArgs),
    /// List the devices that `device` can name, or why there is no GPU.
    Devices,
    /// Make synthetic weather.
    Synth(synth::SynthArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    memory::share_heaps();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error; both as clap writes them.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    if let Err(error) = logs::start(cli.log_level.as_deref()) {
        complain(&format!("error: {error}"));
        return Exit::Usage.into();
    }
    let ended = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Lightning(args) => lightning::run(args),
        Command::Devices => devices::run(),
        Command::Synth(args) => synth::run(args).map(|()| Exit::Done),
        Command::Completions(args) => completions::run(&args),
    };
    ended.unwrap_or_else(report).into()
}

/// Flags that contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUsage(pub(crate) String);

/// Prints an error once, with what it was caused by.
fn report(error: anyhow::Error) -> Exit {
    match error.downcast_ref::<pipeline::Mistakes>() {
        Some(mistakes) => complain(&mistakes.to_string()),
        None => complain(&format!("error: {}", output::told(&error))),
    }
    if is_usage(&error) { Exit::Usage } else { Exit::Failed }
}

/// Whether the command line or the pipeline is at fault, not the world.
fn is_usage(error: &anyhow::Error) -> bool {
    let no_location = |e: &StorageError| matches!(e, StorageError::Location { .. });
    let no_choice = |e: &TensorError| matches!(e, TensorError::Variable { .. });
    let in_run = match error.downcast_ref() {
        Some(RunError::Pipeline(_)) => true,
        Some(RunError::Storage(e)) => no_location(e),
        Some(RunError::Device(e)) => no_choice(e),
        _ => false,
    };
    let no_synthesis = |e: &SynthError| matches!(e, SynthError::Options(_));
    in_run
        || error.downcast_ref().is_some_and(no_synthesis)
        || error.is::<pipeline::Mistakes>()
        || error.is::<BadUsage>()
        || error.downcast_ref().is_some_and(no_location)
        || error.downcast_ref().is_some_and(no_choice)
}
