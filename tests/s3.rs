//! One list of behaviours, kept by folders and buckets alike; and what only a network can do to a bucket.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::s3_server::{KEYS, S3Server, set_credentials};
use common::scripted_server::{Reply, SLOW_DOWN, ScriptedServer};
use gustfront::storage::{FileStore, Ledger, ObjectStore, Retry, S3Options, S3Store, StorageError, get_ranges, open};
use gustfront::telemetry::metrics;

/// The default retries with waits that suit a test.
const FAST: Retry = Retry {
    tries: 6,
    first_wait: Duration::from_millis(5),
    longest_wait: Duration::from_millis(20),
    in_all: Duration::from_secs(20),
    patience: Duration::from_secs(10),
};

fn anonymous(endpoint: &str) -> S3Options {
    S3Options { endpoint: Some(endpoint.to_string()), anonymous: Some(true), ..S3Options::default() }
}

fn signed(endpoint: &str) -> S3Options {
    set_credentials();
    S3Options { anonymous: Some(false), ..anonymous(endpoint) }
}

/// A store at a server that answers by script.
fn scripted(replies: &[Reply], retry: Retry) -> (ScriptedServer, S3Store) {
    let server = ScriptedServer::start(replies);
    let store = S3Store::open("s3://bucket", &anonymous(&server.endpoint), retry).unwrap();
    (server, store)
}

fn keys(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|o| o.key).collect()
}

fn put_all(store: &dyn ObjectStore, keys: &[&str]) {
    keys.iter().for_each(|key| store.put(key, Bytes::copy_from_slice(key.as_bytes())).unwrap());
}

