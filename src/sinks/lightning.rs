//! Counts the strikes in files of the lightning mapper on a grid, step by step of time, into a Zarr store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;

use crate::domain::{Grid, GridError, Lead, Moment, Period, Slot};
use crate::formats::glm::{Level, Seen, Strike, seen};
use crate::formats::hdf5::Hdf5File;
use crate::formats::zarr::{ArraySpec, Store, StoreSpec, ZarrError};
use crate::storage::{ObjectStore, StorageError};
use crate::tensor::{Device, HostMemory, Tensor, TensorError};
use crate::transforms::lightning::{TimeBins, places};

/// What the name of a file of the mapper has in it, and how it ends.
const NAMED: (&str, &str) = ("GLM-L2-LCFA", ".nc");
/// The quality flag of strikes that are counted; events have none.
const GOOD: u16 = 0;
/// Seconds by which files may overlap, or lack of a step that is whole: their times are rounded.
const SLACK_SECONDS: f64 = 1.0;
/// The longest that one file observes, in seconds; the mapper's are of twenty.
const LONGEST_SECONDS: f64 = 3600.0;
/// Seconds in a minute.
const MINUTE: u64 = 60;

/// What is counted, where and when.
#[derive(Clone, Debug)]
pub struct LightningOptions {
    /// What is taken for one strike.
    pub level: Level,
    /// Where it is counted.
    pub grid: Arc<Grid>,
    /// Minutes of a step; a whole number of steps makes a day.
    pub step: Lead,
    /// Steps that begin in it are written.
    pub period: Period,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LightningSummary {
    /// Files read.
    pub files: usize,
    /// Files that could not be used, and why.
    pub set_aside: Vec<(String, String)>,
    /// Steps written.
    pub steps: usize,
    /// Steps of which files observed a part alone: they are not written, for what was not observed is not zero.
    pub partial_steps: usize,
    /// Strikes counted.
    pub counted: u64,
    /// Strikes beside the grid.
    pub outside: u64,
    /// Strikes that the mapper itself doubts.
    pub doubtful: u64,
}

/// Lightning that could not be counted or written.
#[derive(Debug, thiserror::Error)]
pub enum LightningError {
    /// There is nothing to count.
    #[error("{location}: {expected}")]
    Empty {
        /// The store.
        location: String,
        /// What was looked for.
        expected: String,
    },
    /// The input or the output failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The output cannot be written.
    #[error(transparent)]
    Zarr(#[from] ZarrError),
    /// The grid makes no map.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The device that counts has no memory, or failed.
    #[error(transparent)]
    Device(#[from] TensorError),
}

/// What was seen in one step of time.
#[derive(Default)]
struct Step {
    strikes: Vec<Strike>,
    observed_seconds: f64,
}

/// Counts every strike of good quality in the files below `input` on a device, and writes the steps that they observed
/// whole. The counts are the same on every device.
///
/// # Errors
/// Where there is no file, no whole step, or a store or the device fails; files that cannot be used are set aside.
pub fn write_lightning(
    input: &Arc<dyn ObjectStore>,
    output: Arc<dyn ObjectStore>,
    options: &LightningOptions,
    device: &Device,
) -> Result<LightningSummary, LightningError> {
    let mut summary = LightningSummary::default();
    let steps = gather(read(input, options.level, &mut summary)?, options, &mut summary);
    let whole_seconds = f64::from(options.step.0) * MINUTE as f64 - SLACK_SECONDS;
    let (whole, partial): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|(_, step)| step.observed_seconds >= whole_seconds);
    summary.partial_steps = partial.len();
    let Some((first, _)) = whole.first() else {
        let expected = format!(
            "no step of {} minutes is observed whole by its {} files; expected more files, shorter steps or another \
             period",
            options.step.0, summary.files
        );
        return Err(LightningError::Empty { location: input.location().into(), expected });
    };
    let name = format!("{}_count", options.level.label());
    let store = Store::create_or_open(output, "", &spec(options, &name, *first))?;
    let longest = whole.iter().map(|(_, step)| step.strikes.len()).max().unwrap_or_default();
    let mut counting = Counting { device, options, places: device.host_memory(longest * size_of::<[f64; 3]>())? };
    let mut write = |counted: Counted| -> Result<(), LightningError> {
        let (values, slot) = (counted.counts.to_vec()?, Slot::new(counted.start, Lead(0)));
        store.write(&name, slot, &values)?;
        store.publish(slot)?;
        // Fewer strikes than 2²⁴ are in a cell: f32 counts them exactly.
        let inside: u64 = values.iter().map(|count| *count as u64).sum();
        summary.steps += 1;
        summary.counted += inside;
        summary.outside += counted.strikes - inside;
        Ok(())
    };
    // The device counts a step while the places of the next are worked out.
    let mut last = None;
    for (start, step) in whole {
        let counted = counting.count(start, step.strikes)?;
        last.replace(counted).map_or(Ok(()), &mut write)?;
    }
    last.map_or(Ok(()), write)?;
    Ok(summary)
}

/// Where and with what steps are counted.
struct Counting<'a> {
    device: &'a Device,
    options: &'a LightningOptions,
    /// Room for the places of the step with the most strikes, from which the device fetches them.
    places: HostMemory,
}

/// A step whose counts are on a device, or will be.
struct Counted {
    start: Moment,
    strikes: u64,
    counts: Tensor,
}

impl Counting<'_> {
    /// Begins to count the strikes of a step.
    fn count(&mut self, start: Moment, strikes: Vec<Strike>) -> Result<Counted, LightningError> {
        let (grid, many) = (&self.options.grid, strikes.len());
        let room: &mut [[f64; 3]] = bytemuck::cast_slice_mut(self.places.bytes_mut()?);
        room.iter_mut().zip(places(grid, strikes)?).for_each(|(room, place)| *room = place);
        let times = TimeBins { start, seconds: self.options.step.0 * MINUTE as u32, count: 1 };
        let counts = Tensor::binned(self.device, &self.places, many, &times.around(grid))?;
        Ok(Counted { start, strikes: many as u64, counts })
    }
}

