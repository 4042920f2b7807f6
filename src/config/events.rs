//! The options of stages that read, transform and store storm events.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;

use crate::domain::{Modality, Moment, Period};

use super::reader::Reader;
use super::stages::Server;

/// Longest side of a frame.
const MOST_POINTS: u32 = 4096;
/// Most events of a shard: one modality of it is held in memory.
const MOST_EVENTS: u32 = 64;
/// Seconds from the first to the last of a day.
const LAST_SECOND: u64 = 86_399;
/// Digits of a date without a time.
const DATE_DIGITS: usize = 8;
/// Years that a catalogue can speak of.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// Which five minutes a frame of lightning counts. Either reaches beyond the time of the image of the same number, which
/// may be four minutes before the frame's: what was known then is in the frames that had ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameBins {
    /// Those after the frame's time, as SEVIR's code does.
    #[default]
    After,
    /// Those before it, as SEVIR's documentation says.
    Before,
}

/// How events are split into training, validation and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SplitOptions {
    /// By time: train before `validation_from`, test from `test_from` on, validation between.
    Date {
        /// The first moment of validation; `None` for the published one.
        validation_from: Option<Moment>,
        /// The first moment of the test; `None` for the published one.
        test_from: Option<Moment>,
    },
    /// By the event's identifier and a seed.
    Id {
        /// The seed.
        seed: u64,
        /// The share of validation, 0 to 1.
        validation: f64,
        /// The share of the test, 0 to 1.
        test: f64,
    },
}

/// Where SEVIR's events come from and which of them are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct SevirOptions {
    /// A folder or `s3://bucket/prefix` in the layout of SEVIR's bucket.
    pub input: String,
    /// How its S3 server is reached.
    pub server: Server,
    /// The catalogue, relative to the input.
    pub catalog: String,
    /// The folder of the files that the catalogue names, relative to the input.
    pub data: String,
    /// The modalities wanted, in the order in which they are stored.
    pub modalities: Vec<Modality>,
    /// Modalities without which an event is not wanted.
    pub require: Vec<Modality>,
    /// Calendar years of the events; empty for all.
    pub years: Vec<i32>,
    /// The first and last event time wanted; a last day without a time is wanted whole.
    pub period: Period,
    /// Kinds of storms wanted, `random` for places without one; empty for all.
    pub kinds: Vec<String>,
    /// The greatest share of missing pixels that the catalogue may state, 0 to 1.
    pub max_missing_share: Option<f32>,
    /// Events of a shard.
    pub shard_events: usize,
    /// Which five minutes a frame of lightning counts.
    pub lightning_bins: FrameBins,
    /// How events are split.
    pub split: SplitOptions,
}

impl SevirOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let mut modalities = read_modalities(r, "modalities");
        if modalities.is_empty() {
            modalities = vec![Modality::Vil, Modality::Ir069, Modality::Ir107, Modality::Lght];
        }
        let require = read_modalities(r, "require");
        if let Some(other) = require.iter().find(|wanted| !modalities.contains(wanted)) {
            r.mistake("require", format!("`{other}` is required and not among `modalities`; expected some of them"));
        }
        SevirOptions {
            input: r.required_text("input", "s3://sevir"),
            server: Server::read(r),
            catalog: r.text("catalog").unwrap_or_else(|| "CATALOG.csv".into()),
            data: r.text("data").unwrap_or_else(|| "data".into()),
            modalities,
            require,
            years: read_years(r),
            period: read_period(r),
            kinds: r.texts("kinds").into_iter().map(|(kind, _)| kind).collect(),
            max_missing_share: r.number("max_missing_share", 0.0, 1.0).map(|share| share as f32),
            shard_events: r.whole("shard_events", 1, MOST_EVENTS).unwrap_or(8) as usize,
            lightning_bins: r
                .choice("lightning_bins", &[("after", FrameBins::After), ("before", FrameBins::Before)])
                .unwrap_or_default(),
            split: read_split(r),
        }
    }
}

