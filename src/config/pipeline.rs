//! A pipeline file as a checked graph: every stage after those it reads from, every stream of the right kind.

use std::fmt::Write;
use std::sync::Arc;

use crate::domain::Lead;

use super::connect::{Draft, connect};
use super::device::{DeviceChoice, NoDevice};
use super::document::{Document, Mistake, Node, Place, Value};
use super::events::{SevirOptions, read_size};
use super::reader::{Mistakes, Reader, TOP, closest};
use super::stages::{
    ForecastOptions, Grib2Options, PngOptions, RegridOptions, ScoreOptions, Server, SourceOptions, StoreOptions,
    WindowOptions, read_path,
};
use super::tables::{VariableTable, variables};

/// What flows between two stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Fields of every cycle and lead of the source.
    Cycles {
        /// Normalised, no longer in physical units.
        normalised: bool,
    },
    /// Fields of the state lead, as states at their valid times.
    States {
        /// Normalised, no longer in physical units.
        normalised: bool,
    },
    /// Consecutive states side by side.
    Windows,
    /// Forecasts by initialisation time and lead; lead 0 is the state.
    Forecasts,
    /// Scores of forecasts.
    Scores,
    /// Storm events, a shard at a time.
    Events {
        /// With what a model normalises them.
        normalised: bool,
    },
    /// Nothing: the stage is a sink.
    Nothing,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stream::Cycles { normalised: false } => "fields by cycle and lead",
            Stream::Cycles { normalised: true } => "normalised fields by cycle and lead",
            Stream::States { normalised: false } => "states",
            Stream::States { normalised: true } => "normalised states",
            Stream::Windows => "windows of states",
            Stream::Forecasts => "forecasts",
            Stream::Scores => "scores",
            Stream::Events { normalised: false } => "storm events",
            Stream::Events { normalised: true } => "storm events with their normalisation",
            Stream::Nothing => "nothing",
        })
    }
}

/// What a stage does, with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Reads HRRR GRIB2 objects.
    Hrrr(SourceOptions),
    /// Reads SEVIR's HDF5 files, event by event.
    Sevir(SevirOptions),
    /// Brings frames of events to one size in points along a side.
    Resize(usize),
    /// Sets impossible values missing.
    Quality,
    /// Turns winds from grid-relative to earth-relative.
    RotateWinds,
    /// Moves fields to another grid.
    Regrid(RegridOptions),
    /// Subtracts the mean and divides by the standard deviation of a table; of events, tells readers to do so.
    Normalise(String),
    /// Puts consecutive states side by side.
    Window(WindowOptions),
    /// Forecasts that nothing changes.
    Persistence(ForecastOptions),
    /// Scores forecasts against the states that follow.
    Scores(ScoreOptions),
    /// Writes a Zarr store.
    Zarr(StoreOptions),
    /// Draws pictures.
    Png(PngOptions),
    /// Writes GRIB2 objects with their indexes.
    Grib2(Grib2Options),
    /// Writes scores as JSON lines, one object a cycle, and their table.
    Jsonl(String),
    /// Writes a table of statistics.
    Statistics(String),
}

impl Stage {
    /// Where below the output the stage writes; `None` where it writes nothing.
    pub fn path(&self) -> Option<&str> {
        match self {
            Stage::Zarr(options) => Some(&options.path),
            Stage::Png(options) => Some(&options.path),
            Stage::Grib2(options) => Some(&options.path),
            Stage::Jsonl(path) | Stage::Statistics(path) => Some(path),
            _ => None,
        }
    }
}

/// A named stage in its place in the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct StageNode {
    /// The name in the file.
    pub name: Arc<str>,
    /// The word that names the kind of stage in the file.
    pub kind: String,
    /// What it does.
    pub stage: Stage,
    /// The stages it reads from, as indexes below its own.
    pub inputs: Vec<usize>,
    /// What it emits.
    pub stream: Stream,
    /// Whether winds have been rotated to earth-relative on the way here.
    pub earth_winds: bool,
    /// Where it stands in the file.
    pub place: Place,
}

