//! The command line as a newcomer meets it: exit codes, what mistakes are told, and every command's output.

mod common {
    pub(crate) mod plain;
    pub(crate) mod program;
}
#[path = "devices/cli.rs"]
mod devices;

use std::fs;
use std::io::{Read, Write, pipe};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::plain::{files, store};
use common::program::{Ended, gustfront, program, run, synthesise, text};
use gustfront::domain::Moment;
use serde_json::Value;
use tempfile::TempDir;

const ARCHIVE: &str = "pipelines/hrrr_archive.toml";
const EVENTS: &str = "pipelines/sevir_backfill.toml";
const ONE_LEAD: [&str; 2] = ["--set", "leads=0"];

/// How long a run may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with three small synthetic cycles in `bucket`.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = folder.path().join("bucket");
    synthesise(&bucket, "2026-05-20T18", 3, "40x36");
    (folder, bucket)
}

/// Ends with this code, tells all of these words on standard error, and no more than once that something is wrong.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = gustfront(arguments).with(code);
    for word in words {
        assert!(ended.err.contains(word), "{arguments:?} does not say `{word}`:\n{}", ended.err);
    }
    assert!(ended.err.starts_with("error: ") && !ended.err.contains("panicked"), "{}", ended.err);
    let lines: Vec<&str> = ended.err.lines().collect();
    let said_twice = lines.iter().any(|line| line.matches("os error").count() > 1);
    assert!(!said_twice, "a cause is told twice:\n{}", ended.err);
}

#[test]
fn what_cannot_be_meant_ends_with_64_and_says_what_was_expected() {
    let run = |more: &[&'static str]| [&["run", ARCHIVE, "--metrics", "off"], more].concat();
    for (arguments, words) in [
        (run(&["--nope"]), &["--nope", "Usage"][..]),
        (run(&["--workers", "0"]), &["--workers", "1..=256"]),
        (run(&["--from", "tomorrow"]), &["--from", "`tomorrow` is no UTC time; expected 2018-07-22"]),
        (run(&["--from", "2026-05-21", "--to", "2026-05-20"]), &["--to 2026-05-20T00:00Z is before --from"]),
        (run(&["--follow", "--to", "2026-05-20"]), &["--follow", "--to"]),
        (run(&["--device", "gpu"]), &["--device", "expected auto, cpu, or cuda: and a number such as cuda:0"]),
        (run(&["--set", "device=cuda"]), &["--set device=cuda", "there is no device \"cuda\"; expected auto, cpu"]),
        (run(&["--set", "leads"]), &["--set leads: expected key=value"]),
        (run(&["--set", "leads=x"]), &["--set leads=x", "`x` is no list of leads; expected hours"]),
        (run(&["--set", "lead=1"]), &["unknown key `lead`; expected one of", "sources.NAME.leads"]),
        (run(&["--set", "state_laed=1"]), &["did you mean `state_lead`? Expected one of"]),
        (run(&["--set", "type=x"]), &["could be any of sinks.archive.type, sources.hrrr.type"]),
        (run(&["--input", "gs://bucket"]), &["`gs://bucket` is no storage location", "expected s3://bucket"]),
        (run(&["--input", "pipelines", "--output", "s3://"]), &["names no bucket"]),
        (vec!["run", ARCHIVE, "--metrics", "99"], &["expected `off` or an address and port such as 127.0.0.1:9464"]),
        (vec!["run", "no/such.toml"], &["no/such.toml: cannot be read", "expected a pipeline such as"]),
        (vec!["rnu"], &["unrecognized subcommand 'rnu'"]),
        (vec!["--log-level", "silly", "check", ARCHIVE], &["`silly` is no log level", "expected off, error, warn"]),
        (vec!["inspect", "a", "b", "--png", "c.png"], &["expected one FILE"]),
        (vec!["inspect", "a", "--field", "2"], &["--png"]),
        (vec!["lightning", "--input", "x", "--output", "y", "--grid", "nowhere"], &["`nowhere` is neither a grid"]),
        (vec!["lightning", "--input", "x", "--output", "y", "--step-minutes", "7"], &["minutes that divide a day"]),
        (vec!["synth", "hrrr", "--output", "x", "--start", "2026-05-20", "--size", "9"], &["`9` is no size"]),
        (vec!["synth", "sevir", "--output", "x", "--modalities", "lght", "--flaws"], &["vil is needed"]),
        (vec!["synth", "sevir", "--output", "s3://x/y"], &["`s3://x/y` is no folder; expected one"]),
        (vec!["synth", "sevir", "--output", "x", "--from", "1969-01-01"], &["from 1970-01-01 to 2100-01-01"]),
        (vec!["status", EVENTS, "--output", "x", "--from", "2018-01-01"], &["--from and --to are for cycles"]),
        (vec!["check", EVENTS, "--set", "test_from=2018-01-01"], &["expected `test_from` at or after"]),
        (vec!["check", EVENTS, "--set", "years=2018,x"], &["`x` is no range of years; expected for example 2019"]),
        (vec!["check", EVENTS, "--set", "modalities=vil,radar"], &["`radar` is no modality; expected vis"]),
    ] {
        refused(&arguments, 64, words);
    }
    assert!(gustfront(&[]).with(64).err.contains("Usage: gustfront"));
}

#[test]
fn what_the_world_lacks_ends_with_2_and_says_what_was_looked_for() {
    let (folder, bucket) = folder();
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_string();
    let (empty, absent, taken, output) = (path("empty"), path("absent"), path("taken"), path("output"));
    fs::create_dir(&empty).expect("a folder");
    fs::write(&taken, "a file").expect("a file");
    let run = |input: &str, output: &str, more: &[&str]| -> Vec<String> {
        let fixed = ["run", ARCHIVE, "--metrics", "off", "--input", input, "--output", output];
        fixed.iter().chain(more).map(ToString::to_string).collect()
    };
    let far = ["--from", "2030-01-01"];
    let inspect = |file: &str| vec!["inspect".to_string(), file.to_string()];
    for (arguments, words) in [
        (run(&absent, &output, &[]), vec![&*absent, "there is no such folder"]),
        (run(&empty, &output, &[]), vec!["no objects such as hrrr.YYYYMMDD/conus/", "check --input"]),
        (run(text(&bucket), &output, &far), vec!["no objects such as", "from 2030-01-01T00:00Z to …"]),
        (run(text(&bucket), &taken, &[]), vec![&*taken]),
        (inspect(&absent), vec![&*absent, "cannot be read"]),
        (inspect(&taken), vec!["there is no GRIB2 message", "HDF5 and NetCDF-4 files"]),
        (inspect(&empty), vec!["there is no Zarr store here"]),
    ] {
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 2, &words);
    }
    assert!(!Path::new(&absent).exists() && !Path::new(&output).join("archive.zarr").exists());
    let served = run(text(&bucket), &output, &[]);
    let mut served: Vec<&str> = served.iter().map(String::as_str).collect();
    served[3] = "192.0.2.1:80";
    refused(&served, 2, &["cannot serve metrics on 192.0.2.1:80", "expected a free address of this machine"]);
}

