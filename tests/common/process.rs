//! The program itself as a child process, over synthetic or real input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gustfront::domain::{Lead, Moment};
use gustfront::sources::synth::{SynthOptions, write_hrrr};
use gustfront::storage::{FileStore, clear_partial};
use serde_json::Value;

/// No run here takes nearly as long: one that does hangs.
const HANGS: Duration = Duration::from_secs(240);

/// A run to be made: a pipeline, where from, where to, and what else is said on the command line.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) pipeline: &'static str,
    pub(crate) input: String,
    pub(crate) more: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Job {
    /// A pipeline of the repository over an input, with more arguments.
    pub(crate) fn new(pipeline: &'static str, input: &str, more: &[&str]) -> Job {
        let more = more.iter().map(ToString::to_string).collect();
        Job { pipeline, input: input.to_string(), more, environment: Vec::new() }
    }

    /// The same with further arguments.
    pub(crate) fn with(&self, more: &[&str]) -> Job {
        let mut job = self.clone();
        job.more.extend(more.iter().map(ToString::to_string));
        job
    }

    /// Starts it.
    pub(crate) fn start(&self, output: &str, report: &Path) -> Child {
        let pipeline = format!("{}/pipelines/{}.toml", env!("CARGO_MANIFEST_DIR"), self.pipeline);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gustfront"));
        command.args(["--log-level", "error", "run", &pipeline, "--metrics", "off", "--input", &self.input]);
        command.args(["--output", output, "--report"]).arg(report).args(&self.more);
        command.envs(self.environment.iter().cloned()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Runs it to its end; fails where it hangs or ends with another code than expected.
    pub(crate) fn finish(&self, output: &str, report: &Path, codes: &[i32]) -> Value {
        let ended = wait(self.start(output, report));
        let code = ended.status.code();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(code.is_some_and(|code| codes.contains(&code)), "{} ended with {code:?}:\n{errors}", self.pipeline);
        serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON")
    }
}

/// What a process ends with; it is killed where it hangs.
pub(crate) fn wait(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > HANGS {
            child.kill().expect("killed");
            let output = child.wait_with_output().expect("an output");
            panic!("the program hangs:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("an output")
}

/// Kills a process with SIGKILL after a delay; `true` where it had not ended by itself.
pub(crate) fn kill_after(mut child: Child, delay: Duration) -> bool {
    thread::sleep(delay);
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("killed");
    child.wait().expect("waited for");
    running
}

/// Synthetic cycles from 2026-05-20T19 on, hourly, across a midnight.
pub(crate) fn synthetic(folder: &Path, cycles: u32, leads: &str) {
    let options = SynthOptions {
        start: Moment::from_ymdh(2026, 5, 20, 19).expect("a day"),
        cycles,
        step_hours: 1,
        leads: Lead::parse_list(leads).expect("leads"),
        size: [64, 48],
        seed: 7,
        force: false,
    };
    let location = folder.to_str().expect("a path");
    write_hrrr(&FileStore::new(location), &options).expect("synthetic weather");
    clear_partial(location).expect("cleared");
}

/// A real day over Idaho; `None`, with a printed reason, where there is none.
pub(crate) fn idaho() -> Option<PathBuf> {
    let data = std::env::var("GUSTFRONT_DATA").map(PathBuf::from);
    let data = data.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let folder = data.join("hrrr-idaho");
    let found = folder.is_dir().then_some(folder);
    if found.is_none() {
        println!("skipped: there is no {}", data.join("hrrr-idaho").display());
    }
    found
}
