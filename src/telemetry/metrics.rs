//! Every metric of the program, with its help and unit.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::TelemetryError;
use crate::domain::{Lead, Moment};

/// Upper bounds of the latency buckets in seconds: from one small message to one slow object.
const STAGE_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    // Cannot fail: names, labels and buckets are the literals below, which a test registers.
    METRICS.get_or_init(|| Metrics::new().expect("every metric has one valid name"))
}

/// One field a metric; labels in the order in which they are listed.
#[derive(Debug)]
pub struct Metrics {
    /// Bytes read from object stores.
    pub fetched_bytes: IntCounter,
    /// Bytes written by each sink: `sink`.
    pub written_bytes: IntCounterVec,
    /// GRIB messages that passed a stage: `stage`.
    pub messages: IntCounterVec,
    /// Fields that passed a stage: `stage`.
    pub fields: IntCounterVec,
    /// Bytes that passed a stage: `stage`.
    pub bytes: IntCounterVec,
    /// Items waiting in a queue: `queue`.
    pub queue_depth: IntGaugeVec,
    /// Items a queue can hold: `queue`.
    pub queue_capacity: IntGaugeVec,
    /// Time one item spends in a stage, in seconds: `stage`.
    pub stage_seconds: HistogramVec,
    /// Cycle time of the newest cycle that is complete, in seconds since 1970; 0 before the first.
    pub newest_complete_cycle: IntGauge,
    /// Age of that cycle in seconds at the time of the scrape; NaN before the first.
    pub freshness: Gauge,
    /// Complete slots over expected slots: `pipeline`.
    pub completeness: GaugeVec,
    /// Slots by how they ended: `state` is `published`, `partial` or `missing`.
    pub slots: IntCounterVec,
    /// Operations on an object store that were tried again: `store`.
    pub retries: IntCounterVec,
    /// Messages kept out: `reason`.
    pub rejected_messages: IntCounterVec,
    /// Objects kept out: `reason`.
    pub rejected_objects: IntCounterVec,
    /// Values that quality control set missing: `variable`, `reason`.
    pub qc_values: IntCounterVec,
    /// Scores pooled over the cases of this run: `variable`, `lead_hours`, `score` (`mae`, `rmse`, `bias`), in the variable's units.
    pub score: GaugeVec,
    /// Pooled scores at a threshold: `variable`, `lead_hours`, `score` (`csi`, `pod`, `far`), `threshold`.
    pub threshold_score: GaugeVec,
    /// Memory of a device: `device`, `state` is `held` by this program or `free`.
    pub device_memory: IntGaugeVec,
    /// Time in a device's kernels, in seconds: `device`, `family`.
    pub device_kernel_seconds: CounterVec,
    /// Launches of a device's kernels: `device`, `family`.
    pub device_launches: IntCounterVec,
    /// Copies between host and device: `device`, `direction` is `up` or `down`.
    pub device_copies: IntCounterVec,
    /// Bytes of these copies: `device`, `direction`.
    pub device_copied_bytes: IntCounterVec,
    /// Always 1: `version`.
    pub build_info: IntGaugeVec,
    registry: Registry,
    descriptions: Vec<(String, String)>,
    watched: Watched,
}

/// Brings metrics up to date before they are told; `false` once there is nothing left to watch.
pub type Watch = Box<dyn FnMut(&Metrics) -> bool + Send>;

