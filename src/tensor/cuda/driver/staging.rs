//! Bytes onto the device through pinned memory, beside the kernels that run meanwhile.
//!
//! An upload is copied into a pinned buffer, from there by a stream of its own into a buffer on the device, and by the
//! kernels' stream to its place: only that last copy, which is as fast as the device's memory, waits for kernels.

use std::ffi::c_void;
use std::ops::Range;

use cudarc::driver::{result, sys};

use super::super::machine::Address;
use super::lent::Lent;
use super::{Handle, Outcome, Stream};

/// Bytes of one buffer: long enough that a copy's start costs little.
pub(super) const SLOT: usize = 8 << 20;
/// How many buffers are filled and emptied by turns.
const SLOTS: usize = 4;
/// Uploads up to this many bytes the driver takes at once by itself.
const SMALL: usize = 64 << 10;

pub(super) type Event = Handle<sys::CUevent_st>;

/// Host memory that the device reads and writes by itself.
#[derive(Debug)]
pub(super) struct Pinned {
    bytes: Handle<c_void>,
    len: usize,
}

impl Pinned {
    /// Zeros; the device's context is current.
    pub(super) fn new(len: usize) -> Outcome<Self> {
        // SAFETY: it is filled with zeros before anyone reads it.
        let bytes = Handle(unsafe { result::malloc_host(len, sys::CU_MEMHOSTALLOC_PORTABLE) }?);
        // SAFETY: there are as many bytes.
        unsafe { bytes.0.cast::<u8>().write_bytes(0, len) };
        Ok(Pinned { bytes, len })
    }

    pub(super) fn read(&self) -> &[u8] {
        // SAFETY: as many bytes were allocated and filled, and nothing writes to them meanwhile.
        unsafe { std::slice::from_raw_parts(self.bytes.0.cast(), self.len) }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as many bytes were allocated and filled; whoever copies waits for the device before using them.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.0.cast(), self.len) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it came from `malloc_host`, and no copy uses it any more.
        let _ = unsafe { result::free_host(self.bytes.0) };
    }
}

/// One buffer on both sides, and when they may be used again.
#[derive(Debug)]
struct Slot {
    pinned: Pinned,
    device: Address,
    /// The bytes are in the device's buffer: the pinned one may be filled again.
    landed: Event,
    /// The bytes are at their place: the device's buffer may be filled again.
    placed: Event,
}

impl Slot {
    fn new() -> Outcome<Self> {
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map(Handle);
        let pinned = Pinned::new(SLOT)?;
        // SAFETY: the buffer is written before it is read.
        let device = unsafe { result::malloc_sync(SLOT) }?;
        Ok(Slot { pinned, device, landed: event()?, placed: event()? })
    }

    /// Pinned bytes by way of the device's buffer to their place.
    ///
    /// # Safety
    /// The bytes stay as they are until the copy landed, and the place is as long.
    unsafe fn send(&self, to: Address, part: &[u8], copies: Stream, kernels: Stream) -> Outcome<()> {
        // SAFETY: events and streams are alive; the device's buffer is free once the last copy out of it is done, and
        // each copy is no longer than both of its ends.
        unsafe {
            wait_for(copies, self.placed)?;
            result::memcpy_htod_async(self.device, part, copies.0)?;
            result::event::record(self.landed.0, copies.0)?;
            wait_for(kernels, self.landed)?;
            result::memcpy_dtod_async(to, self.device, part.len(), kernels.0)?;
            result::event::record(self.placed.0, kernels.0)
        }
    }
}

/// The buffers, there from the beginning: later the device's memory may all be taken.
#[derive(Debug)]
pub(super) struct Staging {
    stream: Stream,
    slots: Vec<Slot>,
    next: usize,
}

impl Staging {
    /// The device's context is current.
    pub(super) fn new() -> Outcome<Self> {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        let slots = (0..SLOTS).map(|_| Slot::new()).collect::<Outcome<_>>()?;
        Ok(Staging { stream: Handle(stream), slots, next: 0 })
    }

    /// Bytes onto the device, in the order of a stream of kernels; they are taken before this returns.
    pub(super) fn write(&mut self, to: Address, bytes: &[u8], kernels: Stream) -> Outcome<()> {
        if bytes.len() <= SMALL {
            // SAFETY: the place is as long; the driver takes bytes that are not pinned before it returns.
            return unsafe { result::memcpy_htod_async(to, bytes, kernels.0) };
        }
        for (number, part) in bytes.chunks(SLOT).enumerate() {
            self.write_part(to + (number * SLOT) as Address, part, kernels)?;
        }
        Ok(())
    }

    fn write_part(&mut self, to: Address, part: &[u8], kernels: Stream) -> Outcome<()> {
        let copies = self.stream;
        let slot = self.slot();
        // SAFETY: the event is alive; the pinned buffer is free once the last copy from it landed.
        unsafe { result::event::synchronize(slot.landed.0) }?;
        slot.pinned.bytes()[..part.len()].copy_from_slice(part);
        // SAFETY: the pinned buffer is filled again only once this copy landed.
        unsafe { slot.send(to, &slot.pinned.read()[..part.len()], copies, kernels) }
    }

    /// As [`Staging::write`], from memory that the device reads by itself, without waiting for it.
    pub(super) fn write_from(&mut self, to: Address, from: &Lent, bytes: Range<usize>, kernels: Stream) -> Outcome<()> {
        let copies = self.stream;
        for (number, part) in from.bytes().get(bytes).unwrap_or_default().chunks(SLOT).enumerate() {
            let slot = self.slot();
            // SAFETY: who writes to the memory next waits for the event that is recorded below.
            unsafe { slot.send(to + (number * SLOT) as Address, part, copies, kernels) }?;
        }
        from.in_use_by(copies)
    }

    /// The buffer whose turn it is.
    fn slot(&mut self) -> &mut Slot {
        let index = self.next;
        self.next = (index + 1) % SLOTS;
        &mut self.slots[index]
    }

    /// Gives everything back; no copy is under way.
    pub(super) fn release(&mut self) {
        for slot in self.slots.drain(..) {
            // SAFETY: each was made once, and nothing uses it any more.
            unsafe {
                let _ = result::free_sync(slot.device);
                let _ = result::event::destroy(slot.landed.0);
                let _ = result::event::destroy(slot.placed.0);
            }
        }
        // SAFETY: as above.
        let _ = unsafe { result::stream::destroy(self.stream.0) };
    }
}

/// What a stream is asked from now on waits for an event.
pub(super) unsafe fn wait_for(stream: Stream, event: Event) -> Outcome<()> {
    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
    // SAFETY: the caller's: both are alive.
    unsafe { result::stream::wait_event(stream.0, event.0, flags) }
}
