//! Pinned memory in the hands of a program: a device reads it while the program goes on.

use cudarc::driver::{result, sys};

use super::staging::{Event, Pinned};
use super::{Handle, Outcome, Stream, told};
use crate::tensor::{Result, TensorError};

/// Memory of the host that one device reads by itself. It keeps the device's context alive.
#[derive(Debug)]
pub struct Lent {
    /// Taken out before the context is let go.
    pinned: Option<Pinned>,
    /// The last upload has read what it is to read.
    taken: Event,
    device: sys::CUdevice,
    context: Handle<sys::CUctx_st>,
}

impl Lent {
    /// Zeros, for a device that is open.
    pub(super) fn new(device: sys::CUdevice, len: usize) -> Outcome<Self> {
        // SAFETY: the device exists; the context is released when this is dropped.
        let context = Handle(unsafe { result::primary_ctx::retain(device) }?);
        let made = || {
            // SAFETY: the context is alive.
            unsafe { result::ctx::set_current(context.0) }?;
            let pinned = Pinned::new(len.max(1))?;
            let taken = Handle(result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?);
            Ok(Lent { pinned: Some(pinned), taken, device, context })
        };
        made().inspect_err(|_| {
            // SAFETY: it was retained above, and nothing else holds it.
            let _ = unsafe { result::primary_ctx::release(device) };
        })
    }

    /// Whether it is of a device.
    pub(super) fn is_of(&self, device: sys::CUdevice) -> bool {
        self.device == device
    }

    /// From now on the bytes are in use until a stream has done what it was asked so far.
    pub(super) fn in_use_by(&self, stream: Stream) -> Outcome<()> {
        // SAFETY: event and stream are alive.
        unsafe { result::event::record(self.taken.0, stream.0) }
    }

    pub(in crate::tensor) fn bytes(&self) -> &[u8] {
        self.pinned.as_ref().map_or(&[], Pinned::read)
    }

    /// The bytes, once no upload reads them any more.
    pub(in crate::tensor) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        let failed = |error| TensorError::Device { device: "cuda".into(), what: told(error) };
        self.wait().map_err(failed)?;
        Ok(self.pinned.as_mut().map_or(&mut [], Pinned::bytes))
    }

    fn wait(&self) -> Outcome<()> {
        // SAFETY: context and event are alive; an event that was never recorded is over.
        unsafe {
            result::ctx::set_current(self.context.0)?;
            result::event::synchronize(self.taken.0)
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = self.wait();
        self.pinned = None;
        // SAFETY: each was made once, and nothing uses it any more.
        unsafe {
            let _ = result::event::destroy(self.taken.0);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
