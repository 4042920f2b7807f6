//! Folders of real objects in the bucket's layout, and what must become of each object by its headers.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gustfront::config::variables;
use gustfront::domain::{Lead, Moment, Requirement, Slot, Variable};

use super::data::{Expected, folder, manifest};

/// A folder in the layout of the bucket.
pub(crate) struct Days {
    pub(crate) folder: PathBuf,
    pub(crate) objects: Vec<Object>,
}

/// One object as its name and its headers speak of it.
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) named: Slot,
    /// Whether the name is exactly the one the layout gives to that slot.
    pub(crate) exact: bool,
    /// The fields of known variables by the slot their headers speak of.
    pub(crate) fields: BTreeMap<Slot, BTreeMap<String, Expected>>,
}

/// What must become of the objects of a folder.
#[derive(Default)]
pub(crate) struct Outcome<'a> {
    /// What fills each slot.
    pub(crate) filled: BTreeMap<Slot, &'a Object>,
    /// Objects set aside, with the reason.
    pub(crate) rejects: BTreeSet<(String, String)>,
    /// Filled slots that lack a required variable.
    pub(crate) partial: BTreeSet<Slot>,
    /// Objects whose name and header disagree.
    pub(crate) disagree: BTreeSet<String>,
    /// Slots of every cycle from the first to the last named one.
    pub(crate) expected: BTreeSet<Slot>,
}

/// Every such folder of the real data; empty, with a printed reason, where there is none.
pub(crate) fn days() -> Vec<Days> {
    let Some(data) = folder() else { return Vec::new() };
    let mut found: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for file in manifest(&data).files {
        let Some((folder, rest)) = file.path.split_once("/hrrr.") else { continue };
        let object = Object::new(&format!("hrrr.{rest}"), file.fields);
        found.entry(folder.to_string()).or_default().extend(object.filter(|_| data.join(&file.path).is_file()));
    }
    found.retain(|_, objects| !objects.is_empty());
    let days: Vec<Days> = found.into_iter().map(|(name, objects)| Days { folder: data.join(name), objects }).collect();
    assert!(!days.is_empty(), "the manifest has no folder in the layout of the bucket");
    days.iter().for_each(|days| assert_eq!(days.objects.len(), named(&days.folder).len(), "{:?}", days.folder));
    days
}

/// Files whose names could be those of objects: all must be in the manifest.
fn named(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).map_or(Vec::new(), |all| all.filter_map(|e| Some(e.ok()?.path())).collect())
    };
    let files = below(folder).into_iter().flat_map(|day| below(&day.join("conus")));
    files.filter(|file| file.extension().is_some_and(|e| e == "grib2")).collect()
}

impl Object {
    fn new(key: &str, fields: Vec<Expected>) -> Option<Self> {
        let (named, exact) = parse(key)?;
        let mut by_slot: BTreeMap<Slot, BTreeMap<String, Expected>> = BTreeMap::new();
        for field in fields {
            let (Some(variable), Some(slot)) = (variable_of(&field), slot_of(&field)) else { continue };
            by_slot.entry(slot).or_default().entry(variable.name.to_string()).or_insert(field);
        }
        Some(Object { key: key.to_string(), named, exact, fields: by_slot })
    }
}

/// `hrrr.20180722/conus/hrrr.t01z.wrfsfcf03.grib2`, perhaps with something before the ending.
fn parse(key: &str) -> Option<(Slot, bool)> {
    let (day, rest) = key.strip_prefix("hrrr.")?.split_once("/conus/hrrr.t")?;
    let (hour, rest) = rest.split_once("z.wrfsfcf")?;
    let (lead, ending) = rest.split_at_checked(2)?;
    let cycle: Moment = format!("{day}{hour}").parse().ok()?;
    let slot = Slot::new(cycle, Lead::hours(lead.parse().ok()?));
    ending.ends_with(".grib2").then_some((slot, ending == ".grib2"))
}

/// The variable whose instantaneous field this is.
fn variable_of(field: &Expected) -> Option<&'static Variable> {
    let codes = [field.discipline?, field.parameter_category?, field.parameter_number?];
    let (kind, level) = (field.type_of_level.as_deref()?, field.level?);
    let is_at = |v: &Variable| match v.surface {
        1 => kind == "surface",
        103 => kind == "heightAboveGround" && level == v.level,
        10 => kind == "atmosphere" || kind == "entireAtmosphere",
        _ => false,
    };
    let instantaneous = field.product_definition_template_number == Some(0);
    variables().iter().map(|v| &**v).find(|v| instantaneous && v.grib == codes && is_at(v))
}

