//! Why a message, an index or a field to be written was refused.

/// A message or an index that cannot be read, or a field that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Grib2Error {
    /// The bytes begin with something else.
    #[error("section 0, byte 0: no GRIB message: expected the bytes to begin with `GRIB`, found `{found}`")]
    NotGrib {
        /// The first bytes, escaped.
        found: String,
    },
    /// A message of another edition.
    #[error("section 0, byte 7 of the message: GRIB edition {0} is not supported; expected edition 2")]
    Edition(u8),
    /// Fewer bytes than the message says it has.
    #[error("section 0, byte 8 of the message: it is cut short: expected {expected} bytes, found {got}")]
    Truncated {
        /// The length in section 0.
        expected: u64,
        /// How many bytes there are.
        got: usize,
    },
    /// Something a section says cannot be.
    #[error("section {section}, byte {offset} of the message: expected {expected}")]
    Damaged {
        /// The section's number.
        section: u8,
        /// Where in the message, from 0.
        offset: usize,
        /// What should be there and what is.
        expected: String,
    },
    /// Something allowed that is not read.
    #[error("section {section}, byte {offset} of the message: {what} is not supported yet; expected {expected}")]
    Unsupported {
        /// The section's number.
        section: u8,
        /// Where the section begins in the message, from 0.
        offset: usize,
        /// The template, code or flag.
        what: String,
        /// What is supported.
        expected: &'static str,
    },
    /// Values were asked for with other bytes than those the header was read from.
    #[error("section {section}, byte {offset}: no such section; expected the same message the header was read from")]
    OtherBytes {
        /// The section's number.
        section: u8,
        /// Where it was.
        offset: usize,
    },
    /// There is no memory for the values of a field.
    #[error("{bytes} bytes for the values of a field could not be had")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// A line that no GRIB2 index has.
    #[error("line {line} of the index: expected {expected}, found `{found}`")]
    Index {
        /// The line's number, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
        /// The line's beginning, escaped.
        found: String,
    },
    /// A field that no message can hold.
    #[error("cannot write {variable} as GRIB2: {reason}")]
    Encode {
        /// The variable's name.
        variable: String,
        /// What stands in the way, and what was expected.
        reason: String,
    },
}

/// The first bytes of something unexpected, fit for an error message.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const LENGTH: usize = 60;
    let shown = bytes.get(..LENGTH).unwrap_or(bytes);
    format!("{}{}", shown.escape_ascii(), if shown.len() < bytes.len() { "…" } else { "" })
}
