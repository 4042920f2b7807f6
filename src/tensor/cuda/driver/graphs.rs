//! CUDA graphs: what a stream was asked, kept and asked again as one.

use std::collections::HashMap;

use cudarc::driver::{result, sys};

use super::super::machine::{Address, RecordingId};
use super::staging::Pinned;
use super::{Handle, Outcome, Stream};

type Executable = Handle<sys::CUgraphExec_st>;

/// The graphs of a device, and the one that is being recorded.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    recording: Option<Recording>,
    kept: HashMap<RecordingId, Graph>,
    /// Those that nobody will replay any more; they may still run.
    forgotten: Vec<RecordingId>,
    next: u64,
}

/// What is being recorded, and the bytes that its uploads come from.
#[derive(Debug, Default)]
pub(super) struct Recording {
    uploads: Vec<Pinned>,
}

#[derive(Debug)]
struct Graph {
    executable: Executable,
    _uploads: Vec<Pinned>,
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: it was made once, and does not run any more.
        let _ = unsafe { result::graph::exec_destroy(self.executable.0) };
    }
}

impl Recording {
    /// An upload that every replay does again, from bytes that stay.
    pub(super) fn write(&mut self, to: Address, bytes: &[u8], stream: Stream) -> Outcome<()> {
        let mut upload = Pinned::new(bytes.len().max(1))?;
        upload.bytes()[..bytes.len()].copy_from_slice(bytes);
        // SAFETY: the place is as long, and the bytes live as long as the graph.
        unsafe { result::memcpy_htod_async(to, &upload.bytes()[..bytes.len()], stream.0) }?;
        self.uploads.push(upload);
        Ok(())
    }
}

impl Graphs {
    pub(super) fn recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_mut()
    }

    /// From now on a stream's work is recorded; memory may be allocated meanwhile.
    pub(super) fn begin(&mut self, stream: Stream) -> Outcome<()> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is alive.
        unsafe { result::stream::begin_capture(stream.0, mode) }?;
        self.recording = Some(Recording::default());
        Ok(())
    }

    /// The recording as a graph.
    pub(super) fn end(&mut self, stream: Stream) -> Outcome<RecordingId> {
        let uploads = self.recording.take().unwrap_or_default().uploads;
        // SAFETY: the stream is alive; the graph is not needed once it was made executable.
        let executable = unsafe {
            let graph = result::stream::end_capture(stream.0)?;
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            result::graph::destroy(graph)?;
            Handle(executable?)
        };
        let id = RecordingId(self.next);
        self.next += 1;
        self.kept.insert(id, Graph { executable, _uploads: uploads });
        Ok(id)
    }

    pub(super) fn of(&self, id: RecordingId) -> Option<Executable> {
        self.kept.get(&id).map(|graph| graph.executable)
    }

    /// Nobody will replay a graph any more.
    pub(super) fn forget(&mut self, id: RecordingId) {
        self.forgotten.push(id);
    }

    /// Whether graphs can be let go once the stream is waited for, which it cannot be while something is recorded.
    pub(super) fn due(&self) -> bool {
        self.recording.is_none() && !self.forgotten.is_empty()
    }

    /// Lets go of forgotten graphs; none of them runs.
    pub(super) fn let_go(&mut self) {
        for id in self.forgotten.drain(..) {
            self.kept.remove(&id);
        }
    }
}
