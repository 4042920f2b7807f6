//! Moments, leads and the slots they span: when a forecast started, how far it looks, what it is valid for.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// Seconds in an hour.
const HOUR: u64 = 3600;

/// A text that is no time, lead or range of leads.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimeError {
    /// Not a UTC time.
    #[error("`{0}` is no UTC time; expected 2018-07-22, 2018-07-22T03, 2018-07-22T03:00 or 2018072203")]
    Moment(String),
    /// Not a lead or a list of leads.
    #[error("`{0}` is no list of leads; expected hours such as `0-18`, `1,3,6` or `0-6/3`")]
    Leads(String),
}

/// A point in time: whole seconds since 1970-01-01T00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// The start of an hour of a calendar day; `None` where there is no such day or hour.
    pub fn from_ymdh(year: i32, month: u32, day: u32, hour: u32) -> Option<Self> {
        let time = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, 0, 0)?;
        Self::from_naive(time)
    }

    /// The moment of a calendar time in UTC; `None` before 1970.
    pub fn from_naive(time: NaiveDateTime) -> Option<Self> {
        u64::try_from(time.and_utc().timestamp()).ok().map(Moment)
    }

    /// The wall clock of this machine.
    pub fn now() -> Self {
        Moment(u64::try_from(Utc::now().timestamp()).unwrap_or(0))
    }

    /// This moment as a calendar time.
    pub fn calendar(self) -> DateTime<Utc> {
        i64::try_from(self.0).ok().and_then(|s| DateTime::from_timestamp(s, 0)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// 00:00 UTC of the same day.
    pub fn midnight(self) -> Self {
        Moment(self.0 - self.0 % (24 * HOUR))
    }

    /// The name used in folder and object names: `2018072203`, with minutes (`201807220315`) off the hour.
    pub fn key(self) -> String {
        let time = self.calendar();
        let format = if time.minute() == 0 { "%Y%m%d%H" } else { "%Y%m%d%H%M" };
        time.format(format).to_string()
    }

    /// This moment and a lead later.
    pub fn plus(self, lead: Lead) -> Self {
        Moment(self.0 + u64::from(lead.0) * 60)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.calendar().format("%Y-%m-%dT%H:%MZ"))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Moment {
    type Err = TimeError;

    /// Reads a day, an hour or a minute, with or without `Z`, dashed or as digits alone.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | 'T' | ':' | 'Z' | ' '));
        let padded = match digits.len() {
            8 => format!("{digits}0000"),
            10 => format!("{digits}00"),
            12 => digits,
            14 if digits.ends_with("00") => digits[..12].to_string(),
            _ => return Err(TimeError::Moment(text.into())),
        };
        let parsed = NaiveDateTime::parse_from_str(&padded, "%Y%m%d%H%M").ok().filter(|_| plain);
        parsed.and_then(Self::from_naive).ok_or_else(|| TimeError::Moment(text.into()))
    }
}

/// How far a forecast looks ahead, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Lead(pub u32);

impl Lead {
    /// A lead of whole hours.
    pub const fn hours(hours: u32) -> Self {
        Lead(hours * 60)
    }

    /// Whole hours, rounded down.
    pub const fn in_hours(self) -> u32 {
        self.0 / 60
    }

    /// Reads hours such as `0-18`, `1,3,6` or `0-6/3` (every third) into leads, ascending and distinct.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, TimeError> {
        let bad = || TimeError::Leads(text.into());
        let mut leads = Vec::new();
        for part in text.split(',') {
            let (range, step) = part.trim().split_once('/').unwrap_or((part.trim(), "1"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let hour = |t: &str| t.trim().parse::<u32>().ok().filter(|h| *h <= 10_000).ok_or_else(bad);
            let (first, last, step) = (hour(first)?, hour(last)?, hour(step)?);
            if step == 0 || last < first {
                return Err(bad());
            }
            leads.extend((first..=last).step_by(step as usize).map(Lead::hours));
        }
        leads.sort_unstable();
        leads.dedup();
        Ok(leads)
    }
}

impl fmt::Display for Lead {
    /// `f03` for whole hours, `f03h15` between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 60 {
            0 => write!(f, "f{:02}", self.0 / 60),
            minutes => write!(f, "f{:02}h{minutes:02}", self.0 / 60),
        }
    }
}

/// What a field is of: the cycle that made it and how far ahead it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Slot {
    /// When the forecast started (its initialisation time).
    pub cycle: Moment,
    /// How far ahead it looks.
    pub lead: Lead,
}

impl Slot {
    /// The slot of a cycle and a lead.
    pub const fn new(cycle: Moment, lead: Lead) -> Self {
        Slot { cycle, lead }
    }

    /// The moment the field describes.
    pub fn valid(self) -> Moment {
        self.cycle.plus(self.lead)
    }

    /// The least slot at or after both, in product order.
    pub fn join(self, other: Slot) -> Slot {
        Slot::new(self.cycle.max(other.cycle), self.lead.max(other.lead))
    }

    /// Product order: neither the cycle nor the lead is later than the other's.
    pub fn before_or_at(self, other: Slot) -> bool {
        self.cycle <= other.cycle && self.lead <= other.lead
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cycle, self.lead)
    }
}

/// The cycles a run is about: from the first to the last, both included; open where `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// No cycle before this one.
    pub from: Option<Moment>,
    /// No cycle after this one.
    pub to: Option<Moment>,
}

impl Period {
    /// Whether a cycle is in the period.
    pub fn contains(&self, cycle: Moment) -> bool {
        self.from.is_none_or(|from| from <= cycle) && self.to.is_none_or(|to| cycle <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_usual_form() {
        let three = Moment::from_ymdh(2018, 7, 22, 3).expect("a day");
        for text in ["2018072203", "2018-07-22T03", "2018-07-22T03:00", "2018-07-22T03:00Z", "2018-07-22 03:00:00"] {
            assert_eq!(text.parse(), Ok(three), "{text}");
        }
        assert_eq!("2018-07-22".parse(), Ok(three.midnight()));
        assert_eq!((three.key(), three.to_string()), ("2018072203".into(), "2018-07-22T03:00Z".into()));
        for text in ["", "yesterday", "2018-13-01", "2018-07-22T25", "20180722031", "x2018072203"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_leads_are_read_or_refused() {
        let hours = |text| Lead::parse_list(text).map(|l| l.iter().map(|l| l.in_hours()).collect::<Vec<_>>());
        assert_eq!(hours("0-3"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(hours("6,0-6/3"), Ok(vec![0, 3, 6]));
        for text in ["", "3-1", "0-6/0", "one", "-1"] {
            assert!(hours(text).is_err(), "{text}");
        }
    }
}
