//! Images of an independent writer, read; and damaged ones.

use png::{BitDepth, ColorType, Encoder, Filter};

use super::*;

/// A smooth field with steps of equal values, synthetic, in `bits` bits.
fn numbers(width: usize, height: usize, bits: u32) -> Vec<u32> {
    let wave = |i: usize| ((i % width) as f64 / 19.0).sin() * ((i / width) as f64 / 7.0).cos();
    let greatest = f64::from(u32::MAX >> (32 - bits));
    let number = |i: usize| ((wave(i) + 1.0) / 2.0 * greatest) as u32;
    (0..width * height).map(|i| if (i / 70) % 2 == 0 { 1 } else { number(i) }).collect()
}

/// Rows of whole bytes.
fn packed(numbers: &[u32], width: usize, bits: u32) -> Vec<u8> {
    let row = |row: &[u32]| {
        let mut writer = super::super::super::bits::BitWriter::default();
        row.iter().for_each(|number| writer.write((*number).into(), bits));
        writer.finish()
    };
    numbers.chunks(width).flat_map(row).collect()
}

/// An image as the `png` crate writes it.
fn image(bytes: &[u8], width: usize, height: usize, bits: u32, filter: Filter) -> Vec<u8> {
    let (colour, depth) = match bits {
        1 => (ColorType::Grayscale, BitDepth::One),
        2 => (ColorType::Grayscale, BitDepth::Two),
        4 => (ColorType::Grayscale, BitDepth::Four),
        8 => (ColorType::Grayscale, BitDepth::Eight),
        16 => (ColorType::Grayscale, BitDepth::Sixteen),
        24 => (ColorType::Rgb, BitDepth::Eight),
        _ => (ColorType::Rgba, BitDepth::Eight),
    };
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_filter(filter);
    encoder.write_header().expect("a header").write_image_data(bytes).expect("rows");
    png
}

fn scale(bits: u32) -> Scale {
    Scale { reference: -7.5, binary: 1, decimal: 2, bits }
}

fn unpacked(png: &[u8], bits: u32, count: usize) -> Result<Vec<f32>, Grib2Error> {
    let bytes = [&[0, 0, 0, 0, 7], png].concat();
    let mut values = vec![f32::NAN; count];
    unpack(&Section { number: 7, offset: 0, bytes: &bytes }, &scale(bits), &mut values).map(|()| values)
}

#[test]
fn every_filter_and_depth_of_an_independent_writer_is_read() {
    for bits in [1, 2, 4, 8, 16, 24, 32] {
        for filter in [Filter::NoFilter, Filter::Sub, Filter::Up, Filter::Avg, Filter::Paeth, Filter::Adaptive] {
            for (width, height) in [(173, 29), (1, 4), (3, 2), (640, 1)] {
                let numbers = numbers(width, height, bits);
                let png = image(&packed(&numbers, width, bits), width, height, bits, filter);
                let found = unpacked(&png, bits, numbers.len()).unwrap_or_else(|e| panic!("{bits} {filter:?}: {e}"));
                let (offset, factor) = scale(bits).line();
                let wanted: Vec<f32> = numbers.iter().map(|n| (offset + f64::from(*n) * factor) as f32).collect();
                assert!(found == wanted, "{bits} bits, {filter:?}, {width}×{height}");
            }
        }
    }
}

#[test]
fn numbers_may_be_narrower_than_their_pixels() {
    let numbers = numbers(20, 10, 11);
    let png = image(&packed(&numbers, 20, 16), 20, 10, 16, Filter::Adaptive);
    assert!(unpacked(&png, 11, 200).is_ok() && unpacked(&png, 9, 200).is_ok());
    let error = unpacked(&png, 8, 200).expect_err("wide pixels").to_string();
    assert!(error.contains("pixels for numbers of 8 bits, found pixels of 16"), "{error}");
    assert!(unpacked(&png, 17, 200).is_err());
}

/// The chunk that begins at `start` with its check sum made anew.
fn summed(png: &mut [u8], start: usize, length: usize) {
    let sum = libdeflater::crc32(&png[start + 4..start + 8 + length]);
    png[start + 8 + length..start + 12 + length].copy_from_slice(&sum.to_be_bytes());
}

/// Where the header's chunk is, and the length of its data.
const HEADER: (usize, usize) = (8, 13);

fn with_header(octet: usize, value: u8) -> Vec<u8> {
    let mut png = image(&packed(&numbers(20, 10, 8), 20, 8), 20, 10, 8, Filter::Paeth);
    png[HEADER.0 + 8 + octet] = value;
    summed(&mut png, HEADER.0, HEADER.1);
    png
}

#[test]
fn what_is_not_read_is_named() {
    for (octet, value, reason) in [
        (3, 19, "an image of 200 pixels, found 19×10"),
        (0, 255, "an image of 200 pixels"),
        (8, 3, "colour type 0 and depth 3"),
        (9, 3, "colour type 3"),
        (9, 4, "colour type 4"),
        (12, 1, "interlacing 1"),
    ] {
        let error = unpacked(&with_header(octet, value), 8, 200).expect_err(reason).to_string();
        assert!(error.contains("section 7") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_size_that_the_bytes_cannot_hold_is_refused_before_anything_is_inflated() {
    let mut png = with_header(1, 16);
    png[HEADER.0 + 8 + 3] = 0;
    summed(&mut png, HEADER.0, HEADER.1);
    let error = unpacked(&png, 8, (16 << 16) * 10).expect_err("too large").to_string();
    assert!(error.contains("compressed bytes, found"), "{error}");
}

#[test]
fn rows_that_are_damaged_behind_right_check_sums_are_errors_or_values() {
    let png = image(&packed(&numbers(90, 30, 16), 90, 16), 90, 30, 16, Filter::Adaptive);
    let data = 8 + 12 + HEADER.1;
    let length = u32::from_be_bytes(png[data..data + 4].try_into().expect("four bytes")) as usize;
    let mut refused = 0;
    for bit in 0..length * 8 {
        let mut damaged = png.clone();
        damaged[data + 8 + bit / 8] ^= 1 << (bit % 8);
        assert!(unpacked(&damaged, 16, 2700).is_err_and(|e| e.to_string().contains("check sum")), "bit {bit}");
        summed(&mut damaged, data, length);
        if let Err(error) = unpacked(&damaged, 16, 2700) {
            assert!(error.to_string().contains("section 7"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 0, "no damage was noticed");
    for cut in 0..png.len() {
        assert!(unpacked(&png[..cut], 16, 2700).is_err(), "cut to {cut} of {} bytes", png.len());
    }
}
