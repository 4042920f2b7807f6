//! Every pipeline's smoke variant from synthetic input to its results, each recomputed plainly here.

mod common {
    pub(crate) mod data;
    pub(crate) mod days;
    pub(crate) mod plain;
    pub(crate) mod program;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::days::days;
use common::plain::{Fields, assert_scores, decoded, earth_relative, files, near, plain_statistics, store};
use common::program::{gustfront, pipeline, run, synthesise, text};
use gustfront::config::{Stage, variables};
use gustfront::domain::{FRAMES, Lead, Moment, Slot};
use gustfront::formats::grib2::{headers, parse_index};
use gustfront::formats::hdf5::Hdf5File;
use gustfront::formats::zarr::Store;
use gustfront::formats::zarr::events::{EventReader, Scratch};
use gustfront::storage::{FileStore, ObjectStore};
use gustfront::transforms::normalise::Normaliser;
use gustfront::transforms::regrid::{Method, Weights};
use gustfront::transforms::statistics::StatisticsTable;
use gustfront::verify::{ScoreLine, from_lines, to_lines};
use serde_json::Value;
use tempfile::TempDir;

/// Across midnight, so that the axis of a store grows by a day.
const START: &str = "2026-05-20T21";
const CYCLES: usize = 8;

/// A folder with synthetic cycles in `bucket`.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = folder.path().join("bucket");
    synthesise(&bucket, START, CYCLES, "96x80");
    (folder, bucket)
}

fn moments() -> Vec<Moment> {
    let start: Moment = START.parse().expect("a time");
    (0..CYCLES as u64).map(|hour| Moment(start.0 + hour * 3600)).collect()
}

fn analysis(cycle: Moment) -> Slot {
    Slot::new(cycle, Lead(0))
}

/// What the objects of the bucket hold, decoded here, by valid time.
fn states(bucket: &Path) -> BTreeMap<Moment, Fields> {
    let key = |cycle: Moment| {
        let key = cycle.key();
        format!("hrrr.{}/conus/hrrr.t{}z.wrfsfcf00.grib2", &key[..8], &key[8..])
    };
    moments().into_iter().map(|cycle| (cycle, decoded(&bucket.join(key(cycle))))).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn assert_holds(store: &Store, slot: Slot, fields: &Fields) {
    assert!(store.published(slot).expect("a flag or none"), "{slot} is not published");
    assert_eq!(fields.values.len(), store.spec().variables.len());
    for (name, values) in &fields.values {
        let read = store.read(name, slot).expect("a shard").unwrap_or_else(|| panic!("{name} {slot} is absent"));
        assert_eq!(bits(&read), bits(values), "{name} {slot}");
    }
}

#[test]
fn the_archive_holds_what_the_objects_hold() {
    let (folder, bucket) = folder();
    let output = folder.path().join("archive");
    let (ended, report) = run("hrrr_archive", &bucket, &output, &["--set", "leads=0", "--workers", "2"]);
    ended.with(0);
    assert_eq!([&report["slots_expected"], &report["slots_filled"], &report["slots_missing"]], [CYCLES, CYCLES, 0]);
    let store = store(&output, "archive.zarr");
    let states = states(&bucket);
    states.iter().for_each(|(cycle, fields)| assert_holds(&store, analysis(*cycle), fields));
    assert_eq!(store.published_slots().expect("flags").len(), CYCLES);
    assert_eq!(*store.spec().grid, states[&moments()[0]].grid);
    let source = &store.spec().attributes["source"];
    assert!(source.as_str().is_some_and(|s| s.starts_with("SYNTHETIC")), "{source}");
}

#[test]
fn training_windows_hold_the_archived_states_regridded_and_normalised() {
    let (folder, bucket) = folder();
    let output = folder.path().join("training");
    run("hrrr_training", &bucket, &output, &[]).0.with(0);
    let store = store(&output, "training.zarr");
    let table = StatisticsTable::from_toml(&fs::read_to_string("config/statistics/hrrr.toml").expect("a table"));
    let table = table.expect("a table");
    let states = states(&bucket);
    let source = &states[&moments()[0]].grid;
    let target = source.covering_latlon(0.03).expect("a grid");
    assert_eq!(*store.spec().grid, target);
    let weights = Weights::new(source, &target, Method::Bilinear).expect("weights");
    let mut windows = BTreeSet::new();
    for (valid, fields) in &states {
        let slots = (0..3).map(|step| Slot::new(Moment(valid.0 - step * 3600), Lead::hours(step as u32)));
        let slots: Vec<Slot> = slots.filter(|slot| slot.cycle >= moments()[0].midnight()).collect();
        for (name, values) in &earth_relative(fields).values {
            let mut wanted = vec![f32::NAN; target.len()];
            weights.apply(values, &mut wanted);
            let (row, normaliser) = (&table.variables[name], Normaliser::new(name, &table).expect("a row"));
            for slot in &slots {
                let mut found = store.read(name, *slot).expect("a shard").expect("a step");
                normaliser.invert(&mut found);
                // Normalising and inverting round four times, each at most 6e-8 of the largest number on the way.
                let scale = row.mean.abs() + row.standard_deviation;
                assert_near(&found, &wanted, 1e-6, scale, &format!("{name} {slot}"));
            }
        }
        windows.extend(slots);
    }
    assert_eq!(store.published_slots().expect("flags"), windows);
    let attributes = &store.spec().attributes;
    assert_eq!((&attributes["normalised_with"], &attributes["input_steps"]), (&"hrrr".into(), &1.into()));
}

/// Equal to `tolerance` of the value and of `scale` together; missing where the other is.
fn assert_near(found: &[f32], wanted: &[f32], tolerance: f64, scale: f64, place: &str) {
    assert_eq!(found.len(), wanted.len(), "{place}");
    assert!(wanted.iter().any(|v| v.is_finite()), "{place}: nothing to compare");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let close = (f64::from(*found) - f64::from(*wanted)).abs() <= tolerance * (scale + f64::from(wanted.abs()));
        assert!(close || found.is_nan() && wanted.is_nan(), "{place} {at}: {found}, expected {wanted}");
    }
}

