//! Bytes back to the host through pinned memory, beside uploads and beside the kernels that are asked meanwhile.
//!
//! A download waits, by an event, for the kernels that were asked before it, and for none that are asked later. Its
//! buffers are its own until it ends, so that no download waits for another's turn.

use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};

use cudarc::driver::{result, sys};

use super::super::machine::Address;
use super::staging::{Event, Pinned, SLOT, wait_for};
use super::{Handle, Outcome, Stream, locked};

/// Buffers of a download that is longer than one: one is filled while the other is read.
const TURNS: usize = 2;

/// A buffer of a download.
#[derive(Debug)]
struct Slot {
    pinned: Pinned,
    /// The kernels that were asked before the download are done.
    ready: Event,
    /// The bytes are in the buffer.
    landed: Event,
}

/// The stream of downloads, and the buffers that none of them holds.
#[derive(Debug)]
pub(super) struct Returning {
    stream: Stream,
    idle: Mutex<Vec<Slot>>,
    /// The downloads that were asked so far have read what they are to read.
    settled: Event,
    /// Held by a download until all of it is asked of the stream.
    asking: RwLock<()>,
}

impl Slot {
    /// The device's context is current.
    fn new() -> Outcome<Self> {
        Ok(Slot { pinned: Pinned::new(SLOT)?, ready: event()?, landed: event()? })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: each was made once, and no stream is asked to use it any more.
        unsafe {
            let _ = result::event::destroy(self.ready.0);
            let _ = result::event::destroy(self.landed.0);
        }
    }
}

impl Returning {
    /// No buffers yet; the device's context is current.
    pub(super) fn new() -> Outcome<Self> {
        let stream = Handle(result::stream::create(result::stream::StreamKind::NonBlocking)?);
        Ok(Returning { stream, idle: Mutex::default(), settled: event()?, asking: RwLock::default() })
    }

    /// Bytes back, once everything that the stream of kernels was asked before is done. They are there as this returns,
    /// and nothing reads the device's memory any more, whether it failed or not.
    pub(super) fn read(&self, from: Address, bytes: &mut [u8], kernels: Stream) -> Outcome<()> {
        let count = bytes.len().div_ceil(SLOT).min(TURNS);
        let mut slots = (0..count).map(|_| self.slot()).collect::<Outcome<Vec<Slot>>>()?;
        let outcome = self.through(&mut slots, from, bytes, kernels);
        if outcome.is_err() {
            // SAFETY: the stream is alive. Copies that were asked may be under way.
            let _ = unsafe { result::stream::synchronize(self.stream.0) };
        }
        locked(&self.idle).append(&mut slots);
        outcome
    }

    /// Part by part through the buffers in turn: the one that comes next was read before.
    fn through(&self, slots: &mut [Slot], from: Address, bytes: &mut [u8], kernels: Stream) -> Outcome<()> {
        let mut asking = Some(self.asking.read().unwrap_or_else(PoisonError::into_inner));
        let (parts, turns) = (bytes.len().div_ceil(SLOT), slots.len());
        let mut waiting: Option<(usize, &mut [u8])> = None;
        for (number, part) in bytes.chunks_mut(SLOT).enumerate() {
            let slot = &mut slots[number % turns];
            // SAFETY: events and streams are alive; the caller's memory stays until this returns, and each copy is no
            // longer than both of its ends. The buffer is read only after the event that follows the copy.
            unsafe {
                if number == 0 {
                    result::event::record(slot.ready.0, kernels.0)?;
                    wait_for(self.stream, slot.ready)?;
                }
                let pinned = &mut slot.pinned.bytes()[..part.len()];
                result::memcpy_dtoh_async(pinned, from + (number * SLOT) as Address, self.stream.0)?;
                result::event::record(slot.landed.0, self.stream.0)?;
            }
            asking.take_if(|_| number + 1 == parts);
            if let Some((number, part)) = waiting.replace((number, part)) {
                take(&slots[number % turns], part)?;
            }
        }
        waiting.map_or(Ok(()), |(number, part)| take(&slots[number % turns], part))
    }

    /// What a stream of kernels is asked from now on waits for the downloads that were asked before: it may write to
    /// memory that they read. None is asked while the guard is held.
    pub(super) fn settled(&self, kernels: Stream) -> Outcome<RwLockWriteGuard<'_, ()>> {
        let alone = self.asking.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: event and streams are alive.
        unsafe {
            result::event::record(self.settled.0, self.stream.0)?;
            wait_for(kernels, self.settled)?;
        }
        Ok(alone)
    }

    /// A buffer that no other download holds.
    fn slot(&self) -> Outcome<Slot> {
        let idle = locked(&self.idle).pop();
        idle.map_or_else(Slot::new, Ok)
    }

    /// Gives everything back; no copy is under way.
    pub(super) fn release(&self) {
        locked(&self.idle).clear();
        // SAFETY: each was made once, and nothing uses it any more.
        unsafe {
            let _ = result::event::destroy(self.settled.0);
            let _ = result::stream::destroy(self.stream.0);
        }
    }
}

/// What a copy left in a buffer, once it is there.
fn take(slot: &Slot, part: &mut [u8]) -> Outcome<()> {
    // SAFETY: the event is alive.
    unsafe { result::event::synchronize(slot.landed.0) }?;
    part.copy_from_slice(&slot.pinned.read()[..part.len()]);
    Ok(())
}

fn event() -> Outcome<Event> {
    result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map(Handle)
}
