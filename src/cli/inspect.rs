//! `gustfront inspect`: what is in a GRIB2 or HDF5 file, an index, a catalogue, a file of weights or a Zarr store.

mod catalog;
mod events;
mod folder;
mod grib2;
mod hdf5;
mod hdf5_keyed;
mod index;
mod names;
mod picture;
mod statistics;
mod store;
mod weights;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use gustfront::storage::{FileStore, ObjectStore, S3Options, open_existing};

use super::output::{complain, told};
use super::{BadUsage, Exit};

/// What a file may be.
const READ: &str =
    "GRIB2, HDF5 and NetCDF-4 files, indexes (.idx), SEVIR's catalogue (.csv), weights (.safetensors) and Zarr stores";

/// Show what is in GRIB2 files, their indexes, HDF5 and NetCDF-4 files (SEVIR's and GLM's among them), SEVIR's catalogue,
/// files of weights or Zarr stores.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  gustfront inspect hrrr.t01z.wrfsfcf01.grib2
  gustfront inspect hrrr.t01z.wrfsfcf01.grib2.idx
  gustfront inspect out/archive.zarr
  gustfront inspect SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5
  gustfront inspect s3://sevir/CATALOG.csv
  gustfront inspect OR_GLM-L2-LCFA_G16_s20181830433000_e20181830433200_c20181830433231.nc
  gustfront inspect model.safetensors
  gustfront inspect --json *.grib2 | jq -r 'select(.missing > 0) | .variable'
  gustfront inspect hrrr.t01z.wrfsfcf01.grib2 --repeat 20
  gustfront inspect hrrr.t01z.wrfsfcf01.grib2 --field 3 --png field.png")]
pub(crate) struct Args {
    /// GRIB2, HDF5 or NetCDF-4 files, index files (.idx), SEVIR's catalogue (.csv), weights (.safetensors), or Zarr
    /// stores: folders or s3://bucket/prefix; HDF5 and catalogues may lie in a bucket too
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Print one JSON object a line: a field, an index line, skipped bytes, a dataset, a catalogue, a tensor or a store
    #[arg(long)]
    pub(crate) json: bool,
    /// Unpack every field N times on one core and show the median time in milliseconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) repeat: Option<u32>,
    /// Draw a field of the one GRIB2 file given
    #[arg(long, value_name = "OUT.png")]
    pub(crate) png: Option<PathBuf>,
    /// Which field to draw, as the table numbers them
    #[arg(long, value_name = "N", default_value_t = 1, requires = "png")]
    pub(crate) field: usize,
}

/// Prints what is in every file; fails where one of them cannot be read, and tells where something in one cannot.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    ensure!(args.png.is_none() || args.files.len() == 1, not_drawn("of one file; expected one FILE"));
    let (mut failed, mut ended) = (0, Exit::Done);
    for file in &args.files {
        match inspect(file, args, &mut io::stdout().lock()) {
            Err(error) if is_broken_pipe(&error) => return Ok(Exit::Done),
            Err(error) if args.files.len() == 1 => return Err(error.context(file.clone())),
            Err(error) => {
                complain(&format!("{file}: {}", told(&error)));
                failed += 1;
            }
            Ok(Exit::Done) => (),
            Ok(other) => ended = other,
        }
    }
    ensure!(failed == 0, "{failed} of {} files could not be read", args.files.len());
    Ok(ended)
}