/// A checked pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The pipeline's name.
    pub name: String,
    /// The file it was read from.
    pub file: Arc<str>,
    /// Which lead of a cycle is the state.
    pub state_lead: Lead,
    /// Where the arithmetic is done.
    pub device: DeviceChoice,
    /// Folder or `s3://bucket/prefix` that everything is written below.
    pub output: String,
    /// How the output's S3 server is reached.
    pub output_server: Server,
    /// The stages, each after those it reads from.
    pub stages: Vec<StageNode>,
}

const SECTIONS: [&str; 5] = ["sources", "transforms", "model", "verification", "sinks"];

impl Pipeline {
    /// Checks a document whole.
    ///
    /// # Errors
    /// Every mistake in it, each with file and line and what was expected.
    pub fn check(document: &Document) -> Result<Self, Vec<Mistake>> {
        let mistakes = Mistakes::default();
        let pipeline = read_pipeline(document, &mistakes);
        let found = mistakes.into_sorted();
        match pipeline {
            Some(pipeline) if found.is_empty() => Ok(pipeline),
            _ => Err(found),
        }
    }

    /// The options of a source of fields; a checked pipeline has one of these or of events.
    pub fn source(&self) -> Option<&SourceOptions> {
        self.stages.iter().find_map(|s| match &s.stage {
            Stage::Hrrr(options) => Some(options),
            _ => None,
        })
    }

    /// The options of a source of storm events, where the pipeline has one.
    pub fn events(&self) -> Option<&SevirOptions> {
        self.stages.iter().find_map(|s| match &s.stage {
            Stage::Sevir(options) => Some(options),
            _ => None,
        })
    }

    /// Where the source reads from: a folder or `s3://bucket/prefix`.
    pub fn input(&self) -> &str {
        let events = || self.events().map(|source| source.input.as_str());
        self.source().map(|source| source.input.as_str()).or_else(events).unwrap_or_default()
    }

    /// The graph as indented text.
    pub fn describe(&self) -> String {
        let mut text = format!("pipeline {} ({})\n", self.name, self.file);
        for stage in &self.stages {
            let inputs: Vec<&str> = stage.inputs.iter().map(|i| &*self.stages[*i].name).collect();
            let from = if inputs.is_empty() { String::new() } else { format!(" ← {}", inputs.join(", ")) };
            let emits = if stage.stream == Stream::Nothing { String::new() } else { format!(": {}", stage.stream) };
            let _ = writeln!(text, "  {} ({}){from}{emits}", stage.name, stage.kind);
        }
        let _ = writeln!(text, "  input {}\n  output {}\n  device {}", self.input(), self.output, self.device);
        text
    }

    /// The graph in the dot language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR; node [shape=box, style=rounded];\n", self.name);
        for stage in &self.stages {
            let _ = writeln!(text, "  \"{0}\" [label=\"{0}\\n{1}\"];", stage.name, stage.kind);
            for input in &stage.inputs {
                let from = &self.stages[*input];
                let _ = writeln!(text, "  \"{}\" -> \"{}\" [label=\"{}\"];", from.name, stage.name, from.stream);
            }
        }
        text + "}\n"
    }
}

fn read_pipeline(document: &Document, mistakes: &Mistakes) -> Option<Pipeline> {
    let mut top = Reader::new(TOP, &document.root, mistakes)?;
    let name = top.required_text("name", "hrrr_archive");
    let state_lead = Lead::hours(top.whole("state_lead", 0, 48).unwrap_or(0));
    let device = read_device(&mut top);
    let output = top.node("output").and_then(|n| Reader::new("output", n, mistakes));
    let (location, output_server) = output.map_or_else(
        || (format!("output/{name}"), Server::default()),
        |mut r| {
            let read = (r.required_text("location", "output"), Server::read(&mut r));
            r.finish();
            read
        },
    );
    let mut drafts = Vec::new();
    for section in SECTIONS {
        if let Some(node) = top.node(section) {
            read_section(section, node, mistakes, &mut drafts);
        }
    }
    top.finish();
    let stages = connect(drafts, mistakes, &document.root.place);
    let file = document.file.clone();
    Some(Pipeline { name, file, state_lead, device, output: location, output_server, stages })
}