type Behaviour = (&'static str, fn(&dyn ObjectStore));

/// What every store does, each on an empty one.
const BEHAVIOURS: [Behaviour; 7] = [
    ("an empty store lists nothing and has nothing", |store| {
        assert!(store.list("").unwrap().is_empty());
        assert!(store.list_folders("").unwrap().is_empty());
        assert_eq!(store.head("a/b").unwrap(), None);
        assert_eq!(store.get("a/b").unwrap(), None);
        assert!(matches!(store.get_range("a/b", 0..3), Err(StorageError::NotFound { .. })));
        assert!(matches!(store.get_range("a/b", 0..0), Err(StorageError::NotFound { .. })));
        store.delete("a/b").unwrap();
    }),
    ("what is put is got, and put again is replaced", |store| {
        let large: Bytes = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for content in [Bytes::from_static(b"first"), Bytes::new(), large] {
            store.put("folder/a name.bin", content.clone()).unwrap();
            assert_eq!(store.get("folder/a name.bin").unwrap().unwrap(), content);
            let meta = store.head("folder/a name.bin").unwrap().unwrap();
            assert_eq!((meta.key.as_str(), meta.size), ("folder/a name.bin", content.len() as u64));
            assert_eq!(store.list("").unwrap()[0].size, content.len() as u64);
        }
        store.delete("folder/a name.bin").unwrap();
        assert_eq!(store.get("folder/a name.bin").unwrap(), None);
        assert!(store.list("").unwrap().is_empty());
    }),
    ("an etag changes with the content", |store| {
        let etag = |content: &'static str| {
            store.put("x", Bytes::from_static(content.as_bytes())).unwrap();
            store.head("x").unwrap().unwrap().etag
        };
        let (one, two) = (etag("one"), etag("three"));
        assert!(!one.is_empty() && one != two && !one.contains('"'), "{one} {two}");
        assert_eq!(store.head("x").unwrap().unwrap().etag, two);
    }),
    ("a listing is sorted and goes by the beginning of the key", |store| {
        let all =
            ["hrrr.1/conus/b.idx", "hrrr.1/conus/a", "hrrr.10/x", "hrrr.1/conus.txt", "readme", "hrrr.1/conus/ab"];
        put_all(store, &all);
        let mut sorted = all.map(str::to_string);
        sorted.sort();
        assert_eq!(keys(store, ""), sorted);
        assert_eq!(keys(store, "hrrr.1/conus/"), ["hrrr.1/conus/a", "hrrr.1/conus/ab", "hrrr.1/conus/b.idx"]);
        assert_eq!(keys(store, "hrrr.1/conus/a"), ["hrrr.1/conus/a", "hrrr.1/conus/ab"]);
        assert_eq!(keys(store, "hrrr.1/c").len(), 4);
        assert_eq!(keys(store, "hrrr.1").len(), 5);
        assert!(
            keys(store, "hrrr.2").is_empty() && keys(store, "readme/").is_empty() && keys(store, "no/such").is_empty()
        );
    }),
    ("folders are listed one level at a time", |store| {
        put_all(store, &["hrrr.1/conus/a", "hrrr.1/alaska/a", "hrrr.2/conus/a", "other/x", "file"]);
        assert_eq!(store.list_folders("").unwrap(), ["hrrr.1/", "hrrr.2/", "other/"]);
        assert_eq!(store.list_folders("hrrr.").unwrap(), ["hrrr.1/", "hrrr.2/"]);
        assert_eq!(store.list_folders("hrrr.1").unwrap(), ["hrrr.1/"]);
        assert_eq!(store.list_folders("hrrr.1/").unwrap(), ["hrrr.1/alaska/", "hrrr.1/conus/"]);
        assert!(store.list_folders("hrrr.1/conus/").unwrap().is_empty());
        assert!(store.list_folders("nowhere/").unwrap().is_empty());
    }),
    ("a range is exact or an error", |store| {
        store.put("digits", Bytes::from_static(b"0123456789")).unwrap();
        assert_eq!(store.get_range("digits", 0..10).unwrap(), "0123456789");
        assert_eq!(store.get_range("digits", 3..7).unwrap(), "3456");
        assert_eq!(store.get_range("digits", 9..10).unwrap(), "9");
        assert_eq!(store.get_range("digits", 4..4).unwrap(), "");
        let end = u64::MAX;
        let beyond = [(8..12, 2), (0..11, 10), (10..11, 0), (50..60, 0), (20..20, 0), (5..end, 5), (end - 1..end, 0)];
        for (range, answered) in beyond {
            match store.get_range("digits", range.clone()) {
                Err(StorageError::Short { got, range: said, .. }) => assert_eq!((got, said), (answered, range)),
                other => panic!("{range:?}: {other:?}"),
            }
        }
        let (from, to) = (7, 3);
        assert!(matches!(store.get_range("digits", from..to), Err(StorageError::Short { .. })));
        let read = get_ranges(store, "digits", &[8..10, 0..2, 3..4], 1).unwrap();
        assert_eq!(read, ["89", "01", "3"]);
    }),
    ("no key leaves the store", |store| {
        for key in ["", "/a", "a/", "a//b", "../a", "a/../../b", "./a", ".partial/x"] {
            let refused = |answer: Result<(), StorageError>| matches!(answer, Err(StorageError::Key { .. }));
            assert!(refused(store.put(key, Bytes::new())), "{key}");
            assert!(refused(store.get(key).map(drop)) && refused(store.head(key).map(drop)), "{key}");
            assert!(refused(store.get_range(key, 0..1).map(drop)) && refused(store.delete(key)), "{key}");
        }
        for prefix in ["/", "../", "a//", "a/../b/"] {
            assert!(matches!(store.list(prefix), Err(StorageError::Key { .. })), "{prefix}");
            assert!(matches!(store.list_folders(prefix), Err(StorageError::Key { .. })), "{prefix}");
        }
        assert!(store.list("").unwrap().is_empty());
    }),
];

#[test]
fn folders_behave() {
    for (name, behaviour) in BEHAVIOURS {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        behaviour(&FileStore::new(folder.path().join("store").to_str().unwrap()));
    }
}