/// The score lines of an output, after a check that each file is sorted and is one cycle's.
fn score_lines(output: &Path) -> Vec<ScoreLine> {
    let mut all = Vec::new();
    for entry in fs::read_dir(output.join("scores")).expect("scores") {
        let file = entry.expect("an entry").path();
        if file.extension().is_some_and(|e| e == "jsonl") {
            let written = fs::read_to_string(&file).expect("a text");
            let mut lines = from_lines(&written).expect("score lines");
            assert_eq!(to_lines(&mut lines), written, "{} is not sorted", file.display());
            let key = file.file_stem().and_then(|s| s.to_str()).expect("a name").to_string();
            assert!(!lines.is_empty() && lines.iter().all(|line| line.init.key() == key), "{}", file.display());
            all.extend(lines);
        }
    }
    all
}

#[test]
fn forecasts_are_persistence_and_their_scores_are_those_of_a_plain_recomputation() {
    let (folder, bucket) = folder();
    let output = folder.path().join("forecast");
    let (ended, report) = run("hrrr_forecast", &bucket, &output, &["--workers", "2"]);
    let ended = ended.with(0);
    let store = store(&output, "forecast.zarr");
    for (cycle, fields) in states(&bucket) {
        let state = earth_relative(&fields);
        (0..=6).for_each(|lead| assert_holds(&store, Slot::new(cycle, Lead::hours(lead)), &state));
    }
    assert_eq!(store.published_slots().expect("flags").len(), CYCLES * 7);
    let lines = score_lines(&output);
    let names: Vec<String> = store.spec().variables.iter().map(|v| v.name.to_string()).collect();
    for lead in 1..=6 {
        for name in &names {
            let of = |l: &&ScoreLine| l.lead == Lead::hours(lead) && *l.variable == **name;
            let cases: Vec<&ScoreLine> = lines.iter().filter(of).collect();
            let inits: BTreeSet<Moment> = cases.iter().map(|line| line.init).collect();
            let verified = moments()[..CYCLES - lead as usize].iter().copied().collect();
            assert_eq!((cases.len(), inits), (CYCLES - lead as usize, verified), "{name} at {lead} h");
            let row = report["scores"]
                .as_array()
                .expect("rows")
                .iter()
                .find(|r| r["variable"] == **name && r["lead_hours"] == lead);
            assert_pooled(row.expect("a row"), &cases);
        }
    }
    assert_eq!(lines.len(), names.len() * (1..=6).map(|lead| CYCLES - lead).sum::<usize>());
    let thresholds = thresholds();
    lines.iter().for_each(|line| assert_scores(line, &store, thresholds.get(&*line.variable)));
    assert_table(&output, &ended.out);
    assert_pictures(&output);
    assert_messages(&output, &store);
}

