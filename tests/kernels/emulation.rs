//! A machine that runs kernels on the host: `kernels/*.cu` compiled as C++, the threads of a block as fibers.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gustfront::tensor::cuda::{Address, Cuda, FAMILIES, Kernel, Machine, RecordingId, Shape};
use gustfront::tensor::{Device, TensorError};
use libloading::{Library, Symbol};

use crate::library::library;

/// In what order the threads of a block, and the blocks of a grid, run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Forward,
    Reversed,
    /// By a seed above 1.
    Shuffled(u32),
}

impl Order {
    pub(crate) const ALL: [Order; 3] = [Order::Forward, Order::Reversed, Order::Shuffled(7)];
}

/// Bytes in front of and behind every allocation that no kernel may touch.
const GUARD: usize = 1024;
/// What guards, and memory that nothing was written to, hold: a NaN in f32 and in bf16, −1 as an index.
const POISON: u8 = 0xff;

/// What `kernels/host/cuda.h` is given.
#[repr(C)]
struct Launch {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    order: u32,
}

type Entry = unsafe extern "C" fn(*const Launch, *const *const c_void) -> *const c_char;

type Sizes = unsafe extern "C" fn(*mut usize) -> u32;

/// More parameters than any kernel has.
const MOST_PARAMETERS: usize = 64;

/// The host as a machine for kernels.
#[derive(Debug)]
pub(crate) struct Emulated {
    order: Order,
    families: Families,
    capability: u32,
    /// Bytes that a block may have.
    shared_bytes: usize,
    /// Whether nothing works any more once a kernel failed, as on a device.
    fragile: bool,
    /// How long a replay waits before it begins.
    replay_delay: Duration,
    failed: AtomicBool,
    memory: Mutex<BTreeMap<Address, Allocation>>,
    recordings: Mutex<Recordings>,
    times: Mutex<Times>,
}

/// The sources that kernels come from, by family.
#[derive(Clone, Debug)]
pub(crate) enum Families {
    /// Those of the program.
    Own,
    /// Others, for tests of the harness.
    Given(Arc<BTreeMap<&'static str, String>>),
}

/// A device for kernels of the program.
pub(crate) fn device(order: Order) -> Device {
    cuda(order)
}

/// The same, for what only a GPU offers.
pub(crate) fn cuda(order: Order) -> Arc<Cuda> {
    Cuda::on(Box::new(Emulated::new(order, Families::Own)))
}

/// One that lacks a family of kernels.
pub(crate) fn cuda_without(order: Order, family: &str) -> Arc<Cuda> {
    let others = FAMILIES.iter().filter(|(name, _)| *name != family);
    let families = others.map(|(name, source)| (*name, (*source).to_owned())).collect();
    Cuda::on(Box::new(Emulated::new(order, Families::Given(Arc::new(families)))))
}

impl Emulated {
    pub(crate) fn new(order: Order, families: Families) -> Self {
        let (memory, recordings, times, failed, fragile) = Default::default();
        let (capability, shared_bytes, replay_delay) = (80, 163 * 1024, Duration::ZERO);
        Emulated { order, families, capability, shared_bytes, fragile, replay_delay, failed, memory, recordings, times }
    }

    /// The same with the instructions of compute capability 9.0.
    pub(crate) fn hopper(self) -> Self {
        Emulated { capability: 90, shared_bytes: 227 * 1024, ..self }
    }

    /// The same with so many bytes of shared memory a block.
    pub(crate) fn with_shared(self, shared_bytes: usize) -> Self {
        Emulated { shared_bytes, ..self }
    }

    /// The same, of no use once a kernel failed.
    pub(crate) fn fragile(self) -> Self {
        Emulated { fragile: true, ..self }
    }

    /// The same whose replays begin so late.
    pub(crate) fn with_late_replays(self, replay_delay: Duration) -> Self {
        Emulated { replay_delay, ..self }
    }

    /// Does one thing that was asked before.
    fn again(&self, step: &Step) -> Result<(), TensorError> {
        match step {
            Step::Lend { address, bytes } => {
                self.lend_now(*address, *bytes);
                Ok(())
            }
            Step::Write { to, bytes } => self.write_now(*to, bytes),
            Step::Copy { from, to, bytes } => self.copy_now(*from, *to, *bytes),
            Step::Launch { family, name, shape, arguments } => {
                let pointers: Vec<*const c_void> = arguments.iter().map(|words| words.as_ptr().cast()).collect();
                // SAFETY: the arguments are copies of those that were asked for, as long as the kernel takes them.
                unsafe { self.launch_now(Kernel { family, name }, *shape, &pointers) }
            }
        }
    }

    fn lend_now(&self, address: Address, bytes: usize) {
        if let Some(allocation) = self.memory.lock().expect("memory").get_mut(&address) {
            allocation.lend(bytes);
        }
    }

    fn write_now(&self, to: Address, bytes: &[u8]) -> Result<(), TensorError> {
        // SAFETY: the backend writes no more than it allocated.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        self.touched().map_or(Ok(()), |_| Err(self.fail("an upload is longer than its memory")))
    }

