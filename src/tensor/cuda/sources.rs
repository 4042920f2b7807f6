//! The text of every kernel file, part of the program.

/// What every kernel file includes.
pub const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file: its name without the ending, and its text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("conv", include_str!("../../../kernels/conv.cu")),
    ("conv_weight", include_str!("../../../kernels/conv_weight.cu")),
    ("elementwise", include_str!("../../../kernels/elementwise.cu")),
    ("matmul", include_str!("../../../kernels/matmul.cu")),
    ("memory", include_str!("../../../kernels/memory.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
];