/// One GRIB2 object a cycle and lead with every variable as stored, rounded once, earth-relative, and its index beside it.
fn assert_messages(output: &Path, store: &Store) {
    let objects = files(&output.join("grib2"));
    assert_eq!(objects.len(), 2 * 7 * CYCLES, "{:?}", objects.keys());
    for slot in moments().iter().flat_map(|cycle| (0..=6).map(|lead| Slot::new(*cycle, Lead::hours(lead)))) {
        let name = format!("{0}/{0}.{1}.grib2", slot.cycle.key(), slot.lead);
        let (object, index) = (&objects[&name], &objects[&format!("{name}.idx")]);
        let entries = parse_index(index, object.len() as u64).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(entries.len(), store.spec().variables.len(), "{name}");
        for entry in &entries {
            let bytes = &object[entry.range.start as usize..entry.range.end as usize];
            let message = headers(bytes).unwrap_or_else(|e| panic!("{name}: {e}")).remove(0);
            let about = format!("{}:{}", entry.variable, entry.level);
            let variable = variables().iter().find(|v| v.index == about).expect("a known variable");
            assert!(variable.grib == message.codes() && message.product.is_at(variable), "{name} {about}");
            assert_eq!((message.slot(), message.grid_relative), (Ok(slot), false), "{name} {about}");
            assert!(message.origin.starts_with("SYNTHETIC"), "{name}: {}", message.origin);
            let (found, wanted) = (message.decode(bytes).expect("values"), store.read(&variable.name, slot));
            let half = 0.5 * 10f64.powi(-i32::from(variable.decimal_digits));
            for (found, wanted) in found.iter().zip(wanted.expect("a shard").expect("values")) {
                let error = (f64::from(*found) - f64::from(wanted)).abs();
                // Half a unit of the last place kept, and the rounding of both numbers to f32.
                let allowed = half * (1.0 + 1e-6) + 2.0 * f64::from(wanted.abs() * f32::EPSILON);
                assert!(error <= allowed || found.is_nan() && wanted.is_nan(), "{name} {about}: {found} {wanted}");
            }
        }
    }
}

fn thresholds() -> BTreeMap<String, Vec<f32>> {
    let stages = pipeline("hrrr_forecast").stages;
    let found =
        stages.into_iter().find_map(|s| if let Stage::Scores(options) = s.stage { Some(options) } else { None });
    found.expect("a verification").thresholds.into_iter().map(|(name, all)| (name.to_string(), all)).collect()
}

/// A row of the table pools the errors of its cases, weighted by area.
fn assert_pooled(row: &Value, cases: &[&ScoreLine]) {
    assert_eq!((&row["cases"], &row["synthetic"]), (&cases.len().into(), &true.into()), "{row}");
    let area: f64 = cases.iter().map(|c| c.scores.area_km2).sum();
    let pooled = |of: fn(&ScoreLine) -> f64| cases.iter().map(|c| c.scores.area_km2 * of(c)).sum::<f64>() / area;
    let (mae, bias) = (pooled(|c| c.scores.mae.expect("pairs")), pooled(|c| c.scores.bias.expect("pairs")));
    let squared = pooled(|c| c.scores.rmse.expect("pairs").powi(2));
    for (key, wanted) in [("mae", mae), ("bias", bias), ("rmse", squared.sqrt())] {
        near(key, row[key].as_f64().expect("a number"), wanted, mae);
    }
}

/// The table stands beside the score files and is what the run printed.
fn assert_table(output: &Path, printed: &str) {
    let table = fs::read_to_string(output.join("scores/table.txt")).expect("a table");
    assert!(printed.contains(&table) && table.contains("SYNTHETIC weather"), "{table}");
    let rows = fs::read_to_string(output.join("scores/table.json")).expect("rows");
    assert!(rows.lines().all(|row| serde_json::from_str::<Value>(row).is_ok()) && !rows.is_empty());
}

