//! Storm events into a store: the same bytes whatever the workers, the processes and the kills; what cannot be used is told.

#![allow(dead_code, reason = "modules of other tests are used in part")]

mod common {
    pub(crate) mod process;
    pub(crate) mod program;
    pub(crate) mod python;
    pub(crate) mod storms;
    pub(crate) mod trees;
}
#[path = "sevir/files.rs"]
mod files;
#[path = "sevir/own.rs"]
mod own;
#[path = "sevir/repairs.rs"]
mod repairs;
#[path = "sevir/sharing.rs"]
mod sharing;
#[path = "sevir/visible.rs"]
mod visible;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::process::{Job, kill_after, wait};
use common::program::{gustfront, program, text};
use common::python;
use common::storms::sevir;
use common::trees::{Tree, assert_same, ledger, store, tree};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Change it to kill at other instants; a failure prints it.
const SEED: u64 = 20_190_610;
/// No process here takes nearly as long to notice that another is gone.
const NOTICED: Duration = Duration::from_secs(60);
/// Three modalities, small frames, shards of two events.
const SMALL: [&str; 8] = [
    "--set",
    "sources.sevir.modalities=[\"vil\", \"ir107\", \"lght\"]",
    "--set",
    "sources.sevir.shard_events=2",
    "--set",
    "transforms.resized.size=96",
    "--set",
    "sinks.events.codec=none",
];

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let input = sevir(folder.path(), None);
    (folder, input)
}

fn job(input: &Path, more: &[&str]) -> Job {
    Job::new("sevir_backfill", text(input), &SMALL).with(more)
}

/// What a run in one go leaves behind, and reports.
fn in_one_go(folder: &Path, input: &Path, name: &str, more: &[&str], codes: &[i32]) -> (PathBuf, Value) {
    let output = folder.join(name);
    let report = job(input, more).finish(text(&output), &folder.join(format!("{name}.json")), codes);
    assert!(!output.join(".partial").exists(), "{name} leaves .partial behind");
    (output, report)
}

fn objects(output: &Path) -> Tree {
    tree(&store(output))
}

