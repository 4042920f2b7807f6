//! A small SEVIR: a catalogue with every column and HDF5 files of the true layout, full of numbers that say where they are.

use std::fs;
use std::path::Path;

use gustfront::domain::{FRAMES, Modality};
use hdf5::types::FixedAscii;
use hdf5::{DatasetBuilderEmpty, File, H5Type};

/// The catalogue's first line, with the unnamed column in front that SEVIR's has.
pub(crate) const HEADER: &str = ",id,file_name,file_index,img_type,time_utc,minute_offsets,episode_id,event_id,\
    event_type,llcrnrlat,llcrnrlon,urcrnrlat,urcrnrlon,proj,size_x,size_y,height_m,width_m,data_min,data_max,pct_missing";

/// One row of a catalogue.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) time: String,
    pub(crate) modality: Modality,
    pub(crate) file: String,
    pub(crate) index: String,
    pub(crate) offsets: String,
    pub(crate) kind: String,
    pub(crate) corners: [f64; 4],
    pub(crate) missing: String,
}

/// 49 offsets from a first one on.
pub(crate) fn offsets(first: i16) -> String {
    let minutes = (0..FRAMES as i16).map(|frame| (first + 5 * frame).to_string());
    minutes.collect::<Vec<_>>().join(":")
}

impl Line {
    pub(crate) fn new(id: &str, time: &str, modality: Modality, index: usize) -> Self {
        let offsets = if modality == Modality::Lght { String::new() } else { offsets(-121) };
        Line {
            id: id.into(),
            time: time.into(),
            modality,
            file: format!("{modality}/2019/SEVIR.h5"),
            index: index.to_string(),
            offsets,
            kind: if id.starts_with('R') { String::new() } else { "Hail".into() },
            corners: [29.5, -100.25, 33.0, -96.5],
            missing: "0.0".into(),
        }
    }

    /// The row as the catalogue has it.
    pub(crate) fn text(&self) -> String {
        let Line { id, time, modality, file, index, offsets, kind, corners: [south, west, north, east], missing } =
            self;
        let size = modality.size();
        let number = if kind.is_empty() { "" } else { "138793.0" };
        format!(
            "7,{id},{file},{index},{modality},{time},{offsets},{number},{number},{kind},{south},{west},{north},{east},\
             +proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere ,{size},{size},384000.0,384000.0,,,{missing}"
        )
    }
}

/// A catalogue of lines.
pub(crate) fn catalog(lines: &[Line]) -> String {
    let rows = lines.iter().map(Line::text);
    [HEADER.to_string()].into_iter().chain(rows).map(|line| line + "\n").collect()
}

/// Writes a file with a row an event in one run of bytes; `value` is asked for (event, y, x, frame).
pub(crate) fn write_dense<T: H5Type + Copy>(
    path: &Path,
    modality: Modality,
    ids: &[&str],
    value: impl Fn(usize, usize, usize, usize) -> T,
) {
    let file = create(path);
    write_rows(&file.new_dataset::<T>(), modality, ids.len(), value);
    write_ids(&file, ids);
}

/// As [`write_dense`], every frame of an event a chunk by gzip.
#[allow(dead_code, reason = "not every test has packed frames")]
pub(crate) fn write_packed<T: H5Type + Copy>(
    path: &Path,
    modality: Modality,
    ids: &[&str],
    value: impl Fn(usize, usize, usize, usize) -> T,
) {
    let (file, size) = (create(path), modality.size());
    write_rows(&file.new_dataset::<T>().chunk((1, size, size, 1)).deflate(1), modality, ids.len(), value);
    write_ids(&file, ids);
}

fn write_rows<T: H5Type + Copy>(
    dataset: &DatasetBuilderEmpty,
    modality: Modality,
    events: usize,
    value: impl Fn(usize, usize, usize, usize) -> T,
) {
    let size = modality.size();
    let points = (0..events).flat_map(|event| (0..size * size).map(move |point| (event, point)));
    let frames = points.flat_map(|(event, point)| (0..FRAMES).map(move |frame| (event, point, frame)));
    let values: Vec<T> = frames.map(|(event, point, frame)| value(event, point / size, point % size, frame)).collect();
    let dataset = dataset.clone().shape((events, size, size, FRAMES)).create(modality.label()).expect("a dataset");
    dataset.write_raw(&values).expect("values are written");
}

/// Writes the identifiers of rows, as texts of 16 bytes.
pub(crate) fn write_ids(file: &File, ids: &[&str]) {
    let texts: Vec<FixedAscii<16>> = ids.iter().map(|id| FixedAscii::from_ascii(id).expect("a short text")).collect();
    let dataset = file.new_dataset::<FixedAscii<16>>().shape(ids.len()).create("id").expect("a dataset");
    dataset.write_raw(&texts).expect("identifiers are written");
}

/// Writes a file with the points of each event.
pub(crate) fn write_points(path: &Path, events: &[(&str, &[[f64; 5]])]) {
    let file = create(path);
    for (id, points) in events {
        let dataset = file.new_dataset::<f64>().shape((points.len(), 5)).create(*id).expect("a dataset");
        if !points.is_empty() {
            dataset.write_raw(&points.concat()).expect("points are written");
        }
    }
}

pub(crate) fn create(path: &Path) -> File {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    File::create(path).expect("a file")
}
