//! The values of a field, unpacked into rows.

use std::ops::Range;

use super::section::Section;
use super::{Grib2Error, Message, Packing, bitmap, complex, simple};

impl Message {
    /// Points of the grid.
    pub fn points(&self) -> usize {
        self.grid.nx * self.grid.ny
    }

    /// The values in the grid's row order, NaN where missing; `bytes` are those the header was read from.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>, Grib2Error> {
        let data = part(bytes, 7, &self.data)?;
        let bitmap = self.bitmap.as_ref().map(|range| part(bytes, 6, range)).transpose()?;
        self.check(&data, bitmap.as_ref())?;
        let mut values = vec![0.0; self.points()];
        let packed = values.get_mut(..self.packed).unwrap_or_default();
        match &self.packing {
            Packing::Simple(scale) => simple::unpack(&data, scale, packed),
            Packing::Complex(packing) => complex::unpack(&data, packing, packed),
            Packing::Unsupported(_) => (),
        }
        if let Some(bitmap) = bitmap {
            bitmap::expand(&bitmap, &mut values, self.packed);
        }
        Ok(self.scanning.rows(values, self.grid.nx, self.grid.ny))
    }

    /// Checks every length before anything is allocated.
    fn check(&self, data: &Section, bitmap: Option<&Section>) -> Result<(), Grib2Error> {
        match &self.packing {
            Packing::Simple(scale) => simple::check(data, scale, self.packed)?,
            Packing::Complex(packing) => complex::check(data, packing, self.packed)?,
            Packing::Unsupported(template) => {
                let what = format!("data template 5.{template}");
                return Err(data.unsupported(what, "5.0 (simple), 5.2 or 5.3 (complex)"));
            }
        }
        bitmap.map_or(Ok(()), |bitmap| bitmap::check(bitmap, self.points(), self.packed))
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