    fn copy_now(&self, from: Address, to: Address, bytes: usize) -> Result<(), TensorError> {
        // SAFETY: the backend copies no more than it allocated at either place.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        self.touched().map_or(Ok(()), |_| Err(self.fail("a copy is longer than its memory")))
    }

    /// Writes a step down where something is recorded; else gives it back.
    fn noted(&self, step: Step) -> Option<Step> {
        match &mut self.recordings.lock().expect("recordings").current {
            Some(steps) => {
                steps.push(step);
                None
            }
            None => Some(step),
        }
    }

    fn records(&self) -> bool {
        self.recordings.lock().expect("recordings").current.is_some()
    }

    fn library(&self, kernel: Kernel<'_>) -> Result<Arc<Library>, TensorError> {
        let source = self.source(kernel.family).ok_or_else(|| self.fail(format!("no kernels/{}.cu", kernel.family)))?;
        library(kernel.family, source).map_err(|e| self.fail(e))
    }

    /// # Safety
    /// As [`Machine::launch`].
    unsafe fn copied(&self, kernel: Kernel<'_>, arguments: &[*const c_void]) -> Result<Vec<Vec<u64>>, TensorError> {
        let (library, mut sizes) = (self.library(kernel)?, [0; MOST_PARAMETERS]);
        // SAFETY: the generated entries have this type.
        let tell: Symbol<'_, Sizes> = unsafe { library.get(format!("sizes_{}", kernel.name)) }
            .map_err(|_| self.fail(format!("no kernel {}", kernel.name)))?;
        // SAFETY: no kernel has more parameters.
        let count = unsafe { tell(sizes.as_mut_ptr()) } as usize;
        assert_eq!(count, arguments.len(), "arguments of {}", kernel.name);
        let copy = |(argument, bytes): (&*const c_void, &usize)| {
            let mut words = vec![0u64; bytes.div_ceil(8)];
            // SAFETY: the argument is as long as its parameter's type.
            unsafe { std::ptr::copy_nonoverlapping(argument.cast::<u8>(), words.as_mut_ptr().cast(), *bytes) };
            words
        };
        Ok(arguments.iter().zip(&sizes).map(copy).collect())
    }

    /// # Safety
    /// As [`Machine::launch`].
    unsafe fn launch_now(
        &self,
        kernel: Kernel<'_>,
        shape: Shape,
        arguments: &[*const c_void],
    ) -> Result<(), TensorError> {
        if shape.shared_bytes as usize > self.shared_bytes {
            let needed = shape.shared_bytes;
            return Err(self.fail(format!("{} needs {needed} bytes of shared memory", kernel.name)));
        }
        let library = self.library(kernel)?;
        let name = CString::new(format!("host_{}", kernel.name)).map_err(|e| self.fail(e.to_string()))?;
        // SAFETY: the generated entries have this type.
        let entry: Symbol<'_, Entry> = unsafe { library.get(name.as_bytes_with_nul()) }
            .map_err(|_| self.fail(format!("no kernel {} in kernels/{}.cu", kernel.name, kernel.family)))?;
        let order = match self.order {
            Order::Forward => 0,
            Order::Reversed => 1,
            Order::Shuffled(seed) => seed,
        };
        let launch = Launch { grid: shape.grid, block: shape.block, shared_bytes: shape.shared_bytes, order };
        let start = Instant::now();
        // SAFETY: the caller's contract; the failure's text lives until the thread's next launch.
        let failure = unsafe {
            let text = entry(&launch, arguments.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        self.times.lock().expect("times").add(kernel.family, start);
        match failure {
            Some(what) => {
                self.failed.store(true, Ordering::Relaxed);
                Err(self.fail(format!("{}: {what}", kernel.name)))
            }
            None if self.touched().is_some() => Err(self.fail(format!("{} wrote outside its memory", kernel.name))),
            None => Ok(()),
        }
    }

    fn source(&self, family: &str) -> Option<&str> {
        match &self.families {
            Families::Own => FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, source)| *source),
            Families::Given(given) => given.get(family).map(String::as_str),
        }
    }

    fn fail(&self, what: impl Into<String>) -> TensorError {
        TensorError::Device { device: self.name(), what: what.into() }
    }

