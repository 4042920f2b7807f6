//! A GPU through NVIDIA's driver: memory, copies beside the kernels, launches, graphs.

mod facts;
mod graphs;
mod kernels;
mod lent;
mod returning;
mod staging;
mod times;

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::machine::{Address, Kernel, Machine, RecordingId, Shape};
use super::program::{Programs, cache_folder};
use crate::tensor::{HostMemory, Result, TensorError};
use facts::{Facts, version};
use graphs::Graphs;
use kernels::Kernels;
pub use lent::Lent;
use returning::Returning;
use staging::Staging;
use times::Times;

/// Something of the driver's, named by a pointer that only the driver looks behind.
#[derive(Debug)]
struct Handle<T>(*mut T);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
// SAFETY: the driver allows each of its handles in every thread, and looks after its own locks.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

type Stream = Handle<sys::CUstream_st>;
type Outcome<T> = std::result::Result<T, DriverError>;

/// The family under which the time of replays is counted.
const REPLAYS: &str = "replay";

/// One GPU.
#[derive(Debug)]
pub struct Driver {
    name: String,
    capability: u32,
    multiprocessors: u32,
    /// The most shared memory a block can have, in bytes.
    most_shared: u32,
    device: sys::CUdevice,
    context: Handle<sys::CUctx_st>,
    /// Where everything but copies between host and device happens in order.
    stream: Stream,
    kernels: Kernels,
    staging: Mutex<Staging>,
    returning: Returning,
    graphs: Mutex<Graphs>,
    times: Mutex<Times>,
    held: AtomicUsize,
}

impl Driver {
    /// How many GPUs there are.
    ///
    /// # Errors
    /// Where there is no driver, or it does not work.
    pub fn count() -> Result<usize> {
        let refused = |what: String| TensorError::Device { device: "cuda".into(), what };
        // SAFETY: the library's initialisers are NVIDIA's and ask nothing of the program.
        if !unsafe { sys::is_culib_present() } {
            return Err(refused(
                "there is no NVIDIA driver here (libcuda.so.1 is not found): install one, or use the device \"cpu\""
                    .into(),
            ));
        }
        match result::init().and_then(|()| result::device::get_count()) {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
            Err(e) => Err(refused(format!("the NVIDIA driver does not start: {}; does nvidia-smi work?", told(e)))),
        }
    }

    /// The newest CUDA that the driver speaks, such as 13000 for 13.0.
    ///
    /// # Errors
    /// Where there is no driver, or it does not work.
    pub fn version() -> Result<u32> {
        Driver::count()?;
        let version = version().map_err(|e| TensorError::Device { device: "cuda".into(), what: told(e) })?;
        Ok(u32::try_from(version).unwrap_or(0))
    }

    /// The GPU of a number, counted from 0.
    ///
    /// # Errors
    /// Where there is no driver or no such GPU, one of them is too old, or it cannot be used.
    pub fn open(ordinal: usize) -> Result<Self> {
        let (count, device) = (Driver::count()?, format!("cuda:{ordinal}"));
        if ordinal >= count {
            let what = match count {
                0 => "the NVIDIA driver finds no device here; use the device \"cpu\"".to_owned(),
                1 => "there is one device here, cuda:0".to_owned(),
                _ => format!("there are {count} devices here, cuda:0 to cuda:{}", count - 1),
            };
            return Err(TensorError::Device { device, what });
        }
        let refused = |error| TensorError::Device {
            what: format!("the device does not start: {}; is it taken by another program?", told(error)),
            device: device.clone(),
        };
        let (number, facts) = Facts::of(ordinal).map_err(refused)?;
        if let Some(what) = facts.too_old() {
            return Err(TensorError::Device { device, what });
        }
        // SAFETY: the device exists; the context is released when the driver is dropped.
        let context = unsafe { result::primary_ctx::retain(number) }.map(Handle).map_err(refused)?;
        Driver::start(&device, number, context, facts).map_err(|error| {
            // SAFETY: it was retained above, and nothing else holds it.
            let _ = unsafe { result::primary_ctx::release(number) };
            refused(error)
        })
    }

