// Folds (outer, folded, inner) to (outer, inner) in f32.
//
// fold_rows     inner = 1: a block a slab of one row; neighbours read neighbours.
// fold_columns  inner > 1: a block a slab of 32 columns, its 8 warps read every eighth line.
// fold_parts    what the slabs gave, where there is more than one, slab after slab.
// x is read once. Sums are kept in f32 over short runs and added up in f64, in one order: the same bits in every run.
#include "common.cuh"

enum FoldKind { FoldSum, FoldMaximum, FoldMinimum };

struct FoldSizes {
    u64 outer, folded, inner;
    // How many slabs a run of folded elements is cut into, and elements of each.
    u64 slabs, slab;
    int kind, padding;
};

// How many numbers are added in f32 before their sum is added in f64.
constexpr int RUN = 64;

__device__ __forceinline__ double join(double x, double y, int kind) {
    if (kind == FoldSum) return x + y;
    return kind == FoldMaximum ? Greatest::join(x, y) : Least::join(x, y);
}

__device__ __forceinline__ double nothing(int kind) {
    if (kind == FoldSum) return 0.0;
    return kind == FoldMaximum ? Greatest::none() : Least::none();
}

// Every `step`-th number from `first` up to `end`, neighbours `stride` apart in memory.
template <class T>
__device__ __forceinline__ double fold_run(const T* x, u64 first, u64 end, u64 step, u64 stride, int kind) {
    double all = nothing(kind);
    while (first < end) {
        float part = to_float(x[first * stride]);
        first += step;
        for (int count = 1; count < RUN && first < end; ++count, first += step)
            part = float(kind == FoldSum ? part + to_float(x[first * stride]) : join(part, to_float(x[first * stride]), kind));
        all = join(all, part, kind);
    }
    return all;
}

// One number of every `apart`-th of 256 threads, in the first of them.
__device__ __forceinline__ double fold_block(double x, double* parts, unsigned apart, int kind) {
    parts[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = 128; half >= apart; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] = join(parts[threadIdx.x], parts[threadIdx.x + half], kind);
        __syncthreads();
    }
    return parts[threadIdx.x];
}

// The result where there is one slab, else what is folded later.
__device__ __forceinline__ void keep(double value, float* y, double* parts, u64 at, const FoldSizes& s) {
    if (s.slabs == 1)
        y[at] = float(value);
    else
        parts[blockIdx.y * s.outer * s.inner + at] = value;
}

template <class T>
__device__ void fold_rows(const T* x, float* y, double* parts, const FoldSizes& s) {
    __shared__ double scratch[256];
    const u64 first = blockIdx.y * s.slab, end = min(i64(first + s.slab), i64(s.folded));
    for (u64 row = blockIdx.x; row < s.outer; row += gridDim.x) {
        const double part = fold_run(x + row * s.folded, first + threadIdx.x, end, 256, 1, s.kind);
        const double all = fold_block(part, scratch, 1, s.kind);
        if (threadIdx.x == 0) keep(all, y, parts, row, s);
        __syncthreads();
    }
}

template <class T>
__device__ void fold_columns(const T* x, float* y, double* parts, const FoldSizes& s) {
    __shared__ double scratch[256];
    const u64 first = blockIdx.y * s.slab, end = min(i64(first + s.slab), i64(s.folded));
    const u64 strips = (s.inner + 31) / 32;
    for (u64 task = blockIdx.x; task < s.outer * strips; task += gridDim.x) {
        const u64 row = task / strips, column = task % strips * 32 + threadIdx.x % 32;
        const T* from = x + row * s.folded * s.inner + column;
        const bool inside = column < s.inner;
        const double part = fold_run(from, first + threadIdx.x / 32, inside ? end : 0, 8, s.inner, s.kind);
        const double all = fold_block(part, scratch, 32, s.kind);
        if (threadIdx.x < 32 && inside) keep(all, y, parts, row * s.inner + column, s);
        __syncthreads();
    }
}

extern "C" __global__ void fold_parts(const double* parts, float* y, FoldSizes s) {
    const u64 len = s.outer * s.inner;
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        double all = parts[i];
        for (u64 slab = 1; slab < s.slabs; ++slab) all = join(all, parts[slab * len + i], s.kind);
        y[i] = float(all);
    }
}

#define FOLD(suffix, T)                                                                                 \
    extern "C" __global__ void fold_rows_##suffix(const T* x, float* y, double* parts, FoldSizes s) {    \
        fold_rows(x, y, parts, s);                                                                      \
    }                                                                                                   \
    extern "C" __global__ void fold_columns_##suffix(const T* x, float* y, double* parts, FoldSizes s) { \
        fold_columns(x, y, parts, s);                                                                   \
    }
EACH_DTYPE(FOLD)
