//! Whole pipelines from bucket to bucket: the bytes of a folder, ranged reads, and a server that is busy or goes away.

mod common;
#[path = "sevir/files.rs"]
mod files;
#[allow(dead_code, reason = "other test files use the rest")]
#[path = "common/process.rs"]
mod process;
#[allow(dead_code, reason = "other test files use the rest")]
#[path = "common/trees.rs"]
mod trees;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::s3_server::{KEYS, S3Server, Seen, set_credentials};
use files::{Line, catalog, write_dense, write_packed, write_points};
use gustfront::domain::{FRAMES, Modality};
use gustfront::storage::{ObjectStore, S3Options, open};
use process::{Job, kill_after, synthetic, wait};
use trees::{Tree, assert_same, flags, store, tree};

/// Gives up on a server after so long; two tries fit.
const PATIENCE: [&str; 4] = ["--set", "sources.hrrr.retry_seconds=2", "--set", "output.retry_seconds=2"];

/// Storm events of two years; those of 2019 lie apart in the files.
const STORMS: [(&str, &str); 6] = [
    ("S1", "2018-06-01 18:00:00"),
    ("S2", "2019-06-02 18:00:00"),
    ("S3", "2018-06-03 18:00:00"),
    ("S4", "2018-06-04 18:00:00"),
    ("S5", "2019-06-05 18:00:00"),
    ("S6", "2018-06-06 18:00:00"),
];

/// Archive and forecasts, small.
fn jobs(input: &str) -> [Job; 2] {
    let few = ["--set", "sinks.pictures.variables=[\"t2m\"]", "--set", "model.persistence.leads=1-2"];
    [Job::new("hrrr_archive", input, &["--set", "sources.hrrr.leads=0-1"]), Job::new("hrrr_forecast", input, &few)]
}

/// A job that finds a server by its environment, with credentials or without.
fn at(server: &S3Server, job: &Job, signed: bool) -> Job {
    let (key, secret) = if signed { KEYS } else { ("", "") };
    let nowhere = "/nonexistent".to_string();
    let environment = vec![
        ("AWS_ENDPOINT_URL", server.endpoint.clone()),
        ("AWS_ENDPOINT_URL_S3", String::new()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ("AWS_ACCESS_KEY_ID", key.into()),
        ("AWS_SECRET_ACCESS_KEY", secret.into()),
        ("AWS_PROFILE", String::new()),
        ("AWS_CONFIG_FILE", nowhere.clone()),
        ("AWS_SHARED_CREDENTIALS_FILE", nowhere),
    ];
    Job { environment, ..job.clone() }
}

/// What a bucket holds below a prefix, but for the ledger.
fn bucket(server: &S3Server, location: &str, signed: bool) -> Tree {
    if signed {
        set_credentials();
    }
    let endpoint = Some(server.endpoint.clone());
    let options = S3Options { endpoint, anonymous: Some(!signed), ..S3Options::default() };
    tree(&*open(location, &options).expect("a bucket"))
}

/// A server with synthetic cycles in its bucket `weather`, and what the jobs make of them in folders.
struct Scene {
    folder: tempfile::TempDir,
    server: S3Server,
    signed: bool,
}

impl Scene {
    fn new(cycles: u32, signed: bool) -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let server = S3Server::start(&folder.path().join("."), signed.then_some(KEYS));
        synthetic(&server.bucket("weather"), cycles, "0-1");
        server.bucket("results");
        Scene { folder, server, signed }
    }

    fn jobs(&self) -> Vec<Job> {
        jobs("s3://weather").iter().map(|job| at(&self.server, job, self.signed)).collect()
    }

    /// A job's results by way of folders alone.
    fn in_folders(&self, number: usize) -> Tree {
        let input = self.folder.path().join("weather");
        let output = self.folder.path().join(format!("folder{number}"));
        let job = &jobs(input.to_str().expect("a path"))[number];
        job.finish(output.to_str().expect("a path"), &self.report(), &[0]);
        tree(&store(&output))
    }

    fn report(&self) -> std::path::PathBuf {
        self.folder.path().join("report.json")
    }
}

/// Requests for data, by object of the input, whose paths begin with `input`.
fn reads<'a>(seen: &'a [Seen], input: &str) -> BTreeMap<&'a str, Vec<Option<&'a str>>> {
    let mut by_object: BTreeMap<&str, Vec<Option<&str>>> = BTreeMap::new();
    let objects = seen.iter().filter(|s| s.method == "GET" && s.path.starts_with(input));
    objects.for_each(|s| by_object.entry(&s.path).or_default().push(s.range.as_deref()));
    by_object
}

/// The length that `bytes=FIRST-LAST` asks for.
fn length(range: &str) -> u64 {
    let (first, last) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')).expect("a range");
    last.parse::<u64>().expect("a number") - first.parse::<u64>().expect("a number") + 1
}

