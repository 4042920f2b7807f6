//! One file as HRRR publishes it: nine GRIB2 messages and the index that says where each begins.

use rayon::prelude::*;

use super::fields::{Fields, Grounds, fields};
use super::frame::Frame;
use super::{SynthError, origin};
use crate::config::variables;
use crate::domain::Slot;
use crate::formats::grib2::{Encode, encode, index_line};

/// Section 2 of a message begins here: after the indicator (16 octets) and the identification (21).
const SECTION_2: usize = 37;
/// Enough of an object to hold what section 2 says.
pub(super) const HEAD_BYTES: u64 = 256;

/// A GRIB2 object and its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) grib: Vec<u8>,
    pub(super) index: Vec<u8>,
}

/// The key of a slot's GRIB2 object in HRRR's bucket layout.
pub(super) fn key(slot: Slot) -> String {
    let cycle = slot.cycle.calendar();
    format!("hrrr.{}/conus/hrrr.t{}z.wrfsfc{}.grib2", cycle.format("%Y%m%d"), cycle.format("%H"), slot.lead)
}

/// Makes the file of a slot.
pub(super) fn make(seed: u64, slot: Slot, frame: &Frame, grounds: &Grounds) -> Result<File, SynthError> {
    let Fields { variables: values } = fields(seed, slot, frame, grounds);
    let origin = origin(seed);
    let messages: Result<Vec<_>, SynthError> =
        values.par_iter().map(|(name, values)| message(name, values, slot, frame, &origin)).collect();
    let mut file = File { grib: Vec::new(), index: Vec::new() };
    for (number, (field, message)) in (1..).zip(messages?) {
        let line = index_line(number, file.grib.len() as u64, &field);
        file.index.extend_from_slice(line.as_bytes());
        file.index.push(b'\n');
        file.grib.extend_from_slice(&message);
    }
    Ok(file)
}

/// A field and its message.
fn message<'a>(
    name: &str,
    values: &'a [f32],
    slot: Slot,
    frame: &'a Frame,
    origin: &'a str,
) -> Result<(Encode<'a>, Vec<u8>), SynthError> {
    let variable = variables().get(name).ok_or_else(|| SynthError::Variable(name.to_string()))?;
    let plain = Encode::new(slot, variable, &frame.grid, values, variable.decimal_digits);
    let field = Encode { origin: Some(origin), ..plain };
    Ok((field, encode(&field)?))
}

/// What section 2 of the first message in `head` says; `None` where there is no GRIB2 message or no such section.
pub(super) fn said_origin(head: &[u8]) -> Option<String> {
    let section = head.strip_prefix(b"GRIB").and_then(|_| head.get(SECTION_2..))?;
    let length = section.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets) as usize)?;
    let text = section.get(5..length).filter(|_| section[4] == 2)?;
    std::str::from_utf8(text).ok().map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lead, Moment};

    #[test]
    fn keys_are_those_of_the_bucket() {
        let cycle = Moment::from_ymdh(2026, 5, 20, 6).expect("a day");
        assert_eq!(key(Slot::new(cycle, Lead::hours(3))), "hrrr.20260520/conus/hrrr.t06z.wrfsfcf03.grib2");
    }

    #[test]
    fn the_origin_is_read_back_and_nothing_else_is() {
        let frame = Frame::new([8, 6]).expect("a crop");
        let slot = Slot::new(Moment::from_ymdh(2026, 5, 20, 6).expect("a day"), Lead(0));
        let file = make(7, slot, &frame, &super::super::grounds(&frame)).expect("a file");
        assert_eq!(said_origin(&file.grib), Some("SYNTHETIC gustfront-synth/1 seed=7".into()));
        for head in [&b""[..], b"GRIB", b"text", &[0; 300], &file.grib[..40], &file.index] {
            assert_eq!(said_origin(head), None);
        }
    }
}