#[test]
fn mistakes_of_a_file_are_told_by_line_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, output) = (folder.path().join("mine.toml"), folder.path().join("output"));
    let written = fs::read_to_string(ARCHIVE).expect("a pipeline");
    let misspelt = written.replace("inputs = [\"quality\"]", "inptus = [\"quality\"]").replace("\"qc\"", "\"qv\"");
    fs::write(&file, &misspelt).expect("written");
    let line = |words: &str| 1 + misspelt.lines().position(|line| line.contains(words)).expect("a line");
    let place = |words: &str| format!("error: {}:{}: ", text(&file), line(words));
    for command in ["run", "check", "status"] {
        let ended = gustfront(&[command, text(&file), "--output", text(&output)]).with(64);
        for told in [
            place("inptus") + "sinks.archive: unknown key `inptus`; did you mean `inputs`? Expected one of",
            place("\"qv\"") + "transforms.quality: no type `qv`; did you mean `qc`? Expected one of",
        ] {
            assert!(ended.err.contains(&told), "{told} in\n{}", ended.err);
        }
        assert!(ended.out.is_empty() && !output.exists(), "{}", ended.out);
    }
    fs::write(&file, "name = \"p\"\n[sources\n").expect("written");
    refused(&["check", text(&file)], 64, &[&format!("{}:2: this is not TOML", text(&file))]);
    let absent = ["check", "pipelines/hrrr_training.toml", "--set", "statistics=absent.toml"];
    refused(&absent, 64, &["`absent.toml` is neither the built-in table `hrrr` nor a file"]);
}

