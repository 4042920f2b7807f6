//! How long kernels take, by events around each.

use std::collections::BTreeMap;

use cudarc::driver::{result, sys};

use super::{Handle, Outcome, Stream};

/// How many kernels may wait to be counted before the oldest are.
const MOST_WAITING: usize = 4096;

type Event = Handle<sys::CUevent_st>;

/// Kernels whose time is taken.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Whether the time of kernels is taken.
    pub(super) on: bool,
    waiting: Vec<(&'static str, Event, Event)>,
    unused: Vec<Event>,
    seconds: BTreeMap<&'static str, f64>,
}

impl Times {
    /// An event at this place of a stream, where time is taken and `wanted`.
    pub(super) fn mark(&mut self, wanted: bool, stream: Stream) -> Outcome<Option<Event>> {
        if !(self.on && wanted) {
            return Ok(None);
        }
        let event = match self.unused.pop() {
            Some(event) => event,
            None => Handle(result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)?),
        };
        // SAFETY: both are alive.
        unsafe { result::event::record(event.0, stream.0) }?;
        Ok(Some(event))
    }

    /// The end of a kernel of a family whose start was marked.
    pub(super) fn stop(&mut self, family: &'static str, start: Option<Event>, stream: Stream) -> Outcome<()> {
        let Some(start) = start else { return Ok(()) };
        let end = self.mark(true, stream)?;
        match end {
            Some(end) => self.waiting.push((family, start, end)),
            None => self.unused.push(start),
        }
        if self.waiting.len() < MOST_WAITING { Ok(()) } else { self.count() }
    }

    /// Adds up what waits, once it is done.
    fn count(&mut self) -> Outcome<()> {
        for (family, start, end) in self.waiting.drain(..) {
            // SAFETY: both events were recorded; the second follows the first.
            let milliseconds = unsafe {
                result::event::synchronize(end.0)?;
                result::event::elapsed(start.0, end.0)?
            };
            *self.seconds.entry(family).or_default() += f64::from(milliseconds) / 1e3;
            self.unused.extend([start, end]);
        }
        Ok(())
    }

    /// Seconds by family so far.
    pub(super) fn seconds(&mut self) -> Outcome<BTreeMap<&'static str, f64>> {
        self.count()?;
        Ok(self.seconds.clone())
    }

    /// Gives the events back; nothing runs any more.
    pub(super) fn release(&mut self) {
        let waiting = self.waiting.drain(..).flat_map(|(_, start, end)| [start, end]);
        for event in waiting.chain(self.unused.drain(..)).collect::<Vec<_>>() {
            // SAFETY: each was made once.
            let _ = unsafe { result::event::destroy(event.0) };
        }
    }
}