#[test]
fn from_bucket_to_bucket_gives_the_bytes_of_folders_with_and_without_signatures() {
    for signed in [false, true] {
        let scene = Scene::new(5, signed);
        for (number, job) in scene.jobs().iter().enumerate() {
            let expected = scene.in_folders(number);
            let location = format!("s3://results/run/{number}");
            let first = job.finish(&location, &scene.report(), &[0]);
            let what = format!("{}, signed {signed}", job.pipeline);
            assert_same(&bucket(&scene.server, &location, signed), &expected, &what);
            let again = job.finish(&location, &scene.report(), &[0]);
            assert_eq!(again["fetched_objects"], 0, "{what}: {first}");
            assert_same(&bucket(&scene.server, &location, signed), &expected, &format!("{what}, again"));
        }
    }
}

#[test]
fn objects_with_an_index_are_read_by_range_and_never_whole() {
    let scene = Scene::new(3, false);
    let wanted = ["--set", "sources.hrrr.required=[\"t2m\"]", "--set", "sources.hrrr.optional=[]"];
    let job = scene.jobs()[0].with(&wanted).with(&["--set", "sources.hrrr.coalesce_kib=0"]);
    let report = job.finish("s3://results/ranged", &scene.report(), &[0]);
    let seen = scene.server.requests();
    let read = reads(&seen, "/weather/hrrr.");
    let input = store(&scene.server.bucket("weather"));
    let (mut asked, mut objects) = (0, 0);
    for meta in input.list("").expect("listed") {
        let ranges = &read[format!("/weather/{}", meta.key).as_str()];
        assert_eq!(ranges.len(), 1, "{}: one request each, {ranges:?}", meta.key);
        match (meta.key.ends_with(".idx"), ranges[0]) {
            (true, None) => asked += meta.size,
            (false, Some(range)) => {
                assert!(length(range) < meta.size / 3, "{}: {range} of {} bytes", meta.key, meta.size);
                (asked, objects) = (asked + length(range), objects + 1);
            }
            (_, range) => panic!("{}: read by {range:?}", meta.key),
        }
    }
    assert_eq!((&report["fetched_objects"], &report["fetched_bytes"]), (&objects.into(), &asked.into()));
}

#[test]
fn a_run_killed_while_it_writes_to_a_bucket_is_taken_up_again() {
    let scene = Scene::new(4, true);
    for (number, job) in scene.jobs().iter().enumerate() {
        let expected = scene.in_folders(number);
        let job = job.with(&["--set", "sources.hrrr.window_slots=1", "--workers", "2"]);
        let asked = || scene.server.requests().len();
        let before = asked();
        job.finish(&format!("s3://results/counted/{number}"), &scene.report(), &[0]);
        let (all, mut in_the_middle) = (asked() - before, 0);
        for kill in 1..=3 {
            let location = format!("s3://results/killed/{number}/{kill}");
            let (child, until) = (job.start(&location, &scene.report()), asked() + all * kill / 4);
            let begun = Instant::now();
            while asked() < until && begun.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(1));
            }
            let running = kill_after(child, Duration::ZERO);
            let part = bucket(&scene.server, &location, true);
            in_the_middle += u32::from(running && !flags(&part).is_empty());
            job.finish(&location, &scene.report(), &[0]);
            let what = format!("{}, killed after {kill} quarters of {all} requests", job.pipeline);
            assert_same(&bucket(&scene.server, &location, true), &expected, &what);
        }
        assert!(in_the_middle > 0, "{}: no kill came in the middle of a run", job.pipeline);
    }
}

#[test]
fn a_busy_server_is_asked_again_and_that_is_counted() {
    let scene = Scene::new(3, false);
    let job = &scene.jobs()[0];
    let expected = scene.in_folders(0);
    scene.server.be_busy(4);
    let report = job.finish("s3://results/busy", &scene.report(), &[0]);
    assert_eq!(report["retries"], 4);
    assert_same(&bucket(&scene.server, "s3://results/busy", false), &expected, "from a busy server");
}

/// Runs into a server that answers so many requests and then no more.
fn goes_away(scene: &Scene, job: &Job, output: &str, requests: usize) -> (Option<i32>, String, Duration) {
    scene.server.go_away_after(requests);
    let begun = Instant::now();
    let ended = wait(job.with(&PATIENCE).start(output, &scene.report()));
    scene.server.go_away_after(usize::MAX);
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned(), begun.elapsed())
}

