//! Where fields come from.