/// A number from 0 to 1 for the `n`-th kill: splitmix64, the same in every run.
fn random(n: u64) -> f64 {
    let mut z = SEED.wrapping_add((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn the_store_is_the_same_bytes_for_any_workers_and_processes() {
    let (folder, input) = folder();
    let (alone, report) = in_one_go(folder.path(), &input, "alone", &["--workers", "1"], &[0]);
    assert_eq!([&report["shards"], &report["shards_committed"], &report["events"]], [4, 4, 7]);
    assert_eq!(report["stored"], json!({"ir107": 7, "lght": 6, "vil": 7}));
    let (expected, records) = (objects(&alone), ledger(&alone));
    assert!(expected.contains_key("sevir.zarr/zarr.json") && expected.contains_key("sevir.zarr/vil/c/3/0/0/0"));
    let wide = ["--set", "sinks.events.writers=2"];
    let two = ["--workers", "2", "--processes", "2"];
    for (name, more) in
        [("four", &["--workers", "4"][..]), ("wide", &wide), ("two-by-two", &two), ("three", &["--processes", "3"])]
    {
        let (output, report) = in_one_go(folder.path(), &input, name, more, &[0]);
        assert_eq!((&report["shards_committed"], &report["events"]), (&4.into(), &7.into()), "{name}");
        assert_same(&objects(&output), &expected, name);
        assert_eq!(ledger(&output), records, "{name}");
    }
}

#[test]
fn a_run_killed_at_any_instant_is_finished_with_the_same_bytes() {
    let (folder, input) = folder();
    let begun = Instant::now();
    let (reference, _) = in_one_go(folder.path(), &input, "reference", &[], &[0]);
    let took = begun.elapsed();
    let (expected, mut in_the_middle) = (objects(&reference), 0);
    for round in 0..6 {
        let output = folder.path().join(format!("killed{round}"));
        let workers = ["--workers", ["1", "2", "4"][round as usize % 3]];
        let job = job(&input, &workers);
        for half in 0..2 {
            let child = job.start(text(&output), &folder.path().join("killed.json"));
            in_the_middle += u32::from(kill_after(child, took.mul_f64(random(2 * round + half))));
            let part = if output.exists() { objects(&output) } else { Tree::new() };
            if part.contains_key("sevir.zarr/zarr.json") {
                assert_same(&part, &expected, &format!("visible after kill {half} of round {round}, seed {SEED}"));
            }
            for (key, bytes) in part {
                assert_eq!(expected.get(&key), Some(&bytes), "{key} after kill {half} of round {round}, seed {SEED}");
            }
        }
        let report = job.finish(text(&output), &folder.path().join("finished.json"), &[0]);
        assert_eq!(report["events"], 7, "round {round}, seed {SEED}");
        assert_same(&objects(&output), &expected, &format!("round {round}, seed {SEED}"));
        assert_eq!(ledger(&output), ledger(&reference), "round {round}, seed {SEED}");
    }
    assert!(in_the_middle > 0, "no run was killed before its end");
}

#[test]
fn a_finished_run_reads_nothing_again() {
    let (folder, input) = folder();
    let (output, first) = in_one_go(folder.path(), &input, "output", &[], &[0]);
    assert!(first["read_bytes"].as_u64() > Some(0), "{first}");
    let (before, records, times) = (objects(&output), ledger(&output), written(&output));
    fs::remove_dir_all(input.join("data")).expect("removed");
    let (_, again) = in_one_go(folder.path(), &input, "output", &["--workers", "2"], &[0]);
    let keys = ["read_bytes", "written_bytes", "shards_committed", "shards_committed_before", "events"];
    assert_eq!(keys.map(|key| &again[key]), [0, 0, 0, 4, 7]);
    assert_same(&objects(&output), &before, "a second run");
    assert_eq!(ledger(&output), records);
    assert_eq!(written(&output), times, "nothing is written again: the output may be read-only by then");
}

/// When each of the first objects of a store was written, in nanoseconds, and as which file.
fn written(output: &Path) -> Vec<(u64, i64)> {
    let of = |name: &str| fs::metadata(output.join("sevir.zarr").join(name)).expect("an object");
    let names = ["zarr.json", "time/c/0", "vil/zarr.json", "vil/c/0/0/0/0", "present/c/0/0"];
    names.map(|name| (of(name).ino(), of(name).mtime_nsec())).to_vec()
}

#[test]
fn synthetic_events_are_called_so_and_flawed_ones_are_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("synthetic");
    let made = ["synth", "sevir", "--output", text(&input), "--events", "4", "--modalities", "vil,lght", "--flaws"];
    gustfront(&made).with(0);
    let modalities = "sources.sevir.modalities=[\"vil\", \"lght\"]";
    let (output, report) = in_one_go(folder.path(), &input, "output", &["--set", modalities, "--workers", "2"], &[1]);
    let root = String::from_utf8(objects(&output)["sevir.zarr/zarr.json"].clone()).expect("a text");
    let root: Value = serde_json::from_str(&root).expect("JSON");
    assert!(root["attributes"]["source"].as_str().is_some_and(|s| s.starts_with("SYNTHETIC")), "{root:#}");
    let rejects = report["rejects"].as_array().expect("a list");
    let of = |modality: &str| rejects.iter().filter(|reject| reject["modality"] == modality).collect::<Vec<_>>();
    assert_eq!([&report["events"], &report["events_rejected"]], [4, rejects.len()], "{report:#}");
    assert!(of("vil").iter().all(|reject| reject["reason"] == "contradiction") && of("vil").len() == 1, "{report:#}");
    assert!(of("lght").iter().all(|reject| reject["reason"] == "unreadable") && !of("lght").is_empty(), "{report:#}");
}

/// Starts one of several processes.
fn start(input: &Path, output: &Path, hosts: &Path, process: usize, more: &[&str]) -> std::process::Child {
    let process = process.to_string();
    let shared = ["--processes", "2", "--process", &process, "--hosts", text(hosts)];
    job(input, &shared).with(more).start(text(output), &output.with_extension(format!("{process}.json")))
}

fn hosts(folder: &Path) -> PathBuf {
    let bound: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let lines = bound.iter().map(|listener| listener.local_addr().expect("an address").to_string());
    let file = folder.join("hosts.txt");
    fs::write(&file, format!("# both here\n{}\n", lines.collect::<Vec<_>>().join("\n"))).expect("a file");
    file
}

#[test]
fn when_one_process_is_killed_the_other_ends_and_a_rerun_completes() {
    let (folder, input) = folder();
    let single = ["--set", "sources.sevir.shard_events=1"];
    let (reference, _) = in_one_go(folder.path(), &input, "reference", &single, &[0]);
    let (output, mut ended_early) = (folder.path().join("output"), 0);
    let committed = || fs::read_dir(output.join("ledger/events")).map_or(0, |files| files.count());
    for (round, dying) in [(0, 1), (1, 0), (2, 1)] {
        let (hosts, before) = (hosts(folder.path()), committed());
        let mut children: Vec<_> = (0..2).map(|p| Some(start(&input, &output, &hosts, p, &single))).collect();
        let mut dies = children[dying].take().expect("a process");
        // Once a shard is committed, the processes have come together.
        while committed() == before && dies.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let killed = kill_after(dies, Duration::from_millis(10 * round));
        let waiting = Instant::now();
        let other = wait(children[1 - dying].take().expect("a process"));
        assert!(waiting.elapsed() < NOTICED, "{:?}", waiting.elapsed());
        let told = String::from_utf8_lossy(&other.stderr).into_owned();
        if killed && other.status.code() != Some(0) {
            ended_early += 1;
            assert_eq!(other.status.code(), Some(2), "{told}");
            assert!(told.contains(&format!("process {dying}")) && told.contains("rerun"), "{told}");
        }
    }
    assert!(ended_early > 0, "no process was killed before its end");
    let hosts = hosts(folder.path());
    let children: Vec<_> = (0..2)
        .map(|process| start(&input, &output, &hosts, process, &[&single[..], &["--workers", "2"]].concat()))
        .collect();
    for child in children {
        let ended = wait(child);
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_same(&objects(&output), &objects(&reference), "after processes were killed");
}

#[test]
fn when_one_process_is_told_to_stop_all_of_them_do_and_a_rerun_completes() {
    let (folder, input) = folder();
    let (hosts, output) = (hosts(folder.path()), folder.path().join("output"));
    let single = ["--set", "sources.sevir.shard_events=1"];
    let mut children: Vec<_> = (0..2).map(|process| start(&input, &output, &hosts, process, &single)).collect();
    let records = output.join("ledger/events");
    while fs::read_dir(&records).map_or(0, |files| files.count()) == 0 {
        assert!(children[0].try_wait().expect("a child").is_none(), "it ended before a shard was committed");
        std::thread::sleep(Duration::from_millis(2));
    }
    terminate(&children[1]);
    let codes: Vec<_> = children.drain(..).map(|child| wait(child).status.code()).collect();
    let visible = output.join("sevir.zarr/zarr.json").exists();
    assert_eq!(codes[0], Some(if visible { 0 } else { 2 }), "the first process, visible: {visible}");
    assert!(codes[1] == Some(2) || visible, "{codes:?}, visible: {visible}");
    let report = job(&input, &single).finish(text(&output), &folder.path().join("again.json"), &[0]);
    assert_eq!((&report["events"], &report["events_rejected"]), (&7.into(), &0.into()));
    assert!(report["shards_committed_before"].as_u64() > Some(0), "{report}");
}

/// Sends SIGTERM.
fn terminate(child: &std::process::Child) {
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("a signal");
}

#[test]
fn processes_that_mean_different_work_refuse_each_other() {
    let (folder, input) = folder();
    let (hosts, output) = (hosts(folder.path()), folder.path().join("output"));
    let first = start(&input, &output, &hosts, 0, &[]);
    let other = start(&input, &output, &hosts, 1, &["--set", "sources.sevir.years=2018"]);
    for child in [first, other] {
        let ended = wait(child);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{told}");
        assert!(told.contains("has other events, or another pipeline"), "{told}");
    }
    assert!(!output.join("sevir.zarr").exists());
}

#[test]
fn an_event_that_cannot_be_used_is_set_aside_whole_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = sevir(folder.path(), Some(3));
    let mut lines = fs::read_to_string(input.join("CATALOG.csv")).expect("a catalogue");
    lines += "7,S900,vil/2019/SEVIR.h5,mangled\n";
    fs::write(input.join("CATALOG.csv"), lines).expect("a catalogue");
    let (output, report) = in_one_go(folder.path(), &input, "output", &["--workers", "2"], &[1]);
    assert_eq!(report["stored"], json!({"ir107": 6, "lght": 5, "vil": 6}));
    assert_eq!(report["rejected_by_reason"], json!({"bad_row": 1, "contradiction": 1}));
    let reject = &report["rejects"][0];
    assert_eq!((&reject["event"], &reject["modality"]), (&"S804".into(), &"ir107".into()), "{reject}");
    assert!(reject["detail"].as_str().is_some_and(|detail| detail.contains("S999")), "{reject}");
    let present = objects(&output)["sevir.zarr/present/c/1/0"].clone();
    assert_eq!(present, [1, 1, 1, 0, 0, 0], "S803 is there, S804 is not");
    let before = objects(&output);
    let (_, again) = in_one_go(folder.path(), &input, "output", &[], &[1]);
    assert_eq!((&again["read_bytes"], &again["rejects"]), (&0.into(), &report["rejects"]));
    assert_same(&objects(&output), &before, "a second run");
    let status = ["status", "pipelines/sevir_backfill.toml", "--output", text(&output)];
    let told = gustfront(&[&status[..], &SMALL].concat()).with(0).out;
    for part in ["complete", "4 of 4 shards", "7 of 7 events, 1 set aside", "S804", "contradiction", "line 22"] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
    let told = gustfront(&[&status[..], &["--json"]].concat()).with(0).out;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["complete"], &told["rejects"]), (&true.into(), &report["rejects"]));
}

