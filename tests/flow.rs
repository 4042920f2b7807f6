//! What is missing, damaged, misnamed or late: it holds nothing back, is told, and makes no difference in the end.

mod common {
    pub(crate) mod flows;
    pub(crate) mod trees;
}

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::flows::{ARCHIVE, FORECAST, Running, add, copy, files, finish, pipeline, remove, rename, slot};
use common::trees::{Tree, assert_part_of, assert_same, flags, ledger, store, tree};
use gustfront::domain::{Lead, Moment, Slot};
use gustfront::flow::Report;
use gustfront::formats::grib2::scan;
use gustfront::sources::RejectReason;
use gustfront::sources::synth::{SynthOptions, write_hrrr};
use gustfront::storage::clear_partial;

/// The first synthetic cycle: two hours before a midnight.
fn first() -> Moment {
    Moment::from_ymdh(2026, 5, 20, 22).expect("a day")
}

/// Hourly synthetic cycles from a moment on.
fn synthetic(folder: &Path, start: Moment, cycles: u32, leads: &str) {
    let leads = Lead::parse_list(leads).expect("leads");
    let options = SynthOptions { start, cycles, step_hours: 1, leads, size: [40, 32], seed: 11, force: false };
    write_hrrr(&store(folder), &options).expect("synthetic weather");
    clear_partial(folder.to_str().expect("a path")).expect("cleared");
}

/// A folder of synthetic cycles and what a run over all of them gives.
struct Whole {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Whole {
    fn of(text: &str, cycles: u32, leads: &str) -> Whole {
        let folder = tempfile::tempdir().expect("a folder");
        synthetic(&folder.path().join("whole"), first(), cycles, leads);
        let (input, output) = (folder.path().join("whole"), folder.path().join("reference"));
        let report = finish(text, &input, &output, &[]);
        assert_eq!(report.totals.rejects, []);
        let tree = tree(&store(&output));
        Whole { folder, tree }
    }

    fn input(&self) -> std::path::PathBuf {
        self.folder.path().join("whole")
    }

