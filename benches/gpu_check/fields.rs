//! Whole GRIB2 fields unpacked on a device: the CPU's bits, and how long that takes.

use std::sync::Arc;
use std::time::Instant;

use gustfront::domain::{Earth, Grid, Lead, Moment, Philox, Projection, Slot, Variable};
use gustfront::formats::grib2::{Encode, Message, Pack, encode, headers};
use gustfront::tensor::{Cuda, Device, Tensor};
use serde_json::{Value, json};

use super::check::Checked;
use super::speed::measure;

/// Columns and rows of a field of HRRR.
pub(crate) const SIZE: [usize; 2] = [1799, 1059];
/// What is packed: its name, how, and how many of every hundred points are missing.
const PACKED: [(&str, Pack, usize); 4] = [
    ("5.0", Pack::Simple, 0),
    ("5.0 with a bitmap", Pack::Simple, 10),
    ("5.3", Pack::Complex, 0),
    ("5.3 with missing values", Pack::Complex, 10),
];

type Outcome<T> = Result<T, String>;

/// Unpacks fields of a size, compares them with the CPU's, and times them.
pub(crate) fn run(cuda: &Arc<Cuda>, size: [usize; 2], seconds: f64, checked: &mut Checked) -> Vec<Value> {
    let mut rows = Vec::new();
    for (name, pack, missing) in PACKED {
        let name = format!("GRIB2 {name} {}×{}", size[1], size[0]);
        checked.cases += 1;
        let unpacked = unpack(cuda, size, (pack, missing), seconds).map_err(|what| format!("{name}: {what}"));
        println!("{name}: {unpacked:?}");
        checked.note(unpacked.as_ref().map(drop).map_err(String::clone));
        let mut row = unpacked.unwrap_or_else(|what| json!({ "error": what }));
        row["name"] = json!(name);
        rows.push(row);
    }
    rows
}

/// Milliseconds from the packed bytes in the host's memory to values on the device, of those the ones in kernels, and
/// those of the CPU's reader on one thread.
fn unpack(cuda: &Arc<Cuda>, [nx, ny]: [usize; 2], (pack, missing): (Pack, usize), seconds: f64) -> Outcome<Value> {
    let message = written(&weather([nx, ny], missing), nx, pack)?;
    let field = headers(&message).map_err(told)?.into_iter().next().ok_or("no field was written")?;
    let (start, wanted) = (Instant::now(), field.decode(&message).map_err(told)?);
    let cpu = start.elapsed().as_secs_f64();
    let device: Device = cuda.clone();
    let values = || Tensor::unpacked(&device, &field, &message);
    let kernels = launches(cuda);
    same(&values().and_then(|x| x.to_vec()).map_err(told)?, &wanted)?;
    if launches(cuda) == kernels {
        return Err("no kernel unpacked it".into());
    }
    let took = measure(cuda, seconds, || values().map(drop)).map_err(told)?;
    let in_kernels = kernel_seconds(cuda, &field, &message).map_err(told)?;
    Ok(json!({
        "ms": 1e3 * took, "kernels_ms": 1e3 * in_kernels, "cpu_ms": 1e3 * cpu, "packed_bytes": message.len(),
        "bytes": message.len() + 4 * wanted.len(), "template": field.packing.template(),
    }))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn launches(cuda: &Cuda) -> u64 {
    cuda.work().map_or(0, |work| work.launches.get("packed").copied().unwrap_or(0))
}

/// Seconds in kernels of one field, the mean of ten.
fn kernel_seconds(cuda: &Arc<Cuda>, field: &Message, message: &[u8]) -> gustfront::tensor::Result<f64> {
    let device: Device = cuda.clone();
    let so_far = || cuda.work().map(|work| work.kernel_seconds.get("packed").copied().unwrap_or(0.0));
    let before = so_far()?;
    cuda.time_kernels(true);
    let unpacked = (0..10).try_for_each(|_| Tensor::unpacked(&device, field, message).map(drop));
    cuda.time_kernels(false);
    unpacked.and_then(|()| Ok((so_far()? - before) / 10.0))
}

/// Every bit.
fn same(found: &[f32], wanted: &[f32]) -> Outcome<()> {
    if found.len() != wanted.len() {
        return Err(format!("{} values, expected {}", found.len(), wanted.len()));
    }
    let different = found.iter().zip(wanted).position(|(found, wanted)| found.to_bits() != wanted.to_bits());
    different.map_or(Ok(()), |i| Err(format!("value {i} is {}, the CPU's reader gives {}", found[i], wanted[i])))
}

/// Waves with noise of a seed, as of temperatures, some points missing: every so many, and a block of them.
fn weather([nx, ny]: [usize; 2], missing: usize) -> Vec<f32> {
    let noise = Philox::new(11, 0);
    let value = |i: usize| {
        let (column, row) = ((i % nx) as f32, (i / nx) as f32);
        if missing > 0 && (i * 37 % 101 < missing || (row < 0.1 * ny as f32 && column < 0.3 * nx as f32)) {
            return f32::NAN;
        }
        let waves = 12.0 * (0.01 * row).sin() + 8.0 * (0.013 * column + 0.004 * row).cos();
        285.0 + waves + 0.5 * noise.normal([i as u32, 0, 0, 0])[0] as f32
    };
    (0..nx * ny).map(value).collect()
}

/// A message by this crate's own writer.
pub(crate) fn written(values: &[f32], nx: usize, pack: Pack) -> Outcome<Vec<u8>> {
    let grid = Grid {
        projection: Projection::LatLon,
        earth: Earth::sphere(6_370_997.0),
        nx,
        ny: values.len() / nx,
        x0: 250.0,
        y0: 50.0,
        dx: 0.01,
        dy: -0.01,
    };
    let slot = Slot::new(Moment::from_ymdh(2018, 7, 22, 3).ok_or("no such day")?, Lead(60));
    let variable: Variable = toml::from_str(
        r#"long_name = "2 m temperature"
        units = "K"
        index = "TMP:2 m above ground"
        grib = [0, 0, 0]
        surface = 103
        level = 2.0
        colours = "temperature""#,
    )
    .map_err(told)?;
    encode(&Encode { pack, ..Encode::new(slot, &variable, &grid, values, 1) }).map_err(told)
}
