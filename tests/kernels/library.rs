//! Kernels compiled as C++ into libraries of the host.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use libloading::Library;

/// Kernels as a library of the host, compiled once for each text.
pub(crate) fn library(family: &str, source: &str) -> Result<Arc<Library>, String> {
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

/// What a device asks of every address and the host does not.
const CHECKED: [&str; 1] = ["-fsanitize=alignment"];

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// Compiles a family with an entry for each kernel; what was compiled before from the same text serves again.
fn compile(family: &str, source: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let stem = folder.join(format!("{family}-{:016x}", fingerprint(source)?));
    let library = stem.with_extension("so");
    let listed = stem.with_extension("names");
    if library.exists() && listed.exists() {
        return Ok(library);
    }
    let text = stem.with_extension("cpp");
    std::fs::write(&text, source).map_err(|e| e.to_string())?;
    let names = names(&run(compiler().arg("-E").arg(&text))?);
    std::fs::write(&listed, names.join("\n")).map_err(|e| e.to_string())?;
    let entries: String = names.iter().map(|name| entry(name)).collect();
    std::fs::write(&text, format!("{source}\n{entries}")).map_err(|e| e.to_string())?;
    let unfinished = stem.with_extension(format!("{}.part", std::process::id()));
    let object = stem.with_extension(format!("{}.o", std::process::id()));
    run(compiler()
        .args(CHECKED)
        .args(["-O1", "-finline-small-functions", "-fPIC", "-c", "-o"])
        .arg(&object)
        .arg(&text))?;
    // Linked apart: the library that would tell of an access is `host/alignment.h` itself.
    let linked = run(Command::new("c++").args(["-shared", "-o"]).arg(&unfinished).arg(&object));
    std::fs::remove_file(&object).map_err(|e| e.to_string())?;
    linked?;
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

/// The names of a family's kernels. Only one thread compiles at a time.
pub(crate) fn names_of(family: &str, source: &str) -> Vec<String> {
    library(family, source).expect("a library");
    let path = compile(family, source).expect("a library").with_extension("names");
    std::fs::read_to_string(&path).expect("names").lines().map(str::to_owned).collect()
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
         return host::launch({name}, *launch, arguments);\n}}\n\
         extern \"C\" unsigned sizes_{name}(size_t* bytes) {{ return host::sizes({name}, bytes); }}\n"
    )
}