fn inspect(file: &str, args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if !Path::new(file).is_dir() && hdf5::is_hdf5(file) {
        ensure!(args.png.is_none(), not_drawn("of a GRIB2 file, not of HDF5"));
        return hdf5::print(file, args.json, out);
    }
    if !Path::new(file).is_dir() && catalog::is_one(file) {
        ensure!(args.png.is_none(), not_drawn("of a GRIB2 file, not of a catalogue"));
        return catalog::print(file, args.json, out);
    }
    if file.starts_with("s3://") || Path::new(file).is_dir() {
        ensure!(args.png.is_none(), not_drawn("of a GRIB2 file, not of a store"));
        return store::print(file, args.json, out).map(|()| Exit::Done);
    }
    if weights::is_one(file) {
        ensure!(args.png.is_none(), not_drawn("of a GRIB2 file, not of weights"));
        return weights::print(file, args.json, out).map(|()| Exit::Done);
    }
    let bytes = std::fs::read(file).context("cannot be read")?;
    if file.ends_with(".idx") {
        ensure!(args.png.is_none(), not_drawn("of a GRIB2 file, not of an index"));
        return index::print(file, &bytes, args.json, out).map(|()| Exit::Done);
    }
    let content = grib2::Content::read(&bytes, args.repeat.map(|n| n as usize));
    content.print(file, args.json, out)?;
    match (&args.png, content.reason_for_nothing()) {
        (_, Some(reason)) => bail!("there is no GRIB2 message: {reason}; {READ} can be inspected"),
        (Some(png), _) => picture::draw(&content, &bytes, args.field, png)?,
        (None, _) => (),
    }
    Ok(if content.is_damaged() { Exit::Rejects } else { Exit::Done })
}

/// Where a file lies: a folder or the place in a bucket, and its name there.
fn place(file: &str) -> anyhow::Result<(Arc<dyn ObjectStore>, &str)> {
    let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
    let folder = if folder.is_empty() { "/" } else { folder };
    let objects: Arc<dyn ObjectStore> = if file.contains("://") {
        open_existing(folder, &S3Options::default())?
    } else {
        Arc::new(FileStore::new(folder))
    };
    Ok((objects, name))
}

fn not_drawn(what: &str) -> BadUsage {
    BadUsage(format!("--png draws a field {what}"))
}

/// Whether whoever read the output has gone, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// Prints rows as columns, the first row as their names.
fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gustfront::config;
    use gustfront::domain::{Earth, Grid, Lead, Moment, Projection, Slot};
    use gustfront::formats::grib2::{Encode, encode};

    fn message() -> Vec<u8> {
        let projection = Projection::LatLon;
        let grid = Grid {
            projection,
            earth: Earth::sphere(6_371_229.0),
            nx: 2,
            ny: 2,
            x0: 250.0,
            y0: 40.0,
            dx: 0.5,
            dy: -0.5,
        };
        let variable = config::variables().get("t2m").expect("a variable");
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 6).expect("a day"), Lead::hours(1));
        let (values, origin) = ([280.0, 290.0, f32::NAN, 300.0], Some("SYNTHETIC weather, version 1"));
        let field = Encode { origin, ..Encode::new(slot, variable, &grid, &values, 1) };
        encode(&field).expect("a message")
    }

    fn inspected(bytes: &[u8], json: bool, field: usize) -> (anyhow::Result<Exit>, String, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, png) = (folder.path().join("a.grib2"), folder.path().join("a.png"));
        std::fs::write(&file, bytes).expect("a file");
        let args = Args { files: Vec::new(), json, repeat: None, png: Some(png.clone()), field };
        let mut out = Vec::new();
        let result = inspect(file.to_str().expect("a path"), &args, &mut out);
        (result, String::from_utf8(out).expect("text"), png.exists())
    }

    #[test]
    fn a_field_is_described_and_drawn() {
        let (result, text, drawn) = inspected(&message(), false, 1);
        assert!(result.is_ok() && drawn, "{result:?}");
        assert!(text.contains("origin: SYNTHETIC weather, version 1"), "{text}");
        let row: Vec<&str> = text.lines().last().expect("a row").split_whitespace().collect();
        assert_eq!(row[..2], ["1", "t2m"]);
        assert_eq!(row[row.len() - 5..], ["4", "1", "280", "300", "290"]);
    }

    #[test]
    fn json_has_one_object_a_line() {
        let bytes = [&message()[..], b"no message"].concat();
        let (_, text, _) = inspected(&bytes, true, 1);
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!((lines.len(), &lines[0]["variable"], &lines[0]["missing"]), (2, &"t2m".into(), &1.into()));
        assert_eq!((&lines[0]["lead_minutes"], &lines[1]["bytes"]), (&60.into(), &10.into()));
    }

    #[test]
    fn what_cannot_be_shown_is_an_error() {
        assert!(inspected(b"text that bears the ending", false, 1).0.is_err());
        assert!(inspected(b"", false, 1).0.is_err());
        assert!(inspected(&message(), false, 2).0.is_err());
    }
}
