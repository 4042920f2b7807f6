//! Work done on threads of its own, between bounded channels, that wakes the operator waiting for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use timely::scheduling::SyncActivator;

use crate::telemetry::metrics;

/// Threads that turn jobs into results for one operator; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Offload<J, R> {
    name: String,
    jobs: Sender<J>,
    results: Receiver<R>,
    /// Jobs for which the channel had no room.
    waiting: VecDeque<J>,
    capacity: usize,
}

impl<J: Send + 'static, R: Send + 'static> Offload<J, R> {
    /// Starts `threads` threads that do `work`, each waking the operator behind `activator` with every result.
    pub(super) fn start(
        name: &str,
        threads: usize,
        activator: SyncActivator,
        work: impl Fn(J) -> R + Send + Sync + 'static,
    ) -> Self {
        let capacity = 2 * threads;
        let (jobs, incoming) = bounded::<J>(capacity);
        let (outgoing, results) = bounded::<R>(capacity);
        let (work, activator) = (Arc::new(work), Arc::new(activator));
        for _ in 0..threads {
            let (incoming, outgoing, work, activator) =
                (incoming.clone(), outgoing.clone(), work.clone(), activator.clone());
            thread::spawn(move || {
                let _guard = EndWithPanic;
                for job in incoming {
                    if outgoing.send(work(job)).is_err() {
                        return;
                    }
                    // The operator is gone only when the run is over.
                    let _ = activator.activate();
                }
            });
        }
        Offload { name: name.into(), jobs, results, waiting: VecDeque::new(), capacity }
    }

    /// Hands over a job; it waits here where the channel is full.
    pub(super) fn submit(&mut self, job: J) {
        self.waiting.push_back(job);
        self.push();
    }

    /// The results that are there now.
    pub(super) fn poll(&mut self) -> Vec<R> {
        let ready: Vec<R> = self.results.try_iter().collect();
        self.push();
        ready
    }

    fn push(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            match self.jobs.try_send(job) {
                Ok(()) => (),
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    self.waiting.push_front(job);
                    break;
                }
            }
        }
        metrics().queue(&self.name, self.jobs.len() + self.waiting.len(), self.capacity);
    }
}

/// Ends the process when its thread panics: a lost job would leave the dataflow waiting for ever, and a rerun resumes.
struct EndWithPanic;

impl Drop for EndWithPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::exit(2);
        }
    }
}
