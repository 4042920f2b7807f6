//! What operations compute: their shapes, their gradients, and what a backend must do for them.

pub(crate) mod conv;
pub(crate) mod attention;
pub(crate) mod elementwise;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod data;
pub(crate) mod fields;
pub(crate) mod fft;
pub(crate) mod graph;
pub(crate) mod index;
pub(crate) mod pool;
pub(crate) mod resize;
pub(crate) mod splat;
pub(crate) mod taps;
pub(crate) mod diffusion;
pub(crate) mod embedding;
pub(crate) mod loss;
pub(crate) mod optimiser;
pub(crate) mod packed;
pub(crate) mod random;
pub(crate) mod recurrent;
