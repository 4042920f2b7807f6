//! Packed integers as a PNG image (template 5.41), compressed as well as the images of the radar mosaics are.

use libdeflater::{CompressionLvl, Compressor};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// Deflate's effort, of 12: a step further takes twice the time for 1 % of the bytes.
const LEVEL: i32 = 7;
/// The longest side of an image and the longest chunk (ISO/IEC 15948, chapter 7.1).
const LONGEST: usize = 0x7fff_ffff;

/// Bits of the pixels that hold numbers of `bits` bits, which section 5 has to name too; `None` where none do.
///
/// Grey of 8 and 16 bits, RGB and RGBA. Narrower grey is allowed but not read alike everywhere.
fn pixel_bits(bits: u32) -> Option<u32> {
    [8, 16, 24, 32].into_iter().find(|pixel| *pixel >= bits)
}

/// The bytes of section 7 behind its length and number: `ny` rows of `nx` numbers of at most `bits` bits.
pub(super) fn pack(values: &[u32], nx: usize, ny: usize, bits: u32) -> Result<Vec<u8>, String> {
    if bits == 0 {
        return Ok(Vec::new());
    }
    let pixel_bits = pixel_bits(bits).ok_or_else(|| format!("numbers of {bits} bits; expected at most 32"))?;
    if nx.checked_mul(ny) != Some(values.len()) || nx.max(ny) > LONGEST || values.is_empty() {
        return Err(format!("an image of {nx}×{ny} pixels for {} numbers", values.len()));
    }
    if let Some(value) = values.iter().find(|value| **value > u32::MAX >> (32 - bits)) {
        return Err(format!("the packed number {value}; expected at most {bits} bits"));
    }
    let compressed = deflated(&rows(values, nx, pixel_bits as usize / 8))?;
    let (depth, colour) = match pixel_bits {
        8 | 16 => (pixel_bits as u8, 0),
        24 => (8, 2),
        _ => (8, 6),
    };
    let sides = [nx as u32, ny as u32].map(u32::to_be_bytes);
    let mut png = SIGNATURE.to_vec();
    chunk(&mut png, b"IHDR", &[&sides.concat()[..], &[depth, colour, 0, 0, 0]].concat());
    chunk(&mut png, b"IDAT", &compressed);
    chunk(&mut png, b"IEND", &[]);
    Ok(png)
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend_from_slice(name);
    png.extend_from_slice(data);
    let sum = libdeflater::crc32(png.get(start..).unwrap_or_default());
    png.extend_from_slice(&sum.to_be_bytes());
}

fn deflated(rows: &[u8]) -> Result<Vec<u8>, String> {
    let level = CompressionLvl::new(LEVEL).map_err(|_| format!("no deflate level {LEVEL}"))?;
    let mut compressor = Compressor::new(level);
    let mut bytes = vec![0; compressor.zlib_compress_bound(rows.len())];
    let length = compressor.zlib_compress(rows, &mut bytes).map_err(|e| format!("the image does not deflate: {e}"))?;
    bytes.truncate(length);
    match length {
        ..=LONGEST => Ok(bytes),
        _ => Err(format!("{length} compressed bytes; expected at most {LONGEST}")),
    }
}

/// All rows, each behind the number of its filter, which is the one that leaves the least.
fn rows(values: &[u32], nx: usize, pixel: usize) -> Vec<u8> {
    let mut filtered = Vec::with_capacity(values.len() * pixel + values.len() / nx);
    // A pixel of zeros is to the left of every row, and a row of zeros above the first.
    let (mut row, mut above) = (vec![0; (nx + 1) * pixel], vec![0; (nx + 1) * pixel]);
    let mut tries: [Vec<u8>; FILTERS.len()] = std::array::from_fn(|_| vec![0; nx * pixel]);
    for numbers in values.chunks_exact(nx) {
        for (bytes, number) in row.chunks_exact_mut(pixel).skip(1).zip(numbers) {
            bytes.copy_from_slice(number.to_be_bytes().get(4 - pixel..).unwrap_or_default());
        }
        let mut least = (u64::MAX, 0);
        for (number, (apply, tried)) in FILTERS.iter().zip(&mut tries).enumerate() {
            least = least.min((apply(&row, &above, pixel, tried), number));
        }
        filtered.push(least.1 as u8);
        filtered.extend_from_slice(tries.get(least.1).map(Vec::as_slice).unwrap_or_default());
        std::mem::swap(&mut row, &mut above);
    }
    filtered
}