#[derive(Default)]
struct Watched(Mutex<Vec<Watch>>);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Metrics {
    /// A fresh set, all at zero, in a registry of its own.
    ///
    /// # Errors
    /// [`TelemetryError::Exposition`] where two metrics share a name or a name is malformed.
    #[rustfmt::skip] // one metric a line
    pub fn new() -> Result<Self, TelemetryError> {
        let mut r = Registrar::default();
        let metrics = Self {
            fetched_bytes: r.counter("gustfront_fetched_bytes_total", "Bytes read from object stores.")?,
            written_bytes: r.counters("gustfront_written_bytes_total", "Bytes written, by sink.", &["sink"])?,
            messages: r.counters("gustfront_messages_total", "Messages that passed a stage.", &["stage"])?,
            fields: r.counters("gustfront_fields_total", "Fields that passed a stage.", &["stage"])?,
            bytes: r.counters("gustfront_bytes_total", "Bytes that passed a stage.", &["stage"])?,
            queue_depth: r.int_gauges("gustfront_queue_depth", "Items waiting in a queue.", &["queue"])?,
            queue_capacity: r.int_gauges("gustfront_queue_capacity", "Items a queue can hold.", &["queue"])?,
            stage_seconds: r.histograms("gustfront_stage_seconds", "Time one item spends in a stage, in seconds.", &["stage"])?,
            newest_complete_cycle: r.int_gauge("gustfront_newest_complete_cycle_timestamp_seconds", "Time of the newest complete cycle, in seconds since 1970; 0 before the first.")?,
            freshness: r.gauge("gustfront_freshness_seconds", "Age of the newest complete cycle when scraped, in seconds; NaN before the first.")?,
            completeness: r.gauges("gustfront_completeness_ratio", "Complete slots over expected slots, 0 to 1.", &["pipeline"])?,
            slots: r.counters("gustfront_slots_total", "Slots by how they ended: published, partial or missing.", &["state"])?,
            retries: r.counters("gustfront_retries_total", "Operations on an object store that were tried again.", &["store"])?,
            rejected_messages: r.counters("gustfront_rejected_messages_total", "Messages kept out, by reason.", &["reason"])?,
            rejected_objects: r.counters("gustfront_rejected_objects_total", "Objects kept out, by reason.", &["reason"])?,
            qc_values: r.counters("gustfront_qc_values_total", "Values that quality control set missing.", &["variable", "reason"])?,
            score: r.gauges("gustfront_score", "Score pooled over the cases verified so far, in the variable's units: mae, rmse or bias.", &["variable", "lead_hours", "score"])?,
            threshold_score: r.gauges("gustfront_threshold_score_ratio", "Score at a threshold, pooled over the cases verified so far, 0 to 1: csi, pod or far.", &["variable", "lead_hours", "score", "threshold"])?,
            device_memory: r.int_gauges("gustfront_device_memory_bytes", "Memory of a device, held by this program or free.", &["device", "state"])?,
            device_kernel_seconds: r.float_counters("gustfront_device_kernel_seconds_total", "Time in a device's kernels, in seconds, by family; recordings replayed are `replay`.", &["device", "family"])?,
            device_launches: r.counters("gustfront_device_launches_total", "Launches of a device's kernels, by family.", &["device", "family"])?,
            device_copies: r.counters("gustfront_device_copies_total", "Copies between host and device, by direction.", &["device", "direction"])?,
            device_copied_bytes: r.counters("gustfront_device_copied_bytes_total", "Bytes copied between host and device, by direction.", &["device", "direction"])?,
            build_info: r.int_gauges("gustfront_build_info", "Always 1; the label is the version of the program.", &["version"])?,
            registry: r.registry,
            descriptions: r.descriptions,
            watched: Watched::default(),
        };
        metrics.describe_process()
    }

    /// From now on `watch` is asked whenever the metrics are told.
    pub fn watch(&self, watch: Watch) {
        self.watched.0.lock().unwrap_or_else(PoisonError::into_inner).push(watch);
    }

    /// Every metric in the text format of Prometheus; freshness and what is watched are worked out now.
    ///
    /// # Errors
    /// [`TelemetryError::Exposition`] where a metric cannot be written.
    pub fn text(&self) -> Result<String, TelemetryError> {
        self.freshness.set(self.age_of_newest());
        self.watched.0.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|watch| watch(self));
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    /// Retries of all stores together.
    pub fn retries_in_all(&self) -> u64 {
        let counted = self.retries.collect();
        counted.iter().flat_map(|family| family.get_metric()).map(|m| m.get_counter().get_value() as u64).sum()
    }

    /// Name and help of every metric, with or without a value yet.
    pub fn descriptions(&self) -> &[(String, String)] {
        &self.descriptions
    }

    /// Times a stage until the returned guard is dropped.
    #[must_use = "the time runs until the guard is dropped"]
    pub fn time(&self, stage: &str) -> HistogramTimer {
        self.stage_seconds.with_label_values(&[stage]).start_timer()
    }