/// The full path of every option that the stages and the output of a document know.
pub(super) fn known_options(document: &Document) -> Vec<Vec<String>> {
    let (mistakes, mut paths) = (Mistakes::default(), Vec::new());
    let Some(mut top) = Reader::new(TOP, &document.root, &mistakes) else { return paths };
    if let Some(mut reader) = top.node("output").and_then(|node| Reader::new("output", node, &mistakes)) {
        Server::read(&mut reader);
        paths.extend(reader.known().iter().map(|key| vec!["output".to_string(), key.to_string()]));
    }
    for section in SECTIONS {
        let Some(Node { value: Value::Table(table), .. }) = top.node(section) else { continue };
        for (name, node) in table {
            let Some(mut reader) = Reader::new(name, node, &mistakes) else { continue };
            let Some(kind) = reader.text("type") else { continue };
            read_stage(section, &kind, &mut reader, variables());
            let path = |key: &&str| [section, name, key].map(String::from).to_vec();
            paths.extend(reader.known().iter().map(path));
        }
    }
    paths
}

fn read_device(top: &mut Reader<'_>) -> DeviceChoice {
    let choice = top.text("device").map(|text| text.parse());
    choice.unwrap_or(Ok(DeviceChoice::Auto)).unwrap_or_else(|error: NoDevice| {
        top.mistake("device", format!("`device`: {error}"));
        DeviceChoice::Auto
    })
}

fn read_section<'a>(section: &'static str, node: &'a Node, mistakes: &'a Mistakes, drafts: &mut Vec<Draft<'a>>) {
    let Value::Table(table) = &node.value else {
        return mistakes.add(&node.place, format!("`{section}` is {}; expected named tables", node.value.kind()));
    };
    for (name, node) in table {
        let title = format!("{section}.{name}");
        let Some(mut reader) = Reader::new(&title, node, mistakes) else { continue };
        let kind = reader.required_text("type", kinds(section)[0]);
        let inputs = if section == "sources" { Vec::new() } else { reader.texts("inputs") };
        match read_stage(section, &kind, &mut reader, variables()) {
            Some(stage) => {
                let place = reader.place().clone();
                reader.finish();
                drafts.push(Draft { name: name.clone(), section, kind, stage, inputs, place });
            }
            None if kind.is_empty() => (),
            None => {
                let guess =
                    closest(&kind, kinds(section).iter().copied()).map(|g| format!("; did you mean `{g}`? Expected"));
                let all = kinds(section).join(", ");
                reader
                    .mistake("type", format!("no type `{kind}`{} one of {all}", guess.unwrap_or("; expected".into())));
            }
        }
    }
}

/// The stages a section can hold.
fn kinds(section: &str) -> &'static [&'static str] {
    match section {
        "sources" => &["hrrr", "sevir"],
        "transforms" => &["qc", "rotate_winds", "regrid", "normalise", "window", "resize"],
        "model" => &["persistence"],
        "verification" => &["scores"],
        _ => &["zarr", "grib2", "png", "jsonl", "statistics"],
    }
}

fn read_stage(section: &str, kind: &str, r: &mut Reader<'_>, table: &VariableTable) -> Option<Stage> {
    if !kinds(section).contains(&kind) {
        return None;
    }
    Some(match kind {
        "hrrr" => Stage::Hrrr(SourceOptions::read(r, table)),
        "sevir" => Stage::Sevir(SevirOptions::read(r)),
        "resize" => Stage::Resize(read_size(r)),
        "qc" => Stage::Quality,
        "rotate_winds" => Stage::RotateWinds,
        "regrid" => Stage::Regrid(RegridOptions::read(r)),
        "normalise" => Stage::Normalise(r.text("statistics").unwrap_or_else(|| "hrrr".into())),
        "window" => Stage::Window(WindowOptions::read(r)),
        "persistence" => Stage::Persistence(ForecastOptions::read(r)),
        "scores" => Stage::Scores(ScoreOptions::read(r, table)),
        "zarr" => Stage::Zarr(StoreOptions::read(r)),
        "grib2" => Stage::Grib2(Grib2Options::read(r, table)),
        "png" => Stage::Png(PngOptions::read(r, table)),
        "jsonl" => Stage::Jsonl(read_path(r, "scores")),
        "statistics" => Stage::Statistics(read_path(r, "statistics.toml")),
        _ => return None,
    })
}
