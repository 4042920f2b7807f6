//! The endpoint over real HTTP, and that names, helps and the dashboard agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use gustfront::domain::{Lead, Moment};
use gustfront::telemetry::{Health, Metrics, TelemetryError, metrics, serve, serve_with};

/// Any free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What a metric name may end in: a base unit, a count, a ratio, or a plain number of things.
const ENDINGS: [&str; 8] = ["_total", "_seconds", "_ratio", "_bytes", "_info", "_depth", "_capacity", "_score"];

#[test]
fn a_scrape_is_valid_exposition_with_help_for_every_sample() {
    fill(metrics());
    let endpoint = serve(ANY_PORT).unwrap();
    let (status, head, body) = get(endpoint.address(), "/metrics");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let families = parse(&body);
    for (name, _) in metrics().descriptions() {
        let family = families.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not served"));
        assert!(family.samples > 0 && !family.help.is_empty(), "{name}");
    }
}

#[test]
fn the_scrape_shows_what_was_counted() {
    metrics().passed("scrape test", 2, 3, 5000);
    metrics().time("scrape test").stop_and_record();
    let endpoint = serve(ANY_PORT).unwrap();
    let (_, _, body) = get(endpoint.address(), "/metrics");
    for line in [
        "gustfront_messages_total{stage=\"scrape test\"} 2",
        "gustfront_fields_total{stage=\"scrape test\"} 3",
        "gustfront_bytes_total{stage=\"scrape test\"} 5000",
        "gustfront_stage_seconds_bucket{stage=\"scrape test\",le=\"30\"} 1",
        "gustfront_stage_seconds_count{stage=\"scrape test\"} 1",
    ] {
        assert!(body.lines().any(|l| l == line), "no `{line}` in\n{body}");
    }
}

#[test]
fn freshness_is_the_age_at_the_time_of_the_scrape() {
    let metrics = Metrics::new().unwrap();
    let freshness = || value(&metrics.text().unwrap(), "gustfront_freshness_seconds");
    assert!(freshness().is_nan());
    metrics.complete_cycle(Moment(Moment::now().0 - 100));
    let first = freshness();
    assert!((100.0..160.0).contains(&first), "{first}");
    std::thread::sleep(Duration::from_millis(2100));
    assert!(freshness() >= first + 1.0);
}

#[test]
fn names_follow_the_conventions() {
    for (name, help) in Metrics::new().unwrap().descriptions() {
        assert!(name.starts_with("gustfront_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(ENDINGS.iter().any(|e| name.ends_with(e)), "{name}: no base unit, `_total` or `_ratio` at the end");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: `{help}` is no sentence");
    }
}

#[test]
fn counters_alone_end_in_total() {
    let metrics = Metrics::new().unwrap();
    fill(&metrics);
    for (name, family) in parse(&metrics.text().unwrap()) {
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
    }
}

#[test]
fn ready_only_after_the_first_listing() {
    let health: &'static Health = Box::leak(Box::new(Health::new(Duration::from_secs(60))));
    let endpoint = serve_with(ANY_PORT, health).unwrap();
    let (status, _, body) = get(endpoint.address(), "/readyz");
    assert_eq!((status, body.contains("not ready")), (503, true), "{body}");
    assert_eq!(get(endpoint.address(), "/healthz").0, 200);
    health.set_ready();
    assert_eq!(get(endpoint.address(), "/readyz").0, 200);
}

#[test]
fn unhealthy_once_the_workers_fall_silent() {
    let health: &'static Health = Box::leak(Box::new(Health::new(Duration::from_secs(2))));
    let endpoint = serve_with(ANY_PORT, health).unwrap();
    assert_eq!(get(endpoint.address(), "/healthz").0, 200);
    std::thread::sleep(Duration::from_millis(2100));
    let (status, _, body) = get(endpoint.address(), "/healthz");
    assert_eq!((status, body.contains("no worker has made progress")), (503, true), "{body}");
    health.beat();
    assert_eq!(get(endpoint.address(), "/healthz").0, 200);
}

#[test]
fn a_taken_port_is_named_and_a_dropped_endpoint_frees_it() {
    let endpoint = serve(ANY_PORT).unwrap();
    let address = endpoint.address();
    let idle = TcpStream::connect(address).unwrap();
    let error = serve(address).unwrap_err();
    assert!(matches!(error, TelemetryError::Listen { address: a, .. } if a == address));
    assert!(
        error.to_string().contains(&address.to_string()) && error.to_string().contains("expected a free"),
        "{error}"
    );
    drop(endpoint);
    drop(idle);
    assert!(TcpStream::connect(address).is_err(), "still listening on {address}");
}

#[test]
fn other_pages_are_not_found() {
    let endpoint = serve(ANY_PORT).unwrap();
    assert_eq!(get(endpoint.address(), "/secrets").0, 404);
}

#[test]
fn the_dashboard_names_only_metrics_that_exist_and_misses_none() {
    let metrics = Metrics::new().unwrap();
    let known: BTreeSet<&str> = metrics.descriptions().iter().map(|(name, _)| name.as_str()).collect();
    let text = fs::read_to_string("config/grafana/dashboard.json").unwrap();
    let mut expressions = Vec::new();
    collect(&serde_json::from_str(&text).unwrap(), &mut expressions);
    let named: BTreeSet<&str> = expressions.iter().flat_map(|e| metric_names(e)).collect();
    assert_eq!(named, known);
}

#[test]
fn prometheus_scrapes_the_address_that_is_served_by_default() {
    let text = fs::read_to_string("config/prometheus/prometheus.yml").unwrap();
    let targets: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("- targets:")).map(str::trim).collect();
    assert_eq!(targets, [format!("[\"{}\"]", gustfront::telemetry::DEFAULT_ADDRESS)]);
    assert!(text.lines().any(|l| l.trim() == "metrics_path: /metrics"));
}