    fn start(label: &str, device: sys::CUdevice, context: Handle<sys::CUctx_st>, facts: Facts) -> Outcome<Self> {
        // SAFETY: the context is alive.
        unsafe { result::ctx::set_current(context.0) }?;
        let programs = Programs::new(facts.capability, facts.version as i32, cache_folder());
        Ok(Driver {
            name: format!("{label} ({})", result::device::get_name(device)?),
            capability: facts.capability,
            multiprocessors: facts.multiprocessors,
            most_shared: facts.most_shared,
            device,
            context,
            stream: Handle(result::stream::create(result::stream::StreamKind::NonBlocking)?),
            kernels: Kernels::new(programs, facts.most_shared),
            staging: Mutex::new(Staging::new()?),
            returning: Returning::new()?,
            graphs: Mutex::default(),
            times: Mutex::default(),
            held: AtomicUsize::new(0),
        })
    }

    /// Makes this device the one that the thread's calls mean.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is alive as long as `self`.
        self.done("choosing the device", unsafe { result::ctx::set_current(self.context.0) })
    }

    fn done<T>(&self, what: &str, outcome: Outcome<T>) -> Result<T> {
        outcome.map_err(|e| self.fail(format!("{what}: {}", told(e))))
    }

    fn fail(&self, what: String) -> TensorError {
        TensorError::Device { device: self.name.clone(), what }
    }

    fn synchronise(&self, what: &str) -> Result<()> {
        // SAFETY: the stream is alive.
        self.done(what, unsafe { result::stream::synchronize(self.stream.0) })
    }

    /// Lets go of graphs that were put off, where nothing is being recorded.
    fn let_graphs_go(&self) {
        let due = locked(&self.graphs).due();
        if due && self.wait().is_ok() {
            locked(&self.graphs).let_go();
        }
    }
}