/// Every file that can be used, by when it begins; what overlaps the one before is set aside.
fn read(
    input: &Arc<dyn ObjectStore>,
    level: Level,
    summary: &mut LightningSummary,
) -> Result<Vec<Seen>, LightningError> {
    let is_named = |key: &str| key.contains(NAMED.0) && key.ends_with(NAMED.1);
    let keys: Vec<String> = input.list("")?.into_iter().map(|meta| meta.key).filter(|key| is_named(key)).collect();
    if keys.is_empty() {
        let expected = format!("no files such as OR_{}_G16_s….nc; check --input", NAMED.0);
        return Err(LightningError::Empty { location: input.location().into(), expected });
    }
    let mut found = Vec::new();
    for key in keys {
        let opened = Hdf5File::open(input.clone(), &key).map_err(|error| error.to_string());
        match opened.and_then(|file| seen(&file, level).map_err(|error| error.to_string())) {
            Ok(seen) => found.push((key, seen)),
            Err(reason) => summary.set_aside.push((key, reason)),
        }
    }
    found.sort_by(|(_, a), (_, b)| a.period[0].total_cmp(&b.period[0]));
    let (mut files, mut end) = (Vec::new(), f64::NEG_INFINITY);
    for (key, seen) in found {
        if !(0.0..=LONGEST_SECONDS).contains(&(seen.period[1] - seen.period[0])) {
            let reason =
                format!("it observes from {} to {} s; expected an hour at most", seen.period[0], seen.period[1]);
            summary.set_aside.push((key, reason));
            continue;
        }
        if seen.period[0] < end - SLACK_SECONDS {
            let reason = "it overlaps the file before in time; expected one mapper, and each of its files once";
            summary.set_aside.push((key, reason.into()));
            continue;
        }
        end = seen.period[1];
        files.push(seen);
    }
    summary.files = files.len();
    Ok(files)
}

/// What was seen by the beginning of each step that the period has.
fn gather(files: Vec<Seen>, options: &LightningOptions, summary: &mut LightningSummary) -> BTreeMap<Moment, Step> {
    let seconds = u64::from(options.step.0) * MINUTE;
    let step_of = |time: f64| time as u64 / seconds * seconds;
    let mut steps: BTreeMap<Moment, Step> = BTreeMap::new();
    for Seen { period: [begin, end], strikes } in files {
        for start in (step_of(begin)..end.ceil() as u64).step_by(seconds as usize) {
            let observed = end.min((start + seconds) as f64) - begin.max(start as f64);
            steps.entry(Moment(start)).or_default().observed_seconds += observed;
        }
        for strike in strikes {
            if strike.seconds.is_finite() && strike.quality.is_none_or(|quality| quality == GOOD) {
                steps.entry(Moment(step_of(strike.seconds))).or_default().strikes.push(strike);
            } else {
                summary.doubtful += 1;
            }
        }
    }
    steps.retain(|start, _| options.period.contains(*start));
    steps
}

fn spec(options: &LightningOptions, name: &str, origin: Moment) -> StoreSpec {
    let (counted, minutes) = (options.level.plural(), options.step.0);
    let mut attributes = Map::new();
    attributes.insert("source".into(), "Geostationary Lightning Mapper, level 2 (LCFA)".into());
    StoreSpec {
        title: format!("Lightning: {counted} counted by steps of {minutes} min"),
        origin,
        step: options.step,
        leads: vec![Lead(0)],
        grid: options.grid.clone(),
        variables: vec![ArraySpec {
            name: name.into(),
            long_name: format!("{counted} of good quality in the {minutes} min from init_time on"),
            units: "1".into(),
            standard_name: None,
        }],
        attributes,
    }
}