#[test]
fn check_shows_the_graph_as_text_and_as_dot() {
    let forecast = "pipelines/hrrr_forecast.toml";
    let shown = gustfront(&["check", forecast, "--output", "elsewhere"]).with(0).out;
    for line in [
        "earth_winds (rotate_winds) ← quality: states",
        "scores (scores) ← persistence, earth_winds",
        "output elsewhere",
        "device auto",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let lists = ["--set", "modalities=[vil,lght]", "--set", "require=lght, vil", "--set", "years=2017,2019"];
    let ended = gustfront(&[&["check", EVENTS, "--input", "nowhere"][..], &lists].concat()).with(0);
    assert!(ended.out.contains("\n  input nowhere\n") && ended.err.contains("the input nowhere is not there"));
    let ended = gustfront(&["check", EVENTS, "--input", "pipelines"]).with(0);
    assert!(ended.err.contains("warning: the catalogue pipelines/CATALOG.csv is not there"), "{}", ended.err);
    let dot = gustfront(&["check", forecast, "--dot"]).with(0).out;
    assert!(dot.starts_with("digraph \"hrrr_forecast\" {") && dot.ends_with("}\n"), "{dot}");
    for edge in ["\"hrrr\" -> \"quality\"", "\"earth_winds\" -> \"scores\"", "\"persistence\" -> \"pictures\""] {
        assert!(dot.contains(edge), "{dot}");
    }
}

#[test]
fn a_device_is_named_in_the_report_and_refused_before_anything_runs_where_it_is_missing() {
    let (folder, bucket) = folder();
    let (output, refused_output) = (folder.path().join("archive"), folder.path().join("refused"));
    let (ended, report) = run("hrrr_archive", &bucket, &output, &[&ONE_LEAD[..], &["--device", "cpu"]].concat());
    assert!(ended.with(0).out.contains("\n  device: cpu ("));
    assert_eq!((&report["device"]["asked"], &report["device"]["reason"]), (&"cpu".into(), &Value::Null));
    let (ended, report) = run("hrrr_archive", &bucket, &output, &ONE_LEAD);
    let (ended, device) = (ended.with(0), &report["device"]);
    let used = device["used"].as_str().expect("a name");
    assert_eq!((&device["asked"], device["reason"].is_string()), (&"auto".into(), used.starts_with("cpu")));
    assert!(ended.out.contains(&format!("  device: {used}")), "{}", ended.out);
    assert_eq!(ended.err.matches("running on").count(), 1, "{}", ended.err);
    for command in ["run", "check"] {
        let paths = ["--input", text(&bucket), "--output", text(&refused_output), "--device", "cuda:99"];
        refused(&[&[command, ARCHIVE], &paths[..]].concat(), 2, &["cuda"]);
    }
    assert!(!refused_output.exists());
    let listed = gustfront(&["devices"]).with(0).out;
    assert!(listed.starts_with("cpu     cpu (") && listed.contains("\ncuda    "), "{listed}");
}

#[test]
fn a_run_is_limited_by_times_and_options_and_a_second_one_fetches_nothing() {
    let (folder, bucket) = folder();
    let output = folder.path().join("archive");
    let limited = [&ONE_LEAD[..], &["--from", "2026-05-20T19", "--to", "2026-05-20T19"]].concat();
    let (ended, report) = run("hrrr_archive", &bucket, &output, &limited);
    assert!(ended.with(0).out.contains("1 of 1 slots filled"));
    assert_eq!([&report["slots_expected"], &report["fetched_objects"]], [1, 1]);
    let (_, report) = run("hrrr_archive", &bucket, &output, &[&ONE_LEAD[..], &["--from", "2026-05-20T19"]].concat());
    assert_eq!([&report["slots_expected"], &report["slots_published_before"], &report["fetched_objects"]], [2, 1, 1]);
    run("hrrr_archive", &bucket, &output, &ONE_LEAD).0.with(0);
    let whole = files(&output);
    let (ended, report) = run("hrrr_archive", &bucket, &output, &ONE_LEAD);
    ended.with(0);
    assert_eq!([&report["fetched_objects"], &report["fetched_bytes"], &report["slots_filled"]], [0, 0, 0]);
    assert_eq!([&report["slots_published_before"], &report["slots_expected"], &report["workers"]], [3, 3, 1]);
    assert_eq!((&report["pipeline"], &report["stopped"]), (&"hrrr_archive".into(), &false.into()));
    assert!(report["seconds"].is_f64() && report["rejects"].as_array().is_some_and(Vec::is_empty));
    assert!(files(&output) == whole, "the second run changed something");
    assert_eq!(store(&output, "archive.zarr").published_slots().expect("flags").len(), 3);
}

#[test]
fn status_is_told_as_text_and_as_json_and_changes_nothing() {
    let (folder, bucket) = folder();
    let output = folder.path().join("archive");
    let status =
        |more: &[&str]| gustfront(&[&["status", ARCHIVE, "--output", text(&output)], more].concat()).with(0).out;
    assert_eq!(status(&[]), format!("{}: nothing published\n", text(&output)));
    assert!(!output.exists(), "status made a folder");
    run("hrrr_archive", &bucket, &output, &ONE_LEAD).0.with(0);
    let under_way = output.join(".partial/object");
    fs::create_dir_all(under_way.parent().expect("a folder")).expect("a folder");
    fs::write(&under_way, "half").expect("written");
    let told = status(&[]);
    assert!(told.starts_with("archive: 3 cycles\n") && told.contains("  2026-05-20T19:00Z  published f00\n"), "{told}");
    assert_eq!(status(&["--from", "2026-05-20T20"]).lines().count(), 2);
    let json: Value = serde_json::from_str(&status(&["--json", "--to", "2026-05-20T18"])).expect("JSON");
    let cycle = serde_json::json!({ "published": ["f00"], "partial": {}, "absent": {} });
    assert_eq!(json, serde_json::json!({ "sinks": { "archive": { "2026-05-20T18:00Z": cycle } }, "rejects": [] }));
    assert!(under_way.exists(), "status removed what a run is writing");
    run("hrrr_archive", &bucket, &output, &ONE_LEAD).0.with(0);
    assert!(!under_way.exists(), "a run leaves what a killed one was writing");
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("archive.zarr/t2m")).expect("a folder");
    fs::write(taken.join("archive.zarr/t2m/zarr.json"), "{}").expect("another's store");
    let fixed = ["run", ARCHIVE, "--metrics", "off", "--input", text(&bucket), "--output", text(&taken)];
    let told = gustfront(&[&fixed[..], &ONE_LEAD].concat()).with(64).err;
    assert!(told.contains("`archive.zarr/t2m/zarr.json` is there, and no ledger"), "{told}");
}