    /// The first allocation whose guards were written to.
    fn touched(&self) -> Option<Address> {
        let memory = self.memory.lock().expect("memory");
        memory.iter().find(|(_, allocation)| !allocation.intact()).map(|(address, _)| *address)
    }
}

/// Bytes of memory that the machine says it has.
const MEMORY: usize = 1 << 40;

/// Something that is asked of the machine.
#[derive(Debug)]
enum Step {
    Lend { address: Address, bytes: usize },
    Write { to: Address, bytes: Vec<u8> },
    Copy { from: Address, to: Address, bytes: usize },
    Launch { family: &'static str, name: String, shape: Shape, arguments: Vec<Vec<u64>> },
}

/// What was written down, and what is being written down.
#[derive(Debug, Default)]
struct Recordings {
    current: Option<Vec<Step>>,
    kept: Vec<Option<Arc<[Step]>>>,
}

/// How long kernels took.
#[derive(Debug, Default)]
struct Times {
    on: bool,
    seconds: BTreeMap<&'static str, f64>,
}

impl Times {
    fn add(&mut self, family: &'static str, start: Instant) {
        if self.on {
            *self.seconds.entry(family).or_default() += start.elapsed().as_secs_f64();
        }
    }
}

/// Memory between two guards; the one behind begins where what was lent ends.
#[derive(Debug)]
struct Allocation {
    words: Box<[u128]>,
    lent: usize,
}

impl Allocation {
    fn new(bytes: usize) -> Self {
        Allocation { words: vec![u128::MAX; (bytes + 2 * GUARD).div_ceil(16)].into_boxed_slice(), lent: bytes }
    }

    fn lend(&mut self, bytes: usize) {
        self.words.fill(u128::MAX);
        self.lent = bytes;
    }

    fn intact(&self) -> bool {
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        let (front, rest) = bytes.split_at(GUARD);
        front.iter().chain(&rest[self.lent..]).all(|byte| *byte == POISON)
    }
}

impl Machine for Emulated {
    fn name(&self) -> String {
        format!("emulated ({:?})", self.order).to_lowercase()
    }

    fn capability(&self) -> u32 {
        self.capability
    }

    fn multiprocessors(&self) -> u32 {
        4
    }

    fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    fn allocate(&self, bytes: usize) -> Result<Address, TensorError> {
        let allocation = Allocation::new(bytes);
        let address = allocation.words.as_ptr() as Address + GUARD as Address;
        self.memory.lock().expect("memory").insert(address, allocation);
        Ok(address)
    }

    fn free(&self, address: Address, _: usize) {
        self.memory.lock().expect("memory").remove(&address);
    }

    fn lend(&self, address: Address, bytes: usize) {
        if self.noted(Step::Lend { address, bytes }).is_some() {
            self.lend_now(address, bytes);
        }
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), TensorError> {
        if self.records() {
            self.noted(Step::Write { to, bytes: bytes.to_vec() });
            return Ok(());
        }
        self.write_now(to, bytes)
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<(), TensorError> {
        match self.noted(Step::Copy { from, to, bytes }) {
            Some(_) => self.copy_now(from, to, bytes),
            None => Ok(()),
        }
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), TensorError> {
        if self.records() {
            return Err(self.fail("a download cannot be part of what is recorded"));
        }
        // SAFETY: the backend reads no more than it allocated.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn launch(&self, kernel: Kernel<'_>, shape: Shape, arguments: &[*const c_void]) -> Result<(), TensorError> {
        if !self.records() {
            // SAFETY: the caller's contract.
            return unsafe { self.launch_now(kernel, shape, arguments) };
        }
        // SAFETY: the caller's contract.
        let arguments = unsafe { self.copied(kernel, arguments) }?;
        self.noted(Step::Launch { family: kernel.family, name: kernel.name.to_owned(), shape, arguments });
        Ok(())
    }

    fn wait(&self) -> Result<(), TensorError> {
        if self.records() {
            return Err(self.fail("a wait cannot be part of what is recorded"));
        }
        match self.fragile && self.failed.load(Ordering::Relaxed) {
            true => Err(self.fail("a kernel failed before")),
            false => Ok(()),
        }
    }

    fn memory(&self) -> Result<(usize, usize), TensorError> {
        let held: usize = self.memory.lock().expect("memory").values().map(|a| 16 * a.words.len()).sum();
        Ok((MEMORY - held, MEMORY))
    }

    fn time_kernels(&self, on: bool) {
        self.times.lock().expect("times").on = on;
    }

    fn kernel_seconds(&self) -> Result<BTreeMap<&'static str, f64>, TensorError> {
        Ok(self.times.lock().expect("times").seconds.clone())
    }

    fn begin_recording(&self) -> Result<(), TensorError> {
        let before = self.recordings.lock().expect("recordings").current.replace(Vec::new());
        before.map_or(Ok(()), |_| Err(self.fail("something is being recorded already")))
    }

    fn end_recording(&self) -> Result<RecordingId, TensorError> {
        let mut recordings = self.recordings.lock().expect("recordings");
        let steps = recordings.current.take().ok_or_else(|| self.fail("nothing is being recorded"))?;
        let id = RecordingId(recordings.kept.len() as u64);
        recordings.kept.push(Some(steps.into()));
        Ok(id)
    }

    fn replay(&self, recording: RecordingId) -> Result<(), TensorError> {
        std::thread::sleep(self.replay_delay);
        let steps = self.recordings.lock().expect("recordings").kept[recording.0 as usize].clone();
        steps.ok_or_else(|| self.fail("the recording is gone"))?.iter().try_for_each(|step| self.again(step))
    }

    fn forget(&self, recording: RecordingId) {
        self.recordings.lock().expect("recordings").kept[recording.0 as usize] = None;
    }
}
