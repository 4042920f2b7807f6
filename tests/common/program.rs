//! The program as its users run it: a command line in, an exit code and what was printed out.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use gustfront::config::{Document, Pipeline};
use serde_json::Value;

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ended {
    /// The same, once the exit code is what was expected.
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

/// The program, still to be given its arguments.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gustfront"));
    command.env_remove("RUST_LOG").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn gustfront(arguments: &[&str]) -> Ended {
    let Output { status, stdout, stderr } = program().args(arguments).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs a pipeline of the program's own; what it reports comes as JSON, `null` where it wrote no report.
pub(crate) fn run(pipeline: &str, input: &Path, output: &Path, more: &[&str]) -> (Ended, Value) {
    let report = output.with_extension("report.json");
    let (file, report_text) = (format!("pipelines/{pipeline}.toml"), text(&report));
    let fixed = ["run", &file, "--metrics", "off", "--input", text(input), "--output", text(output)];
    let ended = gustfront(&[&fixed[..], &["--report", report_text], more].concat());
    let json = std::fs::read_to_string(&report).map_or(Value::Null, |t| serde_json::from_str(&t).expect("JSON"));
    (ended, json)
}

/// A pipeline of the program's own, as its file says.
pub(crate) fn pipeline(name: &str) -> Pipeline {
    let file = format!("pipelines/{name}.toml");
    let text = std::fs::read_to_string(&file).expect("a pipeline");
    Document::parse(&file, &text).and_then(|document| Pipeline::check(&document)).expect("a pipeline without mistakes")
}

/// Hourly cycles of synthetic weather from `start` on in the folder `bucket`.
pub(crate) fn synthesise(bucket: &Path, start: &str, cycles: usize, size: &str) {
    let cycles = cycles.to_string();
    let arguments = ["--output", text(bucket), "--start", start, "--cycles", &cycles, "--size", size, "--seed", "3"];
    let ended = gustfront(&[&["synth", "hrrr"], &arguments[..]].concat()).with(0);
    assert!(ended.out.contains("synthetic weather") && ended.out.contains("SYNTHETIC"), "{}", ended.out);
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