#[test]
fn storm_events_are_made_stored_and_inspected() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("sevir"), folder.path().join("events"));
    let synth = ["synth", "sevir", "--events", "2", "--modalities", "lght", "--output", text(&input)];
    gustfront(&synth).with(0);
    let run = ["run", EVENTS, "--metrics", "off", "--output", text(&output), "--input"];
    let lightning = ["--set", "modalities=lght,", "--set", "require=[]", "--set", "years=2018,2019"];
    let told = gustfront(&[&run[..], &[text(&input)], &lightning].concat()).with(0).err;
    assert!(told.contains("no event is for "), "two events are in at most two splits: {told}");
    let store = output.join("sevir.zarr");
    let shown = gustfront(&["inspect", text(&store)]).with(0).out;
    for words in
        ["storm events: 2", "lght      384×384  2       0.0299  0.60517", "codec: zstd", "lightning_bins: after"]
    {
        assert!(shown.contains(words), "{words} in\n{shown}");
    }
    assert!(shown.contains(", from 201") && shown.contains("nothing in it was observed"), "{shown}");
    let line: Value = serde_json::from_str(&gustfront(&["inspect", "--json", text(&store)]).with(0).out).expect("JSON");
    assert_eq!((&line["events"], &line["modalities"][0]["events"]), (&2.into(), &2.into()), "{line}");
    assert_eq!((&line["synthetic"], &line["shard_events"], &line["codec"]), (&true.into(), &8.into(), &"zstd".into()));
    let elsewhere = |place: &Path, words: &str| refused(&["inspect", text(place)], 2, &[words]);
    elsewhere(&output, &format!("this is an output; expected a store in it: {}", text(&store)));
    elsewhere(&input, &format!("expected one of them, such as {}/CATALOG.csv", text(&input)));
    elsewhere(&store.join("lght"), &format!("one array of a Zarr store; expected the whole: {}", text(&store)));
    fs::remove_file(store.join("zarr.json")).expect("it was there");
    elsewhere(&store, "storm events that is not complete");
    let ended = gustfront(&[&run[..], &[text(folder.path())]].concat()).with(2);
    assert!(ended.err.contains("check --input and the source's `catalog`"), "{}", ended.err);
}

