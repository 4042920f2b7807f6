//! Fields that arrive packed and are unpacked where they are needed.

use crate::formats::grib2::Message;
use crate::tensor::{Buffer, DType, Device, Layout, Result, Shape, Tensor};

/// What a backend does with packed fields.
pub trait Unpack {
    /// The field's values in f32, with the bits that [`Message::decode`] gives.
    fn unpack(&self, field: &Message, bytes: &[u8]) -> Result<Buffer>;
}

impl Tensor {
    /// A field's values, NaN where missing: rows by columns, or in one row where the order of the points is not known.
    ///
    /// `bytes` are those the header was read from; what is sent to a device is what is packed in them. On every device
    /// the bits are those of [`Message::decode`]. For groups (templates 5.2 and 5.3) a device is waited for, as it
    /// alone knows whether they add up, so this cannot be part of a recording.
    ///
    /// # Errors
    /// Those of [`Message::decode`], or where the device fails.
    pub fn unpacked(device: &Device, field: &Message, bytes: &[u8]) -> Result<Tensor> {
        let shape = field.shape.map_or_else(|| Shape::from([field.points]), |(nx, ny)| Shape::from([ny, nx]));
        Ok(Tensor::dense(device, device.unpack(field, bytes)?, shape, Layout::Rows, DType::F32))
    }
}