fn slot_of(field: &Expected) -> Option<Slot> {
    let cycle: Moment = format!("{:08}{:04}", field.data_date?, field.data_time?).parse().ok()?;
    let step = field.step_range.as_deref()?;
    let lead = match step.strip_suffix('m') {
        Some(minutes) => Lead(minutes.parse().ok()?),
        None => Lead::hours(step.parse().ok()?),
    };
    Some(Slot::new(cycle, lead))
}

impl Days {
    /// What must become of the objects whose names speak of these leads.
    pub(crate) fn outcome(&self, leads: &[Lead], wanted: &[(&str, Requirement)]) -> Outcome<'_> {
        let objects = || self.objects.iter().filter(|o| leads.contains(&o.named.lead));
        let mut outcome = Outcome { expected: expected(objects(), leads), ..Outcome::default() };
        let filling = objects().filter(|o| o.exact && slots(o, wanted).contains(&o.named));
        outcome.filled = filling.map(|o| (o.named, o)).collect();
        for object in objects() {
            let slots = slots(object, wanted);
            if slots.is_empty() {
                outcome.reject(object, "unreadable");
            }
            for slot in slots.into_iter().filter(|slot| !object.exact || *slot != object.named) {
                outcome.stray(object, slot);
            }
        }
        outcome.find_partial(wanted);
        outcome
    }
}

impl Outcome<'_> {
    fn reject(&mut self, object: &Object, reason: &str) {
        self.rejects.insert((object.key.clone(), reason.to_string()));
    }

    fn find_partial(&mut self, wanted: &[(&str, Requirement)]) {
        let required: Vec<&str> = wanted.iter().filter(|w| w.1 == Requirement::Required).map(|w| w.0).collect();
        for (slot, object) in self.filled.clone() {
            if required.iter().any(|name| !object.fields[&slot].contains_key(*name)) {
                self.partial.insert(slot);
                self.reject(object, "missing_variable");
            }
        }
    }

    /// Whether everything required of a slot came.
    pub(crate) fn is_whole(&self, slot: &Slot) -> bool {
        self.filled.contains_key(slot) && !self.partial.contains(slot)
    }
}

impl<'a> Outcome<'a> {
    /// An object whose name is not that of the slot its header speaks of.
    fn stray(&mut self, object: &'a Object, slot: Slot) {
        if slot != object.named {
            self.disagree.insert(object.key.clone());
        }
        if self.filled.contains_key(&slot) {
            self.reject(object, "duplicate");
        } else if self.expected.contains(&slot) {
            self.filled.insert(slot, object);
        } else {
            self.reject(object, "unexpected_slot");
        }
    }
}

/// Slots of which an object holds a wanted variable.
fn slots(object: &Object, wanted: &[(&str, Requirement)]) -> BTreeSet<Slot> {
    let holds = |fields: &BTreeMap<String, Expected>| wanted.iter().any(|(name, _)| fields.contains_key(*name));
    object.fields.iter().filter(|(_, fields)| holds(fields)).map(|(slot, _)| *slot).collect()
}

fn expected<'a>(objects: impl Iterator<Item = &'a Object>, leads: &[Lead]) -> BTreeSet<Slot> {
    let cycles: BTreeSet<u64> = objects.map(|o| o.named.cycle.0).collect();
    let (Some(first), Some(last)) = (cycles.first(), cycles.last()) else { return BTreeSet::new() };
    let hours = (*first..=*last).step_by(3600);
    hours.flat_map(|cycle| leads.iter().map(move |lead| Slot::new(Moment(cycle), *lead))).collect()
}

/// Whether the variables table calls a value of a field impossible.
pub(crate) fn is_impossible(variable: &str, field: &Expected, value: f64) -> bool {
    let quality = &variables().get(variable).expect("a known variable").quality;
    let outside = quality.range.is_some_and(|[low, high]| value < f64::from(low) || value > f64::from(high));
    let near = |sentinel: &f32| (value - f64::from(*sentinel)).abs() <= 1e-6 * f64::from(sentinel.abs());
    let constant = quality.constant_is_missing && field.min == field.max;
    outside || constant || quality.sentinels.iter().any(near)
}
