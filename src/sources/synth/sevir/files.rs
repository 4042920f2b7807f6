//! The HDF5 files of all events, each of one modality and a part of a year, and the catalogue that is published last.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, Utc};

use super::catalog::{self, Entry};
use super::lightning::Flash;
use super::plan::Plan;
use super::views::Views;
use super::{MISSING_LEVEL, MISSING_NUMBER, SevirOptions, SevirStorage, SevirSummary};
use crate::domain::{FRAMES, Levels, Modality};
use crate::formats::hdf5::{DenseWriter, Hdf5Writer, Storage};
use crate::sources::synth::{SynthError, origin};

/// Bytes of an event's id in a file.
const ID_BYTES: usize = 16;
/// Level of gzip: about as small as higher ones, and fast.
const GZIP: u8 = 4;
/// What stands in a file in place of the id of the damaged event.
const DAMAGED_ID: &str = "S000000";
/// The share of a file that is left of it when it is cut short.
const CUT: f64 = 0.6;

/// All files while they are written.
pub(super) struct Files<'a> {
    folder: PathBuf,
    options: &'a SevirOptions,
    files: BTreeMap<String, File>,
    rows: Vec<(&'a Plan, Entry)>,
    damaged: Option<&'a Plan>,
    /// The file that is cut short.
    cut: Option<String>,
}

/// One file while it is written.
struct File {
    modality: Modality,
    writer: Hdf5Writer,
    dense: Option<DenseWriter>,
    done: usize,
}

impl<'a> Files<'a> {
    /// Makes every file that the events need, with the ids that will be in it.
    pub(super) fn create(
        folder: &Path,
        options: &'a SevirOptions,
        events: &'a [Plan],
    ) -> Result<Files<'a>, SynthError> {
        let has_vil = |event: &&Plan| event.parts.contains_key(&Modality::Vil);
        let with_vil: Vec<&Plan> = events.iter().filter(has_vil).collect();
        let damaged = with_vil.get(with_vil.len() / 2).copied().filter(|_| options.flaws);
        let mut ids: BTreeMap<String, (Modality, Vec<String>)> = BTreeMap::new();
        for event in events {
            for modality in event.parts.keys() {
                let is_damaged = *modality == Modality::Vil && damaged.is_some_and(|damaged| damaged.id == event.id);
                let id = if is_damaged { DAMAGED_ID.to_string() } else { event.id.clone() };
                ids.entry(name(event, *modality)).or_insert_with(|| (*modality, Vec::new())).1.push(id);
            }
        }
        let cut = options.flaws.then(|| to_be_cut(&ids, damaged)).transpose()?;
        let mut files = BTreeMap::new();
        for (number, (name, (modality, ids))) in ids.into_iter().enumerate() {
            let path = partial(folder, &name);
            let made = File::create(&path, options, number, modality, &ids);
            files.insert(name, made.map_err(|reason| fault(&path, reason))?);
        }
        Ok(Files { folder: folder.to_path_buf(), options, files, rows: Vec::new(), damaged, cut })
    }

    /// Adds what was observed of an event to every file that it is in.
    pub(super) fn add(&mut self, event: &'a Plan, views: &Views) -> Result<(), SynthError> {
        for modality in event.parts.keys() {
            let name = name(event, *modality);
            let path = partial(&self.folder, &name);
            let Some(file) = self.files.get_mut(&name) else { continue };
            let written = match (views.dense.get(modality), &views.flashes) {
                (Some(levels), _) => file.row(levels),
                (None, Some(flashes)) => file.table(&event.id, flashes),
                (None, None) => continue,
            };
            let (index, range) = written.map_err(|reason| fault(&path, reason))?;
            self.rows.push((event, Entry { file: name, index, modality: *modality, range }));
        }
        Ok(())
    }

    /// Ends every file, damages what is to be damaged, and writes the catalogue.
    pub(super) fn finish(mut self) -> Result<SevirSummary, SynthError> {
        let mut summary = SevirSummary { rows: self.rows.len(), files: self.files.len(), ..SevirSummary::default() };
        let rows = std::mem::take(&mut self.rows);
        let flaws = self.flaws(&rows);
        while let Some((name, file)) = self.files.pop_first() {
            let path = partial(&self.folder, &name);
            if let Err(reason) = file.close(&path, flaws.get(&name)) {
                remove(&self.folder, &path);
                return Err(fault(&path, reason));
            }
            let target = self.folder.join("data").join(&name);
            let size = fs::rename(&path, &target).and_then(|()| fs::metadata(&target));
            summary.bytes += size.map_err(|error| fault(&target, error.to_string()))?.len();
        }
        summary.flaws = flaws.values().map(|flaw| flaw.told.clone()).collect();
        let catalogue = self.folder.join("CATALOG.csv");
        let text = catalog::text(&rows, self.options.index_column);
        fs::write(&catalogue, text).map_err(|error| fault(&catalogue, error.to_string()))?;
        let note = self.folder.join("SYNTHETIC.txt");
        let text = format!("{}: nothing here was observed.\n", origin(self.options.seed));
        fs::write(&note, text).map_err(|error| fault(&note, error.to_string()))?;
        Ok(summary)
    }

    /// What is done to which file: an event's bytes are damaged, another file is cut short.
    fn flaws(&self, rows: &[(&Plan, Entry)]) -> BTreeMap<String, Flaw> {
        let mut flaws = BTreeMap::new();
        let Some(damaged) = self.damaged else { return flaws };
        let of_vil = |(event, entry): &&(&Plan, Entry)| event.id == damaged.id && entry.modality == Modality::Vil;
        if let Some((_, entry)) = rows.iter().find(of_vil) {
            let told = format!("{}: the event {} bears another id and its bytes are damaged", entry.file, damaged.id);
            flaws.insert(entry.file.clone(), Flaw { event: Some(entry.index), told });
        }
        if let Some(name) = &self.cut {
            flaws.insert(name.clone(), Flaw { event: None, told: format!("{name}: cut short") });
        }
        flaws
    }
}