/// Filters a row into the last buffer; the sum of what is left, every byte taken as a number around zero.
type Filter = fn(&[u8], &[u8], usize, &mut [u8]) -> u64;

/// In the order of their numbers.
const FILTERS: [Filter; 5] = [
    |row, above, pixel, to| filter(row, above, pixel, to, |_, _, _| 0),
    |row, above, pixel, to| filter(row, above, pixel, to, |left, _, _| left),
    |row, above, pixel, to| filter(row, above, pixel, to, |_, above, _| above),
    |row, above, pixel, to| filter(row, above, pixel, to, |left, above, _| (left & above) + ((left ^ above) >> 1)),
    |row, above, pixel, to| filter(row, above, pixel, to, paeth),
];

#[inline(always)]
fn filter(row: &[u8], above: &[u8], pixel: usize, to: &mut [u8], predict: impl Fn(u8, u8, u8) -> u8) -> u64 {
    let here = row.iter().skip(pixel).zip(above.iter().skip(pixel));
    let before = row.iter().zip(above);
    for ((to, (byte, above)), (left, above_left)) in to.iter_mut().zip(here).zip(before) {
        *to = byte.wrapping_sub(predict(*left, *above, *above_left));
    }
    to.iter().map(|byte| u64::from((*byte as i8).unsigned_abs())).sum()
}

/// The one of three bytes that is nearest to left + above − above left, the first of equals.
#[inline(always)]
fn paeth(left: u8, above: u8, above_left: u8) -> u8 {
    let [a, b, c] = [left, above, above_left].map(i16::from);
    let (to_left, to_above, to_above_left) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    let of_above = if to_above <= to_above_left { above } else { above_left };
    if to_left <= to_above.min(to_above_left) { left } else { of_above }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth field with steps, synthetic.
    fn numbers(nx: usize, ny: usize, bits: u32) -> Vec<u32> {
        let wave = |i: usize| ((i % nx) as f64 / 17.0).sin() * ((i / nx) as f64 / 11.0).cos();
        let greatest = f64::from(u32::MAX >> (32 - bits));
        let number = |i: usize| (((wave(i) + 1.0) / 2.0 * greatest).round() as u32).min(u32::MAX >> (32 - bits));
        (0..nx * ny).map(|i| if (i / 40) % 3 == 0 { 0 } else { number(i) }).collect()
    }

    /// The numbers of an image as the `png` crate reads it.
    fn read(png: &[u8], pixel: usize) -> Vec<u32> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("an image");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut bytes).expect("rows");
        bytes.chunks_exact(pixel).map(|b| b.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))).collect()
    }

    #[test]
    fn an_independent_reader_reads_the_same_numbers() {
        for bits in 1..=32 {
            for (nx, ny) in [(97, 31), (1, 5), (200, 1)] {
                let numbers = numbers(nx, ny, bits);
                let png = pack(&numbers, nx, ny, bits).expect("an image");
                let pixel = pixel_bits(bits).expect("a width") as usize / 8;
                assert!(read(&png, pixel) == numbers, "{bits} bits, {nx}×{ny}");
            }
        }
    }

    #[test]
    fn images_are_as_small_as_those_of_an_independent_writer() {
        let (nx, ny) = (700, 350);
        let numbers = numbers(nx, ny, 16);
        let mut theirs = Vec::new();
        let mut encoder = png::Encoder::new(&mut theirs, nx as u32, ny as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::Adaptive);
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| (*n as u16).to_be_bytes()).collect();
        encoder.write_header().expect("a header").write_image_data(&bytes).expect("rows");
        let ours = pack(&numbers, nx, ny, 16).expect("an image");
        assert!(ours.len() * 20 <= theirs.len() * 21, "{} bytes, theirs {}", ours.len(), theirs.len());
    }

    #[test]
    fn what_no_image_can_hold_is_refused() {
        assert_eq!(pack(&[0, 0], 2, 1, 0), Ok(Vec::new()));
        assert!(pack(&[0, 4], 2, 1, 2).is_err_and(|e| e.contains("number 4")));
        assert!(pack(&[0, 1], 2, 2, 8).is_err() && pack(&[], 0, 3, 8).is_err() && pack(&[1], 1, 1, 33).is_err());
    }
}
