//! Every case of the list on every instruction set: values, precisions, layouts, gradients.

mod exact;
mod fixtures;
mod gradients;
mod limits;
mod linear;
mod reference;
mod spatial;
mod special;
mod steps;
mod stored;
mod threads;
mod training;
mod values;

use gustfront::tensor::cases::{Array, Case};

/// Fails where an output is not what is right, within a tolerance relative to it and absolute.
pub(crate) fn assert_close(what: &str, found: &[f32], wanted: &Array, (relative, absolute): (f64, f64)) {
    assert_eq!(found.len(), wanted.values.len(), "{what}: number of elements of {:?}", wanted.shape);
    for (i, (found, wanted)) in found.iter().zip(&wanted.values).enumerate() {
        let error = (f64::from(*found) - wanted).abs();
        let fine = error <= absolute + relative * wanted.abs() || (found.is_nan() && wanted.is_nan());
        assert!(fine || f64::from(*found) == *wanted, "{what}: element {i} is {found}, expected {wanted}");
    }
}

/// Cases that say what is right.
pub(crate) fn compared() -> impl Iterator<Item = (Case, Vec<Array>, Vec<Array>)> {
    gustfront::tensor::cases::all().into_iter().filter_map(|case| {
        let plain = case.plain.as_ref()?;
        let arrays = case.arrays();
        let wanted = plain(&arrays);
        Some((case, arrays, wanted))
    })
}
