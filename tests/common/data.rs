//! Where the real data is, and what ecCodes read from it.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// The folder of real data, or `None` with a printed reason.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("GUSTFRONT_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if !folder.join("manifest.json").is_file() {
        println!(
            "skipped: there is no {} (GUSTFRONT_DATA names another folder)",
            folder.join("manifest.json").display()
        );
        return None;
    }
    Some(folder)
}

/// What ecCodes read from every file.
#[derive(Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: Vec<File>,
}

/// One file and its fields.
#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) fields: Vec<Expected>,
}

/// What ecCodes read from one field; nothing but an error where it could not.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) error: Option<String>,
    pub(crate) discipline: Option<u8>,
    pub(crate) parameter_category: Option<u8>,
    pub(crate) parameter_number: Option<u8>,
    pub(crate) type_of_level: Option<String>,
    pub(crate) level: Option<f64>,
    pub(crate) grid_definition_template_number: Option<u16>,
    pub(crate) product_definition_template_number: Option<u16>,
    pub(crate) data_representation_template_number: Option<u16>,
    #[serde(rename = "Ni")]
    pub(crate) ni: Option<u64>,
    #[serde(rename = "Nj")]
    pub(crate) nj: Option<u64>,
    pub(crate) scanning_mode: Option<u8>,
    pub(crate) data_date: Option<u32>,
    pub(crate) data_time: Option<u32>,
    pub(crate) step_range: Option<String>,
    pub(crate) bits_per_value: Option<u32>,
    pub(crate) bitmap_present: Option<u8>,
    pub(crate) values: Option<usize>,
    pub(crate) missing: Option<usize>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) sample: Vec<(usize, Option<f64>)>,
}

/// The manifest of the data in `folder`.
pub(crate) fn manifest(folder: &std::path::Path) -> Manifest {
    let text = std::fs::read_to_string(folder.join("manifest.json")).expect("the manifest");
    serde_json::from_str(&text).expect("a manifest")
}

/// A file's bytes, unpacked where it is compressed; `None` with a printed reason where the tool for that is missing.
pub(crate) fn read(folder: &std::path::Path, path: &str) -> Option<Vec<u8>> {
    let tool = match path.rsplit_once('.') {
        Some((_, "xz")) => "xz",
        Some((_, "gz")) => "gzip",
        _ => return Some(std::fs::read(folder.join(path)).expect("a file of the manifest")),
    };
    match Command::new(tool).arg("-dc").arg(folder.join(path)).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        other => {
            println!("skipped {path}: `{tool} -dc` did not unpack it: {other:?}");
            None
        }
    }
}

/// Where the value at `index` of the message's own order lies in rows along +x.
pub(crate) fn row_major(index: usize, scanning: u8, nx: usize, ny: usize) -> usize {
    let (line, within) = if scanning & 0x20 == 0 { (index / nx, index % nx) } else { (index / ny, index % ny) };
    let length = if scanning & 0x20 == 0 { nx } else { ny };
    let within = if scanning & 0x10 != 0 && line % 2 == 1 { length - 1 - within } else { within };
    let (i, j) = if scanning & 0x20 == 0 { (within, line) } else { (line, within) };
    j * nx + if scanning & 0x80 == 0 { i } else { nx - 1 - i }
}