    /// Counts what passed a stage: messages, fields and bytes.
    pub fn passed(&self, stage: &str, messages: u64, fields: u64, bytes: u64) {
        self.messages.with_label_values(&[stage]).inc_by(messages);
        self.fields.with_label_values(&[stage]).inc_by(fields);
        self.bytes.with_label_values(&[stage]).inc_by(bytes);
    }

    /// Shows how full a queue is.
    pub fn queue(&self, queue: &str, depth: usize, capacity: usize) {
        let items = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.queue_depth.with_label_values(&[queue]).set(items(depth));
        self.queue_capacity.with_label_values(&[queue]).set(items(capacity));
    }

    /// Shows how many of a pipeline's slots are complete; nothing expected counts as complete.
    pub fn completed(&self, pipeline: &str, complete: u64, expected: u64) {
        let ratio = if expected == 0 { 1.0 } else { complete as f64 / expected as f64 };
        self.completeness.with_label_values(&[pipeline]).set(ratio);
    }

    /// Notes a complete cycle; an older one than the newest changes nothing.
    pub fn complete_cycle(&self, cycle: Moment) {
        let seconds = i64::try_from(cycle.0).unwrap_or(i64::MAX);
        self.newest_complete_cycle.set(self.newest_complete_cycle.get().max(seconds));
    }

    /// Shows an error score (`mae`, `rmse`, `bias`) in the variable's units.
    pub fn scored(&self, variable: &str, lead: Lead, score: &str, value: f64) {
        self.score.with_label_values(&[variable, &lead.in_hours().to_string(), score]).set(value);
    }

    /// Shows an event score (`csi`, `pod`, `far`) at a threshold in the variable's units.
    pub fn scored_at(&self, variable: &str, lead: Lead, score: &str, threshold: f32, value: f64) {
        let (lead, threshold) = (lead.in_hours().to_string(), threshold.to_string());
        self.threshold_score.with_label_values(&[variable, &lead, score, &threshold]).set(value);
    }

    /// Seconds from the newest complete cycle to now.
    fn age_of_newest(&self) -> f64 {
        match u64::try_from(self.newest_complete_cycle.get()) {
            Ok(0) | Err(_) => f64::NAN,
            Ok(cycle) => Moment::now().0 as f64 - cycle as f64,
        }
    }

    /// Adds the version, and memory, processor time and open files where the system tells them.
    fn describe_process(self) -> Result<Self, TelemetryError> {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(self)
    }
}

/// Makes metrics and puts them into one registry.
#[derive(Default)]
struct Registrar {
    registry: Registry,
    descriptions: Vec<(String, String)>,
}

impl Registrar {
    fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(IntCounter::new(name, help)?)
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn float_counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, prometheus::Error> {
        self.keep(CounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&mut self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.keep(Gauge::new(name, help)?)
    }

    fn int_gauge(&mut self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(IntGauge::new(name, help)?)
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.keep(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn int_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(STAGE_BUCKETS.to_vec());
        self.keep(HistogramVec::new(options, labels)?)
    }

    fn keep<M: Collector + Clone + 'static>(&mut self, metric: M) -> Result<M, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        let describe = |d: &&Desc| (d.fq_name.clone(), d.help.clone());
        self.descriptions.extend(metric.desc().iter().map(describe));
        Ok(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_cycle_does_not_make_the_newest_older() {
        let metrics = Metrics::new().unwrap();
        assert!(metrics.age_of_newest().is_nan());
        let now = Moment::now();
        metrics.complete_cycle(Moment(now.0 - 600));
        metrics.complete_cycle(Moment(now.0 - 7200));
        assert!((600.0..660.0).contains(&metrics.age_of_newest()));
    }

    #[test]
    fn completeness_is_a_ratio() {
        let metrics = Metrics::new().unwrap();
        metrics.completed("archive", 3, 4);
        metrics.completed("empty", 0, 0);
        let text = metrics.text().unwrap();
        assert!(text.contains("gustfront_completeness_ratio{pipeline=\"archive\"} 0.75\n"));
        assert!(text.contains("gustfront_completeness_ratio{pipeline=\"empty\"} 1\n"));
    }
}
