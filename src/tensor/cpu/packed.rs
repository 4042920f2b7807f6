//! Packed fields, unpacked by the reader of their format.

use crate::formats::grib2::Message;
use crate::tensor::ops::packed::Unpack;
use crate::tensor::{Buffer, Result};

use super::Cpu;

impl Unpack for Cpu {
    fn unpack(&self, field: &Message, bytes: &[u8]) -> Result<Buffer> {
        field.check_room(bytes, field.points)?;
        let mut block = self.take(field.points)?;
        field.decode_into(bytes, block.values_mut())?;
        Ok(Buffer::Cpu(block))
    }
}
