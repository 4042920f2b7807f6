//! Whether this process is ready and still getting somewhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the workers may go without a heartbeat: longer than every retry of one object takes (five minutes).
const STALLED_AFTER: Duration = Duration::from_secs(360);

/// The health of this process, which the endpoint shows.
pub fn health() -> &'static Health {
    static HEALTH: OnceLock<Health> = OnceLock::new();
    HEALTH.get_or_init(|| Health::new(STALLED_AFTER))
}

/// Readiness and heartbeat, set by the workers and read by the endpoint.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    stalled_after: Duration,
    ready: AtomicBool,
    /// Milliseconds from `started` to the last heartbeat.
    last_beat: AtomicU64,
}

impl Health {
    /// A process that has just started, not ready, and counts as stalled when no heartbeat comes for so long.
    pub fn new(stalled_after: Duration) -> Self {
        Self { started: Instant::now(), stalled_after, ready: AtomicBool::new(false), last_beat: AtomicU64::new(0) }
    }

    /// Says that the first listing of the input succeeded.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
        self.beat();
    }

    /// Says that work, or waiting for new input, goes on.
    pub fn beat(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_beat.fetch_max(elapsed, Ordering::Relaxed);
    }

    /// Whether the first listing has succeeded.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Time since the last heartbeat, or since the start where there was none.
    pub fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_beat.load(Ordering::Relaxed)))
    }

    /// Whether the silence has lasted too long.
    pub fn is_stalled(&self) -> bool {
        self.silence() > self.stalled_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_stalls_and_a_heartbeat_ends_it() {
        let health = Health::new(Duration::from_millis(200));
        assert!(!health.is_stalled() && !health.is_ready());
        std::thread::sleep(Duration::from_millis(250));
        assert!(health.is_stalled());
        health.beat();
        assert!(!health.is_stalled() && !health.is_ready());
        health.set_ready();
        assert!(health.is_ready());
    }
}
