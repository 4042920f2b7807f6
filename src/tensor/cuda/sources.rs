//! The text of every kernel file, part of the program.

/// What every kernel file includes.
pub const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file: its name without the ending, and its text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("elementwise", include_str!("../../../kernels/elementwise.cu")),
    ("fft", include_str!("../../../kernels/fft.cu")),
    ("graph", include_str!("../../../kernels/graph.cu")),
    ("index", include_str!("../../../kernels/index.cu")),
    ("memory", include_str!("../../../kernels/memory.cu")),
    ("pool", include_str!("../../../kernels/pool.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
    ("resize", include_str!("../../../kernels/resize.cu")),
    ("sort", include_str!("../../../kernels/sort.cu")),
    ("splat", include_str!("../../../kernels/splat.cu")),
];
