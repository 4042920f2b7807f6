//! Lines of an index, as wgrib2 writes them.

use super::super::product::Ensemble;
use super::{Encode, product};

/// The line of an index that wgrib2 writes for message `number` at byte `offset`, without the line's end.
pub fn index_line(number: u32, offset: u64, field: &Encode) -> String {
    let (cycle, index) = (field.slot.cycle.calendar().format("%Y%m%d%H"), &field.variable.index);
    let (time, part) = (time(field), field.ensemble.map(part).unwrap_or_default());
    format!("{number}:{offset}:d={cycle}:{index}:{time}:{part}")
}

/// `anl`, `3 hour fcst`, `0-1 hour acc fcst`; windows of whole days in days, where moments stay in hours.
fn time(field: &Encode) -> String {
    let (unit, start, length) = product::times(field).unwrap_or_default();
    let (name, start, end) = match (unit, field.window) {
        (0, _) => ("min", start, start + length),
        (_, Some(_)) if start % 24 == 0 && length % 24 == 0 => ("day", start / 24, (start + length) / 24),
        _ => ("hour", start, start + length),
    };
    match field.window {
        Some(window) => format!("{start}-{end} {name} {} fcst", statistic(window.statistic)),
        None if start == 0 => "anl".into(),
        None => format!("{start} {name} fcst"),
    }
}

/// Code table 4.10.
fn statistic(code: u8) -> String {
    match code {
        0 => "ave".into(),
        1 => "acc".into(),
        2 => "max".into(),
        3 => "min".into(),
        4 => "last-first".into(),
        5 => "RMS".into(),
        6 => "StdDev".into(),
        7 => "covar".into(),
        8 => "first-last".into(),
        9 => "ratio".into(),
        other => format!("??? code table 4.10={other}"),
    }
}

fn part(ensemble: Ensemble) -> String {
    match ensemble {
        Ensemble::Member { kind, number, .. } => member(kind, number),
        Ensemble::Derived { kind, .. } => derived(kind).into(),
        Ensemble::Probability { kind, lower, upper } => {
            format!("{}:prob fcst 255/255", probability(kind, lower, upper))
        }
        Ensemble::Percentile { percent } => format!("{percent}% level"),
    }
}

/// Code table 4.6.
fn member(kind: u8, number: u8) -> String {
    match kind {
        0 => "ENS=hi-res ctl".into(),
        1 => "ENS=low-res ctl".into(),
        2 => format!("ENS=-{number}"),
        3 => format!("ENS=+{number}"),
        4 => format!("MM-ENS={number}"),
        5 => format!("NP-ENS={number}"),
        6 => format!("P-ENS={number}"),
        7 => format!("IC-ENS={number}"),
        8 => format!("MP-ENS={number}"),
        9 => format!("ICMP-ENS={number}"),
        _ => format!("ENS=? table4.6={kind} pert={number}"),
    }
}

/// Code table 4.7.
fn derived(kind: u8) -> &'static str {
    match kind {
        0 => "ens mean",
        1 => "wt ens mean",
        2 => "ens std dev",
        3 => "normalized ens std dev",
        4 => "ens spread",
        5 => "ens large anom index",
        6 => "unwt ens mean",
        7 => "25%-75% range",
        8 => "min all members",
        9 => "max all members",
        _ => "unknown derived fcst",
    }
}

/// Code table 4.9.
fn probability(kind: u8, lower: Option<f64>, upper: Option<f64>) -> String {
    let (lower, upper) = (lower.map(general).unwrap_or_default(), upper.map(general).unwrap_or_default());
    match kind {
        0 => format!("prob <{lower}"),
        1 => format!("prob >{upper}"),
        2 if lower == upper => format!("prob ={lower}"),
        2 => format!("prob >={lower} <{upper}"),
        3 => format!("prob >{lower}"),
        4 => format!("prob <{upper}"),
        5 => format!("prob ={lower}"),
        6 => "prob above normal".into(),
        7 => "prob near normal".into(),
        8 => "prob below normal".into(),
        _ => format!("prob ?? (code table 4.9={kind})"),
    }
}

/// A number as C's `%g` prints it: six significant digits, no zeros at the end.
fn general(number: f64) -> String {
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    match exponent.parse::<i32>().unwrap_or(0) {
        exponent @ -4..=5 => trimmed(&format!("{number:.*}", (5 - exponent) as usize)),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
        }
    }
}