/// One picture a cycle, variable and lead, and no other.
fn assert_pictures(output: &Path) {
    let stages = pipeline("hrrr_forecast").stages;
    let options = stages.into_iter().find_map(|s| if let Stage::Png(options) = s.stage { Some(options) } else { None });
    let variables = options.expect("pictures").variables;
    let mut wanted = BTreeSet::new();
    for cycle in moments() {
        for (variable, lead) in variables.iter().flat_map(|v| (0..=6).map(move |lead| (v, Lead::hours(lead)))) {
            wanted.insert(format!("{}/{variable}/{lead}_value.png", cycle.key()));
        }
    }
    let found = files(&output.join("png"));
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    for (name, bytes) in &found {
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let info = decoder.read_info().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(info.info().width >= 96 && info.info().height >= 80, "{name}");
    }
}

#[test]
fn the_statistics_table_is_that_of_a_plain_recomputation_and_serves_training() {
    let (folder, bucket) = folder();
    let output = folder.path().join("statistics");
    run("hrrr_statistics", &bucket, &output, &[]).0.with(0);
    let file = output.join("statistics.toml");
    let table = StatisticsTable::from_toml(&fs::read_to_string(&file).expect("a table")).expect("a table");
    assert!(table.source.starts_with("SYNTHETIC"), "{}", table.source);
    let states: Vec<Fields> = states(&bucket).values().map(earth_relative).collect();
    assert_eq!(table.variables.len(), states[0].values.len());
    for (name, row) in &table.variables {
        let values: Vec<f32> = states.iter().flat_map(|s| s.values[name].iter().copied()).collect();
        let plain = plain_statistics(&values);
        assert_eq!((row.count, row.missing), (plain.count, plain.missing), "{name}");
        assert_eq!((row.minimum, row.maximum), (plain.minimum, plain.maximum), "{name}");
        let scale = plain.mean.abs() + plain.standard_deviation;
        near(name, row.mean, plain.mean, scale);
        near(name, row.standard_deviation, plain.standard_deviation, scale);
    }
    let training = folder.path().join("training");
    let set = format!("transforms.normalised.statistics={}", text(&file));
    run("hrrr_training", &bucket, &training, &["--set", &set]).0.with(0);
    assert_eq!(store(&training, "training.zarr").spec().attributes["normalised_with"], *text(&file));
}

#[test]
fn a_later_lead_as_the_state_starts_forecasts_at_its_valid_time() {
    let wanted = pipeline("hrrr_forecast").source().expect("a source").variables.clone();
    let wanted: Vec<_> = wanted.iter().map(|(name, requirement)| (&**name, *requirement)).collect();
    for days in days() {
        let outcome = days.outcome(&[Lead::hours(1)], &wanted);
        if outcome.expected.is_empty() {
            println!("{}: no object is named for lead 1", days.folder.display());
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (archive, output) = (folder.path().join("archive"), folder.path().join("forecast"));
        run("hrrr_archive", &days.folder, &archive, &["--set", "leads=1"]);
        let only = "sinks.pictures.variables=[\"t2m\"]";
        let (ended, _) = run("hrrr_forecast", &days.folder, &output, &["--set", "state_lead=1", "--set", only]);
        ended.with(i32::from(!outcome.rejects.is_empty()));
        let (archive, forecasts) = (store(&archive, "archive.zarr"), store(&output, "forecast.zarr"));
        let whole = outcome.filled.keys().filter(|slot| outcome.is_whole(slot));
        let slots = whole.flat_map(|s| (0..=6).map(move |lead| Slot::new(s.valid(), Lead::hours(lead)))).collect();
        assert_eq!(forecasts.published_slots().expect("flags"), slots);
        let with_t2m = outcome.filled.iter().filter(|(slot, object)| object.fields[slot].contains_key("t2m"));
        let states: BTreeMap<Moment, Slot> = with_t2m.map(|(slot, _)| (slot.valid(), *slot)).collect();
        for (valid, slot) in &states {
            let state = bits(&archive.read("t2m", *slot).expect("a shard").expect("a state"));
            for lead in 0..=6 {
                let forecast = forecasts.read("t2m", Slot::new(*valid, Lead::hours(lead))).expect("a shard");
                assert_eq!(bits(&forecast.expect("a forecast")), state, "{valid} {lead}");
            }
        }
        let lines: Vec<ScoreLine> = score_lines(&output).into_iter().filter(|line| &*line.variable == "t2m").collect();
        let cases: BTreeSet<(Moment, Lead)> = lines.iter().map(|line| (line.init, line.lead)).collect();
        let pairs = states.keys().flat_map(|init| (1..=6).map(move |lead| (*init, Lead::hours(lead))));
        assert_eq!(cases, pairs.filter(|(init, lead)| states.contains_key(&init.plus(*lead))).collect());
        lines.iter().for_each(|line| assert_scores(line, &forecasts, thresholds().get("t2m")));
        println!("{}: {} states, {} cases", days.folder.display(), states.len(), cases.len());
    }
}

#[test]
fn an_object_with_one_damaged_message_gives_the_rest_in_every_run() {
    let (folder, bucket) = folder();
    let damaged = "hrrr.20260520/conus/hrrr.t22z.wrfsfcf00.grib2";
    let mut bytes = fs::read(bucket.join(damaged)).expect("an object");
    let second = bytes.windows(4).enumerate().filter(|(_, w)| w == b"GRIB").nth(1).expect("a second message").0;
    bytes[second..second + 4].copy_from_slice(b"grib");
    fs::write(bucket.join(damaged), &bytes).expect("written");
    let output = folder.path().join("archive");
    let archive = || run("hrrr_archive", &bucket, &output, &["--set", "leads=0"]);
    let reasons = |report: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        report["rejects"].as_array().expect("a list").iter().map(|r| (text(&r["object"]), text(&r["reason"]))).collect()
    };
    let (ended, report) = archive();
    ended.with(1);
    let expected = ["unreadable", "missing_variable"].map(|reason| (damaged.to_string(), reason.to_string()));
    assert_eq!(reasons(&report), expected);
    let whole = files(&output);
    let (ended, again) = archive();
    ended.with(1);
    assert_eq!((reasons(&again), &again["fetched_objects"]), (expected.to_vec(), &0.into()));
    // As if it had been killed between setting the message aside and committing the slot.
    fs::remove_file(output.join("ledger/archive/2026052022/f00.r0.json")).expect("a commit");
    fs::remove_dir_all(output.join("archive.zarr/t2m/c/22")).expect("a shard");
    archive().0.with(1);
    assert!(files(&output) == whole, "the rerun ends with other bytes");
}

