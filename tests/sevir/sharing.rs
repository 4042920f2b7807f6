//! Runs and processes that share an output, or do not and should: refused, waited for, ended with their parent, told.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::process::wait;
use super::common::program::{gustfront, program, text};
use super::{SMALL, folder, hosts, job, start};

/// A shard an event, and some work for each.
const SLOW: [&str; 6] = [
    "--set",
    "sources.sevir.shard_events=1",
    "--set",
    "transforms.resized.size=384",
    "--set",
    "sinks.events.codec=zstd",
];
/// Nothing here is waited for nearly as long.
const SOON: Duration = Duration::from_secs(60);

/// What is in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = found.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    paths
}

fn marks(output: &Path) -> Vec<PathBuf> {
    files(&output.join("ledger/running"))
}

fn records(output: &Path) -> Vec<PathBuf> {
    files(&output.join("ledger/events"))
}

fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "{what} did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}

fn signal(name: &str, id: &str) {
    Command::new("kill").args([name, id]).status().expect("a signal");
}

/// A pipeline of the program's own, with what it says.
fn command(pipeline: &str, input: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = program();
    let file = format!("{}/pipelines/{pipeline}.toml", env!("CARGO_MANIFEST_DIR"));
    command.args(["run", &file, "--metrics", "off", "--input", text(input), "--output", text(output)]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn processes_that_write_to_different_places_refuse_each_other() {
    let (folder, input) = folder();
    let (hosts, outputs) = (hosts(folder.path()), ["a", "b"].map(|name| folder.path().join(name)));
    let children: Vec<Child> =
        outputs.iter().enumerate().map(|(process, output)| start(&input, output, &hosts, process, &[])).collect();
    for (child, other) in children.into_iter().zip([1, 0]) {
        let ended = wait(child);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("process {other} at 127.0.0.1:")), "{told}");
        assert!(told.contains("writes to another place than this one") || told.contains("is gone"), "{told}");
    }
    for output in outputs {
        assert!(!output.join("sevir.zarr").exists() && marks(&output).is_empty(), "{}", output.display());
    }
}

#[test]
fn a_second_run_on_one_output_is_refused_while_the_first_one_lives() {
    let (folder, input) = folder();
    let output = folder.path().join("output");
    let more = [&SMALL[..], &SLOW].concat();
    let first = command("sevir_backfill", &input, &output, &more).spawn().expect("the program starts");
    until("a shard", || !records(&output).is_empty());
    signal("-STOP", &first.id().to_string());
    let told = wait(command("sevir_backfill", &input, &output, &more).spawn().expect("the program starts"));
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("process id {} on ", first.id())) && text.contains("wait until it ends"), "{text}");
    // The gridded archive is as careful.
    let gridded = folder.path().join("gridded");
    fs::create_dir_all(gridded.join("ledger/running")).expect("a folder");
    fs::copy(&marks(&output)[0], gridded.join("ledger/running/0000000000000001")).expect("copied");
    let bucket = folder.path().join("bucket");
    super::common::process::synthetic(&bucket, 1, "0");
    let archive = |code: i32| {
        let ended = wait(command("hrrr_archive", &bucket, &gridded, &["--set", "leads=0"]).spawn().expect("starts"));
        assert_eq!(ended.status.code(), Some(code), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    archive(2);
    // Shards that vanish from the ledger meanwhile keep the store from being published.
    fs::remove_file(&records(&output)[0]).expect("removed");
    signal("-CONT", &first.id().to_string());
    let ended = wait(first);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("its ledger has 6 of 7 shards") && !output.join("sevir.zarr/zarr.json").exists(), "{told}");
    // Killed, it leaves its mark, which is taken over; so is that of the first in the other output.
    let mut killed = command("sevir_backfill", &input, &output, &more).spawn().expect("the program starts");
    until("a mark", || !marks(&output).is_empty());
    killed.kill().expect("killed");
    killed.wait().expect("waited for");
    let report = job(&input, &SLOW).finish(super::text(&output), &folder.path().join("again.json"), &[0]);
    assert_eq!((&report["events"], marks(&output).len()), (&7.into(), 0));
    archive(0);
    assert!(marks(&gridded).is_empty());
}

#[test]
fn a_process_that_hangs_is_told_and_waited_for() {
    let (folder, input) = folder();
    let (hosts, output) = (hosts(folder.path()), folder.path().join("output"));
    let shared = ["--processes", "2", "--hosts", text(&hosts), "--process"];
    let more = |process: &'static str| [&SMALL[..], &SLOW, &shared, &[process]].concat();
    let mut first = command("sevir_backfill", &input, &output, &more("0")).spawn().expect("the program starts");
    let second = command("sevir_backfill", &input, &output, &more("1")).spawn().expect("the program starts");
    until("a shard", || !records(&output).is_empty());
    let stopped = Instant::now();
    signal("-STOP", &second.id().to_string());
    let mut lines = BufReader::new(first.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("silent for"));
    signal("-CONT", &second.id().to_string());
    assert!(told.as_ref().is_some_and(|line| line.contains("waiting for process 1 at 127.0.0.1:")), "{told:?}");
    assert!(stopped.elapsed() > Duration::from_secs(10), "{:?} is no silence", stopped.elapsed());
    let drained = thread::spawn(move || lines.count());
    assert_eq!([wait(first), wait(second)].map(|ended| ended.status.code()), [Some(0); 2]);
    drained.join().expect("read to its end");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn processes_end_with_the_one_that_started_them() {
    let (folder, input) = folder();
    let output = folder.path().join("output");
    let more = [&SMALL[..], &SLOW, &["--processes", "2"]].concat();
    let mut command = command("sevir_backfill", &input, &output, &more);
    let mut parent = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    until("two marks", || marks(&output).len() == 2);
    let ids: Vec<u64> = marks(&output)
        .iter()
        .map(|mark| serde_json::from_slice::<Value>(&fs::read(mark).expect("read")).expect("JSON"))
        .filter_map(|mark| mark["id"].as_u64())
        .collect();
    parent.kill().expect("killed");
    parent.wait().expect("waited for");
    let runs = |id: &u64| {
        let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    until("their end", || !ids.iter().any(runs));
    assert!(ids.len() == 2 && !output.join("sevir.zarr/zarr.json").exists(), "they went on to the end");
    let status = ["status", "pipelines/sevir_backfill.toml", "--json", "--output", text(&output)];
    let told: Value = serde_json::from_str(&gustfront(&status).with(0).out).expect("JSON");
    assert_eq!((&told["complete"], &told["published"]), (&false.into(), &false.into()));
}