/// An error of the driver in its own words, and what to do where that is known.
fn told(error: DriverError) -> String {
    use sys::CUresult as Code;
    let words =
        |text: Outcome<&std::ffi::CStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let advice = match error.0 {
        Code::CUDA_ERROR_ILLEGAL_ADDRESS | Code::CUDA_ERROR_LAUNCH_FAILED | Code::CUDA_ERROR_MISALIGNED_ADDRESS => {
            "; a kernel failed, and the device serves this program no more: start it anew"
        }
        Code::CUDA_ERROR_NO_BINARY_FOR_GPU
        | Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | Code::CUDA_ERROR_INVALID_IMAGE => {
            "; the driver is older than the compiler (NVRTC): update the driver, or use the NVRTC of its CUDA version"
        }
        Code::CUDA_ERROR_STUB_LIBRARY => "; libcuda.so.1 is the toolkit's stub: put the driver's own in front of it",
        Code::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => "; the driver was updated: restart the machine",
        _ => "",
    };
    format!("{} ({}){advice}", words(error.error_string()), words(error.error_name()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine for Driver {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capability(&self) -> u32 {
        self.capability
    }

    fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    fn shared_bytes(&self) -> usize {
        self.most_shared as usize
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: what the memory holds has no meaning to anyone.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => {
                self.held.fetch_add(bytes, Ordering::Relaxed);
                Ok(address)
            }
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let (held, free) = (self.held.load(Ordering::Relaxed), self.memory().map_or(0, |(free, _)| free));
                Err(TensorError::Memory { device: self.name.clone(), bytes, held, free })
            }
            Err(e) => self.done("asking for memory", Err(e)),
        }
    }

    fn free(&self, address: Address, bytes: usize) {
        // SAFETY: the address came from `allocate`; the driver waits for what uses it.
        if self.enter().is_ok() && unsafe { result::free_sync(address) }.is_ok() {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn lend(&self, _: Address, _: usize) {}

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        let recorded = locked(&self.graphs).recording().map(|recording| recording.write(to, bytes, self.stream));
        let outcome = recorded.unwrap_or_else(|| locked(&self.staging).write(to, bytes, self.stream));
        self.done("copying to the device", outcome)
    }

    fn host(&self, bytes: usize) -> Result<HostMemory> {
        let lent = self.done("asking for pinned memory of the host", Lent::new(self.device, bytes))?;
        Ok(HostMemory::pinned(lent, bytes))
    }

    fn write_from(&self, to: Address, from: &HostMemory, bytes: Range<usize>) -> Result<()> {
        let lent = from.lent().filter(|lent| lent.is_of(self.device));
        let Some(lent) = lent.filter(|_| locked(&self.graphs).recording().is_none()) else {
            return self.write(to, &from.bytes()[bytes]);
        };
        self.enter()?;
        self.done("copying to the device", locked(&self.staging).write_from(to, lent, bytes, self.stream))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        if locked(&self.graphs).recording().is_some() {
            return Err(self.fail("a download cannot be part of what is recorded".into()));
        }
        self.done("copying from the device", self.returning.read(from, bytes, self.stream))
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        // Nobody reads while something is recorded, and what is recorded may not wait for what is not.
        let recorded = locked(&self.graphs).recording().is_some();
        let settled = (!recorded).then(|| self.returning.settled(self.stream)).transpose();
        let _settled = self.done("waiting for downloads", settled)?;
        // SAFETY: the caller's memory stays until what was asked is done, and holds as many bytes at both places.
        self.done("copying on the device", unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.0) })
    }

    unsafe fn launch(&self, kernel: Kernel<'_>, shape: Shape, arguments: &[*const c_void]) -> Result<()> {
        self.enter()?;
        let name = kernel.name;
        let function = self.kernels.function(kernel, shape.shared_bytes).map_err(|what| self.fail(what))?;
        let mut arguments: Vec<*mut c_void> = arguments.iter().map(|argument| argument.cast_mut()).collect();
        let timed = locked(&self.graphs).recording().is_none();
        // Held until the end is marked: between the two events there is no other thread's kernel.
        let mut times = locked(&self.times);
        let start = self.done("taking the time", times.mark(timed, self.stream))?;
        let ([x, y, z], [a, b, c]) = (shape.grid, shape.block);
        // SAFETY: the caller's contract; the driver copies the arguments before it returns.
        let outcome = unsafe {
            result::launch_kernel(function.0, (x, y, z), (a, b, c), shape.shared_bytes, self.stream.0, &mut arguments)
        };
        self.done(
            &format!("starting {name} with a grid of {:?} and blocks of {:?}", shape.grid, shape.block),
            outcome,
        )?;
        self.done("taking the time", times.stop(kernel.family, start, self.stream))
    }

    fn wait(&self) -> Result<()> {
        self.enter()?;
        if locked(&self.graphs).recording().is_some() {
            return Err(self.fail("a wait cannot be part of what is recorded".into()));
        }
        self.synchronise("waiting for the device")
    }

    fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        self.done("asking how much memory there is", result::mem_get_info())
    }

    fn time_kernels(&self, on: bool) {
        locked(&self.times).on = on;
    }

    fn kernel_seconds(&self) -> Result<BTreeMap<&'static str, f64>> {
        self.enter()?;
        self.done("taking the time", locked(&self.times).seconds())
    }

    fn begin_recording(&self) -> Result<()> {
        self.enter()?;
        let mut graphs = locked(&self.graphs);
        if graphs.recording().is_some() {
            return Err(self.fail("something is being recorded already".into()));
        }
        self.done("beginning a recording", graphs.begin(self.stream))
    }

    fn end_recording(&self) -> Result<RecordingId> {
        self.enter()?;
        let ended = self.done("recording", locked(&self.graphs).end(self.stream));
        self.let_graphs_go();
        ended
    }

    fn replay(&self, recording: RecordingId) -> Result<()> {
        self.enter()?;
        let graph = locked(&self.graphs).of(recording);
        let graph = graph.ok_or_else(|| self.fail(format!("{recording:?} is not there")))?;
        let _settled = self.done("waiting for downloads", self.returning.settled(self.stream))?;
        let mut times = locked(&self.times);
        let start = self.done("taking the time", times.mark(true, self.stream))?;
        // SAFETY: the graph is alive; the memory it uses is held by whoever recorded it.
        self.done("replaying a recording", unsafe { result::graph::launch(graph.0, self.stream.0) })?;
        self.done("taking the time", times.stop(REPLAYS, start, self.stream))
    }

    fn forget(&self, recording: RecordingId) {
        locked(&self.graphs).forget(recording);
        self.let_graphs_go();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.wait().is_err() {
            return;
        }
        *locked(&self.graphs) = Graphs::default();
        locked(&self.staging).release();
        self.returning.release();
        locked(&self.times).release();
        self.kernels.release();
        // SAFETY: nothing is left that would use the stream or the context.
        let _ = unsafe { result::stream::destroy(self.stream.0) };
        // SAFETY: it was retained once, as this was opened.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_driver_or_device_is_a_clear_error_and_no_crash() {
        let error = match Driver::count() {
            Ok(count) => Driver::open(count).expect_err("one too many"),
            Err(error) => error,
        };
        let text = error.to_string();
        assert!(text.contains("NVIDIA driver") || text.contains("here, cuda:0"), "{text}");
    }
}
