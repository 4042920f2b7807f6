//! Times the decoding of GRIB2 fields, from a message's bytes to values in a buffer, and their encoding, on one core.
//!
//! Real fields of the folder GUSTFRONT_DATA names (`../shared/data` unless set), beside a plain copy of as many bytes as
//! the values have. `--raw RUNS FILE…` prints what `benches/run_grib2` reads: a line for each file, its cells separated
//! by tabs: the file, the mean of its values, how many are missing, and the milliseconds of each run; or the file, `-`
//! and why there are none.

use std::error::Error;
use std::fs::read;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gustfront::config;
use gustfront::formats::grib2::{Encode, Message, Pack, Precision, decode_each, encode, headers, scan};

/// Runs of each field.
const RUNS: usize = 101;
/// Runs of one field stop after this long, if there have been [`FEWEST`].
const LONGEST: Duration = Duration::from_millis(1500);
const FEWEST: usize = 3;

/// One field a packing and a size, as `benches/run_grib2` lists them too.
const FIELDS: [&str; 7] = [
    "hrrr-conus/t06z.wrfsfcf01-TMP.grib2",
    "hrrr-conus/t00z.wrfsfcf00-HPBL.grib2",
    "hrrr-conus/t06z.wrfsfcf01-UGRD.grib2",
    "hrrr-conus/t00z.wrfprsf00-space.grib2",
    "hrrr-conus/t00z.wrfprsf00-atmo-chem.grib2",
    "hrrr-conus-20260716t18z/massden_f00.grib2",
    "mrms-preciprate-20190610/PrecipRate_00.00_20190610-000000.grib2",
];

/// Fields written again as they were packed.
const ENCODED: [(&str, Pack); 5] = [
    (FIELDS[0], Pack::Complex),
    (FIELDS[1], Pack::Complex),
    (FIELDS[2], Pack::Simple),
    (FIELDS[3], Pack::Complex),
    (FIELDS[6], Pack::Png),
];

/// The first field of a file, and its message's bytes.
struct Field {
    bytes: Vec<u8>,
    message: Message,
}

impl Field {
    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = read(path)?;
        let range = scan(&file).messages.first().cloned().ok_or("no message")?;
        let bytes = file[range].to_vec();
        let message = headers(&bytes)?.remove(0);
        Ok(Field { bytes, message })
    }

    /// The values, and the milliseconds of each of at most `runs` runs.
    fn measure(&self, runs: usize) -> Result<(Vec<f32>, Vec<f64>), Box<dyn Error>> {
        let mut values = vec![0.0; self.message.points];
        self.message.decode_into(&self.bytes, &mut values)?;
        let times = measure(runs, || {
            let decoded = self.message.decode_into(black_box(&self.bytes), &mut values);
            black_box((&mut values, decoded.is_ok()));
        });
        Ok((values, times))
    }
}

/// The milliseconds of each of at most `runs` runs.
fn measure(runs: usize, mut work: impl FnMut()) -> Vec<f64> {
    let (mut times, begin) = (Vec::new(), Instant::now());
    while times.len() < runs && (times.len() < FEWEST || begin.elapsed() < LONGEST) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times
}

/// The least and the median.
fn ends(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// A line for people.
fn line(path: &Path) -> Result<String, Box<dyn Error>> {
    let field = Field::read(path)?;
    let (mut values, times) = field.measure(RUNS)?;
    let (least, median) = ends(times);
    let from = values.clone();
    let (copy, _) = ends(measure(RUNS, || black_box(&mut values).copy_from_slice(black_box(&from))));
    let rate = |bytes: usize| bytes as f64 / (median * 1e3);
    let (input, output) = (rate(field.bytes.len()), rate(size_of_val(&*from)));
    let packing = field.message.packing.to_string();
    Ok(format!("{packing:<18}{least:8.2} {median:8.2} ms {input:8.0} {output:8.0} MB/s   copy {copy:6.2} ms"))
}

/// A line for `benches/run_grib2`.
fn raw(path: &Path, runs: usize) -> Result<String, Box<dyn Error>> {
    let (values, times) = Field::read(path)?.measure(runs)?;
    let present: Vec<f64> = values.iter().filter(|value| !value.is_nan()).map(|value| f64::from(*value)).collect();
    let mean = present.iter().sum::<f64>() / present.len() as f64;
    let times: Vec<String> = times.iter().map(|time| format!("{time:.4}")).collect();
    Ok(format!("{mean}\t{}\t{}", values.len() - present.len(), times.join("\t")))
}

/// A field written with the precision that it was read with: a line for people.
fn encoded(path: &Path, pack: Pack) -> Result<String, Box<dyn Error>> {
    let Field { bytes, message } = Field::read(path)?;
    let (values, grid) = (message.decode(&bytes)?, message.grid.clone()?);
    let scale = message.packing.scale().ok_or("values that are not scaled")?;
    // Any variable will do: its codes are a few bytes.
    let variable = config::variables().get("t2m").ok_or("no variable")?;
    let plain = Encode::new(message.slot()?, variable, &grid, &values, 0);
    let field = Encode { pack, precision: Precision::of(scale), ..plain };
    let written = encode(&field)?;
    let (least, median) = ends(measure(RUNS, || drop(black_box(encode(black_box(&field))))));
    let (rate, size) = (size_of_val(&*values) as f64 / (median * 1e3), written.len() as f64 / bytes.len() as f64);
    Ok(format!("{pack:<18?}{least:8.2} {median:8.2} ms {rate:8.0} MB/s of values   {size:.3} of the original's bytes"))
}

/// All fields at once, on every core.
fn together(paths: &[PathBuf]) -> Result<String, Box<dyn Error>> {
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    let read = paths.iter().filter_map(|path| Field::read(path).ok());
    for field in read.filter(|field| field.message.decode(&field.bytes).is_ok()) {
        fields.push((bytes.len()..bytes.len() + field.bytes.len(), field.message));
        bytes.extend(field.bytes);
    }
    let (least, median) = ends(measure(RUNS, || {
        black_box(decode_each(&bytes, &fields, |_, values| values.len()));
    }));
    let threads = std::thread::available_parallelism()?;
    Ok(format!("{:<18}{least:8.2} {median:8.2} ms   on {threads} threads", format!("{} fields", fields.len())))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, runs, files @ ..] = &*arguments
        && flag == "--raw"
    {
        let runs = runs.parse()?;
        for file in files {
            let result = raw(Path::new(file), runs);
            println!("{file}\t{}", result.unwrap_or_else(|error| format!("-\t{error}")));
        }
        return Ok(());
    }
    let named = std::env::var_os("GUSTFRONT_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if !folder.join("hrrr-conus").is_dir() {
        println!("skipped: there is no {} (GUSTFRONT_DATA names another folder)", folder.join("hrrr-conus").display());
        return Ok(());
    }
    let paths = FIELDS.map(|name| folder.join(name));
    println!("{:<44}{:<18}   least   median      input   output", "file", "packing");
    for path in &paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<44}{}", line(path).unwrap_or_else(|error| format!("not supported: {error}")));
    }
    println!("{:<44}{}", "decode_each", together(&paths)?);
    println!("\n{:<44}{:<18}   least   median", "written again", "packing");
    for (name, pack) in ENCODED {
        let path = folder.join(name);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<44}{}", encoded(&path, pack).unwrap_or_else(|error| format!("not written: {error}")));
    }
    Ok(())
}