fn buckets_behave(server: &S3Server, options: &S3Options) {
    for (number, (name, behaviour)) in BEHAVIOURS.into_iter().enumerate() {
        println!("{name}");
        let store = |location: String| S3Store::open(&location, options, FAST).unwrap();
        server.bucket(&format!("whole-{number}"));
        behaviour(&store(format!("s3://whole-{number}")));
        server.bucket(&format!("shared-{number}"));
        put_all(&store(format!("s3://shared-{number}")), &["other", "pre/a", "pre/fix.txt"]);
        behaviour(&store(format!("s3://shared-{number}/pre/fix")));
    }
}

#[test]
fn buckets_behave_without_credentials() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), None);
    buckets_behave(&server, &anonymous(&server.endpoint));
}

#[test]
fn buckets_behave_with_credentials() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), Some(KEYS));
    buckets_behave(&server, &signed(&server.endpoint));
}

#[test]
fn a_long_listing_comes_whole() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), None);
    let bucket = server.bucket("bucket");
    let names: Vec<String> = (0..1234).map(|n| format!("{n:04}")).collect();
    for name in &names {
        fs::create_dir_all(bucket.join("folders").join(name)).unwrap();
        fs::write(bucket.join("folders").join(name).join("x"), name).unwrap();
        fs::write(bucket.join(name), name).unwrap();
    }
    let begun = Instant::now();
    let options = anonymous(&server.endpoint);
    for store in [open("s3://bucket", &options).unwrap(), open(bucket.to_str().unwrap(), &options).unwrap()] {
        let listed = keys(&*store, "");
        assert_eq!(listed.len(), 2 * names.len());
        assert_eq!(listed[..names.len()], names);
        assert_eq!(keys(&*store, "1").len(), 234);
        let folders = store.list_folders("folders/").unwrap();
        assert_eq!(folders, names.iter().map(|n| format!("folders/{n}/")).collect::<Vec<_>>());
        println!("{}: {:?}", store.location(), begun.elapsed());
    }
}

#[test]
fn who_may_not_read_is_told_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), Some(KEYS));
    fs::write(server.bucket("bucket").join("object"), "secret").unwrap();
    let store = S3Store::open("s3://bucket/", &anonymous(&server.endpoint), FAST).unwrap();
    for (action, error) in [
        ("cannot read `object`", store.get("object").unwrap_err()),
        ("cannot list ``", store.list("").unwrap_err()),
        ("cannot write `new`", store.put("new", Bytes::new()).unwrap_err()),
    ] {
        let text = error.to_string();
        println!("{text}");
        for part in ["s3://bucket/:", action, "(1 tried)", "AccessDenied", "AWS_ACCESS_KEY_ID", "`anonymous = true`"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    let signed = S3Store::open("s3://bucket", &signed(&server.endpoint), FAST).unwrap();
    assert_eq!(signed.get("object").unwrap().unwrap(), "secret");
}

#[test]
fn a_missing_bucket_is_no_empty_one() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), None);
    let store = S3Store::open("s3://nowhere", &anonymous(&server.endpoint), FAST).unwrap();
    let text = store.list("").unwrap_err().to_string();
    assert!(text.contains("NoSuchBucket") && text.contains("check the bucket's name"), "{text}");
}

