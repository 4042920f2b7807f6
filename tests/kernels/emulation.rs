//! A machine that runs kernels on the host: `kernels/*.cu` compiled as C++, the threads of a block as fibers.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use gustfront::tensor::cuda::{Address, Cuda, FAMILIES, Kernel, Machine, Shape};
use gustfront::tensor::{Device, TensorError};
use libloading::{Library, Symbol};

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

/// The host as a machine for kernels.
#[derive(Debug)]
pub(crate) struct Emulated {
    order: Order,
    families: Families,
    memory: Mutex<BTreeMap<Address, Allocation>>,
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
    Cuda::on(Box::new(Emulated::new(order, Families::Own)))
}

impl Emulated {
    pub(crate) fn new(order: Order, families: Families) -> Self {
        Emulated { order, families, memory: Mutex::default() }
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
        80
    }

    fn multiprocessors(&self) -> u32 {
        4
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
        if let Some(allocation) = self.memory.lock().expect("memory").get_mut(&address) {
            allocation.lend(bytes);
        }
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), TensorError> {
        // SAFETY: the backend writes no more than it allocated.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        self.touched().map_or(Ok(()), |_| Err(self.fail("an upload is longer than its memory")))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), TensorError> {
        // SAFETY: the backend reads no more than it allocated.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn launch(&self, kernel: Kernel<'_>, shape: Shape, arguments: &[*const c_void]) -> Result<(), TensorError> {
        let source = self.source(kernel.family).ok_or_else(|| self.fail(format!("no kernels/{}.cu", kernel.family)))?;
        let library = library(kernel.family, source).map_err(|e| self.fail(e))?;
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
        // SAFETY: the caller's contract; the failure's text lives until the thread's next launch.
        let failure = unsafe {
            let text = entry(&launch, arguments.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        match failure {
            Some(what) => Err(self.fail(format!("{}: {what}", kernel.name))),
            None if self.touched().is_some() => Err(self.fail(format!("{} wrote outside its memory", kernel.name))),
            None => Ok(()),
        }
    }
}

/// Kernels as a library of the host, compiled once for each text.
fn library(family: &str, source: &str) -> Result<Arc<Library>, String> {
    static LOADED: OnceLock<Mutex<HashMap<String, Arc<Library>>>> = OnceLock::new();
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().map_err(|e| e.to_string())?;
    if let Some(library) = loaded.get(source) {
        return Ok(library.clone());
    }
    let path = compile(family, source)?;
    // SAFETY: the library holds kernels and no initialisers of its own.
    let library = Arc::new(unsafe { Library::new(&path) }.map_err(|e| e.to_string())?);
    loaded.insert(source.to_owned(), library.clone());
    Ok(library)
}

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// Compiles a family with an entry for each kernel; what was compiled before from the same text serves again.
fn compile(family: &str, source: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let stem = folder.join(format!("{family}-{:016x}", fingerprint(source)?));
    let library = stem.with_extension("so");
    if library.exists() {
        return Ok(library);
    }
    let text = stem.with_extension("cpp");
    std::fs::write(&text, source).map_err(|e| e.to_string())?;
    let names = names(&run(compiler().arg("-E").arg(&text))?);
    let entries: String = names.iter().map(|name| entry(name)).collect();
    std::fs::write(&text, format!("{source}\n{entries}")).map_err(|e| e.to_string())?;
    let unfinished = stem.with_extension(format!("{}.part", std::process::id()));
    run(compiler().args(["-O2", "-shared", "-fPIC", "-o"]).arg(&unfinished).arg(&text))?;
    std::fs::rename(&unfinished, &library).map_err(|e| e.to_string())?;
    Ok(library)
}

/// A number that changes with anything that the library is made of.
fn fingerprint(source: &str) -> Result<u64, String> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let mut files: Vec<PathBuf> = [kernels(), kernels().join("host")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "cuh" || e == "h"))
        .collect();
    files.sort();
    for file in files {
        std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn compiler() -> Command {
    let mut command = Command::new("c++");
    command.args(["-x", "c++", "-std=c++17", "-DGUSTFRONT_HOST", "-fno-strict-aliasing", "-w", "-I"]).arg(kernels());
    command
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The kernels of a preprocessed text.
fn names(text: &str) -> Vec<String> {
    let heads = text.split("extern \"C\" __attribute__((used))").skip(1);
    heads
        .filter_map(|rest| rest.trim_start().strip_prefix("void ")?.split('(').next())
        .map(|n| n.trim().to_owned())
        .collect()
}

fn entry(name: &str) -> String {
    format!(
        "extern \"C\" const char* host_{name}(const host::Launch* launch, void** arguments) {{\n    \
         return host::launch({name}, *launch, arguments);\n}}\n"
    )
}
