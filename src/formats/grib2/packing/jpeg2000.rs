//! A grey JPEG 2000 image of the packed integers (template 5.40).

use std::panic::catch_unwind;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::super::Grib2Error;
use super::super::section::Section;
use super::Scale;

mod code_stream;

/// Settings under which a code stream that ends early is an error.
const STRICT: DecodeSettings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };

/// Unpacks section 7 into `values`.
pub(super) fn unpack(data: &Section, scale: &Scale, values: &mut [f32]) -> Result<(), Grib2Error> {
    if scale.bits == 0 {
        values.fill(scale.reference);
        return Ok(());
    }
    let component = code_stream::check(data, values.len())?;
    // The codec checks itself with assertions and slice indexes; one that damaged data should break is an error too.
    let samples = catch_unwind(|| samples(data.rest(6))).unwrap_or_else(|_| Err("a broken assertion".into()));
    let samples = samples
        .map_err(|error| data.damaged(6, format!("a JPEG 2000 code stream that can be decoded, found: {error}")))?;
    if samples.len() != values.len() {
        return Err(data.damaged(6, format!("an image of {} pixels, found {}", values.len(), samples.len())));
    }
    let (offset, factor) = scale.line();
    // The codec moves samples to be positive, also those that are signed.
    let (shift, greatest) = (component.shift(), component.greatest());
    for (value, sample) in values.iter_mut().zip(samples) {
        let packed = f64::from(sample.round_ties_even()).clamp(0.0, greatest) - shift;
        *value = (offset + packed * factor) as f32;
    }
    Ok(())
}

/// The samples of the first component.
fn samples(code_stream: &[u8]) -> Result<Vec<f32>, String> {
    let image = Image::new(code_stream, &STRICT).map_err(|e| e.to_string())?;
    let mut context = DecoderContext::default();
    let image = image.decode(&mut context).map_err(|e| e.to_string())?;
    Ok(image.components().first().map(|component| component.samples().to_vec()).unwrap_or_default())
}