/// The last file of a modality that is there: of an infrared channel, else of another one, but not the one of the damaged
/// event.
fn to_be_cut(ids: &BTreeMap<String, (Modality, Vec<String>)>, damaged: Option<&Plan>) -> Result<String, SynthError> {
    let refuse = |reason: &str| SynthError::Options(format!("{reason}, or no flaws"));
    let damaged = damaged.ok_or_else(|| refuse("no event has VIL to be damaged; expected more events"))?;
    let damaged = name(damaged, Modality::Vil);
    let order = [Modality::Ir107, Modality::Ir069, Modality::Vis, Modality::Lght, Modality::Vil];
    let last = |of: Modality| ids.iter().rev().find(|(name, (modality, _))| *modality == of && **name != damaged);
    let found = order.into_iter().find_map(last).map(|(name, _)| name.clone());
    found
        .ok_or_else(|| refuse("the only file is the damaged one; expected another modality, of which one is cut short"))
}

impl Drop for Files<'_> {
    /// Takes away what was not finished.
    fn drop(&mut self) {
        for (name, file) in std::mem::take(&mut self.files) {
            drop(file);
            remove(&self.folder, &partial(&self.folder, &name));
        }
    }
}

/// Removes a file, and the folders up to one that are empty then.
fn remove(folder: &Path, file: &Path) {
    // What cannot be removed stays, and says by its name that it is unfinished.
    let _ = fs::remove_file(file);
    let above = file.ancestors().skip(1).take_while(|parent| parent.starts_with(folder));
    for parent in above {
        if fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

/// What is wrong with a file on purpose.
struct Flaw {
    /// The row whose bytes are damaged; without one the file is cut short.
    event: Option<usize>,
    told: String,
}

impl File {
    fn create(
        path: &Path,
        options: &SevirOptions,
        number: usize,
        modality: Modality,
        ids: &[String],
    ) -> Result<File, String> {
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| error.to_string())?;
        let writer = Hdf5Writer::create(path)?;
        writer.attribute("origin", &origin(options.seed))?;
        if modality == Modality::Lght {
            return Ok(File { modality, writer, dense: None, done: 0 });
        }
        let size = modality.size();
        let gzip = match options.storage {
            SevirStorage::Contiguous => false,
            SevirStorage::Chunked => true,
            SevirStorage::Mixed => number % 2 == 1,
        };
        let storage =
            if gzip { Storage::Gzip { chunk: vec![1, size, size, 1], level: GZIP } } else { Storage::Contiguous };
        let shape = [ids.len(), size, size, FRAMES];
        writer.texts::<ID_BYTES>("id", ids)?;
        let dense = match modality {
            Modality::Vil => writer.dense::<u8>(modality.label(), &shape, &storage)?,
            _ => writer.dense::<i16>(modality.label(), &shape, &storage)?,
        };
        Ok(File { modality, writer, dense: Some(dense), done: 0 })
    }

    /// Writes the next row; its number, and the least and greatest value.
    fn row(&mut self, levels: &Levels) -> Result<(usize, [f64; 2]), String> {
        let dense = self.dense.as_ref().ok_or("a file of lightning has no rows")?;
        let number = self.done;
        let range = match levels {
            Levels::U8(values) => {
                dense.row(number, values)?;
                range(values.iter().filter(|v| **v != MISSING_LEVEL).map(|v| f64::from(*v)))
            }
            Levels::I16(values) => {
                dense.row(number, values)?;
                let scale = if self.modality == Modality::Vis { 1e-4 } else { 0.01 };
                range(values.iter().filter(|v| **v != MISSING_NUMBER).map(|v| f64::from(*v) * scale))
            }
        };
        self.done += 1;
        Ok((number, range))
    }

    /// Writes the points of an event.
    fn table(&mut self, id: &str, flashes: &[Flash]) -> Result<(usize, [f64; 2]), String> {
        self.writer.table(id, flashes)?;
        Ok((0, [0.0, flashes.len() as f64]))
    }

    fn close(self, path: &Path, flaw: Option<&Flaw>) -> Result<(), String> {
        // The first frame of the damaged event, where frames are chunks.
        let chunk = flaw.and_then(|flaw| flaw.event).and_then(|row| self.dense.as_ref()?.chunk_bytes(row * FRAMES));
        drop(self.dense);
        self.writer.close()?;
        let open = || OpenOptions::new().write(true).open(path);
        let done = match (flaw, chunk) {
            (None, _) | (Some(Flaw { event: Some(_), .. }), None) => Ok(()),
            (Some(_), Some((address, size))) => {
                open().and_then(|file| file.write_all_at(&vec![0xAB; size as usize], address))
            }
            (Some(_), None) => open().and_then(|file| file.set_len((file.metadata()?.len() as f64 * CUT) as u64)),
        };
        done.map_err(|error| error.to_string())
    }
}

fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)]);
    if low <= high { [low, high] } else { [0.0; 2] }
}

