//! `gustfront check`: every mistake of a pipeline at once, or its graph.

use clap::Args;

use super::Exit;
use super::output::show;
use super::pipeline::PipelineArgs;

const EXAMPLES: &str = "Examples:
  gustfront check pipelines/hrrr_forecast.toml
  gustfront check pipelines/hrrr_training.toml --set step_degrees=0.1
  gustfront check pipelines/hrrr_forecast.toml --dot | dot -Tsvg > graph.svg";

/// Check a pipeline and show its graph.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print the graph in the dot language of Graphviz instead of text.
    #[arg(long)]
    dot: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let pipeline = args.pipeline.read()?;
    gustfront::flow::check(&pipeline)?;
    show(&if args.dot { pipeline.dot() } else { pipeline.describe() })?;
    Ok(Exit::Done)
}
