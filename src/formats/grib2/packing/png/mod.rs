//! A PNG image of the packed integers (template 5.41), unpacked in the caller's own buffer.

mod filter;
mod image;

use libdeflater::Decompressor;

use super::super::Grib2Error;
use super::super::section::Section;
use super::Scale;
use image::Image;

/// The most that deflate makes of a byte: 258 bytes of 2 bits.
const BEST_RATIO: usize = 1032;

/// Unpacks section 7 into `values`.
pub(super) fn unpack(data: &Section, scale: &Scale, values: &mut [f32]) -> Result<(), Grib2Error> {
    if scale.bits == 0 {
        values.fill(scale.reference);
        return Ok(());
    }
    let image = Image::parse(data)?;
    check(data, &image, scale, values.len())?;
    let pixels = Pixels::new(&image, scale);
    let inflated = image.height * (1 + pixels.row_bytes);
    match size_of_val(values).checked_sub(inflated) {
        Some(start) => {
            inflate(data, &image, bytes_of(values).get_mut(start..).unwrap_or_default())?;
            pixels.unpack_in_place(data, start, values)
        }
        None => {
            let mut bytes = vec![0; inflated];
            inflate(data, &image, &mut bytes)?;
            pixels.unpack(data, &bytes, values)
        }
    }
}

/// Checks what the image says of itself against section 5, and its size against its compressed bytes.
fn check(data: &Section, image: &Image, scale: &Scale, count: usize) -> Result<(), Grib2Error> {
    let Image { width, height, pixel_bits, .. } = *image;
    if width.checked_mul(height) != Some(count) || width == 0 {
        return Err(data.damaged(image.header_octet, format!("an image of {count} pixels, found {width}×{height}")));
    }
    let fits = [1, 2, 4, 8, 16, 24, 32].into_iter().find(|bits| *bits >= scale.bits);
    if Some(pixel_bits) != fits && pixel_bits != scale.bits.next_multiple_of(8) {
        let expected = format!("pixels for numbers of {} bits, found pixels of {pixel_bits} bits", scale.bits);
        return Err(data.damaged(image.header_octet + 8, expected));
    }
    let most = image.deflated.len().saturating_mul(BEST_RATIO);
    match count.saturating_mul(pixel_bits as usize) / 8 {
        needed if needed <= most => Ok(()),
        needed => {
            let found = image.deflated.len();
            Err(data.damaged(6, format!("at least {} compressed bytes, found {found}", needed.div_ceil(BEST_RATIO))))
        }
    }
}

fn inflate(data: &Section, image: &Image, bytes: &mut [u8]) -> Result<(), Grib2Error> {
    match Decompressor::new().deflate_decompress(&image.deflated, bytes) {
        Ok(found) if found == bytes.len() => Ok(()),
        Ok(found) => Err(data.damaged(6, format!("{} bytes of image rows, found {found}", bytes.len()))),
        Err(error) => Err(data.damaged(6, format!("{} bytes of image rows, deflated: {error}", bytes.len()))),
    }
}

/// The bytes of numbers.
fn bytes_of(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: the same memory, exclusively borrowed as long; bytes need no alignment, and every pattern of four of
    // them is an f32.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// How rows of bytes become rows of values.
struct Pixels {
    width: usize,
    bits: u32,
    row_bytes: usize,
    offset: f64,
    factor: f64,
}

impl Pixels {
    fn new(image: &Image, scale: &Scale) -> Self {
        let (offset, factor) = scale.line();
        let row_bytes = (image.width * image.pixel_bits as usize).div_ceil(8);
        Pixels { width: image.width, bits: image.pixel_bits, row_bytes, offset, factor }
    }

    /// Unpacks rows that end where `values` do and begin at byte `start` of them.
    ///
    /// A row is copied before its values are written, and values of four bytes a pixel never reach a later row: rows
    /// take at most four bytes a pixel too, their filter bytes included, and all end together.
    fn unpack_in_place(&self, data: &Section, start: usize, values: &mut [f32]) -> Result<(), Grib2Error> {
        let (mut row, mut prior) = (vec![0; self.row_bytes], vec![0; self.row_bytes]);
        for number in 0..values.len() / self.width {
            let filtered = start + number * (1 + self.row_bytes);
            let bytes = bytes_of(values).get(filtered..).unwrap_or_default();
            self.row(data, bytes, &mut row, &prior)?;
            let first = number * self.width;
            self.values(&row, values.get_mut(first..first + self.width).unwrap_or_default());
            std::mem::swap(&mut row, &mut prior);
        }
        Ok(())
    }

    /// Unpacks rows that are elsewhere.
    fn unpack(&self, data: &Section, bytes: &[u8], values: &mut [f32]) -> Result<(), Grib2Error> {
        let (mut row, mut prior) = (vec![0; self.row_bytes], vec![0; self.row_bytes]);
        for (bytes, values) in bytes.chunks(1 + self.row_bytes).zip(values.chunks_mut(self.width)) {
            self.row(data, bytes, &mut row, &prior)?;
            self.values(&row, values);
            std::mem::swap(&mut row, &mut prior);
        }
        Ok(())
    }

    /// The bytes of a row, from its filter and what the filter left.
    fn row(&self, data: &Section, bytes: &[u8], row: &mut [u8], prior: &[u8]) -> Result<(), Grib2Error> {
        let filtered = bytes.split_first().and_then(|(kind, rest)| Some((*kind, rest.get(..row.len())?)));
        let Some((kind, filtered)) = filtered else {
            return Err(data.damaged(6, format!("image rows of {} bytes, found {}", 1 + row.len(), bytes.len())));
        };
        row.copy_from_slice(filtered);
        match filter::undo(kind, row, prior, self.bits.div_ceil(8)) {
            true => Ok(()),
            false => Err(data.damaged(6, format!("image rows of filters 0 to 4, found filter {kind}"))),
        }
    }

    fn values(&self, row: &[u8], values: &mut [f32]) {
        let value = |packed: u32| (self.offset + f64::from(packed) * self.factor) as f32;
        match self.bits {
            8 => values.iter_mut().zip(row).for_each(|(to, byte)| *to = value((*byte).into())),
            16 => convert::<2>(row, values, |bytes| value(u16::from_be_bytes(bytes).into())),
            24 => convert::<3>(row, values, |[r, g, b]| value(u32::from_be_bytes([0, r, g, b]))),
            32 => convert::<4>(row, values, |bytes| value(u32::from_be_bytes(bytes))),
            bits => {
                let per_byte = (8 / bits) as usize;
                for (byte, values) in row.iter().zip(values.chunks_mut(per_byte)) {
                    for (number, to) in (1..).zip(values) {
                        *to = value((u32::from(*byte) >> (8 - number * bits)) & ((1 << bits) - 1));
                    }
                }
            }
        }
    }
}

fn convert<const N: usize>(row: &[u8], values: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    let (pixels, _) = row.as_chunks::<N>();
    values.iter_mut().zip(pixels).for_each(|(to, bytes)| *to = value(*bytes));
}

#[cfg(test)]
mod tests;
