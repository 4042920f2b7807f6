//! Kernel files turned into machine code at their first use, and kept on disk for the next run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::nvrtc::{Compiled, Nvrtc};
use super::sources;

/// What a kept file begins with; another number for another form.
const MAGIC: &[u8; 8] = b"GUSTCUB1";

/// The kernels of one kind of device.
#[derive(Debug)]
pub struct Programs {
    architecture: String,
    /// The driver's version as it tells it: code that one accepts another may refuse.
    driver: i32,
    folder: Option<PathBuf>,
    /// Looked for when it is first needed.
    compiler: OnceLock<Result<Nvrtc, String>>,
    compiled: AtomicU64,
    /// Whether it was told that the folder cannot be written to.
    warned: AtomicBool,
}

impl Programs {
    /// The kernels for a compute capability such as 90, kept in a folder where one is given.
    pub fn new(capability: u32, driver: i32, folder: Option<PathBuf>) -> Self {
        let (compiler, compiled, warned) = Default::default();
        Programs { architecture: architecture(capability), driver, folder, compiler, compiled, warned }
    }

    /// The same with a compiler that is there already.
    pub fn with_compiler(self, compiler: Nvrtc) -> Self {
        Programs { compiler: OnceLock::from(Ok(compiler)), ..self }
    }

    /// The machine code of a family: what is kept, whichever compiler made it, else compiled now and kept. A folder
    /// that cannot be written to costs the time of compiling again.
    ///
    /// # Errors
    /// Where nothing is kept and there is no compiler, or with its words.
    pub fn code(&self, family: &str) -> Result<Vec<u8>, String> {
        let unit = Unit::of(family, &self.architecture)?;
        let path = self.path(family, &unit);
        if let Some(code) = path.as_deref().and_then(kept) {
            return Ok(code);
        }
        let compiler = self.compiler.get_or_init(Nvrtc::load).as_ref().map_err(String::clone)?;
        let (start, (major, minor)) = (Instant::now(), compiler.version());
        let compiled = unit.compile(compiler)?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        tracing::info!(
            "compiled kernels/{family}.cu for {} with NVRTC {major}.{minor} in {seconds:.1} s",
            self.architecture
        );
        if let Some((path, error)) = path.and_then(|path| keep(&path, &compiled.code).err().map(|error| (path, error)))
        {
            self.warn(&path, &error);
        }
        Ok(compiled.code)
    }

    /// Lets go of what is kept of a family, which the driver refused: the next run compiles it anew.
    pub fn discard(&self, family: &str) {
        let path = Unit::of(family, &self.architecture).ok().and_then(|unit| self.path(family, &unit));
        // A file that is not there needs no removal.
        let _ = path.map(std::fs::remove_file);
    }

    /// Where the machine code of a family is kept.
    fn path(&self, family: &str, unit: &Unit) -> Option<PathBuf> {
        let key = fingerprint(&(unit, self.driver));
        self.folder.as_ref().map(|folder| folder.join(format!("{family}-{}-{key:016x}.cubin", self.architecture)))
    }

    /// Says once that kernels cannot be kept.
    fn warn(&self, path: &Path, error: &std::io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let path = path.display();
            tracing::warn!(
                "compiled kernels cannot be kept for the next run: {path}: {error}; is its folder writable?"
            );
        }
    }

    /// How many families were compiled rather than found.
    pub fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }
}

/// Compiles a family for an architecture such as `sm_90a`, with registers and spills of each kernel in the log.
///
/// # Errors
/// With the compiler's words, where a kernel does not compile.
pub fn compile_family(compiler: &Nvrtc, family: &str, architecture: &str) -> Result<Compiled, String> {
    Unit::of(family, architecture)?.compile(compiler)
}

/// What is compiled at once.
#[derive(Hash)]
struct Unit {
    file: String,
    text: String,
    options: [String; 3],
}

impl Unit {
    fn of(family: &str, architecture: &str) -> Result<Self, String> {
        let file = format!("{family}.cu");
        let text = sources::family(family).ok_or_else(|| format!("there is no kernels/{file}"))?;
        let target = format!("--gpu-architecture={architecture}");
        let options = [&target, "--std=c++17", "--ptxas-options=-v"].map(String::from);
        Ok(Unit { text: sources::pasted(&file, text), file, options })
    }

    fn compile(&self, compiler: &Nvrtc) -> Result<Compiled, String> {
        compiler.compile(&self.file, &self.text, &self.options).map_err(|e| format!("kernels/{}: {e}", self.file))
    }
}

/// The folder for machine code: `$XDG_CACHE_HOME/gustfront/kernels`, or `~/.cache/gustfront/kernels`.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("gustfront/kernels"))
}

/// What code is compiled for; on 9.0 with the instructions that no later device has.
fn architecture(capability: u32) -> String {
    format!("sm_{capability}{}", if capability == 90 { "a" } else { "" })
}

fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The code in a kept file; `None` where there is no file or it is broken.
fn kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let (sum, code) = bytes.strip_prefix(MAGIC)?.split_at_checked(8)?;
    (sum == fingerprint(&code).to_le_bytes()).then(|| code.to_vec())
}

/// Writes a file beside its place and moves it there: readers see all of it or nothing, and nothing else is left.
fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}.part", std::process::id()));
    std::fs::write(&unfinished, [MAGIC, &fingerprint(&code).to_le_bytes(), code].concat())
        .and_then(|()| std::fs::rename(&unfinished, path))
        .inspect_err(|_| {
            // It may not even have been begun.
            let _ = std::fs::remove_file(&unfinished);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/family-sm_80-1.cubin");
        assert_eq!(kept(&path), None);
        keep(&path, b"machine code").unwrap();
        assert_eq!(kept(&path).as_deref(), Some(&b"machine code"[..]));
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(kept(&path), None, "cut to {end} bytes");
        }
        let mut changed = whole.clone();
        changed[20] ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert_eq!(kept(&path), None);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing unfinished stays");
    }

    #[test]
    fn what_could_not_be_kept_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("family-sm_80-1.cubin");
        // A folder in the file's place cannot be replaced.
        std::fs::create_dir_all(path.join("taken")).unwrap();
        keep(&path, b"machine code").unwrap_err();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path]);
    }

    #[test]
    fn what_is_kept_needs_no_compiler_until_it_is_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let programs = || Programs {
            compiler: OnceLock::from(Err("no compiler".into())),
            ..Programs::new(80, 13_000, Some(folder.path().to_owned()))
        };
        assert_eq!(programs().code("memory"), Err("no compiler".into()));
        let unit = Unit::of("memory", "sm_80").unwrap();
        keep(&programs().path("memory", &unit).unwrap(), b"machine code").unwrap();
        assert_eq!(programs().code("memory").as_deref(), Ok(&b"machine code"[..]));
        programs().discard("memory");
        assert_eq!(programs().code("memory"), Err("no compiler".into()));
    }

    #[test]
    fn instructions_of_one_device_are_for_that_device() {
        assert_eq!([80, 90, 100].map(architecture), ["sm_80", "sm_90a", "sm_100"]);
    }
}
