//! The values of a field, unpacked into rows.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::BroadcastContext;

use super::packing::bitmap;
use super::section::Section;
use super::{Grib2Error, Message, limits};

impl Message {
    /// The values as rows along +x in the grid's y direction, NaN where missing.
    ///
    /// Where the order of the points is not known ([`Message::shape`] is `None`), in the message's own order.
    /// `bytes` are those the header was read from.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>, Grib2Error> {
        self.check_room(bytes, self.points)?;
        let mut values = vec![0.0; self.points];
        self.decode_into(bytes, &mut values).map(|()| values)
    }

    /// Checks that section 7 can hold the field, and that there is memory for `more` values, before any is taken.
    ///
    /// # Errors
    /// Where it cannot, or there is none.
    pub fn check_room(&self, bytes: &[u8], more: usize) -> Result<(), Grib2Error> {
        let data = part(bytes, 7, &self.data)?;
        self.packing.check(&data, self.packed)?;
        limits::check_data(&data, self.packing.is_constant(), self.points)?;
        let room = Vec::<f32>::new().try_reserve_exact(more);
        room.map_err(|_| Grib2Error::Memory { bytes: more * size_of::<f32>() })
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

/// Decodes many fields of a run of bytes on all cores; what `read` makes of each, in their order.
///
/// A field is its message's place in `bytes` and the header found there. Each thread uses one buffer for all its fields,
/// so `read` keeps what it needs of the values.
pub fn decode_each<T: Send>(
    bytes: &[u8],
    fields: &[(Range<usize>, Message)],
    read: impl Fn(&Message, &[f32]) -> T + Sync,
) -> Vec<Result<T, Grib2Error>> {
    let next = AtomicUsize::new(0);
    let some = |_: BroadcastContext| {
        let (mut values, mut found) = (Vec::new(), Vec::new());
        while let (at, Some((range, field))) = take(&next, fields) {
            let message = bytes.get(range.clone()).unwrap_or_default();
            let decoded = field.check_room(message, field.points.saturating_sub(values.len())).and_then(|()| {
                values.resize(field.points, 0.0);
                field.decode_into(message, &mut values)
            });
            found.push((at, decoded.map(|()| read(field, &values))));
        }
        found
    };
    let mut found: Vec<_> = rayon::broadcast(some).into_iter().flatten().collect();
    found.sort_unstable_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, result)| result).collect()
}

/// The next of `items`, and its place.
fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> (usize, Option<&'a T>) {
    let at = next.fetch_add(1, Ordering::Relaxed);
    (at, items.get(at))
}

/// A section of a message where its header said it is.
pub(super) fn part<'a>(bytes: &'a [u8], number: u8, range: &Range<usize>) -> Result<Section<'a>, Grib2Error> {
    let found = bytes.get(range.clone()).filter(|b| b.get(4) == Some(&number));
    let length = |b: &[u8]| b.first_chunk::<4>().map(|l| u32::from_be_bytes(*l) as usize);
    match found.filter(|b| length(b) == Some(b.len())) {
        Some(bytes) => Ok(Section { number, offset: range.start, bytes }),
        None => Err(Grib2Error::OtherBytes { section: number, offset: range.start }),
    }
}
