//! Windows side by side, on the host and on a device.

use super::memory::Numbers;
use super::{LoaderError, Sample};
use crate::domain::Symmetry;
use crate::tensor::{Coding, Device, StoredWindows, Tensor};

/// The numbers of one modality: windows, frames, y, x.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// As they are stored in 8 bits; 255 is missing.
    U8(Numbers<u8>),
    /// As they are stored in 16 bits; −32768 is missing.
    I16(Numbers<i16>),
    /// Normalised or in physical units; 0 where missing, which `mask` tells apart.
    Scaled {
        /// The numbers.
        values: Numbers<f32>,
        /// 1 where there is a number, 0 where it is missing.
        mask: Numbers<u8>,
        /// How many are missing.
        missing: usize,
    },
    /// As the store holds them, little-endian and not turned: what a batch for a GPU has where they are to be scaled.
    Coded {
        /// The bytes.
        bytes: Numbers<u8>,
        /// What they stand for.
        coding: Coding,
    },
}

/// Windows side by side. Their memory serves later batches once this is dropped.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// Its number in the epoch, from 0.
    pub number: usize,
    /// The windows.
    pub samples: Vec<Sample>,
    /// Frames of a window.
    pub frames: usize,
    /// Points along a side of a frame, by modality.
    pub sizes: Vec<usize>,
    /// By modality, in the order of the options.
    pub values: Vec<Values>,
}

/// The numbers of one modality on a device: windows, frames, y, x.
#[derive(Clone)]
pub struct ModalityTensors {
    /// Normalised or in physical units; 0 where missing.
    pub values: Tensor,
    /// 1 where there is a number, 0 where it is missing.
    pub mask: Tensor,
}

impl Batch {
    /// Its modalities on a device, with the same bits on each. From pinned memory the numbers travel beside the device's
    /// other work, and this does not wait for them; the batch may be dropped meanwhile.
    ///
    /// # Errors
    /// Where the numbers are for the host ([`super::Scale::Stored`]), or the device fails.
    pub fn to(&self, device: &Device) -> Result<Vec<ModalityTensors>, LoaderError> {
        self.values.iter().zip(&self.sizes).map(|(values, size)| self.moved(values, *size, device)).collect()
    }

    fn moved(&self, values: &Values, size: usize, device: &Device) -> Result<ModalityTensors, LoaderError> {
        match values {
            Values::Scaled { values, mask, missing } => self.uploaded(values, (mask, *missing), size, device),
            Values::Coded { bytes, coding } => self.decoded(bytes, coding, size, device),
            Values::U8(_) | Values::I16(_) => Err(LoaderError::Options(
                "stored numbers are for the host; expected Scale::Normalised or Scale::Physical for a device".into(),
            )),
        }
    }

    fn uploaded(
        &self,
        values: &Numbers<f32>,
        (mask, missing): (&Numbers<u8>, usize),
        size: usize,
        device: &Device,
    ) -> Result<ModalityTensors, LoaderError> {
        let shape = [self.samples.len(), self.frames, size, size];
        let values = Tensor::from_host(device, shape, values.memory())?;
        let mask = if missing == 0 {
            Tensor::full(device, shape, 1.0)?
        } else {
            Tensor::new(device, shape, &mask.iter().map(|there| f32::from(*there)).collect::<Vec<f32>>())?
        };
        Ok(ModalityTensors { values, mask })
    }

    fn decoded(
        &self,
        bytes: &Numbers<u8>,
        coding: &Coding,
        size: usize,
        device: &Device,
    ) -> Result<ModalityTensors, LoaderError> {
        let turns: Vec<Symmetry> = self.samples.iter().map(|sample| sample.symmetry).collect();
        let windows = StoredWindows { memory: bytes.memory(), turns: &turns, frames: self.frames, size, coding };
        let (values, mask) = Tensor::decoded(device, &windows)?;
        Ok(ModalityTensors { values, mask })
    }
}
