//! Small pipelines over folders made by hand, run inside the test's own process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gustfront::config::{Document, Pipeline};
use gustfront::domain::{Lead, Moment, Period, Slot};
use gustfront::flow::{Report, RunError, RunOptions, run};

/// No run here takes nearly as long: one that does hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Three leads and four variables into an archive.
pub(crate) const ARCHIVE: &str = "name = \"archive\"\n\
    [sources.hrrr]\ntype = \"hrrr\"\ninput = \"in\"\nleads = \"0-2\"\n\
    required = [\"t2m\", \"u10\", \"v10\"]\noptional = [\"refc\"]\n\
    [transforms.quality]\ntype = \"qc\"\ninputs = [\"hrrr\"]\n\
    [sinks.archive]\ntype = \"zarr\"\ninputs = [\"quality\"]\npath = \"archive.zarr\"\n";

/// States into forecasts of two leads, and their scores.
pub(crate) const FORECAST: &str = "name = \"forecast\"\n\
    [sources.hrrr]\ntype = \"hrrr\"\ninput = \"in\"\nleads = \"state\"\n\
    required = [\"t2m\", \"u10\", \"v10\"]\noptional = [\"refc\"]\n\
    [transforms.earth_winds]\ntype = \"rotate_winds\"\ninputs = [\"hrrr\"]\n\
    [model.persistence]\ntype = \"persistence\"\ninputs = [\"earth_winds\"]\nleads = \"1-2\"\n\
    [verification.scores]\ntype = \"scores\"\ninputs = [\"persistence\", \"earth_winds\"]\n\
    thresholds = { t2m = [290.0] }\n\
    [sinks.forecasts]\ntype = \"zarr\"\ninputs = [\"persistence\"]\npath = \"forecast.zarr\"\n\
    [sinks.score_lines]\ntype = \"jsonl\"\ninputs = [\"scores\"]\npath = \"scores\"\n";

/// A pipeline from one folder into another, with options set.
pub(crate) fn pipeline(text: &str, input: &Path, output: &Path, sets: &[&str]) -> Pipeline {
    let mut document = Document::parse("test.toml", text).expect("TOML");
    document.set_text("sources.hrrr.input", input.to_str().expect("a path")).expect("an option");
    document.set_text("output.location", output.to_str().expect("a path")).expect("an option");
    sets.iter().for_each(|set| document.set(set).expect("an option"));
    Pipeline::check(&document).expect("a pipeline")
}

/// A run under way on a thread of its own.
pub(crate) struct Running(mpsc::Receiver<Result<Report, RunError>>);

impl Running {
    /// Starts a run; with `follow` a first cycle, until `stop` is set.
    pub(crate) fn start(pipeline: Pipeline, workers: usize, follow: Option<Moment>, stop: Arc<AtomicBool>) -> Running {
        let period = Period { from: follow, to: None };
        let options = RunOptions { workers, period, follow: follow.is_some(), progress: false };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            // Nobody listens any more where the run was given up as hanging.
            let _ = sender.send(run(pipeline, &options, stop));
        });
        Running(receiver)
    }

    /// Its report; fails where it hangs.
    pub(crate) fn end(self) -> Report {
        self.0.recv_timeout(HANGS).expect("the run hangs or has panicked").unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Running {
    /// Why it could not be done; fails where it could.
    pub(crate) fn refusal(self) -> String {
        let ended = self.0.recv_timeout(HANGS).expect("the run hangs or has panicked");
        ended.map_or_else(|error| error.to_string(), |report| panic!("it ran: {report:?}"))
    }
}

/// Runs a pipeline to its end.
pub(crate) fn finish(text: &str, input: &Path, output: &Path, sets: &[&str]) -> Report {
    Running::start(pipeline(text, input, output, sets), 2, None, Arc::default()).end()
}

/// The key of a slot's object.
pub(crate) fn key(slot: Slot) -> String {
    let cycle = slot.cycle.key();
    format!("hrrr.{}/conus/hrrr.t{}z.wrfsfc{}.grib2", &cycle[..8], &cycle[8..10], slot.lead)
}

/// A slot by hours after a first cycle and lead in hours.
pub(crate) fn slot(first: Moment, hour: u32, lead: u32) -> Slot {
    Slot::new(first.plus(Lead::hours(hour)), Lead::hours(lead))
}

/// A slot's object in a folder, and its index.
pub(crate) fn files(folder: &Path, slot: Slot) -> [PathBuf; 2] {
    [folder.join(key(slot)), folder.join(format!("{}.idx", key(slot)))]
}

/// Copies every object, but for those that `keep` refuses; times of modification are kept.
pub(crate) fn copy(from: &Path, to: &Path, keep: impl Fn(&str) -> bool + Copy) {
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target, keep);
        } else if keep(path.to_str().expect("a path")) {
            fs::create_dir_all(to).expect("a folder");
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Moves an object and its index under another slot's name.
pub(crate) fn rename(folder: &Path, from: Slot, to: Slot) {
    for (old, new) in files(folder, from).into_iter().zip(files(folder, to)) {
        fs::create_dir_all(new.parent().expect("a folder")).expect("a folder");
        fs::rename(old, new).expect("renamed");
    }
}

/// Takes an object and its index from one folder into another.
pub(crate) fn add(from: &Path, to: &Path, slot: Slot) {
    for (source, target) in files(from, slot).into_iter().zip(files(to, slot)) {
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(source, target).expect("copied");
    }
}

/// Removes an object and its index.
pub(crate) fn remove(folder: &Path, slot: Slot) {
    files(folder, slot).iter().for_each(|file| fs::remove_file(file).expect("removed"));
}
