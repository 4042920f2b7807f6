//! Whole numbers as a grey PNG image.

/// A PNG file of `nx` × `ny` numbers of 1 to 32 bits, in 8, 16, 24 or 32 bits a pixel.
pub(super) fn pack(values: &[u32], nx: usize, ny: usize, bits: u32) -> Result<Vec<u8>, String> {
    let bytes = bits.div_ceil(8).clamp(1, 4) as usize;
    let (colour, depth) = match bytes {
        1 => (png::ColorType::Grayscale, png::BitDepth::Eight),
        2 => (png::ColorType::Grayscale, png::BitDepth::Sixteen),
        3 => (png::ColorType::Rgb, png::BitDepth::Eight),
        _ => (png::ColorType::Rgba, png::BitDepth::Eight),
    };
    let pixels: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes().into_iter().skip(4 - bytes)).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, nx as u32, ny as u32);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let refused = |e: png::EncodingError| format!("a PNG image of {nx}×{ny} pixels cannot be written: {e}");
    encoder.write_header().and_then(|mut w| w.write_image_data(&pixels)).map_err(refused)?;
    Ok(file)
}
