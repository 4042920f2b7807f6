//! What operations compute: their shapes, their gradients, and what a backend must do for them.

pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod reduce;
