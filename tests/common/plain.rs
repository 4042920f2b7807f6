//! Plain recomputations: no stream, no block, no care for speed.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use gustfront::config::variables;
use gustfront::domain::{Grid, Lead, Slot};
use gustfront::formats::grib2::{headers, scan};
use gustfront::formats::zarr::Store;
use gustfront::storage::FileStore;
use gustfront::transforms::rotate::Rotation;
use gustfront::transforms::statistics::Row;
use gustfront::verify::ScoreLine;

/// Sums of f64 in another order, and 12 written digits: what may differ, as a part of the scale.
const ROUNDING: f64 = 1e-9;

/// Fields of one moment on one grid, by variable.
pub(crate) struct Fields {
    pub(crate) grid: Grid,
    pub(crate) values: BTreeMap<String, Vec<f32>>,
}

/// Every known variable of a GRIB2 file.
pub(crate) fn decoded(file: &Path) -> Fields {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (mut grid, mut values) = (None, BTreeMap::new());
    for range in scan(&bytes).messages {
        let message = &headers(&bytes[range.clone()]).expect("a message")[0];
        let variable = variables().iter().find(|v| v.grib == message.codes() && message.product.is_at(v));
        let name = variable.expect("a known variable").name.to_string();
        values.insert(name, message.decode(&bytes[range]).expect("values"));
        grid = Some((**message.grid.as_ref().expect("a grid")).clone());
    }
    Fields { grid: grid.expect("a message"), values }
}

/// The same with earth-relative winds.
pub(crate) fn earth_relative(fields: &Fields) -> Fields {
    let (mut values, grid) = (fields.values.clone(), fields.grid.clone());
    let (east, north) = Rotation::to_earth(&grid).expect("a rotation").apply(&values["u10"], &values["v10"]);
    values.insert("u10".into(), east);
    values.insert("v10".into(), north);
    Fields { grid, values }
}

/// The store of that name in an output.
pub(crate) fn store(output: &Path, name: &str) -> Store {
    let objects = Arc::new(FileStore::new(output.to_str().expect("a path in UTF-8")));
    Store::open(objects, name).expect("a readable store").expect("a store")
}

/// Every file below a folder by its path there.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_string();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).expect("a file"));
        }
    }
    found
}

/// Two numbers that differ by no more than rounding of the scale.
pub(crate) fn near(what: &str, found: f64, wanted: f64, scale: f64) {
    assert!((found - wanted).abs() <= ROUNDING * scale, "{what}: {found}, expected {wanted}");
}

/// Statistics of all values at once, in two passes.
pub(crate) fn plain_statistics(values: &[f32]) -> Row {
    let present: Vec<f64> = values.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v)).collect();
    let count = present.len() as f64;
    let mean = present.iter().sum::<f64>() / count;
    Row {
        count: present.len() as u64,
        missing: (values.len() - present.len()) as u64,
        mean,
        standard_deviation: (present.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt(),
        minimum: present.iter().copied().fold(f64::INFINITY, f64::min),
        maximum: present.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Compares a score line with what follows from the forecast store alone: the truth is lead 0 at the valid time.
pub(crate) fn assert_scores(line: &ScoreLine, store: &Store, thresholds: Option<&Vec<f32>>) {
    let read = |slot| store.read(&line.variable, slot).expect("a shard").expect("values");
    let (forecast, truth) = (read(line.slot()), read(Slot::new(line.valid, Lead(0))));
    let area = store.spec().grid.areas_m2().into_iter().map(|a| a / 1e6);
    let all = forecast.iter().zip(&truth).zip(area).map(|((f, o), w)| (f64::from(*f), f64::from(*o), w));
    let pairs: Vec<(f64, f64, f64)> = all.filter(|(f, o, _)| f.is_finite() && o.is_finite()).collect();
    let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(f, o, w)| w * of(*f, *o)).sum::<f64>();
    let (scores, whole) = (&line.scores, sum(&|_, _| 1.0));
    let place = format!("{} {} {}", line.variable, line.init, line.lead);
    assert_eq!((scores.count, scores.missing), (pairs.len() as u64, (truth.len() - pairs.len()) as u64), "{place}");
    near(&place, scores.area_km2, whole, whole);
    let mae = sum(&|f, o| (f - o).abs()) / whole;
    near(&place, scores.mae.expect("pairs"), mae, mae);
    near(&place, scores.bias.expect("pairs"), sum(&|f, o| f - o) / whole, mae);
    let rmse = (sum(&|f, o| (f - o).powi(2)) / whole).sqrt();
    near(&place, scores.rmse.expect("pairs"), rmse, rmse);
    assert_eq!(
        scores.thresholds.iter().map(|t| t.threshold).collect::<Vec<_>>(),
        thresholds.cloned().unwrap_or_default()
    );
    for event in &scores.thresholds {
        let limit = f64::from(event.threshold);
        let part = |said, came| sum(&|f, o| f64::from(u8::from((f >= limit, o >= limit) == (said, came))));
        let (hits, misses, alarms) = (part(true, true), part(false, true), part(true, false));
        for (found, wanted) in [(event.hits, hits), (event.misses, misses), (event.false_alarms, alarms)] {
            near(&place, found, wanted, whole);
        }
        for (found, over, under) in [
            (event.csi, hits, hits + misses + alarms),
            (event.pod, hits, hits + misses),
            (event.far, alarms, hits + alarms),
        ] {
            match found {
                Some(found) => near(&place, found, over / under, 1.0),
                None => assert_eq!(under, 0.0, "{place}: a score is absent"),
            }
        }
    }
}
