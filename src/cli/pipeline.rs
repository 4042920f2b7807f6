//! The flags that say which pipeline is meant, with what changes.

use std::fmt;

use clap::Args;

use gustfront::config::{DeviceChoice, Document, Mistake, Pipeline, Place};

/// Which pipeline, with what changes.
#[derive(Args, Clone, Debug)]
pub(crate) struct PipelineArgs {
    /// The pipeline file.
    #[arg(value_name = "PIPELINE.toml")]
    pub(crate) pipeline: String,
    /// Where objects are read from: a folder or s3://bucket/prefix. Overrides the source's `input`.
    #[arg(long, value_name = "FOLDER|s3://…")]
    input: Option<String>,
    /// Where results are written: a folder or s3://bucket/prefix. Overrides `output.location`.
    #[arg(long, value_name = "FOLDER|s3://…")]
    output: Option<String>,
    /// What does the arithmetic: auto, cpu, or cuda:N. Overrides `device`.
    #[arg(long, value_name = "auto|cpu|cuda:N")]
    device: Option<DeviceChoice>,
    /// Override any option of the file: a dotted path, or its last part where only one path ends so.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// Why a pipeline cannot be run.
#[derive(Debug)]
pub(crate) enum Mistakes {
    /// The file cannot be read.
    Unread(String),
    /// Everything wrong with it, one mistake a line.
    Found(Vec<Mistake>),
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = match self {
            Mistakes::Unread(reason) => return write!(f, "error: {reason}"),
            Mistakes::Found(mistakes) => mistakes,
        };
        mistakes.iter().try_for_each(|mistake| writeln!(f, "error: {mistake}"))?;
        let count = mistakes.len();
        write!(f, "{count} mistake{} in the pipeline; nothing was run", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Mistakes {}

impl PipelineArgs {
    /// Reads the file, applies the flags and checks the whole.
    pub(crate) fn read(&self) -> Result<Pipeline, Mistakes> {
        let text = std::fs::read_to_string(&self.pipeline).map_err(|e| self.unread(&e))?;
        let mut document = Document::parse(&self.pipeline, &text).map_err(Mistakes::Found)?;
        if let Some(output) = &self.output {
            document.set_text("output.location", output).map_err(|m| Mistakes::Found(vec![m]))?;
        }
        if let Some(device) = &self.device {
            document.set_text("device", &device.to_string()).map_err(|m| Mistakes::Found(vec![m]))?;
        }
        if let Some(input) = &self.input {
            let path = document.source_input().map_err(|m| self.mistake(m))?;
            document.set_text(&path, input).map_err(|m| Mistakes::Found(vec![m]))?;
        }
        self.sets.iter().try_for_each(|set| document.set(set)).map_err(|m| Mistakes::Found(vec![m]))?;
        Pipeline::check(&document).map_err(Mistakes::Found)
    }

    fn unread(&self, error: &std::io::Error) -> Mistakes {
        let file = &self.pipeline;
        Mistakes::Unread(format!(
            "{file}: cannot be read: {error}; expected a pipeline such as pipelines/hrrr_archive.toml"
        ))
    }

    fn mistake(&self, text: String) -> Mistakes {
        Mistakes::Found(vec![Mistake { place: Place::Line(self.pipeline.as_str().into(), 1), text }])
    }
}