    /// A fresh copy of the input, and a place for the output.
    fn copy(&self, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
        let (input, output) = (self.folder.path().join(name), self.folder.path().join(format!("{name}.out")));
        copy(&self.input(), &input, |_| true);
        (input, output)
    }
}

fn reasons(report: &Report) -> Vec<RejectReason> {
    report.totals.rejects.iter().map(|reject| reject.reason).collect()
}

/// Flagged slots of the archive as (hours after the first midnight, lead in hours).
fn flagged(tree: &Tree) -> Vec<(u64, u64)> {
    let pair = |text: &str| text.split_once('/').and_then(|(i, l)| Some((i.parse().ok()?, l.parse().ok()?)));
    let mut found: Vec<(u64, u64)> = flags(tree).iter().filter_map(|(_, slot)| pair(slot)).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_hole_holds_nothing_back() {
    let whole = Whole::of(ARCHIVE, 5, "0-2");
    let (input, output) = whole.copy("holes");
    let holes = [(1, 1), (2, 0), (2, 1), (2, 2), (3, 2)].map(|(hour, lead)| slot(first(), hour, lead));
    holes.iter().for_each(|hole| remove(&input, *hole));
    for window in ["sources.hrrr.window_slots=1", "sources.hrrr.window_slots=9"] {
        let report = finish(ARCHIVE, &input, &output, &[window]);
        let made = tree(&store(&output));
        assert_part_of(&made, &whole.tree, "with holes");
        let expected: Vec<(u64, u64)> = flagged(&whole.tree)
            .into_iter()
            .filter(|(hour, lead)| !holes.contains(&slot(first(), *hour as u32 - 22, *lead as u32)))
            .collect();
        assert_eq!((flagged(&made), report.totals.slots_missing), (expected, 5));
        assert_eq!(report.totals.rejects, []);
        fs::remove_dir_all(&output).expect("removed");
    }
}

/// What is done to an object, what it is set aside for, and whether its slot is whole all the same.
type Damage = (&'static str, fn(&mut Vec<u8>, &mut Vec<u8>), &'static [RejectReason], bool);

/// Where the n-th message of an object begins and ends.
fn message(grib: &[u8], n: usize) -> std::ops::Range<usize> {
    let range = &scan(grib).messages[n];
    range.start as usize..range.end as usize
}

/// Where the message of a variable begins and ends, by the index.
fn message_of(grib: &[u8], index: &[u8], line: &str) -> std::ops::Range<usize> {
    let text = String::from_utf8_lossy(index);
    message(grib, text.lines().position(|l| l.contains(line)).expect("a line of the index"))
}

const T2M: &str = ":TMP:2 m above ground:";
const PARTLY: &[RejectReason] = &[RejectReason::Unreadable, RejectReason::MissingVariable];

const DAMAGES: [Damage; 12] = [
    (
        "a message does not begin as one",
        |grib, index| {
            let at = message_of(grib, index, T2M).start;
            grib[at] ^= 0xff;
        },
        PARTLY,
        false,
    ),
    (
        "a message ends in something else",
        |grib, index| {
            let end = message_of(grib, index, T2M).end;
            grib[end - 2] ^= 0xff;
        },
        PARTLY,
        false,
    ),
    (
        "a section's length is absurd",
        |grib, index| {
            let at = message_of(grib, index, T2M).start;
            grib[at + 16..at + 20].copy_from_slice(&[0x7f; 4]);
        },
        PARTLY,
        false,
    ),
    (
        "an optional message is damaged",
        |grib, index| {
            let at = message_of(grib, index, ":REFC:").start;
            grib[at + 16..at + 20].copy_from_slice(&[0xff; 4]);
        },
        &[RejectReason::Unreadable],
        true,
    ),
    ("the object is cut short", |grib, _| grib.truncate(grib.len() / 2), PARTLY, false),
    (
        "the object is a few words",
        |grib, _| *grib = b"403 Forbidden, sorry, sir".to_vec(),
        &[RejectReason::Unreadable],
        false,
    ),
    ("the object is empty", |grib, _| grib.clear(), &[RejectReason::Unreadable], false),
    ("the index is garbage", |_, index| *index = (0..=255u8).cycle().take(4000).collect(), &[], true),
    ("the index is empty", |_, index| index.clear(), &[], true),
    (
        "the index speaks of other places",
        |_, index| {
            let text = String::from_utf8_lossy(index).into_owned();
            let shift = |line: &str| {
                let parts: Vec<&str> = line.splitn(3, ':').collect();
                format!("{}:{}:{}\n", parts[0], parts[1].parse::<u64>().expect("a place") + 7, parts[2])
            };
            *index = text.lines().map(shift).collect::<String>().into_bytes();
        },
        &[],
        true,
    ),
    (
        "the index has its lines in another order",
        |_, index| {
            let text = String::from_utf8_lossy(index).into_owned();
            let names: Vec<&str> = text.lines().map(|l| l.splitn(3, ':').last().expect("words")).collect();
            let swapped = text.lines().zip(names.iter().rev());
            let line = |(line, name): (&str, &&str)| {
                let parts: Vec<&str> = line.splitn(3, ':').collect();
                format!("{}:{}:{name}\n", parts[0], parts[1])
            };
            *index = swapped.map(line).collect::<String>().into_bytes();
        },
        &[],
        true,
    ),
    ("there is no index", |_, index| *index = b"absent".to_vec(), &[], true),
];

#[test]
fn damage_is_told_and_the_rest_goes_on() {
    let whole = Whole::of(ARCHIVE, 3, "0-1");
    let damaged = slot(first(), 1, 1);
    for (number, (what, damage, expected, is_whole)) in DAMAGES.into_iter().enumerate() {
        let (input, output) = whole.copy(&format!("damage{number}"));
        let [object, index] = files(&input, damaged);
        let (mut grib, mut lines) = (fs::read(&object).expect("read"), fs::read(&index).expect("read"));
        damage(&mut grib, &mut lines);
        fs::write(&object, grib).expect("written");
        if lines == b"absent" { fs::remove_file(&index) } else { fs::write(&index, lines) }.expect("done");

        let report = finish(ARCHIVE, &input, &output, &[]);
        let mut told = reasons(&report);
        told.sort_unstable();
        assert_eq!(told, expected, "{what}: {:?}", report.totals.rejects);
        assert!(report.totals.rejects.iter().all(|reject| reject.named == damaged), "{what}");
        let made = tree(&store(&output));
        let mut flags = flagged(&whole.tree);
        flags.retain(|(hour, lead)| is_whole || (*hour, *lead) != (23, 1));
        assert_eq!(flagged(&made), flags, "{what}");
        if expected.is_empty() {
            assert_same(&made, &whole.tree, what);
        } else {
            // What is optional may be lacking from a slot that is whole.
            let mut expected = whole.tree.clone();
            expected.retain(|key, _| !key.contains("/refc/c/23/1/") || made.contains_key(key));
            assert_part_of(&made, &expected, what);
        }

        let again = finish(ARCHIVE, &input, &output, &[]);
        assert_eq!((again.totals.fetched_objects, reasons(&again)), (0, reasons(&report)), "{what}, run again");
        assert_same(&tree(&store(&output)), &made, &format!("{what}, run again"));

        // Killed after the reject was recorded and before the slot was: what is left of the object is not lost.
        let records = ledger(&output);
        let folder = output.join("ledger/archive").join(damaged.cycle.key());
        let entries = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        for entry in entries.filter(|path| path.to_str().expect("a path").contains("f01.r")) {
            fs::remove_file(entry).expect("removed");
        }
        finish(ARCHIVE, &input, &output, &[]);
        assert_eq!(ledger(&output), records, "{what}, taken up");
        assert_same(&tree(&store(&output)), &made, &format!("{what}, taken up"));
    }
}

#[test]
fn what_is_added_later_ends_as_if_it_had_been_there_from_the_start() {
    for (text, leads, late) in [
        (ARCHIVE, "0-2", vec![(1, 1), (2, 0), (2, 1), (2, 2), (4, 0), (4, 1), (4, 2)]),
        (FORECAST, "0", vec![(2, 0)]),
        (FORECAST, "0", vec![(4, 0)]),
        (FORECAST, "0", vec![(1, 0), (2, 0), (3, 0)]),
    ] {
        let whole = Whole::of(text, 5, leads);
        let (input, output) = whole.copy("late");
        let late: Vec<Slot> = late.into_iter().map(|(hour, lead)| slot(first(), hour, lead)).collect();
        late.iter().for_each(|slot| remove(&input, *slot));
        let before = finish(text, &input, &output, &[]);
        late.iter().for_each(|slot| add(&whole.input(), &input, *slot));
        let after = finish(text, &input, &output, &[]);
        let all = before.totals.fetched_objects + after.totals.fetched_objects;
        assert_eq!(after.totals.fetched_objects, late.len() as u64, "only what is new is fetched, {late:?}");
        assert_eq!(all, if leads == "0" { 5 } else { 15 });
        assert_same(&tree(&store(&output)), &whole.tree, &format!("{late:?} came late"));
        let again = finish(text, &input, &output, &[]);
        assert_eq!((again.totals.fetched_objects, again.totals.slots_restored), (0, 0));
    }
}

#[test]
fn a_day_before_the_first_one_is_refused_and_does_no_harm() {
    let whole = Whole::of(ARCHIVE, 3, "0-2");
    let (input, output) = whole.copy("earlier");
    finish(ARCHIVE, &input, &output, &[]);
    let earlier = whole.folder.path().join("day_before");
    let before = Moment(first().0 - 24 * 3600);
    synthetic(&earlier, before, 1, "0-2");
    (0..3).for_each(|lead| add(&earlier, &input, slot(before, 0, lead)));
    let refusal = Running::start(pipeline(ARCHIVE, &input, &output, &[]), 2, None, Arc::default()).refusal();
    assert!(refusal.contains("its store begins at") && refusal.contains("--from"), "{refusal}");
    assert_same(&tree(&store(&output)), &whole.tree, "with a day before the first");
}

#[test]
fn a_state_that_is_replaced_is_forecast_and_scored_anew() {
    let whole = Whole::of(FORECAST, 5, "0");
    let (input, output) = whole.copy("replaced");
    // First half of an object, as if it were listed while it is still being written.
    let [object, _] = files(&input, slot(first(), 2, 0));
    let bytes = fs::read(&object).expect("read");
    fs::write(&object, &bytes[..bytes.len() / 2]).expect("written");
    let report = finish(FORECAST, &input, &output, &[]);
    assert!(reasons(&report).contains(&RejectReason::MissingVariable), "{:?}", report.totals.rejects);
    fs::write(&object, &bytes).expect("written");
    let report = finish(FORECAST, &input, &output, &[]);
    assert_eq!((report.totals.fetched_objects, report.totals.rejects), (1, vec![]));
    assert_same(&tree(&store(&output)), &whole.tree, "replaced by the whole object");
}

#[test]
fn misnamed_objects_fill_the_slots_of_their_headers_and_nobody_waits() {
    let whole = Whole::of(ARCHIVE, 5, "0-2");
    for window in ["sources.hrrr.window_slots=1", "sources.hrrr.window_slots=2", "sources.hrrr.window_slots=16"] {
        let (input, output) = whole.copy("misnamed");
        // Three objects of a late cycle under names of early leads that are thereby not there.
        (0..3).for_each(|lead| remove(&input, slot(first(), 0, lead)));
        for lead in 0..3 {
            rename(&input, slot(first(), 3, lead), slot(first(), 0, 2 - lead));
        }
        let report = finish(ARCHIVE, &input, &output, &[window]);
        let mut expected = flagged(&whole.tree);
        expected.retain(|(hour, _)| *hour != 22);
        let made = tree(&store(&output));
        assert_eq!((flagged(&made), reasons(&report)), (expected, vec![]), "{window}");
        assert_part_of(&made, &whole.tree, window);
        let again = finish(ARCHIVE, &input, &output, &[window]);
        assert_eq!((again.totals.fetched_objects, reasons(&again)), (0, vec![]), "{window}");
        assert_same(&tree(&store(&output)), &made, window);
        // Their own objects come, and the misnamed ones are duplicates then.
        (0..3).for_each(|lead| add(&whole.input(), &input, slot(first(), 3, lead)));
        let report = finish(ARCHIVE, &input, &output, &[window]);
        assert_eq!(reasons(&report), [RejectReason::Duplicate; 3], "{window}: {:?}", report.totals.rejects);
        assert_same(&tree(&store(&output)), &made, window);
        let again = finish(ARCHIVE, &input, &output, &[window]);
        assert_eq!((again.totals.fetched_objects, reasons(&again)), (0, reasons(&report)), "{window}");
        fs::remove_dir_all(&input).expect("removed");
        fs::remove_dir_all(&output).expect("removed");
    }
}

#[test]
fn another_grid_is_set_aside_in_a_rerun_too() {
    let whole = Whole::of(ARCHIVE, 2, "0-2");
    let (input, output) = whole.copy("grids");
    finish(ARCHIVE, &input, &output, &[]);
    let other = whole.folder.path().join("other");
    let (start, leads) = (first().plus(Lead::hours(2)), vec![Lead(0), Lead::hours(1), Lead::hours(2)]);
    let options = SynthOptions { start, cycles: 1, step_hours: 1, leads, size: [24, 20], seed: 11, force: false };
    write_hrrr(&store(&other), &options).expect("synthetic weather");
    (0..3).for_each(|lead| add(&other, &input, slot(start, 0, lead)));
    let report = finish(ARCHIVE, &input, &output, &[]);
    assert_eq!(reasons(&report).iter().filter(|r| **r == RejectReason::WrongGrid).count(), 3);
    assert_same(&tree(&store(&output)), &whole.tree, "with another grid");
}

/// Looks again and again until something is so.
fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come about");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The cycle that began last.
fn this_hour() -> Moment {
    Moment(Moment::now().0 / 3600 * 3600)
}

#[test]
fn a_live_bucket_is_followed_and_what_comes_late_is_a_correction() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, input, output) =
        (folder.path().join("whole"), folder.path().join("live"), folder.path().join("live.out"));
    let start = Moment(this_hour().0 - 4 * 3600);
    synthetic(&whole, start, 4, "0-2");
    (0..3).for_each(|lead| add(&whole, &input, slot(start, 0, lead)));
    let sets = ["sources.hrrr.poll_seconds=1", "sources.hrrr.deadline_minutes=1", "sources.hrrr.window_slots=1"];
    let stop = Arc::new(AtomicBool::new(false));
    let running = Running::start(pipeline(ARCHIVE, &input, &output, &sets), 2, Some(start), stop.clone());
    let published = |hours: std::ops::Range<u32>| {
        let made = if output.is_dir() { tree(&store(&output)) } else { Tree::new() };
        let midnight = start.midnight();
        let index = |hour: u32| (start.0 - midnight.0) / 3600 + u64::from(hour);
        hours.flat_map(|hour| (0..3).map(move |lead| (index(hour), lead))).all(|s| flagged(&made).contains(&s))
    };
    await_that("the first cycle", || published(0..1));
    // Every one of these is overdue: it comes after its deadline, in no order.
    for (hour, lead) in [(3, 2), (1, 1), (2, 0), (3, 0), (1, 0), (1, 2), (2, 2), (3, 1), (2, 1)] {
        add(&whole, &input, slot(start, hour, lead));
        thread::sleep(Duration::from_millis(300));
    }
    await_that("the late cycles", || published(1..4));
    stop.store(true, Ordering::Relaxed);
    let report = running.end();
    assert_eq!(report.totals.rejects, []);
    assert_eq!(report.totals.fetched_objects, 12);
    let reference = folder.path().join("reference");
    finish(ARCHIVE, &whole, &reference, &[]);
    assert_same(&tree(&store(&output)), &tree(&store(&reference)), "followed");
}

