//! A Python with the reference libraries, for the tests that compare with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The oldest Python that the pinned libraries run on.
const OLDEST: (u32, u32) = (3, 11);

/// The Python of a virtual environment below `target/` that has everything in `tests/python/requirements.txt`.
///
/// It is made once and updated when the requirements change. `None`, with a printed reason, where there is no
/// Python or the libraries cannot be had.
pub(crate) fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = || environment("target/python-venv", "tests/python/requirements.txt");
    let found = PYTHON.get_or_init(|| made().map_err(|reason| println!("skipped: {reason}")).ok());
    found.as_deref()
}

/// Runs a script below `tests/python/`; panics with what it printed where it fails.
pub(crate) fn run(python: &Path, script: &str, arguments: &[&str]) -> String {
    let script = repository().join("tests/python").join(script);
    let output = Command::new(python).arg(&script).args(arguments).output().expect("Python starts");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} failed:\n{printed}\n{errors}", script.display());
    printed.into_owned()
}

/// The Python of a virtual environment that has what a file of requirements names.
pub(crate) fn environment(folder: &str, requirements: &str) -> Result<PathBuf, String> {
    let (folder, requirements) = (repository().join(folder), repository().join(requirements));
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    let wanted = fs::read_to_string(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    // Tests run side by side in several processes; the lock ends with the file handle.
    let lock = folder.with_extension("lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|e| format!("{}: {e}", lock.display()))?;
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    if !python.exists() {
        finish(Command::new(system_python()?).args(["-m", "venv"]).arg(&folder))?;
    }
    finish(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&installed, wanted).map_err(|e| format!("{}: {e}", installed.display()))?;
    drop(lock);
    Ok(python)
}

/// The first `python3` that is recent enough.
fn system_python() -> Result<&'static str, String> {
    let recent = format!("import sys, venv, ensurepip; sys.exit(sys.version_info < ({}, {}))", OLDEST.0, OLDEST.1);
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
    let fine = |name: &&str| Command::new(name).args(["-c", &recent]).output().is_ok_and(|o| o.status.success());
    names.into_iter().find(fine).ok_or(format!("there is no Python {}.{} or later with venv", OLDEST.0, OLDEST.1))
}

fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?} failed: {}", errors.trim())) }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
