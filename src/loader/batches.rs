//! The batches of an epoch in order, made ahead on threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::work::{Numbered, Work};
use super::{Batch, LoaderError};

/// The batches of one epoch, in order.
#[derive(Debug)]
pub struct Batches {
    leave: Option<Sender<usize>>,
    ready: Receiver<Numbered>,
    /// Batches that were ready before their turn.
    waiting: BTreeMap<usize, Result<Batch, LoaderError>>,
    next: usize,
    /// Batches that may be read so far.
    given: usize,
    count: usize,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Batches {
    /// Begins to read.
    pub(super) fn start(work: Work) -> Self {
        let (count, ahead, threads) = (work.jobs.len(), work.options.ahead, work.options.threads);
        // Whoever takes a number has leave to read that batch; leave comes back as batches are used.
        let (leave, numbers) = bounded(count.max(1));
        let (filled, ready) = bounded(ahead);
        let (work, stop) = (Arc::new(work), Arc::new(AtomicBool::new(false)));
        let threads = (0..threads)
            .map(|_| {
                let (work, numbers, filled, stop) = (work.clone(), numbers.clone(), filled.clone(), stop.clone());
                thread::spawn(move || work.run(&numbers, &filled, &stop))
            })
            .collect();
        let waiting = BTreeMap::new();
        let mut batches = Batches { leave: Some(leave), ready, waiting, next: 0, given: 0, count, stop, threads };
        (0..ahead).for_each(|_| batches.allow());
        batches
    }

    /// Lets one more batch be read.
    fn allow(&mut self) {
        if self.given < self.count
            && let Some(leave) = &self.leave
        {
            // There is room for every number, and the threads wait for them.
            let _ = leave.try_send(self.given);
            self.given += 1;
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        while !self.waiting.contains_key(&self.next) {
            match self.ready.recv() {
                Ok((number, batch)) => drop(self.waiting.insert(number, batch)),
                Err(_) => return Some(Err(LoaderError::Ended)),
            }
        }
        let batch = self.waiting.remove(&self.next);
        self.next += 1;
        self.allow();
        batch
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.leave = None;
        while self.ready.try_recv().is_ok() {}
        let (_, none) = bounded(0);
        self.ready = none;
        for thread in self.threads.drain(..) {
            // A thread that panicked has been told on standard error.
            let _ = thread.join();
        }
    }
}
