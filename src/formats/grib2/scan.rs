//! Every message in a run of bytes, and what lies between them.
//!
//! A message counts as one where its length leads to `7777` and its sections, each as long as it says, lead there
//! too; whatever is none costs only the bytes up to the next header. The work is linear in the bytes.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use super::section::{END, INDICATOR_LENGTH, NoSection, sections};

/// How every message begins.
const START: &[u8] = b"GRIB";
/// Lengths of a message that damage might have made up: those without a section, and more than a tebibyte.
const PLAUSIBLE_LENGTHS: Range<u64> = INDICATOR_LENGTH as u64 + 9..1 << 40;
/// Sections of a message that are looked at whatever was damaged before it: those of five fields, each with its grid.
const FREE_SECTIONS: usize = 32;
/// Beyond those, sections of damaged messages that are looked at for every byte there is: one in four.
const BYTES_A_SECTION: usize = 4;
/// Stretches of skipped bytes told apart; later ones that touch are told as one.
const MAX_SKIPPED: usize = 4096;

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
    /// Why they were skipped; its offsets count from the range's start.
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
    /// The sections of the message do not lead from one to the next and to its end.
    NoSection(NoSection),
    /// A message of many sections behind so much damage that they are not looked at.
    TooDamaged,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |expected: &u64| expected.saturating_sub(END.len() as u64);
        match self {
            Reason::Padding => write!(f, "zeros or blanks between messages"),
            Reason::NotGrib => write!(f, "expected `GRIB`, found something else"),
            Reason::Edition(edition) => {
                write!(f, "section 0, byte 7: GRIB edition {edition} is not supported; expected edition 2")
            }
            Reason::Truncated { expected } => {
                write!(f, "section 0, byte 8: cut short: expected a message of {expected} bytes")
            }
            Reason::NoEnd { expected } => {
                write!(
                    f,
                    "section 8, byte {}: expected `7777` at the end of a message of {expected} bytes",
                    end(expected)
                )
            }
            Reason::NoSection(found) => {
                write!(f, "section {}, byte {}: expected {found}", found.section(), found.offset)
            }
            Reason::TooDamaged => {
                write!(f, "section 1, byte 16: expected at most {FREE_SECTIONS} sections behind so much damage")
            }
        }
    }
}

/// Finds every message, going on at the next header after whatever is none.
pub fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan::default();
    let mut damage = Damage { left: bytes.len() / BYTES_A_SECTION, start: memmem::Finder::new(START) };
    let mut position = 0;
    while position < bytes.len() {
        let rest = bytes.get(position..).unwrap_or_default();
        position += match damage.examine(rest) {
            Ok(length) => {
                found.messages.push(position..position + length);
                length
            }
            Err((reason, length)) => {
                found.skip(position..position + length, reason);
                length
            }
        };
    }
    found
}

impl Scan {
    /// Notes skipped bytes; what follows a damaged message up to the next header belongs to it.
    fn skip(&mut self, range: Range<usize>, reason: Reason) {
        let many = self.skipped.len() >= MAX_SKIPPED;
        match self.skipped.last_mut() {
            Some(last) if last.range.end == range.start && (many || last.reason == reason) => {
                last.range.end = range.end;
            }
            _ => self.skipped.push(Skipped { range, reason }),
        }
    }
}

/// Looks at what may be messages, and keeps the work on those that are none linear.
struct Damage {
    /// Sections of damaged messages that may still be looked at.
    left: usize,
    start: memmem::Finder<'static>,
}

impl Damage {
    /// The length of the message at the start of `rest`, or why there is none and how many bytes to skip.
    fn examine(&mut self, rest: &[u8]) -> Result<usize, (Reason, usize)> {
        let header = rest.first_chunk::<INDICATOR_LENGTH>().filter(|header| header.starts_with(START));
        let Some(header) = header else {
            return Err(self.no_header(rest));
        };
        let [_, _, _, _, a, b, c, edition, length @ ..] = *header;
        match edition {
            1 => Err((Reason::Edition(1), self.first_edition(rest, [0, a, b, c]))),
            2 => self.second_edition(rest, u64::from_be_bytes(length)).map_err(|reason| (reason, self.next(rest))),
            other => Err((Reason::Edition(other), self.next(rest))),
        }
    }

