//! Checks every operation on a GPU against plain loops, then times those that are there for their speed.
//!
//! Exit code 0 where all is right, 1 where a case is not, 2 where there is no GPU to check.

mod check;
#[path = "../../tests/kernels/compare.rs"]
mod compare;
mod speed;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use gustfront::config::DeviceChoice;
use gustfront::tensor::Cuda;
use gustfront::tensor::cases::{Case, all};
use serde_json::{Value, json};

const USAGE: &str =
    "gpu_check [--device cuda:N] [--only TEXT] [--output FILE.json] [--skip-cases] [--skip-speed] [--list]
  --device      the GPU, cuda:0 unless given
  --only        cases whose name holds this text
  --output      where the results go as JSON
  --skip-cases  no comparison with plain loops
  --skip-speed  no timing
  --list        print the inputs of the cases that are timed, as JSON, and end: needs no GPU";

struct Options {
    device: DeviceChoice,
    only: String,
    output: Option<PathBuf>,
    cases: bool,
    speed: bool,
    list: bool,
}

fn options() -> Result<Options, String> {
    let (device, only, output) = (DeviceChoice::Cuda(0), String::new(), None);
    let mut options = Options { device, only, output, cases: true, speed: true, list: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--device" => options.device = value()?.parse().map_err(|e| format!("{e}"))?,
            "--only" => options.only = value()?,
            "--output" => options.output = Some(value()?.into()),
            "--skip-cases" => options.cases = false,
            "--skip-speed" => options.speed = false,
            "--list" => options.list = true,
            _ => return Err(format!("{word} is no option")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("gpu_check: {what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let cases: Vec<Case> = all().into_iter().filter(|case| case.name.contains(&options.only)).collect();
    if options.list {
        println!("{}", speed::list(&cases));
        return ExitCode::SUCCESS;
    }
    match open(options.device) {
        Ok(cuda) => run(&options, &cuda, &cases),
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
    let device: gustfront::tensor::Device = cuda.clone();
    println!("{}", device.name());
    let mut checked = check::Checked::default();
    if options.cases {
        checked = check::run(&device, cases);
        check::run_wgmma(cuda, cases, &mut checked);
    }
    println!("{} comparisons of {} cases, {} wrong", checked.comparisons, checked.cases, checked.failures.len());
    let timed = if options.speed { speed::run(cuda, cases) } else { json!({}) };
    let work = cuda.work().map(|work| json!(format!("{work:?}"))).unwrap_or(Value::Null);
    let result = json!({
        "device": device.name(), "version": env!("CARGO_PKG_VERSION"), "checked": checked.json(), "speed": timed,
        "work": work,
    });
    if let Some(Err(error)) = options.output.as_ref().map(|path| std::fs::write(path, format!("{result:#}\n"))) {
        eprintln!("gpu_check: writing the results: {error}");
        return ExitCode::FAILURE;
    }
    if checked.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
