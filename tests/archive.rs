//! The archive of real cycles against what ecCodes reads from them: which objects are taken, and every value.

mod common {
    pub(crate) mod data;
    pub(crate) mod days;
    pub(crate) mod program;
    pub(crate) mod python;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::data::{Expected, row_major};
use common::days::{Days, Outcome, days, is_impossible};
use common::program::{Ended, gustfront, pipeline, run, text};
use common::python;
use gustfront::config::{Pipeline, variables};
use gustfront::domain::{Lead, Requirement, Slot};
use gustfront::formats::zarr::Store;
use gustfront::storage::FileStore;
use serde_json::{Value, json};

/// Relative to the field's largest magnitude: what f32 rounding leaves.
const TOLERANCE: f64 = 1e-6;

const PIPELINE: &str = "hrrr_archive";

/// The leads and variables of the pipeline's source.
fn wanted(pipeline: &Pipeline) -> (Vec<Lead>, Vec<(&str, Requirement)>) {
    let source = pipeline.source().expect("a source");
    let variables = source.variables.iter().map(|(name, requirement)| (&**name, *requirement)).collect();
    (source.leads.clone().expect("leads"), variables)
}

fn store(output: &Path) -> Store {
    let objects = Arc::new(FileStore::new(text(output)));
    Store::open(objects, "archive.zarr").expect("a readable store").expect("a store")
}

/// Runs the archive over every folder of real cycles, and shows each with what must come of it.
fn each(more: &[&str], check: impl Fn(&Days, &Outcome<'_>, &Path, Ended, Value)) {
    let pipeline = pipeline(PIPELINE);
    let (leads, variables) = wanted(&pipeline);
    for days in days() {
        let output = tempfile::tempdir().expect("a folder");
        let output = output.path().join("archive");
        let (ended, report) = run(PIPELINE, &days.folder, &output, more);
        check(&days, &days.outcome(&leads, &variables), &output, ended, report);
    }
}

/// Objects set aside, with the reason, as a report or status tells them.
fn rejects(told: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    told["rejects"].as_array().expect("a list").iter().map(|r| (text(&r["object"]), text(&r["reason"]))).collect()
}

#[test]
fn exactly_what_the_headers_contradict_is_set_aside() {
    each(&[], |days, outcome, _, ended, report| {
        let place = days.folder.display();
        let ended = ended.with(i32::from(!outcome.rejects.is_empty()));
        assert_eq!(rejects(&report), outcome.rejects, "{place}");
        let count = |key: &str| report[key].as_u64().expect("a count") as usize;
        assert_eq!(count("slots_expected"), outcome.expected.len(), "{place}");
        assert_eq!(count("slots_filled"), outcome.filled.len(), "{place}");
        assert_eq!(count("slots_missing"), outcome.expected.len() - outcome.filled.len(), "{place}");
        let sink = &report["sinks"]["archive"];
        let whole = outcome.filled.len() - outcome.partial.len();
        assert_eq!([&sink["published"], &sink["partial"]], [whole, outcome.partial.len()], "{place}");
        for (object, reason) in &outcome.rejects {
            assert!(ended.out.contains(&format!("set aside: {object} ({reason})")), "{}", ended.out);
        }
        for object in &outcome.disagree {
            let told = |line: &str| line.contains("name and header disagree") && line.contains(object);
            assert!(ended.err.lines().any(told), "{object} in {}", ended.err);
        }
        let told = ended.err.lines().filter(|line| line.contains("name and header disagree")).count();
        assert_eq!(told, outcome.disagree.len(), "{}", ended.err);
    });
}

#[test]
fn archived_values_are_those_that_eccodes_reads() {
    each(&[], |days, outcome, output, _, _| {
        let store = store(output);
        let place = days.folder.display();
        let published = store.published_slots().expect("flags");
        assert_eq!(published, outcome.filled.keys().filter(|s| outcome.is_whole(s)).copied().collect(), "{place}");
        let mut compared = 0;
        for (slot, object) in &outcome.filled {
            let fields = &object.fields[slot];
            for variable in store.spec().variables.iter().map(|v| &*v.name) {
                let place = format!("{} {slot} {variable}", object.key);
                let read = store.read(variable, *slot).unwrap_or_else(|e| panic!("{place}: {e}"));
                match (fields.get(variable), read) {
                    (Some(expected), Some(values)) => compared += compare(&place, variable, expected, &values),
                    (expected, read) => assert_eq!(expected.is_some(), read.is_some(), "{place}"),
                }
            }
        }
        assert!(compared > 0 || outcome.filled.is_empty(), "{place}: nothing was compared");
        println!("{place}: {compared} values compared");
    });
}

/// Compares an archived field with the manifest's sample of it; tells how many values were compared.
fn compare(place: &str, variable: &str, expected: &Expected, values: &[f32]) -> usize {
    assert_eq!(Some(values.len()), expected.values, "{place}");
    let nx = expected.ni.expect("a width") as usize;
    let largest = [expected.min, expected.max].map(|v| v.unwrap_or(0.0).abs()).into_iter().fold(0.0, f64::max);
    for (index, wanted) in &expected.sample {
        let scanning = expected.scanning_mode.expect("a scanning mode");
        let found = f64::from(values[row_major(*index, scanning, nx, values.len() / nx)]);
        match wanted.filter(|v| !is_impossible(variable, expected, *v)) {
            Some(wanted) => assert!((found - wanted).abs() <= TOLERANCE * largest, "{place} {index}: {found} {wanted}"),
            None => assert!(found.is_nan(), "{place} {index}: {found}, expected it missing"),
        }
    }
    expected.sample.len()
}

#[test]
fn status_tells_what_is_published_partial_absent_and_set_aside() {
    let pipeline = pipeline(PIPELINE);
    let (_, variables) = wanted(&pipeline);
    each(&[], |_, outcome, output, _, _| {
        let file = format!("pipelines/{PIPELINE}.toml");
        let status = gustfront(&["status", &file, "--output", text(output), "--json"]).with(0);
        let status: Value = serde_json::from_str(&status.out).expect("JSON");
        let lasting = outcome.rejects.iter().filter(|(_, reason)| reason != "missing_variable").cloned().collect();
        assert_eq!(rejects(&status), lasting);
        let cycles = status["sinks"]["archive"].as_object().expect("cycles");
        let has = |list: &Value, lead: &str| list.as_array().is_some_and(|all| all.iter().any(|l| l == lead));
        let mut seen = BTreeSet::new();
        for (slot, object) in &outcome.filled {
            let (cycle, lead) = (&cycles[&slot.cycle.to_string()], slot.lead.to_string());
            seen.insert(slot.cycle.to_string());
            assert_eq!(has(&cycle["published"], &lead), outcome.is_whole(slot), "{slot}: {cycle}");
            assert_eq!(cycle["partial"].get(&lead).is_some(), outcome.partial.contains(slot), "{slot}");
            for (name, requirement) in &variables {
                let absent = *requirement == Requirement::Optional && !object.fields[slot].contains_key(*name);
                assert_eq!(has(&cycle["absent"][name], &lead), absent, "{slot} {name}: {cycle}");
            }
        }
        assert_eq!(cycles.keys().cloned().collect::<BTreeSet<_>>(), seen);
    });
}

#[test]
fn a_second_run_fetches_nothing_and_tells_the_same() {
    each(&[], |days, outcome, output, first, report| {
        let (second, again) = run(PIPELINE, &days.folder, output, &[]);
        assert_eq!(second.code, first.code);
        assert_eq!(rejects(&again), rejects(&report));
        // An object without one usable message may have more to give than was understood: it alone is read again.
        let unusable =
            days.objects.iter().filter(|o| o.exact && rejects(&again).contains(&(o.key.clone(), "unreadable".into())));
        assert_eq!(again["fetched_objects"], unusable.count());
        assert_eq!(again["slots_published_before"], outcome.filled.len());
    });
}

#[test]
fn a_slot_that_lacks_only_optional_variables_is_whole() {
    let pipeline = pipeline(PIPELINE);
    let (leads, variables) = wanted(&pipeline);
    for days in days() {
        let outcome = days.outcome(&leads, &variables);
        let everywhere = |name: &str| outcome.filled.iter().all(|(slot, o)| o.fields[slot].contains_key(name));
        let (required, optional): (Vec<&str>, Vec<&str>) = variables.iter().map(|v| v.0).partition(|n| everywhere(n));
        let set = [format!("required={required:?}"), format!("optional={optional:?}")];
        let output = tempfile::tempdir().expect("a folder");
        let output = output.path().join("archive");
        let (ended, report) = run(PIPELINE, &days.folder, &output, &["--set", &set[0], "--set", &set[1]]);
        let kept: BTreeSet<_> = outcome.rejects.iter().filter(|(_, r)| r != "missing_variable").cloned().collect();
        ended.with(i32::from(!kept.is_empty()));
        assert_eq!(rejects(&report), kept);
        assert_eq!(report["sinks"]["archive"]["published"], outcome.filled.len());
        assert_eq!(store(&output).published_slots().expect("flags").len(), outcome.filled.len());
    }
}

#[test]
fn xarray_and_zarr_python_read_the_values_and_places_that_eccodes_reads() {
    let Some(python) = python::python() else { return };
    each(&[], |days, outcome, output, _, _| {
        let slots: Vec<Value> =
            outcome.filled.iter().map(|(slot, object)| slot_json(days, slot, &object.key)).collect();
        let rows: BTreeMap<&str, Value> = variables().iter().map(|v| (&*v.name, variable_json(v))).collect();
        let archive = output.join("archive.zarr");
        let expected = json!({ "store": text(&archive), "slots": slots, "variables": rows });
        let file = output.with_extension("expected.json");
        std::fs::write(&file, expected.to_string()).expect("written");
        let printed = python::run(python, "check_archive.py", &[text(&file)]);
        println!("{}: {printed}", days.folder.display());
    });
}

fn slot_json(days: &Days, slot: &Slot, key: &str) -> Value {
    let init = slot.cycle.calendar().format("%Y-%m-%dT%H:%M:%S").to_string();
    json!({ "init": init, "lead_minutes": slot.lead.0, "file": text(&days.folder.join(key)) })
}

fn variable_json(variable: &gustfront::domain::Variable) -> Value {
    let quality = &variable.quality;
    json!({
        "codes": variable.grib, "surface": variable.surface, "level": variable.level, "units": variable.units,
        "range": quality.range, "sentinels": quality.sentinels, "constant_is_missing": quality.constant_is_missing,
    })
}
