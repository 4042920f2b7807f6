//! Shows what a device does as metrics, read from its counters whenever they are scraped.

use std::sync::{Arc, Weak};

use crate::telemetry::{Metrics, metrics};
use crate::tensor::cuda::{Copies, Work};
use crate::tensor::{Cuda, Memory};

/// Shows a device's work until it is closed.
pub(super) fn watch(device: &Arc<Cuda>) {
    device.time_kernels(true);
    let mut watching = Watching { device: Arc::downgrade(device), shown: Work::default() };
    metrics().watch(Box::new(move |metrics| watching.show(metrics)));
}

struct Watching {
    device: Weak<Cuda>,
    /// What the counters of the metrics hold of this device's work.
    shown: Work,
}

impl Watching {
    fn show(&mut self, metrics: &Metrics) -> bool {
        let Some(device) = self.device.upgrade() else { return false };
        match device.work() {
            Ok(work) => self.shown = show(metrics, &device.name(), work, &self.shown),
            Err(error) => tracing::warn!("the device's counters cannot be read: {error}"),
        }
        true
    }
}

/// Adds what was done since `before`.
fn show(metrics: &Metrics, device: &str, work: Work, before: &Work) -> Work {
    for (state, bytes) in [("held", work.memory.held_bytes), ("free", work.free_bytes)] {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.device_memory.with_label_values(&[device, state]).set(bytes);
    }
    for (family, seconds) in &work.kernel_seconds {
        let more = seconds - before.kernel_seconds.get(family).unwrap_or(&0.0);
        metrics.device_kernel_seconds.with_label_values(&[device, family]).inc_by(more.max(0.0));
    }
    for (family, launches) in &work.launches {
        let more = launches - before.launches.get(family).unwrap_or(&0);
        metrics.device_launches.with_label_values(&[device, family]).inc_by(more);
    }
    let copied = |direction: &str, copies: Copies, before: Copies| {
        let labels = [device, direction];
        metrics.device_copies.with_label_values(&labels).inc_by(copies.count - before.count);
        metrics.device_copied_bytes.with_label_values(&labels).inc_by(copies.bytes - before.bytes);
    };
    copied("up", work.uploads, before.uploads);
    copied("down", work.downloads, before.downloads);
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(launches: u64, seconds: f64, bytes: u64) -> Work {
        Work {
            launches: [("fields", launches)].into(),
            kernel_seconds: [("fields", seconds)].into(),
            uploads: Copies { count: launches, bytes },
            free_bytes: 1000,
            ..Work::default()
        }
    }

    #[test]
    fn what_was_done_is_shown_once_and_two_devices_of_one_name_add_up() {
        let metrics = Metrics::new().unwrap();
        let shown = show(&metrics, "gpu", work(2, 0.5, 100), &Work::default());
        show(&metrics, "gpu", work(5, 0.75, 400), &shown);
        show(&metrics, "gpu", work(1, 0.25, 10), &Work::default());
        let text = metrics.text().unwrap();
        for line in [
            "gustfront_device_launches_total{device=\"gpu\",family=\"fields\"} 6",
            "gustfront_device_kernel_seconds_total{device=\"gpu\",family=\"fields\"} 1",
            "gustfront_device_copied_bytes_total{device=\"gpu\",direction=\"up\"} 410",
            "gustfront_device_copies_total{device=\"gpu\",direction=\"down\"} 0",
            "gustfront_device_memory_bytes{device=\"gpu\",state=\"free\"} 1000",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn without_a_gpu_there_is_nothing_of_one() {
        assert!(!Metrics::new().unwrap().text().unwrap().contains("gustfront_device"));
    }
}
