//! Killed at any instant and run again, with any number of workers: the same bytes as in one go.

mod common {
    pub(crate) mod process;
    pub(crate) mod trees;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use common::process::{Job, idaho, kill_after, synthetic, wait};
use common::trees::{Tree, assert_part_of, assert_same, flags, ledger, store, tree};
use gustfront::storage::ObjectStore;
use serde_json::Value;

/// Change it to kill at other instants; a failure prints it.
const SEED: u64 = 20_180_722;
/// Outputs that are begun, each killed twice and then finished.
const OUTPUTS: u64 = 5;

/// A number from 0 to 1 for the `n`-th kill: splitmix64, the same in every run.
fn random(n: u64) -> f64 {
    let mut z = SEED.wrapping_add((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A pipeline, the sink whose lead-0 slots (or all of them) tell what need not be fetched again, and its codes.
struct Case {
    job: Job,
    sink: &'static str,
    only_lead_0: bool,
    codes: &'static [i32],
}

fn synthetic_cases(input: &str) -> Vec<Case> {
    let few = ["--set", "sinks.pictures.variables=[\"t2m\", \"u10\"]", "--set", "model.persistence.leads=1-3"];
    let case = |pipeline, sink, more: &[&str]| Case {
        job: Job::new(pipeline, input, more),
        sink,
        only_lead_0: sink != "archive",
        codes: &[0],
    };
    vec![
        case("hrrr_archive", "archive", &["--set", "sources.hrrr.leads=0-2"]),
        case("hrrr_training", "training", &[]),
        case("hrrr_forecast", "forecasts", &few),
        case("hrrr_statistics", "statistics", &[]),
    ]
}

fn idaho_cases(input: &str) -> Vec<Case> {
    let case = |pipeline, sink, more: &[&str]| Case {
        job: Job::new(pipeline, input, more),
        sink,
        only_lead_0: sink != "archive",
        codes: &[0, 1],
    };
    let state = ["--set", "state_lead=1", "--set", "sinks.pictures.variables=[\"t2m\"]"];
    vec![
        case("hrrr_archive", "archive", &["--set", "sources.hrrr.leads=0-6"]),
        case("hrrr_training", "training", &state[..2]),
        case("hrrr_forecast", "forecasts", &state),
    ]
}

/// What a run in one go leaves behind.
struct Reference {
    tree: Tree,
    ledger: BTreeMap<String, Value>,
    report: Value,
    took: Duration,
}

fn in_one_go(case: &Case, folder: &Path) -> Reference {
    let (output, report) = (folder.join("reference"), folder.join("reference.json"));
    let begun = Instant::now();
    let report = case.job.finish(output.to_str().expect("a path"), &report, case.codes);
    let took = begun.elapsed();
    assert!(!output.join(".partial").exists(), "{} leaves .partial behind", case.job.pipeline);
    Reference { tree: tree(&store(&output)), ledger: ledger(&output), report, took }
}

/// Objects that the ledger says need not be fetched again.
fn done(ledger: &BTreeMap<String, Value>, case: &Case) -> u64 {
    let slots = ledger.keys().filter(|unit| unit.starts_with(&format!("{}/", case.sink)));
    let states = slots.filter(|unit| !case.only_lead_0 || unit.ends_with("/f00") || case.sink == "statistics");
    let rejected = ledger.iter().filter(|(unit, record)| unit.starts_with("rejects/") && record["used"] == false);
    (states.count() + rejected.count()) as u64
}

/// Kills a process with SIGKILL as soon as something is so; `true` where it had not ended by itself.
fn kill_when(mut child: Child, so: impl Fn() -> bool) -> bool {
    while !so() && child.try_wait().expect("a child").is_none() {
        thread::sleep(Duration::from_micros(200));
    }
    kill_after(child, Duration::ZERO)
}

/// Kills runs of a case at random instants, and finishes them.
fn killed_and_finished(case: &Case, first_kill: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let reference = in_one_go(case, folder.path());
    let fetched = |report: &Value| report["fetched_objects"].as_u64().expect("a number");
    let (all, name) = (fetched(&reference.report), case.job.pipeline);
    let mut in_the_middle = 0;
    for round in 0..OUTPUTS {
        let output = folder.path().join(format!("killed{round}"));
        let (location, report) = (output.to_str().expect("a path"), folder.path().join("report.json"));
        let workers = ["--workers", ["1", "2", "4"][round as usize % 3]];
        let job =
            case.job.with(&workers).with(if round % 2 == 1 { &["--set", "sources.hrrr.window_slots=1"] } else { &[] });
        for half in 0..2 {
            let number = first_kill + 2 * round + half;
            let what = format!("{name}, kill {number} of seed {SEED}");
            let child = job.start(location, &report);
            // At any instant of the whole run, then at some commit, which no load of the machine puts off.
            let running = match half {
                0 => kill_after(child, reference.took.mul_f64(random(number))),
                _ => {
                    let units = reference.ledger.len() as f64 * random(number);
                    let begun = || store(&output).list("ledger/").map_or(0, |listed| listed.len());
                    kill_when(child, || begun() as f64 > units)
                }
            };
            let part = tree(&store(&output));
            in_the_middle += u32::from(running && !flags(&part).is_empty());
            assert_part_of(&part, &reference.tree, &what);
        }
        let before = ledger(&output);
        let finished = job.finish(location, &report, case.codes);
        let what = format!("{name}, output {round}, kills from {first_kill} of seed {SEED}");
        assert_eq!(fetched(&finished), all - done(&before, case), "{what}: objects fetched");
        assert_same(&tree(&store(&output)), &reference.tree, &what);
        assert_eq!(ledger(&output), reference.ledger, "{what}: the ledger");
        assert!(!output.join(".partial").exists(), "{what}: .partial is left behind");
        let again = job.finish(location, &report, case.codes);
        assert_eq!(
            (fetched(&again), &again["slots_restored"]),
            (0, &Value::from(0)),
            "{what}: a rerun fetches nothing"
        );
        assert_same(&tree(&store(&output)), &reference.tree, &format!("{what}, once more"));
        assert_eq!(ledger(&output), reference.ledger, "{what}: the ledger of a rerun");
        assert_eq!(again["rejects"], reference.report["rejects"], "{what}: a rerun tells the same rejects");
    }
    println!("{name}: seed {SEED}, {} kills, {in_the_middle} with something published", 2 * OUTPUTS);
    if case.sink != "statistics" {
        assert!(in_the_middle > 0, "{name}: no kill of seed {SEED} came in the middle of a run");
    }
}

#[test]
fn killed_runs_over_synthetic_weather_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    synthetic(folder.path(), 10, "0-2");
    for (case, first) in synthetic_cases(folder.path().to_str().expect("a path")).iter().zip((0..).step_by(10)) {
        killed_and_finished(case, first);
    }
}

#[test]
fn killed_runs_over_a_real_day_end_with_the_same_bytes() {
    let Some(input) = idaho() else { return };
    for (case, first) in idaho_cases(input.to_str().expect("a path")).iter().zip((100..).step_by(10)) {
        killed_and_finished(case, first);
    }
}

#[test]
fn workers_and_windows_do_not_show_in_the_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    synthetic(folder.path(), 10, "0-2");
    let mut cases = synthetic_cases(folder.path().to_str().expect("a path"));
    cases.extend(idaho().iter().flat_map(|input| idaho_cases(input.to_str().expect("a path"))));
    for (number, case) in cases.iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let reference = in_one_go(case, folder.path());
        let narrow = ["--set", "sources.hrrr.window_slots=1", "--workers", "1"];
        let wide = ["--set", "sources.hrrr.window_slots=64", "--set", "sources.hrrr.connections=3", "--workers", "3"];
        for (n, more) in [&["--workers", "4"][..], &narrow, &wide].into_iter().enumerate() {
            let output = folder.path().join(format!("{n}"));
            let report = folder.path().join("report.json");
            case.job.with(more).finish(output.to_str().expect("a path"), &report, case.codes);
            let what = format!("case {number}, {}, {more:?}", case.job.pipeline);
            assert_same(&tree(&store(&output)), &reference.tree, &what);
            assert_eq!(ledger(&output), reference.ledger, "{what}: the ledger");
        }
    }
}

#[test]
fn a_reader_that_polls_finds_every_flagged_slot_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    synthetic(&input, 10, "0-2");
    for case in synthetic_cases(input.to_str().expect("a path")).iter().filter(|case| case.sink != "statistics") {
        let folder = tempfile::tempdir().expect("a folder");
        let reference = in_one_go(case, folder.path());
        let output = folder.path().join("polled");
        let job = case.job.with(&[
            "--set",
            "sources.hrrr.window_slots=1",
            "--set",
            "sources.hrrr.connections=1",
            "--workers",
            "2",
        ]);
        let mut child = job.start(output.to_str().expect("a path"), &folder.path().join("report.json"));
        let mut polled = 0;
        while child.try_wait().expect("a child").is_none() {
            // Flags first: what is flagged before the rest is looked at must be whole.
            let flagged: Tree = flagged(&store(&output), &reference.tree);
            polled += usize::from(!flagged.is_empty() && flags(&flagged).len() < flags(&reference.tree).len());
            assert_part_of(&flagged, &reference.tree, case.job.pipeline);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(wait(child).status.code(), Some(0));
        assert!(polled > 0, "{}: no poll came in the middle of the run", case.job.pipeline);
        assert_same(&tree(&store(&output)), &reference.tree, case.job.pipeline);
    }
}

/// Every flag that is there now, and after that every object of the slots they speak of.
fn flagged(objects: &dyn ObjectStore, whole: &Tree) -> Tree {
    let is_flag = |key: &&String| key.contains("/published/c/");
    let read = |key: &String| Some((key.clone(), objects.get(key).expect("read")?.to_vec()));
    let mut found: Tree = whole.keys().filter(is_flag).filter_map(read).collect();
    let slots = flags(&found);
    let of_a_slot = |key: &&String| {
        slots.iter().any(|(store, slot)| key.starts_with(store) && key.contains(&format!("/c/{slot}/")))
    };
    found.extend(whole.keys().filter(of_a_slot).filter_map(read));
    found
}

#[test]
fn a_status_during_a_run_does_it_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    synthetic(&input, 10, "0-2");
    let case = &synthetic_cases(input.to_str().expect("a path"))[2];
    let reference = in_one_go(case, folder.path());
    let output = folder.path().join("watched");
    let location = output.to_str().expect("a path");
    let mut child = case.job.start(location, &folder.path().join("report.json"));
    while child.try_wait().expect("a child").is_none() {
        let pipeline = format!("{}/pipelines/hrrr_forecast.toml", env!("CARGO_MANIFEST_DIR"));
        let mut status = std::process::Command::new(env!("CARGO_BIN_EXE_gustfront"));
        let told = status.args(["status", &pipeline, "--output", location]).output().expect("the program starts");
        assert!(matches!(told.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&told.stderr));
    }
    assert_eq!(wait(child).status.code(), Some(0));
    assert_same(&tree(&store(&output)), &reference.tree, "watched by status");
}

#[test]
fn a_run_that_is_told_to_stop_is_taken_up_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    synthetic(&input, 10, "0-2");
    let case = &synthetic_cases(input.to_str().expect("a path"))[2];
    let reference = in_one_go(case, folder.path());
    let (output, report) = (folder.path().join("stopped"), folder.path().join("report.json"));
    let location = output.to_str().expect("a path");
    let child = case.job.start(location, &report);
    thread::sleep(reference.took / 3);
    let told = std::process::Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(told.success());
    let code = wait(child).status.code();
    assert!(matches!(code, Some(2)), "a run that was stopped ended with {code:?}");
    case.job.finish(location, &report, &[0]);
    assert_same(&tree(&store(&output)), &reference.tree, "stopped and taken up");
}