#[test]
fn throttling_breaks_and_silence_are_overcome() {
    let whole = Reply::Whole("200 OK", "etag: \"e\"\r\n", "0123456789");
    let silence = Reply::Silence(Duration::from_secs(3));
    let hurry = Retry { patience: Duration::from_millis(400), ..FAST };
    let cases: [(&str, Vec<Reply>, Retry); 7] = [
        ("throttled twice", vec![SLOW_DOWN, SLOW_DOWN], FAST),
        ("too many requests", vec![Reply::Whole("429 Too Many Requests", "", "")], FAST),
        ("server error", vec![Reply::Whole("500 Internal Server Error", "", "")], FAST),
        ("cut in the body", vec![Reply::Cut("01234", 10), Reply::Cut("", 10)], FAST),
        ("hung up", vec![Reply::HangUp, Reply::HangUp], FAST),
        ("silent", vec![silence], hurry),
        ("all of it", vec![Reply::HangUp, SLOW_DOWN, Reply::Cut("0", 10), Reply::HangUp, SLOW_DOWN], FAST),
    ];
    for (name, failures, retry) in cases {
        for ranged in [false, true] {
            let retries = || metrics().retries.with_label_values(&["s3://bucket"]).get();
            let before = retries();
            let (server, store) = scripted(&[&failures[..], std::slice::from_ref(&whole)].concat(), retry);
            let read = match ranged {
                false => store.get("object").map(Option::unwrap),
                true => store.get_range("object", 0..10),
            };
            assert_eq!(read.unwrap_or_else(|e| panic!("{name}: {e}")), "0123456789", "{name}");
            assert_eq!(server.requests().len(), failures.len() + 1, "{name}");
            assert!(retries() >= before + failures.len() as u64, "{name}");
        }
    }
}

#[test]
fn a_body_that_stalls_is_given_up() {
    // The server keeps the connection open after half of the body.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            use std::io::{Read, Write};
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234");
            open.push(socket);
        }
    });
    let retry = Retry { tries: 2, patience: Duration::from_millis(500), ..FAST };
    let store = S3Store::open("s3://bucket", &anonymous(&endpoint), retry).unwrap();
    let begun = Instant::now();
    let text = store.get("object").unwrap_err().to_string();
    assert!(text.contains("(2 tried)") && text.contains("broke off"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn throttling_without_end_ends() {
    let (server, store) = scripted(&[SLOW_DOWN], FAST);
    let text = store.get("object").unwrap_err().to_string();
    assert!(text.contains("(6 tried)") && text.contains("SlowDown: Please reduce"), "{text}");
    assert!(text.contains("the server throttles"), "{text}");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn refusals_and_absences_are_not_tried_again() {
    let moved = Reply::Whole("301 Moved Permanently", "x-amz-bucket-region: eu-west-3\r\n", "");
    let forbidden = Reply::Whole("403 Forbidden", "", "<Error><Code>AccessDenied</Code><Message>No</Message></Error>");
    for (reply, expected) in [(moved, "region = \"eu-west-3\""), (forbidden, "AccessDenied: No (HTTP 403)")] {
        let (server, store) = scripted(&[reply], FAST);
        let text = store.get("object").unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert_eq!(server.requests().len(), 1);
    }
    let (server, store) = scripted(&[Reply::Whole("404 Not Found", "", "")], FAST);
    assert_eq!(store.get("object").unwrap(), None);
    assert_eq!(store.head("object").unwrap(), None);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_ignores_ranges_is_found_out() {
    let (_server, store) = scripted(&[Reply::Whole("200 OK", "", "0123456789")], FAST);
    for range in [2..5, 5..15, 0..9] {
        let answer = store.get_range("object", range.clone());
        assert!(matches!(answer, Err(StorageError::Short { got: 10, .. })), "{range:?}: {answer:?}");
    }
}

#[test]
fn a_listing_that_cannot_go_on_is_an_error() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>";
    let (_server, store) = scripted(&[Reply::Whole("200 OK", "content-type: application/xml\r\n", page)], FAST);
    let text = store.list("").unwrap_err().to_string();
    assert!(text.contains("goes on, but not where"), "{text}");
}

#[test]
fn an_endpoint_that_is_not_there_is_given_up_soon() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let store = S3Store::open("s3://bucket", &anonymous(&gone), Retry { tries: 16, ..FAST }).unwrap();
    let text = store.list("").unwrap_err().to_string();
    assert!(text.contains("(4 tried)") && text.contains("endpoint's address"), "{text}");
    for wrong in ["localhost:9000", "http://", "ftp://x", "http://a b"] {
        let text = S3Store::open("s3://bucket", &anonymous(wrong), FAST).unwrap_err().to_string();
        assert!(text.contains(wrong) && text.contains("expected http://host:port"), "{text}");
    }
}

#[test]
fn many_threads_share_a_store() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), None);
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(server.bucket("bucket").join("object"), &content).unwrap();
    let store = open("s3://bucket", &anonymous(&server.endpoint)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (store, content) = (&store, &content);
            scope.spawn(move || {
                for part in 0..10 {
                    let start = thread * 100_000 + part * 9_973;
                    let read = store.get_range("object", start..start + 5_000).unwrap();
                    assert_eq!(read[..], content[start as usize..start as usize + 5_000]);
                }
            });
        }
    });
}

