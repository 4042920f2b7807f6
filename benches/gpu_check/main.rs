//! Checks every operation on a GPU, with fields of GRIB2 and a whole network, then times those that are there for that.
//!
//! Exit code 0 where all is right, 1 where a case is not, 2 where there is no GPU to check.

mod check;
#[path = "../../tests/kernels/compare.rs"]
mod compare;
mod fields;
mod kernels;
mod network;
mod speed;
mod tiles;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use gustfront::config::DeviceChoice;
use gustfront::tensor::cases::{Case, all};
use gustfront::tensor::cuda::{FAMILIES, Nvrtc};
use gustfront::tensor::{Cuda, Device, Memory};
use serde_json::{Value, json};

/// The commit that this program was built from, where the build was told.
const COMMIT: Option<&str> = option_env!("GUSTFRONT_COMMIT");

const USAGE: &str =
    "gpu_check [--device cuda:N] [--only TEXT] [--output FILE.json] [--skip-cases] [--skip-speed] [--list] [--commit]
  --device      the GPU, cuda:0 unless given
  --only        cases whose name holds this text; neither GRIB2 nor a network
  --output      where the results go as JSON
  --skip-cases  no comparison of the small cases
  --skip-speed  no timing, and no comparison of what is timed
  --list        print the inputs of the cases that are timed, as JSON, and end: needs no GPU
  --commit      print the commit that this program was built from, and end: needs no GPU";

struct Options {
    device: DeviceChoice,
    only: String,
    output: Option<PathBuf>,
    cases: bool,
    speed: bool,
}

/// What is asked for; `None` where it was printed already.
fn options(cases: impl Fn(&str) -> Vec<Case>) -> Result<Option<Options>, String> {
    let (device, only, output) = (DeviceChoice::Cuda(0), String::new(), None);
    let mut options = Options { device, only, output, cases: true, speed: true };
    let (mut words, mut list) = (std::env::args().skip(1), false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--device" => options.device = value()?.parse().map_err(|e| format!("{e}"))?,
            "--only" => options.only = value()?,
            "--output" => options.output = Some(value()?.into()),
            "--skip-cases" => options.cases = false,
            "--skip-speed" => options.speed = false,
            "--list" => list = true,
            "--commit" => {
                println!("{}", COMMIT.unwrap_or_default());
                return Ok(None);
            }
            _ => return Err(format!("{word} is no option")),
        }
    }
    if list {
        let steps = if options.only.is_empty() { network::list() } else { json!([]) };
        println!("{}", json!({ "cases": speed::list(&cases(&options.only)), "steps": steps }));
    }
    Ok(Some(options).filter(|_| !list))
}

fn main() -> ExitCode {
    let cases = |only: &str| -> Vec<Case> { all().into_iter().filter(|case| case.name.contains(only)).collect() };
    let options = match options(cases) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("gpu_check: {what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match open(options.device) {
        Ok(cuda) => run(&options, &cuda, &cases(&options.only)),
        Err(what) => {
            eprintln!("gpu_check: {what}");
            ExitCode::from(2)
        }
    }
}

fn open(choice: DeviceChoice) -> Result<Arc<Cuda>, String> {
    choice.open().map_err(|e| e.to_string())?.cuda.ok_or_else(|| format!("{choice} is no GPU"))
}

fn run(options: &Options, cuda: &Arc<Cuda>, cases: &[Case]) -> ExitCode {
    println!("{}", cuda.name());
    let mut found = Found { options, cuda, cases, checked: check::Checked::default(), parts: json!({}) };
    let done = found.find();
    let checked = &found.checked;
    println!("{} comparisons of {} cases, {} wrong", checked.comparisons, checked.cases, checked.failures.len());
    if let Err(error) = &done {
        eprintln!("gpu_check: {error}");
    }
    if checked.failures.is_empty() && done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was found so far; it is all where it names the kernels.
struct Found<'a> {
    options: &'a Options,
    cuda: &'a Arc<Cuda>,
    cases: &'a [Case],
    checked: check::Checked,
    parts: Value,
}

impl Found<'_> {
    /// Every part, those last that are most likely to lose the device.
    fn find(&mut self) -> Result<(), String> {
        let (cuda, cases) = (self.cuda, self.cases);
        let only = |case: &Case| case.name.contains(&self.options.only);
        let tiles: Vec<Case> = tiles::cases(tiles::PROCESSORS).into_iter().filter(only).collect();
        if self.options.cases {
            let device: Device = cuda.clone();
            self.checked = check::run(&device, cases);
            check::run_tiles(&device, &tiles, &mut self.checked);
            self.note("small", json!(self.checked.cases))?;
        }
        if self.options.speed {
            self.note("copy_bytes_per_second", json!(speed::copied(cuda)))?;
            self.find_whole()?;
            self.note("cases", json!(speed::run(cuda, cases, speed::SECONDS)))?;
            check::run_timed(cuda, cases, &mut self.checked);
        }
        if self.options.cases {
            check::run_wgmma(cuda, cases, &tiles, &mut self.checked);
        }
        let ran = cuda.kernels().into_keys().collect();
        self.note("kernels", kernels::told(Nvrtc::load().and_then(|compiler| kernels::all(&compiler, FAMILIES)), &ran))
    }

    /// Fields and steps of a network, where everything is asked for.
    fn find_whole(&mut self) -> Result<(), String> {
        if !self.options.only.is_empty() {
            return Ok(());
        }
        let (cuda, checked) = (self.cuda, &mut self.checked);
        let fields = fields::run(cuda, fields::SIZE, speed::SECONDS, checked);
        network::check(cuda, network::FORECAST, network::TRAINING, checked);
        let steps = network::time(cuda, network::FORECAST, network::TRAINING, speed::SECONDS);
        self.note("fields", json!(fields))?;
        self.note("network", json!(steps))
    }

    /// Writes a part down as soon as it is there: what a later one does cannot take it back.
    fn note(&mut self, name: &str, part: Value) -> Result<(), String> {
        self.parts[name] = part;
        let work = self.cuda.work().map(|work| json!(format!("{work:?}"))).unwrap_or(Value::Null);
        let found = json!({
            "device": self.cuda.name(), "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT,
            "checked": self.checked.json(), "parts": self.parts, "work": work,
        });
        self.options.output.as_deref().map_or(Ok(()), |path| write(path, &found))
    }
}

fn write(path: &Path, found: &Value) -> Result<(), String> {
    std::fs::write(path, format!("{found:#}\n")).map_err(|e| format!("writing the results to {}: {e}", path.display()))
}