/// Gives every metric a value.
fn fill(metrics: &Metrics) {
    metrics.fetched_bytes.inc();
    metrics.passed("decode", 1, 1, 10);
    metrics.queue("decoded", 3, 8);
    metrics.time("decode").stop_and_record();
    metrics.completed("archive", 1, 2);
    metrics.complete_cycle(Moment::now());
    metrics.scored("t2m", Lead::hours(1), "mae", 0.5);
    metrics.scored_at("refc", Lead::hours(1), "csi", 35.0, 0.25);
    metrics.qc_values.with_label_values(&["t2m", "range"]).inc();
    for counter in [&metrics.written_bytes, &metrics.slots, &metrics.retries] {
        counter.with_label_values(&["a \"quoted\" \\ name"]).inc();
    }
    metrics.device_memory.with_label_values(&["cuda:0", "held"]).set(1 << 20);
    metrics.device_kernel_seconds.with_label_values(&["cuda:0", "fields"]).inc_by(0.5);
    metrics.device_launches.with_label_values(&["cuda:0", "fields"]).inc();
    for counter in [&metrics.device_copies, &metrics.device_copied_bytes] {
        counter.with_label_values(&["cuda:0", "up"]).inc();
    }
    for counter in [&metrics.rejected_messages, &metrics.rejected_objects] {
        counter.with_label_values(&["truncated"]).inc();
    }
}

#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    samples: usize,
}

/// Reads the text format line by line; every sample must follow the HELP and TYPE of its family.
fn parse(text: &str) -> BTreeMap<&str, Family> {
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name).or_default().help = help.into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            families.entry(name).or_default().kind = kind.into();
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("`{line}` has no value"));
            number.parse::<f64>().unwrap_or_else(|_| panic!("`{line}`: `{number}` is no number"));
            let name = series.split('{').next().unwrap();
            let family = family_of(name, &mut families).unwrap_or_else(|| panic!("`{line}` has no HELP and TYPE"));
            family.samples += 1;
        }
    }
    families
}

fn family_of<'a>(name: &str, families: &'a mut BTreeMap<&str, Family>) -> Option<&'a mut Family> {
    let key = base(name, |n| families.contains_key(n));
    families.get_mut(key).filter(|f| !f.kind.is_empty() && !f.help.is_empty())
}

/// The name of a sample without the endings a histogram adds.
fn base(name: &str, known: impl Fn(&str) -> bool) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    if known(name) { name } else { parts.iter().find_map(|p| name.strip_suffix(p)).unwrap_or(name) }
}

/// The value of a sample without labels.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

/// Every `expr` of a dashboard.
fn collect(value: &serde_json::Value, expressions: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            expressions.extend(map.get("expr").and_then(|e| e.as_str()).map(String::from));
            map.values().for_each(|v| collect(v, expressions));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|v| collect(v, expressions)),
        _ => {}
    }
}

/// The metrics of this program in a PromQL expression.
fn metric_names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|w| w.starts_with("gustfront_")).map(|w| base(w, |_| false))
}

/// One HTTP request: status, headers, body.
fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "the body is read as it is: {head}");
    (status, head.to_string(), body.to_string())
}

#[test]
fn listeners_of_others_are_not_disturbed() {
    let other = TcpListener::bind(ANY_PORT).unwrap();
    let error = serve(other.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, TelemetryError::Listen { .. }));
    assert!(TcpStream::connect(other.local_addr().unwrap()).is_ok());
}