#[test]
fn a_misnamed_object_fills_the_slot_that_nothing_else_fills_and_is_fetched_once() {
    let (folder, bucket) = folder();
    let name = |hour: u32, lead: u32| bucket.join(format!("hrrr.20260520/conus/hrrr.t{hour}z.wrfsfcf{lead:02}.grib2"));
    fs::rename(name(22, 0), name(21, 1)).expect("renamed");
    let output = folder.path().join("archive");
    let archive = || run("hrrr_archive", &bucket, &output, &["--set", "leads=0-1"]);
    let (ended, report) = archive();
    assert!(ended.with(0).err.contains("name and header disagree"));
    let slots = |report: &Value| ["slots_expected", "slots_filled", "slots_missing"].map(|key| report[key].clone());
    assert_eq!(slots(&report), [2 * CYCLES, CYCLES, CYCLES]);
    let store = store(&output, "archive.zarr");
    let cycle: Moment = "2026-05-20T22".parse().expect("a time");
    assert_holds(&store, analysis(cycle), &decoded(&name(21, 1)));
    assert_eq!(store.published_slots().expect("flags"), moments().into_iter().map(analysis).collect());
    let (ended, again) = archive();
    ended.with(0);
    assert_eq!([&again["fetched_objects"], &again["slots_missing"]], [0, CYCLES]);
}

/// The file and row of each modality of an event.
type Parts = BTreeMap<String, (String, u64)>;

/// Events of a synthetic SEVIR in order of time: identifier, and what there is of each.
fn catalogued(input: &Path) -> Vec<(String, Parts)> {
    let text = fs::read_to_string(input.join("CATALOG.csv")).expect("a catalogue");
    let mut events: BTreeMap<(String, String), Parts> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let place = (format!("data/{}", columns[1]), columns[2].parse().expect("a row"));
        events.entry((columns[4].into(), columns[0].into())).or_default().insert(columns[3].into(), place);
    }
    events.into_iter().map(|((_, id), parts)| (id, parts)).collect()
}