#[test]
fn a_ledger_in_a_bucket_loads_fast() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), None);
    server.bucket("bucket");
    let objects = open("s3://bucket/run", &anonymous(&server.endpoint)).unwrap();
    let ledger = Ledger::new(objects.clone(), "ledger");
    let units: BTreeMap<String, u32> = (0..300).map(|n| (format!("archive/{:04}/f{:02}", n / 10, n % 10), n)).collect();
    units.iter().for_each(|(unit, n)| ledger.commit(unit, n).unwrap());
    ledger.commit("archive/0000/f00", &0).unwrap();
    ledger.commit("archive/0000/f01", &99).unwrap();
    let begun = Instant::now();
    let mut loaded = ledger.load::<u32>("archive/").unwrap();
    println!("{} records in {:?}", loaded.len(), begun.elapsed());
    assert_eq!(loaded.insert("archive/0000/f01".to_string(), 1), Some(99));
    assert_eq!(loaded, units);
    assert_eq!(objects.list("").unwrap().len(), 301);
}

fn link(to: impl AsRef<Path>, at: impl AsRef<Path>) {
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn links_and_odd_files_do_not_surprise() {
    let parent = tempfile::tempdir().unwrap();
    let (root, outside) = (parent.path().join("root"), parent.path().join("outside"));
    fs::create_dir_all(root.join("a/empty")).unwrap();
    fs::create_dir_all(outside.join("day")).unwrap();
    fs::write(root.join("a/x"), "x").unwrap();
    fs::write(outside.join("day/y"), "y").unwrap();
    link(outside.join("day"), root.join("linked"));
    link(outside.join("day/y"), root.join("y"));
    link(&root, root.join("a/loop"));
    link("gone", root.join("dangling"));
    link("itself", root.join("itself"));
    // Two links that lead into each other's folders.
    link(&root, outside.join("day/back"));
    let pipe = std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap();
    assert!(pipe.success());
    fs::write(root.join("back\\slash"), "no key").unwrap();
    fs::create_dir_all(root.join(".partial")).unwrap();
    fs::write(root.join(".partial/1-1"), "half").unwrap();
    let store = Arc::new(FileStore::new(root.to_str().unwrap()));
    assert_eq!(keys(&*store, ""), ["a/x", "linked/y", "y"]);
    assert_eq!(keys(&*store, "linked/"), ["linked/y"]);
    assert_eq!(store.list_folders("").unwrap(), ["a/", "linked/"]);
    assert_eq!(store.list_folders("a/").unwrap(), Vec::<String>::new());
    assert_eq!(store.get("pipe").unwrap(), None);
    assert_eq!((store.get("a").unwrap(), store.get("y").unwrap().unwrap()), (None, Bytes::from_static(b"y")));
    store.put("y", Bytes::from_static(b"new")).unwrap();
    assert_eq!(fs::read(outside.join("day/y")).unwrap(), b"y", "a put replaces a link, not what it leads to");
    assert!(matches!(store.put("a", Bytes::new()), Err(StorageError::File { .. })), "a folder is in the way");
    assert!(matches!(store.put("y/z", Bytes::new()), Err(StorageError::File { .. })), "a file is in the way");
    assert_eq!(fs::read_dir(root.join(".partial")).unwrap().count(), 1, "failed puts leave nothing behind");
    store.clear_partial().unwrap();
    assert!(!root.join(".partial").exists());
}