/// The file that an event's modality is in, relative to the data folder, named as SEVIR's are.
fn name(event: &Plan, modality: Modality) -> String {
    let time = event.time.calendar();
    let (label, year) = (modality.label(), time.year());
    let upper = label.to_uppercase();
    let kind = match (modality, event.kind) {
        (Modality::Lght, _) => "ALLEVENTS",
        (_, "") => "RANDOMEVENTS",
        _ => "STORMEVENTS",
    };
    format!("{label}/{year}/SEVIR_{upper}_{kind}_{year}_{}.h5", span(&time, modality, kind))
}

/// The part of the year that a file holds.
fn span(time: &DateTime<Utc>, modality: Modality, kind: &str) -> String {
    let month = time.month();
    match (modality, kind) {
        (Modality::Lght, _) => format!("{month:02}01_{:02}01", month % 12 + 1),
        (Modality::Vis, _) => format!("{month:02}01_{month:02}{:02}", last_day(time)),
        (_, "RANDOMEVENTS") => ["0101_0430", "0501_0831", "0901_1231"][(month as usize - 1) / 4].to_string(),
        _ => ["0101_0630", "0701_1231"][(month as usize - 1) / 6].to_string(),
    }
}

fn last_day(time: &DateTime<Utc>) -> u32 {
    (28..=31).rev().find(|day| time.with_day(*day).is_some()).unwrap_or(28)
}

/// Where a file is while it is written.
fn partial(folder: &Path, name: &str) -> PathBuf {
    folder.join("data").join(format!("{name}.partial"))
}

fn fault(path: &Path, reason: String) -> SynthError {
    SynthError::File { file: path.display().to_string(), reason }
}