#[test]
fn a_server_that_goes_away_ends_the_run_which_is_taken_up_when_it_is_back() {
    let scene = Scene::new(5, false);
    let folder = scene.folder.path().join("local");
    let expected = scene.in_folders(0);
    let input = scene.folder.path().join("weather");
    let reading = scene.jobs()[0].clone();
    let writing = at(&scene.server, &jobs(input.to_str().expect("a path"))[0], false);
    let cases = [(&reading, folder.to_str().expect("a path"), 12), (&writing, "s3://results/away", 60)];
    for (job, output, requests) in cases {
        for answered in [0, requests] {
            let (code, errors, took) = goes_away(&scene, job, output, answered);
            assert_eq!(code, Some(2), "{output}, {answered}: {errors}");
            assert!(errors.contains("s3://") && errors.contains("tried"), "{errors}");
            assert!(took < Duration::from_secs(60), "{output}, {answered}: {took:?}");
        }
        let report = job.finish(output, &scene.report(), &[0]);
        assert_eq!(report["rejects"].as_array().map(Vec::len), Some(0), "{report}");
    }
    assert_same(&tree(&store(Path::new(&folder))), &expected, "read from a server that went away");
    assert_same(&bucket(&scene.server, "s3://results/away", false), &expected, "written to a server that went away");
}

/// A SEVIR of [`STORMS`]: radar in one run of bytes, infrared frames packed each by itself, and flashes.
fn storms(input: &Path) {
    let ids = STORMS.map(|(id, _)| id);
    let file = |modality: Modality| input.join(format!("data/{modality}/2019/SEVIR.h5"));
    let noise = |event: usize, y: usize, x: usize, frame: usize| {
        let place = ((event * FRAMES + frame) * 384 + y) * 384 + x;
        (place as u32).wrapping_mul(0x9E37_79B1) >> 18
    };
    write_dense(&file(Modality::Vil), Modality::Vil, &ids, |e, y, x, t| noise(e, y, x, t) as u8);
    write_packed(&file(Modality::Ir107), Modality::Ir107, &ids, |e, y, x, t| noise(e, y, x, t) as i16 - 8000);
    let point = |k: u32| [f64::from(k) * 37.0 - 7300.0, 38.0, -98.0, f64::from(k % 48), f64::from(k % 47)];
    let points: Vec<[f64; 5]> = (0..400).map(point).collect();
    let tables: Vec<(&str, &[[f64; 5]])> = ids.iter().map(|id| (*id, points.as_slice())).collect();
    write_points(&file(Modality::Lght), &tables);
    let all = [Modality::Vil, Modality::Ir107, Modality::Lght].map(|modality| {
        let line = move |(row, (id, time)): (usize, &(&str, &str))| Line::new(id, time, modality, row);
        STORMS.iter().enumerate().map(line).collect::<Vec<Line>>()
    });
    std::fs::write(input.join("CATALOG.csv"), catalog(&all.concat())).expect("a catalogue");
}

/// The events of 2019, small, a shard each.
fn storms_of_2019(input: &str) -> Job {
    let set = [
        "sources.sevir.modalities=[\"vil\", \"ir107\", \"lght\"]",
        "sources.sevir.years=2019",
        "sources.sevir.shard_events=1",
        "transforms.resized.size=96",
    ];
    let more: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
    Job::new("sevir_backfill", input, &more).with(&["--workers", "2"])
}

#[test]
fn storm_events_are_stored_as_from_a_folder_and_only_those_wanted_are_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = S3Server::start(&folder.path().join("."), None);
    let (input, local, report) =
        (server.bucket("storms"), folder.path().join("local"), folder.path().join("report.json"));
    server.bucket("results");
    storms(&input);
    let text = |path: &Path| path.to_str().expect("a path").to_string();
    let from_folder = storms_of_2019(&text(&input)).finish(&text(&local), &report, &[0]);
    let job = at(&server, &storms_of_2019("s3://storms"), false);
    let told = job.finish("s3://results/storms", &report, &[0]);
    assert_eq!((&told["events"], &told["read_bytes"]), (&2.into(), &from_folder["read_bytes"]));
    assert_same(&bucket(&server, "s3://results/storms", false), &tree(&store(&local)), "from a bucket");
    let seen = server.requests();
    let fetched = reads(&seen, "/storms/data/");
    assert_eq!(fetched.len(), 3, "{:?}", fetched.keys());
    for (path, ranges) in &fetched {
        let size = std::fs::metadata(folder.path().join(&path[1..])).expect("a file").len();
        let lengths: Vec<u64> = ranges.iter().map(|range| length(range.expect("never whole"))).collect();
        // Two events of six, and what says where they lie.
        let (asked, structure) = (lengths.iter().sum::<u64>(), 1 << 20);
        assert!(asked < size / 3 + structure, "{path}: {asked} of {size} bytes");
        if path.starts_with("/storms/data/vil/") {
            let event = (384 * 384 * FRAMES) as u64;
            assert_eq!(lengths.iter().filter(|length| **length == event).count(), 2, "a request an event");
        }
    }
    let again = job.finish("s3://results/storms", &report, &[0]);
    assert_eq!((&again["shards_committed_before"], &again["read_bytes"]), (&2.into(), &0.into()));
    assert_eq!(reads(&server.requests()[seen.len()..], "/storms/data/").len(), 0, "a second run fetches nothing");
}
