//! Times how long `grib` or `gribberish` take from a message's bytes to its values, in one thread.
//!
//! `grib2-peers grib|gribberish RUNS FILE…` prints a line for each file, its cells separated by tabs: the file, the mean
//! of its values, how many are missing, and the milliseconds of each run; or the file, `-` and why there are none.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use gribberish::message::Message;

/// Runs of one field stop after this long, if there have been [`FEWEST`].
const LONGEST: Duration = Duration::from_millis(1500);
const FEWEST: usize = 3;

/// What one decoder makes of a field: its values, and the time that took.
type Decode = fn(&[u8], &mut Vec<f64>) -> Result<Duration, Box<dyn Error>>;

/// The first field of the message, as single precision numbers into a buffer that is used again.
fn grib(bytes: &[u8], values: &mut Vec<f64>) -> Result<Duration, Box<dyn Error>> {
    thread_local!(static BUFFER: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) });
    let message = grib::from_bytes(bytes)?;
    let (_, field) = message.iter().next().ok_or("no field")?;
    BUFFER.with_borrow_mut(|buffer| {
        let start = Instant::now();
        buffer.clear();
        buffer.extend(grib::Grib2SubmessageDecoder::from(field)?.dispatch()?);
        let elapsed = start.elapsed();
        black_box(&buffer);
        if values.is_empty() {
            values.extend(buffer.iter().copied().map(f64::from));
        }
        Ok(elapsed)
    })
}

/// The first field of the message, as the double precision numbers that are this decoder's only ones.
fn gribberish(bytes: &[u8], values: &mut Vec<f64>) -> Result<Duration, Box<dyn Error>> {
    let message = Message::from_data(bytes, 0).ok_or("no message")?;
    let start = Instant::now();
    let found = message.data().map_err(|e| e.to_string())?;
    let elapsed = start.elapsed();
    if values.is_empty() {
        values.extend(&found);
    }
    black_box(found);
    Ok(elapsed)
}

fn measure(decode: Decode, bytes: &[u8], runs: usize) -> Result<String, Box<dyn Error>> {
    let (mut values, mut times, start) = (Vec::new(), Vec::new(), Instant::now());
    decode(bytes, &mut values)?;
    while times.len() < runs && (times.len() < FEWEST || start.elapsed() < LONGEST) {
        times.push(format!("{:.4}", decode(bytes, &mut values)?.as_secs_f64() * 1e3));
    }
    let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let mean = present.iter().sum::<f64>() / present.len() as f64;
    Ok(format!("{mean}\t{}\t{}", values.len() - present.len(), times.join("\t")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let decode: Decode = match arguments.next().as_deref() {
        Some("grib") => grib,
        Some("gribberish") => gribberish,
        _ => return Err("expected grib or gribberish, RUNS and files".into()),
    };
    let runs = arguments.next().ok_or("expected RUNS")?.parse()?;
    for file in arguments {
        let result = measure(decode, &std::fs::read(&file)?, runs);
        println!("{file}\t{}", result.unwrap_or_else(|error| format!("-\t{error}")));
    }
    Ok(())
}
