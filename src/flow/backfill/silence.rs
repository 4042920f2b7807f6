//! Says so where another process of the run falls silent: stopped, stuck or cut off, but with its connection still open.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::peer::Peer;
use crate::flow::running::{REFRESH, Running};

/// After so long it is told, and then again each time that the silence has become twice as long.
const SILENT: Duration = Duration::from_secs(15);

/// Looks after the other processes until it is dropped.
pub(super) struct Watch {
    _looking: Sender<()>,
}

impl Watch {
    /// The first process looks after all others, each of those after the first one.
    pub(super) fn start(peers: &[Option<Peer>], running: Arc<Running>, is_first: bool) -> Watch {
        let watched = peers.iter().flatten().take(if is_first { peers.len() } else { 1 });
        let mut watched: Vec<Watched> = watched.map(|peer| Watched::new(peer.name(), peer.nonce())).collect();
        let (sender, ended) = bounded::<()>(0);
        thread::spawn(move || {
            while ended.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                for watched in &mut watched {
                    // An output that cannot be read for a while says nothing of the process.
                    let Ok(mark) = running.look(watched.nonce) else { continue };
                    if let Some(silent) = watched.see(mark, Instant::now()) {
                        tracing::warn!("waiting for {}, silent for {} s", watched.name, silent.as_secs());
                    }
                }
            }
        });
        Watch { _looking: sender }
    }
}

/// A process, and what was last seen of it.
struct Watched {
    name: String,
    nonce: u64,
    mark: Option<Bytes>,
    changed: Instant,
    /// How long it is to be silent before that is told.
    patience: Duration,
}

impl Watched {
    fn new(name: &str, nonce: u64) -> Watched {
        Watched { name: name.into(), nonce, mark: None, changed: Instant::now(), patience: SILENT }
    }

    /// Takes in what its mark says; how long it has been silent, where that is to be told. A process without a mark has
    /// ended, which its connection tells.
    fn see(&mut self, mark: Option<Bytes>, now: Instant) -> Option<Duration> {
        if mark.is_none() || mark != self.mark {
            (self.mark, self.changed, self.patience) = (mark, now, SILENT);
            return None;
        }
        let silent = now.saturating_duration_since(self.changed);
        if silent < self.patience {
            return None;
        }
        self.patience = silent * 2;
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_once_it_is_long_and_then_seldom() {
        let mut watched = Watched::new("process 1 at b:1", 1);
        let begun = watched.changed;
        let mut told = |seconds: u64, mark: Option<&'static str>| {
            let silent = watched.see(mark.map(Bytes::from), begun + Duration::from_secs(seconds));
            silent.map(|silent| silent.as_secs())
        };
        let marks = |seconds: u64| if seconds < 10 { "a" } else { "b" };
        let silences: Vec<u64> = (0..200).step_by(5).filter_map(|second| told(second, Some(marks(second)))).collect();
        assert_eq!(silences, [15, 30, 60, 120]);
        assert_eq!([told(200, Some("c")), told(210, Some("c")), told(215, Some("c"))], [None, None, Some(15)]);
        assert_eq!([told(300, None), told(400, None)], [None, None], "it has ended");
    }
}