/// Modalities by name, each once.
fn read_modalities(r: &mut Reader<'_>, key: &'static str) -> Vec<Modality> {
    let mut modalities = Vec::new();
    for (name, _) in r.texts(key) {
        match name.parse::<Modality>() {
            Ok(modality) if modalities.contains(&modality) => r.mistake(key, format!("`{name}` is named twice")),
            Ok(modality) => modalities.push(modality),
            Err(error) => r.mistake(key, error),
        }
    }
    modalities
}

/// Years or ranges of them: `2019`, `2018-2019`, or a list of such, each year once.
fn read_years(r: &mut Reader<'_>) -> Vec<i32> {
    let mut years = BTreeSet::new();
    let year = |text: &str| text.trim().parse::<i32>().ok().filter(|year| YEARS.contains(year));
    for text in r.texts_or_numbers("years") {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match year(first).zip(year(last)).filter(|(first, last)| first <= last) {
            Some((first, last)) => years.extend(first..=last),
            None => {
                let expected = "expected for example 2019, \"2018-2019\" or [2017, 2019]";
                r.mistake("years", format!("`{text}` is no range of years; {expected}"));
            }
        }
    }
    years.into_iter().collect()
}

/// A time to the second, and whether it is a date alone.
fn read_time(r: &mut Reader<'_>, key: &'static str) -> Option<(Moment, bool)> {
    let text = r.text(key)?;
    let plain = text.trim().trim_end_matches('Z');
    let to_the_second = |format| NaiveDateTime::parse_from_str(plain, format).ok().and_then(Moment::from_naive);
    let seconds = to_the_second("%Y-%m-%dT%H:%M:%S").or_else(|| to_the_second("%Y-%m-%d %H:%M:%S"));
    let is_date = plain.chars().filter(char::is_ascii_digit).count() == DATE_DIGITS;
    match seconds.map_or_else(|| plain.parse(), Ok) {
        Ok(moment) => Some((moment, is_date)),
        Err(error) => {
            r.mistake(key, format!("`{key}`: {error}, or with seconds 2018-07-22T03:00:30"));
            None
        }
    }
}

fn read_moment(r: &mut Reader<'_>, key: &'static str) -> Option<Moment> {
    read_time(r, key).map(|(moment, _)| moment)
}

/// From the first to the last moment; a day as the last is meant whole.
fn read_period(r: &mut Reader<'_>) -> Period {
    let last = |(moment, is_date): (Moment, bool)| if is_date { Moment(moment.0 + LAST_SECOND) } else { moment };
    let period = Period { from: read_moment(r, "from"), to: read_time(r, "to").map(last) };
    if let (Some(from), Some(to)) = (period.from, period.to)
        && to < from
    {
        r.mistake("to", format!("`to` {to} is before `from` {from}; expected a time at or after it"));
    }
    period
}

fn read_split(r: &mut Reader<'_>) -> SplitOptions {
    let by_id = r.choice("split", &[("date", false), ("id", true)]).unwrap_or(false);
    if !by_id {
        let (validation_from, test_from) = (read_moment(r, "validation_from"), read_moment(r, "test_from"));
        return SplitOptions::Date { validation_from, test_from };
    }
    let share = |r: &mut Reader<'_>, key| r.number(key, 0.0, 1.0).unwrap_or(0.1);
    let (validation, test) = (share(r, "validation_share"), share(r, "test_share"));
    if validation + test > 1.0 {
        let text =
            format!("{validation} of validation and {test} of test are more than all; expected at most 1 together");
        r.mistake("validation_share", text);
    }
    SplitOptions::Id { seed: u64::from(r.whole("split_seed", 0, u32::MAX).unwrap_or(0)), validation, test }
}

/// Points along a side that frames of every modality are brought to.
pub(super) fn read_size(r: &mut Reader<'_>) -> usize {
    r.whole("size", 1, MOST_POINTS).unwrap_or(384) as usize
}

/// How the frames of a store are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// Zstandard.
    Zstd,
}

impl Codec {
    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        r.choice("codec", &[("none", Codec::None), ("zstd", Codec::Zstd)])
    }
}
