//! Shows on a terminal how far a run has come; elsewhere it shows nothing.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Bytes in the MB of the rate shown.
const MEGABYTE: f64 = 1e6;

/// A name, a bar, counts of things, the time left, then rate and the latest thing.
const TEMPLATE: &str = "{prefix:>10} {bar:30.cyan/blue} {pos}/{len} THINGS, {eta} left, {msg}";

/// Every bar of this process; logs are written beside them.
pub(super) fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// The bar of one pipeline; it is cleared away when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    bytes: AtomicU64,
    started: Instant,
}

impl Progress {
    /// A bar of slots on standard error where that is a terminal, else a hidden one.
    pub fn start(name: &str) -> Self {
        Self::counting(name, "slots")
    }

    /// The same, of other things than slots.
    pub fn counting(name: &str, things: &str) -> Self {
        let bar = bars().add(ProgressBar::new(0));
        // The template is valid; a bar in the default style would do as well.
        if let Ok(style) = ProgressStyle::with_template(&TEMPLATE.replace("THINGS", things)) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        Self { bar, bytes: AtomicU64::new(0), started: Instant::now() }
    }

    /// A bar that is never shown.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), bytes: AtomicU64::new(0), started: Instant::now() }
    }

    /// Sets how many slots there are to do; more may be found later.
    pub fn set_total(&self, slots: u64) {
        self.bar.set_length(slots);
    }

    /// Counts bytes that were moved.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one slot as done and shows it beside the rate.
    pub fn advance(&self, slot: impl Display) {
        self.bar.inc(1);
        let rate = rate(self.bytes.load(Ordering::Relaxed), self.started.elapsed());
        self.bar.set_message(format!("{rate}, {slot}"));
    }

    /// Slots done so far.
    pub fn done(&self) -> u64 {
        self.bar.position()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        bars().remove(&self.bar);
    }
}

/// Bytes over a time as `12.3 MB/s`.
fn rate(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    format!("{:.1} MB/s", bytes as f64 / MEGABYTE / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn rates_are_in_megabytes_a_second() {
        assert_eq!(rate(24_600_000, Duration::from_secs(2)), "12.3 MB/s");
        assert_eq!(rate(0, Duration::ZERO), "0.0 MB/s");
    }

    #[test]
    fn slots_are_counted_where_nothing_is_shown() {
        let progress = Progress::hidden();
        progress.set_total(3);
        progress.add_bytes(1_000_000);
        progress.advance("2018-07-22T03:00Z f01");
        progress.advance("2018-07-22T04:00Z f01");
        assert_eq!(progress.done(), 2);
    }
}
