//! `gustfront check`: every mistake of a pipeline at once, or its graph.

use std::path::Path;

use clap::Args;

use gustfront::config::Pipeline;

use super::Exit;
use super::output::{complain, show};
use super::pipeline::PipelineArgs;

const EXAMPLES: &str = "Examples:
  gustfront check pipelines/hrrr_forecast.toml
  gustfront check pipelines/hrrr_training.toml --set step_degrees=0.1
  gustfront check pipelines/hrrr_forecast.toml --dot | dot -Tsvg > graph.svg";

/// Check a pipeline and show its graph, and whether a folder that it reads is there; a bucket is not looked at.
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
    missing(&pipeline).into_iter().for_each(|missing| complain(&format!("warning: {missing}")));
    show(&if args.dot { pipeline.dot() } else { pipeline.describe() })?;
    Ok(Exit::Done)
}

/// What the pipeline is to read and is not there; a bucket is not looked at.
fn missing(pipeline: &Pipeline) -> Option<String> {
    let folder = Path::new(pipeline.input());
    if pipeline.input().contains("://") {
        return None;
    }
    if !folder.is_dir() {
        return Some(format!("the input {} is not there; expected a folder or s3://bucket/prefix", folder.display()));
    }
    let catalog = folder.join(&pipeline.events()?.catalog);
    let is_missing = !catalog.is_file();
    is_missing.then(|| format!("the catalogue {} is not there; check the source's `catalog`", catalog.display()))
}