/// What a store of 384×384 points is to hold of an event: radar, infrared and lightning, by frame, row and column.
fn plain_event(input: &Arc<dyn ObjectStore>, id: &str, parts: &Parts) -> [Option<Vec<i16>>; 3] {
    let open = |modality: &str| {
        let (file, row) = parts.get(modality)?;
        Some((Hdf5File::open(input.clone(), file).expect("a file"), *row))
    };
    let places = || (0..FRAMES).flat_map(|t| (0..384).flat_map(move |y| (0..384).map(move |x| (t, y, x))));
    let vil = open("vil").map(|(file, row)| {
        let values = file.dataset("vil").expect("values").rows::<u8>(row..row + 1).expect("a row");
        places().map(|(t, y, x)| i16::from(values[(y * 384 + x) * FRAMES + t])).collect()
    });
    let infrared = open("ir107").map(|(file, row)| {
        let values = file.dataset("ir107").expect("values").rows::<i16>(row..row + 1).expect("a row");
        let value = |t: usize, y: usize, x: usize| values[(y * 192 + x) * FRAMES + t];
        places().map(|(t, y, x)| between(|y, x| value(t, y, x), y, x)).collect()
    });
    let lightning = open("lght").map(|(file, _)| {
        let table = file.dataset(id).expect("a table");
        let mut counts = vec![0_i16; FRAMES * 48 * 48];
        for flash in table.rows::<f64>(0..table.length()).expect("flashes").chunks(5) {
            let (frame, x, y) = (((flash[0] + 7200.0) / 300.0).floor().clamp(0.0, 48.0), flash[3], flash[4]);
            if (0.0..48.0).contains(&x) && (0.0..48.0).contains(&y) {
                counts[(frame as usize * 48 + y as usize) * 48 + x as usize] += 1;
            }
        }
        places().map(|(t, y, x)| counts[(t * 48 + y / 8) * 48 + x / 8]).collect()
    });
    [vil, infrared, lightning]
}

/// A point between four of 192×192: nine sixteenths of the nearest, a sixteenth of the farthest, of those that are there.
fn between(value: impl Fn(usize, usize) -> i16, y: usize, x: usize) -> i16 {
    let along = |at: usize| {
        let other = if at % 2 == 1 { at / 2 + 1 } else { (at / 2).wrapping_sub(1) };
        [(at / 2, 3), (if other < 192 { other } else { at / 2 }, 1)]
    };
    let (mut total, mut weight) = (0, 0);
    for (y, down) in along(y) {
        for (x, right) in along(x).into_iter().filter(|(x, _)| value(y, *x) != i16::MIN) {
            (total, weight) = (total + down * right * i32::from(value(y, x)), weight + down * right);
        }
    }
    if weight < 8 { i16::MIN } else { (2 * total + weight).div_euclid(2 * weight) as i16 }
}

#[test]
fn storm_events_are_stored_as_their_files_hold_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("sevir"), folder.path().join("events"));
    let made = ["synth", "sevir", "--output", text(&input), "--events", "2", "--modalities", "vil,ir107,lght"];
    gustfront(&[&made[..], &["--storage", "mixed"]].concat()).with(0);
    let modalities = "sources.sevir.modalities=[\"vil\", \"ir107\", \"lght\"]";
    run("sevir_backfill", &input, &output, &["--set", modalities, "--workers", "2"]).0.with(0);
    let objects = |folder: &Path| -> Arc<dyn ObjectStore> { Arc::new(FileStore::new(text(folder))) };
    let reader = EventReader::open(objects(&output), "sevir.zarr").expect("readable").expect("complete");
    let (events, input) = (catalogued(&input), objects(&input));
    assert_eq!((reader.events(), reader.arrays().len()), (events.len(), 3));
    for (at, (id, parts)) in events.iter().enumerate() {
        for (array, wanted) in plain_event(&input, id, parts).into_iter().enumerate() {
            assert_eq!(reader.has(at, array), wanted.is_some(), "{id} {array}");
            let Some(wanted) = wanted else { continue };
            let width = reader.arrays()[array].element().width();
            let mut bytes = vec![0; wanted.len() * width];
            reader.read(at, array, 0..FRAMES, &mut Scratch::default(), &mut bytes).expect("frames");
            let number = |bytes: &[u8]| bytes.try_into().map_or(bytes[0].into(), i16::from_le_bytes);
            let differs = bytes.chunks(width).zip(&wanted).position(|(found, wanted)| number(found) != *wanted);
            assert_eq!(differs, None, "{id} {array}: the first value that is another");
        }
    }
}
