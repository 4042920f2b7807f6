//! The text of every kernel file, part of the program.

/// What every kernel file includes.
pub const COMMON: &str = include_str!("../../../kernels/common.cuh");

/// Every kernel file: its name without the ending, and its text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("attention", include_str!("../../../kernels/attention.cu")),
    ("attention_mma", include_str!("../../../kernels/attention_mma.cu")),
    ("elementwise", include_str!("../../../kernels/elementwise.cu")),
    ("layer_norm", include_str!("../../../kernels/layer_norm.cu")),
    ("loss", include_str!("../../../kernels/loss.cu")),
    ("memory", include_str!("../../../kernels/memory.cu")),
    ("norm", include_str!("../../../kernels/norm.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
    ("softmax", include_str!("../../../kernels/softmax.cu")),
];
