//! NVIDIA's run-time compiler (NVRTC): found, loaded and asked for machine code.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null;

use libloading::Library;

/// The environment variable that names the compiler's library where it lies in no usual place.
pub const NVRTC_VARIABLE: &str = "GUSTFRONT_NVRTC";

/// What the library is called, newest first; the loader looks for these in the system's folders.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

type Program = *mut c_void;
type Texts = *const *const c_char;

/// The compiler's library.
#[derive(Debug)]
pub struct Nvrtc {
    version: (c_int, c_int),
    create: unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, Texts, Texts) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, Texts) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: Bytes,
    code: Bytes,
    explain: unsafe extern "C" fn(c_int) -> *const c_char,
    /// The functions above lie in it.
    _library: Library,
}

/// A pair of functions that tell how many bytes there are, and write them.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    write: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

/// What came of a text.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Machine code of one architecture (CUBIN).
    pub code: Vec<u8>,
    /// Warnings, and what the options ask for besides.
    pub log: String,
}

impl Nvrtc {
    /// The library that `GUSTFRONT_NVRTC` names, else the first that is found in the loader's folders, in those of a
    /// CUDA toolkit, and in those of a Python environment that is active.
    ///
    /// # Errors
    /// Where there is none, or it is not what it seems; the text says what to do.
    pub fn load() -> Result<Self, String> {
        if let Some(named) = std::env::var_os(NVRTC_VARIABLE) {
            return Nvrtc::at(Path::new(&named))
                .map_err(|e| format!("what {NVRTC_VARIABLE} names cannot be loaded: {e}"));
        }
        let tried: Vec<PathBuf> = candidates();
        tried.iter().find_map(|path| Nvrtc::at(path).ok()).ok_or_else(|| {
            format!(
                "the kernels cannot be compiled: no {} here; install a CUDA 13 toolkit, or `pip install \
                 nvidia-cuda-nvrtc` and set {NVRTC_VARIABLE} to its libnvrtc.so.13",
                NAMES[0]
            )
        })
    }

    /// The library of a path.
    ///
    /// # Errors
    /// Where it is not there, or not what it seems.
    pub fn at(path: &Path) -> Result<Self, String> {
        // SAFETY: the library's initialisers are NVIDIA's and ask nothing of the program.
        let library = unsafe { Library::new(path) }.map_err(|e| format!("{}: {}", path.display(), told(&e)))?;
        // SAFETY: every function has the type that NVRTC's documentation gives it since its version 11.1.
        unsafe {
            let nvrtc = Nvrtc {
                version: version(symbol(&library, c"nvrtcVersion")?)?,
                create: symbol(&library, c"nvrtcCreateProgram")?,
                compile: symbol(&library, c"nvrtcCompileProgram")?,
                destroy: symbol(&library, c"nvrtcDestroyProgram")?,
                log: Bytes {
                    size: symbol(&library, c"nvrtcGetProgramLogSize")?,
                    write: symbol(&library, c"nvrtcGetProgramLog")?,
                },
                code: Bytes {
                    size: symbol(&library, c"nvrtcGetCUBINSize")?,
                    write: symbol(&library, c"nvrtcGetCUBIN")?,
                },
                explain: symbol(&library, c"nvrtcGetErrorString")?,
                _library: library,
            };
            Ok(nvrtc)
        }
    }

    /// Its version, such as 13.5.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compiles a text that includes nothing.
    ///
    /// # Errors
    /// With the compiler's words, where the text or an option is wrong.
    pub fn compile(&self, name: &str, text: &str, options: &[String]) -> Result<Compiled, String> {
        let (name, text) = (terminated(name)?, terminated(text)?);
        let options: Vec<CString> = options.iter().map(|option| terminated(option)).collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: the texts end in a zero byte and outlive the program; there are no headers.
        self.check(unsafe { (self.create)(&mut program, text.as_ptr(), name.as_ptr(), 0, null(), null()) })?;
        // SAFETY: the program was just made, and there are as many options as told.
        let status = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = self.bytes(program, self.log).map(|log| text_of(&log));
        let code = self.check(status).and_then(|()| self.bytes(program, self.code));
        // SAFETY: nothing uses the program after this.
        unsafe { (self.destroy)(&mut program) };
        let log = log?;
        Ok(Compiled { code: code.map_err(|e| format!("{e}\n{log}"))?, log })
    }

    fn bytes(&self, program: Program, of: Bytes) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is alive.
        self.check(unsafe { (of.size)(program, &mut size) })?;
        let mut bytes = vec![0u8; size];
        // SAFETY: as many bytes are there as will be written.
        self.check(unsafe { (of.write)(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: every status has a text that lives as long as the library.
        let text = unsafe { CStr::from_ptr((self.explain)(status)) };
        Err(format!("NVRTC {}.{}: {}", self.version.0, self.version.1, text.to_string_lossy()))
    }
}

/// A function of the library.
///
/// # Safety
/// It is of this type.
unsafe fn symbol<F: Copy>(library: &Library, name: &CStr) -> Result<F, String> {
    // SAFETY: the caller's contract.
    unsafe { library.get::<F>(name.to_bytes_with_nul()) }.map(|f| *f).map_err(|e| told(&e))
}

/// An error of the loader with the reason behind it.
fn told(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(reason) => format!("{error}: {reason}"),
        None => error.to_string(),
    }
}

fn version(ask: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int) -> Result<(c_int, c_int), String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two numbers are written.
    match unsafe { ask(&mut major, &mut minor) } {
        0 => Ok((major, minor)),
        status => Err(format!("NVRTC does not tell its version: error {status}")),
    }
}

/// Where the library may be, in the order in which it is looked for.
fn candidates() -> Vec<PathBuf> {
    let roots = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let toolkits = roots.chain([PathBuf::from("/usr/local/cuda")]).map(|root| root.join("lib64"));
    let folders = [PathBuf::new()].into_iter().chain(toolkits).chain(python_folders());
    folders.flat_map(|folder| NAMES.map(|name| folder.join(name))).collect()
}

/// Where the wheels of an active Python environment put the library.
fn python_folders() -> Vec<PathBuf> {
    let Some(environment) = std::env::var_os("VIRTUAL_ENV") else { return Vec::new() };
    let libraries = std::fs::read_dir(PathBuf::from(environment).join("lib"));
    let pythons = libraries.into_iter().flatten().flatten().map(|entry| entry.path().join("site-packages/nvidia"));
    pythons.flat_map(|nvidia| ["cu13/lib", "cuda_nvrtc/lib"].map(|folder| nvidia.join(folder))).collect()
}

fn terminated(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|e| e.to_string())
}

/// A text without the zero byte at its end.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').trim().to_owned()
}
