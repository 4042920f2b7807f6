//! A field whose values are still packed, for machines that unpack them by themselves.

use super::decode::part;
use super::packing::bitmap;
use super::{Grib2Error, Message, Numbers};

/// A field still packed; what it says of itself is checked but for what [`super::GroupLayout`] leaves open.
#[derive(Clone, Copy, Debug)]
pub struct PackedField<'a> {
    /// Values that are packed: at least one.
    pub count: usize,
    /// How.
    pub numbers: Numbers,
    /// The packed values.
    pub data: &'a [u8],
    /// A bit a point, the first in the first octet's highest bit: as many ones as there are packed values. `None`
    /// where all points have one.
    pub bitmap: Option<&'a [u8]>,
    /// The order of the points.
    pub order: PointOrder,
}

/// In which order a message has its points; a field's values are in rows along +x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointOrder {
    /// Points of a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Columns follow each other instead of rows.
    pub columns_first: bool,
    /// Every other row, or column, runs the other way.
    pub alternating: bool,
    /// Rows run towards −x.
    pub backwards: bool,
}

impl PointOrder {
    /// Whether the points are in their places already.
    pub fn is_plain(&self) -> bool {
        !(self.columns_first || self.alternating || self.backwards)
    }
}

impl Message {
    /// The field as it is packed in the bytes that the header was read from; `None` where only [`Message::decode`]
    /// can tell what it holds, or what is wrong with it.
    ///
    /// # Errors
    /// Some of those of [`Message::decode`].
    pub fn packed_field<'a>(&self, bytes: &'a [u8]) -> Result<Option<PackedField<'a>>, Grib2Error> {
        self.check_room(bytes, 0)?;
        let data = part(bytes, 7, &self.data)?.rest(6);
        let bitmap = self.bitmap.as_ref().map(|range| part(bytes, 6, range)).transpose()?;
        if let Some(bitmap) = &bitmap {
            bitmap::check(bitmap, self.points, self.packed)?;
        }
        let (bitmap, order) = (bitmap.map(|section| section.rest(7)), self.point_order());
        let numbers = self.packing.numbers(data, self.packed).filter(|_| self.packed > 0);
        Ok(numbers.map(|numbers| PackedField { count: self.packed, numbers, data, bitmap, order }))
    }

    /// One row where the order is not known.
    fn point_order(&self) -> PointOrder {
        let (columns, rows) = self.shape.unwrap_or((self.points, 1));
        let of = |flag: fn(&super::grid::scanning::Scanning) -> bool| self.scanning.as_ref().is_some_and(flag);
        PointOrder {
            columns,
            rows,
            columns_first: of(|scanning| scanning.columns),
            alternating: of(|scanning| scanning.alternating),
            backwards: of(|scanning| scanning.x_negative),
        }
    }
}
