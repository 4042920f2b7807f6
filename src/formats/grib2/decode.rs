//! The values of a field, unpacked into rows.

use std::ops::Range;

use super::packing::bitmap;
use super::section::Section;
use super::{Grib2Error, Message};

impl Message {
    /// The values as rows along +x in the grid's y direction, NaN where missing.
    ///
    /// Where the order of the points is not known ([`Message::shape`] is `None`), in the message's own order.
    /// `bytes` are those the header was read from.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>, Grib2Error> {
        let mut values = vec![0.0; self.points];
        self.decode_into(bytes, &mut values).map(|()| values)
    }

    /// [`Message::decode`] into a buffer of [`Message::points`] values; what it holds after an error says nothing.
    pub fn decode_into(&self, bytes: &[u8], values: &mut [f32]) -> Result<(), Grib2Error> {
        let data = part(bytes, 7, &self.data)?;
        let bitmap = self.bitmap.as_ref().map(|range| part(bytes, 6, range)).transpose()?;
        if values.len() != self.points {
            return Err(data.damaged(5, format!("a buffer of {} values, found {}", self.points, values.len())));
        }
        if let Some(bitmap) = &bitmap {
            bitmap::check(bitmap, self.points, self.packed)?;
        }
        let packed = values.get_mut(..self.packed).unwrap_or_default();
        self.packing.unpack(&data, packed)?;
        if let Some(bitmap) = bitmap {
            bitmap::expand(&bitmap, values, self.packed);
        }
        if let (Some(scanning), Some((nx, ny))) = (self.scanning, self.shape) {
            scanning.rows(values, nx, ny);
        }
        Ok(())
    }
}

/// A section of a message where its header said it is.
fn part<'a>(bytes: &'a [u8], number: u8, range: &Range<usize>) -> Result<Section<'a>, Grib2Error> {
    let found = bytes.get(range.clone()).filter(|b| b.get(4) == Some(&number));
    let length = |b: &[u8]| b.first_chunk::<4>().map(|l| u32::from_be_bytes(*l) as usize);
    match found.filter(|b| length(b) == Some(b.len())) {
        Some(bytes) => Ok(Section { number, offset: range.start, bytes }),
        None => Err(Grib2Error::OtherBytes { section: number, offset: range.start }),
    }
}
