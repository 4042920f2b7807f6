//! Work recorded once and replayed as one: no launch costs anything but the first time (CUDA graphs).

use std::sync::{Arc, RwLockWriteGuard};

use super::Cuda;
use super::machine::{Address, RecordingId};
use crate::tensor::{Result, Tensor, TensorError};

/// Recorded work. It reads and writes the same memory each time: tensors that the work made hold what the latest
/// replay gave, and all memory that was in use while it was recorded stays in use as long as this lives.
#[derive(Debug)]
pub struct Replay {
    cuda: Arc<Cuda>,
    id: RecordingId,
    kept: Vec<Address>,
}

impl Cuda {
    /// Runs `work` once and keeps it to be replayed. Numbers that the host works out, among them seeds, are recorded
    /// as they are; downloads are refused. Run the same work once before, so that kernels are compiled and constants
    /// there. Other threads wait meanwhile.
    ///
    /// # Errors
    /// Where the work fails, downloads, or records something itself.
    pub fn record<T>(self: &Arc<Self>, work: impl FnOnce() -> Result<T>) -> Result<(Replay, T)> {
        if self.pool.records() {
            let what = "a recording cannot be part of a recording".to_owned();
            return Err(TensorError::Device { device: self.machine().name(), what });
        }
        let recorder = Recorder::begin(self)?;
        let value = work()?;
        Ok((recorder.end()?, value))
    }
}

/// A recording under way; one that does not come to its end leaves nothing behind.
struct Recorder<'a> {
    cuda: &'a Arc<Cuda>,
    kept: Vec<Address>,
    ended: bool,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl<'a> Recorder<'a> {
    fn begin(cuda: &'a Arc<Cuda>) -> Result<Self> {
        let (alone, kept) = cuda.pool.begin_recording();
        let mut recorder = Recorder { cuda, kept, ended: true, _alone: alone };
        if let Err(error) = cuda.machine().begin_recording() {
            recorder.let_go();
            return Err(error);
        }
        recorder.ended = false;
        Ok(recorder)
    }

    /// The work, done for the first time before any other thread goes on: from then on its constants are there.
    fn end(mut self) -> Result<Replay> {
        self.ended = true;
        let cuda = self.cuda;
        let id = cuda.machine().end_recording().inspect_err(|_| self.let_go())?;
        self.kept.extend(cuda.pool.end_recording());
        let replay = Replay { cuda: cuda.clone(), id, kept: std::mem::take(&mut self.kept) };
        let ran = replay.again();
        match &ran {
            Ok(()) => cuda.constants.publish(),
            Err(_) => cuda.constants.forget_recorded(),
        }
        // A replay that is of no use waits for its turn as it is dropped.
        drop(self);
        ran.map(|()| replay)
    }

    /// Forgets the memory, and the constants, which were never written.
    fn let_go(&mut self) {
        self.cuda.constants.forget_recorded();
        self.kept.extend(self.cuda.pool.end_recording());
        self.cuda.pool.let_go(&self.kept);
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Ok(id) = self.cuda.machine().end_recording() {
            self.cuda.machine().forget(id);
        }
        self.let_go();
    }
}

impl Replay {
    /// Does the work once more.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn run(&self) -> Result<()> {
        let _turn = self.cuda.pool.turn();
        self.again()
    }

    fn again(&self) -> Result<()> {
        self.cuda.counters.replayed();
        self.cuda.machine().replay(self.id)
    }

    /// Puts the values of `from` into `input`, a tensor that the work reads, for the replays that follow.
    ///
    /// # Errors
    /// Where the two differ in device, dtype, shape or layout.
    pub fn feed(&self, input: &Tensor, from: &Tensor) -> Result<()> {
        input.expect_same_kind("feed", from)?;
        if input.shape() != from.shape() || input.layout() != from.layout() {
            return Err(TensorError::shapes("feed", input.shape(), from.shape(), "one shape and one layout"));
        }
        let bytes = input.len() * input.dtype().bytes();
        let _turn = self.cuda.pool.turn();
        self.cuda.machine().copy(from.slice().address(), input.slice().address(), bytes)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _turn = self.cuda.pool.turn();
        self.cuda.machine().forget(self.id);
        self.cuda.pool.let_go(&self.kept);
    }
}