#[test]
fn inspect_shows_what_packed_lightning_stands_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/glm");
    let Some(file) = fs::read_dir(&folder).ok().and_then(|mut files| files.next()?.ok()) else {
        return println!("skipped: no {}", folder.display());
    };
    let shown = gustfront(&["inspect", text(&file.path())]).with(0).out;
    assert!(shown.contains("Geostationary Lightning Mapper, level 2"), "{shown}");
    let lines = gustfront(&["inspect", "--json", text(&file.path())]).with(0).out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (name, within) in [("event_lat", -70.0..70.0), ("event_lon", -160.0..10.0), ("event_energy", 0.0..1e-9)] {
        let line = lines.iter().find(|line| line["dataset"] == name).expect("a dataset");
        let ends = ["min", "max"].map(|end| line[end].as_f64().expect("a number"));
        assert!(line["packed"] == true && ends[0] < ends[1], "{line}");
        assert!(within.contains(&ends[0]) && within.contains(&ends[1]), "{line}");
    }
}

#[test]
fn inspect_shows_objects_indexes_and_stores() {
    let (folder, bucket) = folder();
    let output = folder.path().join("archive");
    run("hrrr_archive", &bucket, &output, &ONE_LEAD).0.with(0);
    let object = bucket.join("hrrr.20260520/conus/hrrr.t19z.wrfsfcf00.grib2");
    let index = format!("{}.idx", text(&object));
    let inspect = |more: &[&str]| gustfront(&[&["inspect"], more].concat()).with(0).out;
    let json = |file: &str| -> Vec<Value> {
        inspect(&[file, "--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let shown = inspect(&[text(&object)]);
    assert!(shown.contains("fields: 9") && shown.contains("origin: SYNTHETIC"), "{shown}");
    let fields = json(text(&object));
    let decoded = common::plain::decoded(&object);
    assert_eq!(fields.len(), decoded.values.len());
    for field in &fields {
        let values = &decoded.values[field["variable"].as_str().expect("a name")];
        let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!((&field["values"], &field["max"]), (&values.len().into(), &f64::from(highest).into()), "{field}");
        assert_eq!((&field["cycle"], &field["lead_minutes"]), (&"2026-05-20T19:00Z".into(), &0.into()));
    }
    let lines = json(&index);
    assert_eq!(lines.len(), fields.len());
    for (line, field) in lines.iter().zip(&fields) {
        let bytes = line["end"].as_u64().expect("an end") - line["offset"].as_u64().expect("an offset");
        assert_eq!((&line["offset"], bytes), (&field["offset"], field["bytes"].as_u64().expect("a length")));
    }
    assert!(inspect(&[&index]).contains("TMP       2 m above ground"));
    let archive = output.join("archive.zarr");
    assert!(inspect(&[text(&archive)]).contains("HRRR archive") && json(text(&archive))[0]["format_version"].is_u64());
    let picture = folder.path().join("t2m.png");
    inspect(&[text(&object), "--field", "3", "--png", text(&picture)]);
    let file = fs::File::open(&picture).expect("a picture");
    let decoder = png::Decoder::new(std::io::BufReader::new(file)).read_info();
    assert!(decoder.is_ok_and(|d| d.info().width > 40));
    refused(
        &["inspect", text(&object), "--field", "10", "--png", text(&picture)],
        2,
        &["no field 10; expected 1 to 9"],
    );
}

#[test]
fn completions_are_a_script_that_knows_the_commands() {
    let script = gustfront(&["completions", "bash"]).with(0).out;
    for word in ["complete -F _gustfront", "run", "check", "devices", "status", "--workers"] {
        assert!(script.contains(word), "{word}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gustfront.bash");
    fs::write(&file, script).expect("written");
    match Command::new("bash").arg("-n").arg(&file).status() {
        Ok(status) => assert!(status.success(), "bash cannot read the script"),
        Err(error) => println!("skipped: bash cannot be started: {error}"),
    }
}

#[test]
fn every_help_has_examples_that_name_real_options() {
    for command in [
        &["run"][..],
        &["check"],
        &["status"],
        &["inspect"],
        &["synth", "hrrr"],
        &["synth", "sevir"],
        &["lightning"],
        &["completions"],
        &[],
    ] {
        let help = gustfront(&[command, &["--help"]].concat()).with(0).out;
        let (options, examples) = help.split_once("Example").expect("examples");
        assert!(examples.contains("  gustfront "), "{command:?}: {examples}");
        let known = |word: &str| word.contains("gustfront ") || options.contains(word);
        let flags = examples.split_whitespace().filter(|word| word.starts_with("--") && !command.is_empty());
        flags.for_each(|flag| assert!(known(flag), "{command:?}: {flag} is no option"));
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command:?} is wide");
    }
    assert!(gustfront(&["--help"]).with(0).out.contains("64  bad usage"));
}

/// Runs the program with nobody reading its standard output, and perhaps not its standard error either.
fn unread(arguments: &[&str], neither: bool) -> Ended {
    let closed = || {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let mut command = program();
    command.args(arguments).stdout(closed()).stderr(Stdio::piped());
    if neither {
        command.stderr(closed());
    }
    let output = command.spawn().and_then(Child::wait_with_output).expect("the program starts");
    Ended { code: output.status.code(), out: String::new(), err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[test]
fn readers_that_have_gone_away_do_no_harm() {
    let (folder, bucket) = folder();
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_string();
    let (output, object) = (path("archive"), path("bucket/hrrr.20260520/conus/hrrr.t18z.wrfsfcf00.grib2"));
    let archived = ["run", ARCHIVE, "--metrics", "off", "--input", text(&bucket), "--output", &output];
    let made = path("more");
    for (arguments, code) in [
        (&archived[..], 0),
        (&["status", ARCHIVE, "--output", &output], 0),
        (&["check", "pipelines/hrrr_forecast.toml"], 0),
        (&["check", "pipelines/hrrr_forecast.toml", "--dot"], 0),
        (&["inspect", &object], 0),
        (&["inspect", "--json", &object], 0),
        (&["inspect", &format!("{output}/archive.zarr")], 0),
        (&["completions", "bash"], 0),
        (&["synth", "hrrr", "--output", &made, "--start", "2026-05-20", "--cycles", "1", "--size", "16x16"], 0),
        (&["run", "no/such.toml"], 64),
        (&["--help"], 0),
    ] {
        let ended = unread(arguments, false).with(code);
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
        unread(arguments, true).with(code);
    }
}

/// Ends a run that is still going when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gustfront\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_follows_serves_its_metrics_takes_what_comes_and_ends_well_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bucket, output) = (folder.path().join("bucket"), folder.path().join("archive"));
    let first = Moment(Moment::now().0 / 3600 * 3600 - 2 * 3600);
    synthesise(&bucket, &first.key(), 1, "40x36");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port");
    let (address, report) = (free.to_string(), folder.path().join("report.json"));
    let arguments = ["run", ARCHIVE, "--follow", "--metrics", &address, "--input", text(&bucket), "--set", "leads=0"];
    let more = ["--output", text(&output), "--report", text(&report), "--set", "sources.hrrr.poll_seconds=1"];
    let child = program().args(arguments).args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut running = Running(child.expect("the program starts"));
    let published = |count: usize| {
        let line = format!("gustfront_slots_total{{state=\"published\"}} {count}");
        get(free, "/metrics").is_some_and(|text| text.lines().any(|l| l == line))
    };
    wait_for("first slot", || published(1));
    for path in ["/healthz", "/readyz"] {
        assert!(get(free, path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")), "{path}");
    }
    synthesise(&bucket, &first.key(), 2, "40x36");
    wait_for("second slot", || published(2));
    let metrics = get(free, "/metrics").expect("an answer");
    for stage in ["fetch", "decode", "quality", "archive"] {
        let line = format!("gustfront_stage_seconds_count{{stage=\"{stage}\"}}");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    let asked = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
    assert!(asked.expect("kill starts").success());
    wait_for("end", || running.0.try_wait().expect("a state").is_some());
    assert_eq!(running.0.wait().expect("a state").code(), Some(0));
    let report: Value = serde_json::from_str(&fs::read_to_string(&report).expect("a report")).expect("JSON");
    assert_eq!((&report["sinks"]["archive"]["published"], &report["stopped"]), (&2.into(), &true.into()));
}