#[test]
fn a_forecast_is_scored_when_its_truth_comes_late() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, input, output) =
        (folder.path().join("whole"), folder.path().join("live"), folder.path().join("live.out"));
    let start = Moment(this_hour().0 - 2 * 3600);
    synthetic(&whole, start, 3, "0");
    add(&whole, &input, slot(start, 0, 0));
    let sets = ["sources.hrrr.poll_seconds=1", "sources.hrrr.deadline_minutes=1"];
    let stop = Arc::new(AtomicBool::new(false));
    let running = Running::start(pipeline(FORECAST, &input, &output, &sets), 2, Some(start), stop.clone());
    let file = |hour: u32| output.join(format!("scores/{}.jsonl", start.plus(Lead::hours(hour)).key()));
    await_that("the first forecast", || output.join("forecast.zarr/published/c").is_dir());
    assert!(!file(0).exists());
    let scored = |hour: u32, lead: u32| {
        let text = fs::read_to_string(file(hour)).unwrap_or_default();
        text.lines().any(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of scores");
            line["lead_hours"] == lead
        })
    };
    add(&whole, &input, slot(start, 1, 0));
    await_that("the score of the first hour", || scored(0, 1));
    add(&whole, &input, slot(start, 2, 0));
    // The file of the second cycle waits for its last lead, which is an hour away, or for the end.
    await_that("the score of the second hour", || scored(0, 2));
    stop.store(true, Ordering::Relaxed);
    running.end();
    let reference = folder.path().join("reference");
    finish(FORECAST, &whole, &reference, &[]);
    assert_same(&tree(&store(&output)), &tree(&store(&reference)), "followed");
}