    fn no_header(&self, rest: &[u8]) -> (Reason, usize) {
        let length = self.next(rest);
        let padding = |b: &u8| *b == 0 || b.is_ascii_whitespace();
        match rest.get(..length) {
            _ if rest.starts_with(START) => (Reason::Truncated { expected: INDICATOR_LENGTH as u64 }, length),
            Some(between) if between.iter().all(padding) => (Reason::Padding, length),
            _ => (Reason::NotGrib, length),
        }
    }

    fn second_edition(&mut self, rest: &[u8], expected: u64) -> Result<usize, Reason> {
        match usize::try_from(expected).ok().and_then(|length| rest.get(..length)) {
            None => Err(Reason::Truncated { expected }),
            Some(message) if expected < PLAUSIBLE_LENGTHS.start || !message.ends_with(END) => {
                Err(Reason::NoEnd { expected })
            }
            Some(message) => self.walk(message).map(|()| message.len()),
        }
    }

    /// Goes from section to section to the message's end.
    fn walk(&mut self, message: &[u8]) -> Result<(), Reason> {
        for (count, section) in sections(message).enumerate() {
            let beyond = (count + 1).saturating_sub(FREE_SECTIONS);
            let broken = match section {
                Err(found) => Reason::NoSection(found),
                Ok(_) if beyond > self.left => Reason::TooDamaged,
                Ok(_) => continue,
            };
            self.left = self.left.saturating_sub(beyond);
            return Err(broken);
        }
        Ok(())
    }

    /// How long a message of edition 1 is: as it says where its sections end in `7777` there, else up to the next
    /// header.
    fn first_edition(&self, rest: &[u8], length: [u8; 4]) -> usize {
        let length = u32::from_be_bytes(length) as usize;
        match rest.get(..length) {
            Some(message) if message.ends_with(END) && first_edition_end(message) == Some(length) => length,
            _ => self.next(rest),
        }
    }

    /// Where the next header begins, not counting one at the very start.
    fn next(&self, rest: &[u8]) -> usize {
        let behind = rest.get(1..).unwrap_or_default();
        let mut starts = self.start.find_iter(behind).map(|position| position + 1);
        starts.find(|start| rest.get(*start..).is_some_and(is_header)).unwrap_or(rest.len())
    }
}

/// Whether bytes that begin with `GRIB` look like a message's beginning, or are too few to tell.
fn is_header(bytes: &[u8]) -> bool {
    match bytes.first_chunk::<INDICATOR_LENGTH>() {
        Some([_, _, _, _, _, _, _, 2, length @ ..]) => PLAUSIBLE_LENGTHS.contains(&u64::from_be_bytes(*length)),
        Some([_, _, _, _, a, b, c, 1, ..]) => [*a, *b, *c] != [0; 3],
        Some(_) => false,
        None => true,
    }
}

/// Where the sections of a message of edition 1 lead to: its product definition, what that announces, and its data.
fn first_edition_end(message: &[u8]) -> Option<usize> {
    const INDICATOR: usize = 8;
    const HAS_GRID: u8 = 0x80;
    const HAS_BITMAP: u8 = 0x40;
    let behind = |position: usize| {
        let [a, b, c] = *message.get(position..)?.first_chunk()?;
        Some(position + u32::from_be_bytes([0, a, b, c]) as usize)
    };
    let flags = *message.get(INDICATOR + 7)?;
    let announced = usize::from(flags & HAS_GRID != 0) + usize::from(flags & HAS_BITMAP != 0);
    let end = (0..announced + 2).try_fold(INDICATOR, |position, _| behind(position))?;
    Some(end + END.len())
}