#[test]
fn a_file_that_cannot_be_read_costs_its_events_alone() {
    let (folder, input) = folder();
    let file = input.join("data/lght/2019/SEVIR.h5");
    let bytes = fs::read(&file).expect("a file");
    fs::write(&file, &bytes[..bytes.len() / 3]).expect("truncated");
    let (output, report) = in_one_go(folder.path(), &input, "output", &[], &[1]);
    assert_eq!(report["stored"], json!({"ir107": 1, "lght": 0, "vil": 1}), "{report}");
    assert_eq!(report["events_rejected"], 6);
    assert!(!objects(&output).keys().any(|key| key.starts_with("sevir.zarr/lght/c/")));
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_runs() {
    let (folder, input) = folder();
    let output = folder.path().join("output");
    let run = |pipeline: &str, more: &[&str]| {
        let file = format!("pipelines/{pipeline}.toml");
        let fixed = ["run", &file, "--metrics", "off", "--input", text(&input), "--output", text(&output)];
        gustfront(&[&fixed[..], more].concat())
    };
    let (hosts, twice) = (hosts(folder.path()), folder.path().join("twice.txt"));
    fs::write(&twice, "127.0.0.1:9\n127.0.0.1:9\n").expect("a file");
    for (pipeline, more, told) in [
        ("sevir_backfill", &["--from", "2019-01-01"][..], ".from="),
        ("sevir_backfill", &["--processes", "3", "--process", "0", "--hosts", text(&hosts)], "names 2 processes"),
        ("sevir_backfill", &["--set", "sources.sevir.modalities=[\"vil\", \"radar\"]"], "`radar` is no modality"),
        (
            "sevir_backfill",
            &["--set", "sources.sevir.modalities=[\"vis\"]", "--set", "sources.sevir.require=[]"],
            "vis",
        ),
        ("sevir_backfill", &["--set", "years=19"], "expected for example 2019"),
        ("sevir_backfill", &["--set", "endpoint=http://x"], "sources.sevir.endpoint"),
        ("sevir_backfill", &["--set", "sources.sevir.to=2019-02-30"], "2018-07-22T03:00:30"),
        ("sevir_backfill", &["--set", "size=100"], "lght of 48×48 points cannot be brought to 100×100"),
        ("sevir_backfill", &["--processes", "2", "--process", "0", "--hosts", text(&twice)], "`127.0.0.1:9` twice"),
        ("sevir_backfill", &["--set", "transforms.resized.inputs=[\"events\"]"], "expected"),
        ("hrrr_archive", &["--processes", "2"], "runs in one process"),
        ("hrrr_archive", &["--set", "sinks.archive.codec=none"], "`codec` is for storm events"),
    ] {
        let ended = run(pipeline, more).with(64);
        assert!(ended.err.contains(told), "{more:?}: `{told}` is not in\n{}", ended.err);
    }
    for (code, more) in [(64, ["--set", "size=100"]), (2, ["--device", "cuda:99"])] {
        gustfront(&[&["check", "pipelines/sevir_backfill.toml"], &more[..]].concat()).with(code);
        run("sevir_backfill", &more).with(code);
    }
    let ended = gustfront(&["status", "pipelines/sevir_backfill.toml", "--output", text(&output)]).with(2);
    assert!(ended.err.contains(text(&output)), "{}", ended.err);
    assert!(!output.exists());
    fs::create_dir_all(output.join("sevir.zarr")).expect("a folder");
    fs::write(output.join("sevir.zarr/zarr.json"), "{}").expect("another's store");
    let ended = run("sevir_backfill", &[]).with(64);
    assert!(ended.err.contains("`sevir.zarr/zarr.json` is there, and no ledger"), "{}", ended.err);
    assert_eq!(fs::read(output.join("sevir.zarr/zarr.json")).expect("left alone"), b"{}");
    let rows = fs::read_to_string(input.join("CATALOG.csv")).expect("a catalogue");
    fs::write(input.join("CATALOG.csv"), rows.replace(" 2018-", " 9018-").replace("-121:", "0:")).expect("a catalogue");
    let ended = run("sevir_backfill", &["--set", "modalities=vil"]).with(2);
    assert!(
        ended.err.contains("rows of the catalogue were set aside, the first: line 2, minute_offsets"),
        "{}",
        ended.err
    );
    fs::write(input.join("CATALOG.csv"), rows).expect("a catalogue");
    let (begun, _) = in_one_go(folder.path(), &input, "begun", &[], &[0]);
    let other = ["--set", "sources.sevir.years=2018", "--output", text(&begun)];
    let fixed = ["run", "pipelines/sevir_backfill.toml", "--metrics", "off", "--input", text(&input)];
    let ended = gustfront(&[&fixed[..], &SMALL, &other].concat()).with(64);
    assert!(ended.err.contains("another pipeline"), "{}", ended.err);
}

#[test]
fn check_prints_the_graph_of_events() {
    let told = gustfront(&["check", "pipelines/sevir_backfill.toml"]).with(0).out;
    for part in ["sevir (sevir): storm events", "resized (resize) ← sevir", "events (zarr) ← normalised"] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
}

#[test]
fn a_stopped_run_says_so_and_goes_on_later() {
    let (folder, input) = folder();
    let slow = ["--set", "transforms.resized.size=384", "--set", "shard_events=1", "--set", "sinks.events.codec=zstd"];
    let stopped = (0..5).find_map(|attempt| {
        let output = folder.path().join(format!("output{attempt}"));
        let child = job(&input, &slow).start(text(&output), &folder.path().join("stopped.json"));
        while !output.join("ledger/events").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        terminate(&child);
        // A run that was through before the signal came shows nothing.
        (wait(child).status.code() == Some(2)).then_some(output)
    });
    let output = stopped.expect("a run that was stopped with code 2");
    assert!(!output.join("sevir.zarr/zarr.json").exists());
    let report = job(&input, &slow).finish(text(&output), &folder.path().join("again.json"), &[0]);
    assert_eq!(report["events"], 7);
    assert!(report["shards_committed_before"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_process_that_waits_says_for_whom_and_stops_when_told() {
    let (folder, input) = folder();
    let (hosts, output) = (hosts(folder.path()), folder.path().join("output"));
    let file = format!("{}/pipelines/sevir_backfill.toml", env!("CARGO_MANIFEST_DIR"));
    for (process, awaited) in [("0", "process 1"), ("1", "process 0")] {
        let mut command = program();
        command
            .args(["run", &file, "--metrics", "off", "--input", text(&input), "--output", text(&output)])
            .args(SMALL);
        command.args(["--processes", "2", "--process", process, "--hosts", text(&hosts)]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let told = lines.by_ref().map_while(Result::ok).find(|line| line.contains("waiting for"));
        assert!(told.as_ref().is_some_and(|line| line.contains(awaited) && line.contains("127.0.0.1:")), "{told:?}");
        let begun = Instant::now();
        terminate(&child);
        assert_eq!(wait(child).status.code(), Some(2));
        // A second, and as much again for a machine that is busy.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(lines.map_while(Result::ok).any(|line| line.contains(&format!("stopped while waiting for {awaited}"))));
    }
}

#[test]
fn data_that_were_forgotten_are_asked_for_and_taken_once_they_are_there() {
    let (folder, input) = folder();
    let (reference, _) = in_one_go(folder.path(), &input, "reference", &[], &[0]);
    let (data, away) = (input.join("data"), folder.path().join("away"));
    fs::rename(&data, &away).expect("moved");
    let output = folder.path().join("output");
    let fixed = ["run", "pipelines/sevir_backfill.toml", "--metrics", "off", "--input", text(&input), "--output"];
    let ended = gustfront(&[&fixed[..], &[text(&output)], &SMALL].concat()).with(2);
    assert!(ended.err.contains("none of the first 3 objects") && ended.err.contains("data/ir107/"), "{}", ended.err);
    assert!(!output.exists());
    fs::rename(&away, &data).expect("moved");
    let (lightning, kept) = (data.join("lght/2019/SEVIR.h5"), folder.path().join("kept.h5"));
    fs::rename(&lightning, &kept).expect("moved");
    let (_, report) = in_one_go(folder.path(), &input, "output", &[], &[1]);
    assert_eq!((&report["rejected_by_reason"], &report["stored"]["vil"]), (&json!({"missing_data": 6}), &1.into()));
    let status = ["status", "pipelines/sevir_backfill.toml", "--output", text(&output)];
    let told = gustfront(&status).with(0).out;
    assert!(told.contains("a rerun tries an event again once its file has come or changed"), "{told}");
    let (_, same) = in_one_go(folder.path(), &input, "output", &[], &[1]);
    assert_eq!((&same["shards_committed"], &same["read_bytes"]), (&0.into(), &0.into()));
    // First a part of the file comes, then all of it.
    let bytes = fs::read(&kept).expect("a file");
    fs::write(&lightning, &bytes[..bytes.len() / 3]).expect("truncated");
    let (_, report) = in_one_go(folder.path(), &input, "output", &[], &[1]);
    assert_eq!(report["rejected_by_reason"], json!({"unreadable": 6}));
    fs::write(&lightning, &bytes).expect("whole");
    let (_, report) = in_one_go(folder.path(), &input, "output", &["--workers", "2"], &[0]);
    assert_eq!((&report["events"], &report["events_rejected"]), (&7.into(), &0.into()));
    assert_same(&objects(&output), &objects(&reference), "after the data came");
}

#[test]
fn what_a_store_was_begun_with_cannot_change_under_it() {
    let (folder, input) = folder();
    let table = folder.path().join("table.toml");
    let rows = |shift: f64| {
        let row = |name: &str| format!("[modalities.{name}]\nshift = {shift:?}\nscale = 2.0\n");
        "source = \"a test\"\n".to_string() + &["vil", "ir107", "lght"].map(row).concat()
    };
    fs::write(&table, rows(1.0)).expect("a table");
    let own = ["--set", &format!("statistics={}", text(&table))];
    let (output, _) = in_one_go(folder.path(), &input, "output", &own, &[0]);
    let before = (objects(&output), ledger(&output));
    let refused = |more: &[&str]| {
        let fixed = ["run", "pipelines/sevir_backfill.toml", "--metrics", "off", "--input", text(&input)];
        gustfront(&[&fixed[..], &["--output", text(&output)], &SMALL, &own, more].concat()).with(64).err
    };
    fs::write(&table, rows(1.5)).expect("a table");
    let told = refused(&[]);
    assert!(told.contains("it was begun with 7 events") && told.contains("normalisation"), "{told}");
    fs::write(&table, rows(1.0)).expect("a table");
    let rows = fs::read_to_string(input.join("CATALOG.csv")).expect("a catalogue");
    fs::write(input.join("CATALOG.csv"), rows.replace(",-96.5,", ",-96.4,")).expect("a catalogue");
    let told = refused(&[]);
    assert!(told.contains("it was begun with 7 events"), "{told}");
    fs::write(input.join("CATALOG.csv"), rows).expect("a catalogue");
    let told = refused(&["--set", "years=2018"]);
    assert!(told.contains("sevir: was years all; is years 2018\n") && !told.contains("shard_events"), "{told}");
    assert_eq!((objects(&output), ledger(&output)), before);
}

#[test]
fn xarray_reads_what_the_files_hold() {
    let Some(python) = python::python() else { return };
    let (folder, input) = folder();
    for codec in ["none", "zstd"] {
        let codec_set = format!("sinks.events.codec={codec}");
        let more = ["--set", "transforms.resized.size=384", "--set", &codec_set, "--workers", "2"];
        let (output, _) = in_one_go(folder.path(), &input, codec, &more, &[0]);
        let printed = python::run(python, "read_events.py", &[text(&output.join("sevir.zarr")), text(&input)]);
        assert!(printed.starts_with("same 7 events"), "{printed}");
    }
}
