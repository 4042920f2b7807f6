//! Every message in a run of bytes, and what lies between them.

use std::fmt;
use std::ops::Range;

use super::section::{END, INDICATOR_LENGTH};

/// What a run of bytes holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole GRIB2 messages, in their order.
    pub messages: Vec<Range<usize>>,
    /// Everything else, in its order.
    pub skipped: Vec<Skipped>,
}

/// Bytes that are no whole GRIB2 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where they are.
    pub range: Range<usize>,
    /// Why they were skipped.
    pub reason: Reason,
}

/// Why bytes were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Zeros or blanks between messages.
    Padding,
    /// They do not begin with `GRIB`.
    NotGrib,
    /// A message of another edition.
    Edition(u8),
    /// The message's end lies past the end of the bytes.
    Truncated {
        /// The length the message says it has.
        expected: u64,
    },
    /// The message does not end in `7777` where its length says.
    NoEnd {
        /// The length the message says it has.
        expected: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Padding => write!(f, "zeros or blanks between messages"),
            Reason::NotGrib => write!(f, "expected `GRIB`, found something else"),
            Reason::Edition(edition) => write!(f, "GRIB edition {edition} is not supported; expected edition 2"),
            Reason::Truncated { expected } => write!(f, "cut short: expected a message of {expected} bytes"),
            Reason::NoEnd { expected } => write!(f, "expected `7777` at the end of a message of {expected} bytes"),
        }
    }
}

/// Finds every message, going on at the next `GRIB` after whatever is none.
pub fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut position = 0;
    while position < bytes.len() {
        let rest = bytes.get(position..).unwrap_or_default();
        position += match examine(rest) {
            Ok(length) => {
                scan.messages.push(position..position + length);
                length
            }
            Err((reason, length)) => {
                scan.skip(position..position + length, reason);
                length
            }
        };
    }
    scan
}

impl Scan {
    /// Notes skipped bytes; what follows a damaged message up to the next `GRIB` belongs to it.
    fn skip(&mut self, range: Range<usize>, reason: Reason) {
        match self.skipped.last_mut() {
            Some(last) if last.range.end == range.start && last.reason == reason => last.range.end = range.end,
            _ => self.skipped.push(Skipped { range, reason }),
        }
    }
}

/// The length of the message at the start of `rest`, or why there is none and how many bytes to skip.
fn examine(rest: &[u8]) -> Result<usize, (Reason, usize)> {
    let header = rest.first_chunk::<INDICATOR_LENGTH>().filter(|h| h.starts_with(b"GRIB"));
    let Some(header) = header else {
        return Err(no_header(rest));
    };
    let [_, _, _, _, a, b, c, edition, ..] = *header;
    match edition {
        1 => Err((Reason::Edition(1), first_edition(rest, [0, a, b, c]))),
        2 => second_edition(rest, header),
        other => Err((Reason::Edition(other), next(rest))),
    }
}

fn no_header(rest: &[u8]) -> (Reason, usize) {
    let length = next(rest);
    let padding = |b: &u8| *b == 0 || b.is_ascii_whitespace();
    match rest.get(..length) {
        _ if rest.starts_with(b"GRIB") => (Reason::Truncated { expected: INDICATOR_LENGTH as u64 }, length),
        Some(between) if between.iter().all(padding) => (Reason::Padding, length),
        _ => (Reason::NotGrib, length),
    }
}

fn second_edition(rest: &[u8], header: &[u8; INDICATOR_LENGTH]) -> Result<usize, (Reason, usize)> {
    let expected = header.last_chunk::<8>().map_or(0, |length| u64::from_be_bytes(*length));
    let message = usize::try_from(expected).ok().and_then(|length| rest.get(..length));
    match message {
        Some(message) if message.len() > INDICATOR_LENGTH && message.ends_with(END) => Ok(message.len()),
        Some(_) => Err((Reason::NoEnd { expected }, next(rest))),
        None => Err((Reason::Truncated { expected }, next(rest))),
    }
}

/// How long a message of edition 1 is: as it says where it ends in `7777` there, else up to the next `GRIB`.
fn first_edition(rest: &[u8], length: [u8; 4]) -> usize {
    let length = u32::from_be_bytes(length) as usize;
    match rest.get(..length) {
        Some(message) if message.ends_with(END) => length,
        _ => next(rest),
    }
}

/// Where the next `GRIB` begins, not counting one at the very start.
fn next(rest: &[u8]) -> usize {
    let found = rest.windows(4).skip(1).position(|w| w == b"GRIB");
    found.map_or(rest.len(), |position| position + 1)
}
