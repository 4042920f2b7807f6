//! The text of every kernel file, part of the program.

/// What every kernel file includes.
pub const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file: its name without the ending, and its text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("elementwise", include_str!("../../../kernels/elementwise.cu")),
    ("memory", include_str!("../../../kernels/memory.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
    ("data", include_str!("../../../kernels/data.cu")),
    ("diffusion", include_str!("../../../kernels/diffusion.cu")),
    ("optimiser", include_str!("../../../kernels/optimiser.cu")),
    ("random", include_str!("../../../kernels/random.cu")),
    ("recurrent", include_str!("../../../kernels/recurrent.cu")),
];
