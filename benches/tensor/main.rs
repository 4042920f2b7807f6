//! Times the tensor engine: every speed case of the one list, whole networks, and the arithmetic that the machine can do.
//!
//! Prints one JSON: the peak of each instruction set, and a line for each case, number of threads and pass. `--only
//! TEXT` keeps cases whose names hold the text, `--quick` runs each for a moment, `--list` prints names. `--serve`
//! reads requests from standard input, a JSON a line, for `benches/run_tensor`, which lets PyTorch run by turns.

mod peak;
mod work;

use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gustfront::tensor::Level;
use rayon::ThreadPool;
use serde_json::{Value, json};

use work::{Outcome, Pass, Work};

/// How long one case is run on one number of threads, and how often at least.
const LONGEST: Duration = Duration::from_millis(500);
const QUICK: Duration = Duration::from_millis(50);
const FEWEST: u64 = 3;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let after = |flag: &str| arguments.iter().position(|a| a == flag).and_then(|at| arguments.get(at + 1));
    let folder = after("--inputs").map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("tensor"), PathBuf::from);
    let names =
        work::names().into_iter().filter(|name| after("--only").is_none_or(|text| name.contains(text.as_str())));
    if has("--serve") {
        return serve(&folder);
    }
    if has("--list") {
        names.for_each(|name| println!("{name}"));
        return Ok(());
    }
    let longest = if has("--quick") { QUICK } else { LONGEST };
    let mut results = Vec::new();
    for name in names {
        results.extend(measure_all(&Work::load(&name, &folder)?, &name, longest)?);
    }
    println!("{:#}", json!({ "peak_gflops": peaks(), "results": results }));
    Ok(())
}

/// One thread, and all that there are.
fn thread_counts() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if all == 1 { vec![1] } else { vec![1, all] }
}

fn pool(threads: usize) -> Outcome<ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

/// GFLOP/s of each instruction set on one thread and on all.
fn peaks() -> Value {
    let of = |level: Level| {
        let threads = thread_counts().into_iter().map(|n| json!({ "threads": n, "gflops": peak::gigaflops(level, n) }));
        json!({ "level": format!("{level:?}"), "by_threads": threads.collect::<Vec<_>>() })
    };
    Level::available().map(of).collect()
}

fn measure_all(work: &Work, name: &str, longest: Duration) -> Outcome<Vec<Value>> {
    let mut results = Vec::new();
    for threads in thread_counts() {
        for (pass, text) in [(Pass::Forward, "forward"), (Pass::Both, "forward+backward")] {
            if pass == Pass::Both && !work.has_gradient() {
                continue;
            }
            let mut times = pool(threads)?.install(|| measure(work, pass, longest, [1, FEWEST]))?;
            times.sort_by(f64::total_cmp);
            results.push(json!({
                "case": name, "threads": threads, "pass": text, "least_ms": times[0],
                "median_ms": times[times.len() / 2], "gflop": gflop(work, pass),
                "held_bytes": work.device().memory_use().held_bytes, "peak_bytes": work.device().memory_use().peak_bytes,
            }));
        }
    }
    Ok(results)
}

/// Arithmetic of a pass: the gradients of both factors of a product take a product each.
fn gflop(work: &Work, pass: Pass) -> Option<f64> {
    work.gflop().map(|gflop| if pass == Pass::Both { 3.0 * gflop } else { gflop })
}

/// Milliseconds of each run after `warm` that are not counted; at least `fewest`, until `longest` has gone by.
fn measure(work: &Work, pass: Pass, longest: Duration, [warm, fewest]: [u64; 2]) -> Outcome<Vec<f64>> {
    for _ in 0..warm {
        work.clear();
        drop(work.pass(pass)?);
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while (times.len() as u64) < fewest || start.elapsed() < longest {
        work.clear();
        let begin = Instant::now();
        let held = work.pass(pass)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(held);
    }
    Ok(times)
}

/// Answers requests, a JSON a line, until there are no more.
fn serve(folder: &Path) -> Outcome<()> {
    let mut current = None;
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = answer(&request, folder, &mut current).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{answer}");
    }
    Ok(())
}

fn answer(request: &Value, folder: &Path, current: &mut Option<Work>) -> Outcome<Value> {
    let pass = if request["pass"] == "forward" { Pass::Forward } else { Pass::Both };
    let threads = request["threads"].as_u64().unwrap_or(1) as usize;
    let loaded = || current.as_ref().ok_or("nothing is loaded");
    match request["ask"].as_str().unwrap_or_default() {
        "list" => Ok(json!({ "cases": work::names(), "level": format!("{:?}", Level::best()) })),
        "peak" => Ok(json!({ "peak_gflops": peaks() })),
        "load" => {
            // The former case goes first: two of the greatest would not fit.
            *current = None;
            let work = Work::load(request["case"].as_str().unwrap_or_default(), folder)?;
            let answer = loaded_answer(&work);
            *current = Some(work);
            Ok(answer)
        }
        "measure" => {
            let longest = Duration::from_secs_f64(request["seconds"].as_f64().unwrap_or(0.1));
            let fewest = request["fewest"].as_u64().unwrap_or(1);
            let warm = request["warm"].as_u64().unwrap_or(1);
            let times = pool(threads)?
                .install(|| loaded().map_or_else(|e| Err(e.into()), |w| measure(w, pass, longest, [warm, fewest])))?;
            let held = loaded()?.device().memory_use();
            Ok(json!({ "times_ms": times, "held_bytes": held.held_bytes, "peak_bytes": held.peak_bytes }))
        }
        "values" => Ok(json!({ "values": loaded()?.told(pass)? })),
        other => Err(format!("nobody answers {other:?}").into()),
    }
}

/// What another program needs to run the same case.
fn loaded_answer(work: &Work) -> Value {
    let inputs = work.inputs().iter().zip(&work.files);
    let inputs = inputs.map(|(input, file)| {
        json!({ "shape": input.shape, "file": file, "gradient": input.gradient,
                "indices": matches!(input.numbers, gustfront::tensor::cases::Numbers::Below(_)) })
    });
    let mut rest = work.files.iter().skip(work.inputs().len());
    let upstream = if work.has_gradient() { rest.next() } else { None };
    json!({ "inputs": inputs.collect::<Vec<_>>(), "upstream": upstream, "weights": rest.next(), "gflop": work.gflop() })
}
