//! Operations with parameters of their own, named and begun as PyTorch's layers are.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod graph;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod recurrent;

use super::Start;

/// PyTorch's first weights and biases of layers that sum `fan_in` products: `kaiming_uniform` with a = √5 (He et al.,
/// 2015) is uniform within √(6 / ((1 + 5) · fan_in)).
fn kaiming(fan_in: usize) -> Start {
    Start::Uniform(1.0 / (fan_in.max(1) as f64).sqrt())
}
