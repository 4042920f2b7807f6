//! Writes cycles of synthetic weather into a store, and never over what it did not write itself.

use super::fields::grounds;
use super::file::{HEAD_BYTES, key, make, said_origin};
use super::frame::Frame;
use super::{SynthError, origin};
use crate::domain::{Lead, Moment, Slot};
use crate::storage::{ObjectMeta, ObjectStore};

/// HRRR looks no farther ahead, in hours.
const LONGEST_LEAD_HOURS: u32 = 48;
/// Seconds in an hour.
const HOUR: u64 = 3600;

/// Which synthetic weather is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthOptions {
    /// The first cycle, on the hour.
    pub start: Moment,
    /// How many cycles, at least one.
    pub cycles: u32,
    /// Hours from one cycle to the next, at least one.
    pub step_hours: u32,
    /// The leads of each cycle: whole hours, at most 48.
    pub leads: Vec<Lead>,
    /// Points along x and y; HRRR's whole grid is [`super::FULL`].
    pub size: [usize; 2],
    /// Same seed, same bytes.
    pub seed: u64,
    /// Write over objects that hold something else.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Slots done; each has a GRIB2 object and its index.
    pub slots: usize,
    /// Objects put.
    pub written: usize,
    /// Objects that were there already with the same bytes.
    pub unchanged: usize,
    /// Length of all these objects.
    pub bytes: u64,
}

/// Writes synthetic HRRR cycles in the layout of HRRR's bucket: each GRIB2 object, then its index.
///
/// # Errors
/// Options that make no cycle; a store that fails; unless forced, a store that holds anything else than synthetic
/// weather of this seed, or such weather on another grid under the same names.
pub fn write_hrrr(objects: &dyn ObjectStore, options: &SynthOptions) -> Result<Summary, SynthError> {
    write_hrrr_watched(objects, options, &mut |_| ())
}

/// As [`write_hrrr`]; `watch` sees the summary so far after every slot.
///
/// # Errors
/// Those of [`write_hrrr`].
pub fn write_hrrr_watched(
    objects: &dyn ObjectStore,
    options: &SynthOptions,
    watch: &mut dyn FnMut(&Summary),
) -> Result<Summary, SynthError> {
    let slots = slots(options)?;
    let frame = Frame::new(options.size)?;
    if !options.force {
        refuse_foreign(objects, options.seed)?;
    }
    let grounds = grounds(&frame);
    let mut summary = Summary::default();
    for slot in slots {
        let file = make(options.seed, slot, &frame, &grounds)?;
        let key = key(slot);
        publish(objects, &key, file.grib, options.force, &mut summary)?;
        publish(objects, &format!("{key}.idx"), file.index, options.force, &mut summary)?;
        summary.slots += 1;
        watch(&summary);
    }
    Ok(summary)
}

/// Every slot, cycle by cycle.
fn slots(options: &SynthOptions) -> Result<Vec<Slot>, SynthError> {
    let refuse = |reason: String| Err(SynthError::Options(reason));
    if !options.start.0.is_multiple_of(HOUR) {
        return refuse(format!("the first cycle {} is not on the hour", options.start));
    }
    if options.cycles == 0 || options.step_hours == 0 || options.leads.is_empty() {
        return refuse("at least one cycle, one hour from cycle to cycle and one lead are needed".into());
    }
    let odd = |lead: &&Lead| !lead.0.is_multiple_of(60) || lead.in_hours() > LONGEST_LEAD_HOURS;
    if let Some(lead) = options.leads.iter().find(odd) {
        return refuse(format!("lead {lead}: HRRR has whole hours from 0 to {LONGEST_LEAD_HOURS}"));
    }
    let cycle = |n: u32| Moment(options.start.0 + u64::from(n) * u64::from(options.step_hours) * HOUR);
    Ok((0..options.cycles).flat_map(|n| options.leads.iter().map(move |lead| Slot::new(cycle(n), *lead))).collect())
}

/// Fails where the store holds anything but synthetic weather of this seed.
fn refuse_foreign(objects: &dyn ObjectStore, seed: u64) -> Result<(), SynthError> {
    let found = objects.list("")?;
    let holds = |key: &str| found.binary_search_by(|meta| meta.key.as_str().cmp(key)).is_ok();
    for meta in &found {
        let index_of_ours = meta.key.strip_suffix(".idx").is_some_and(holds);
        if !index_of_ours && object_origin(objects, meta)?.as_deref() != Some(&origin(seed)) {
            let location = objects.location().to_string();
            return Err(SynthError::Foreign { location, key: meta.key.clone(), origin: origin(seed) });
        }
    }
    Ok(())
}

fn object_origin(objects: &dyn ObjectStore, meta: &ObjectMeta) -> Result<Option<String>, SynthError> {
    if !meta.key.ends_with(".grib2") {
        return Ok(None);
    }
    let head = objects.get_range(&meta.key, 0..meta.size.min(HEAD_BYTES))?;
    Ok(said_origin(&head))
}

/// Puts an object unless it is there already.
fn publish(
    objects: &dyn ObjectStore,
    key: &str,
    bytes: Vec<u8>,
    force: bool,
    summary: &mut Summary,
) -> Result<(), SynthError> {
    summary.bytes += bytes.len() as u64;
    match objects.get(key)? {
        Some(there) if there == bytes => summary.unchanged += 1,
        Some(_) if !force => {
            return Err(SynthError::Differs { location: objects.location().to_string(), key: key.to_string() });
        }
        _ => {
            objects.put(key, bytes.into())?;
            summary.written += 1;
        }
    }
    Ok(())
}
