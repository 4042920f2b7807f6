// Folds (outer, folded, inner) to (outer, inner) in f32.
//
// fold_rows     inner = 1, one block a row: threads stride over it, then one fold over the block. Reads x once.
// fold_columns  inner > 1, one thread a column of one slab of rows: neighbours read neighbours.
// Sums are kept in f32 over short runs and added up in f64, in one order: the same bits in every run.
#include "common.cuh"

enum FoldKind { FoldSum, FoldMaximum, FoldMinimum };

struct FoldSizes {
    u64 outer, folded, inner;
    int kind, padding;
};

// How many numbers are added in f32 before their sum is added in f64.
constexpr int RUN = 64;

// Of every `step`-th of `len` numbers, from `first` on.
template <class T>
__device__ __forceinline__ double fold_run(const T* x, u64 first, u64 len, u64 step, u64 stride, int kind) {
    if (kind == FoldSum) {
        double sum = 0.0;
        float part = 0.0f;
        int count = 0;
        for (u64 i = first; i < len; i += step) {
            part += to_float(x[i * stride]);
            if (++count == RUN) {
                sum += part;
                part = 0.0f;
                count = 0;
            }
        }
        return sum + part;
    }
    float held = kind == FoldMaximum ? Greatest::none() : Least::none();
    for (u64 i = first; i < len; i += step) {
        const float value = to_float(x[i * stride]);
        held = kind == FoldMaximum ? Greatest::join(held, value) : Least::join(held, value);
    }
    return held;
}

__device__ __forceinline__ double join(double x, double y, int kind) {
    if (kind == FoldSum) return x + y;
    return kind == FoldMaximum ? Greatest::join(x, y) : Least::join(x, y);
}

template <class T>
__device__ void fold_rows(const T* x, float* y, const FoldSizes& s) {
    __shared__ double parts[256];
    for (u64 row = blockIdx.x; row < s.outer; row += gridDim.x) {
        parts[threadIdx.x] = fold_run(x + row * s.folded, threadIdx.x, s.folded, blockDim.x, 1, s.kind);
        __syncthreads();
        for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
            if (threadIdx.x < half)
                parts[threadIdx.x] = join(parts[threadIdx.x], parts[threadIdx.x + half], s.kind);
            __syncthreads();
        }
        if (threadIdx.x == 0) y[row] = float(parts[0]);
        __syncthreads();
    }
}

template <class T>
__device__ void fold_columns(const T* x, float* y, const FoldSizes& s) {
    for (u64 i = grid_thread(); i < s.outer * s.inner; i += grid_threads()) {
        const u64 row = i / s.inner, column = i % s.inner;
        y[i] = float(fold_run(x + row * s.folded * s.inner + column, 0, s.folded, 1, s.inner, s.kind));
    }
}

#define FOLD(suffix, T)                                                                                      \
    extern "C" __global__ void fold_rows_##suffix(const T* x, float* y, FoldSizes s) { fold_rows(x, y, s); } \
    extern "C" __global__ void fold_columns_##suffix(const T* x, float* y, FoldSizes s) { fold_columns(x, y, s); }
EACH_DTYPE(FOLD)
