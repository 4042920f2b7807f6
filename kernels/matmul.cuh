// What products of matrices share: their sizes, where a batch begins, and what is done to a tile of sums as it is written.
#pragma once
#include "functions.cuh"

struct MatmulSizes {
    // Sizes of the batch, and how far apart both operands' matrices lie along them.
    i64 batch[4], x_batch[4], y_batch[4];
    // From one row (column, where they lie next to each other) of an operand to the next.
    i64 x_step, y_step;
    int rows, columns, inner;
    // Parts of the inner index, and numbers of each.
    int parts, part_len;
    // Whether 16 bytes of an operand may be read at once, and four elements of all that is as long as the result.
    int x_wide, y_wide, wide;
    // Whether the result is f32, whatever the operands are.
    int result_f32;
    Function function;
    i64 batches;
};

constexpr int THREADS = 256;

// Where a matrix of a batch begins.
__device__ __forceinline__ i64 batch_start(const i64* sizes, const i64* steps, i64 index) {
    i64 start = 0;
    for (int d = 3; d >= 0; --d) {
        start += index % sizes[d] * steps[d];
        index /= sizes[d];
    }
    return start;
}

// What follows the sum of a product at a place of the result: a bias, a function and a residual, or nothing.
template <class T>
struct Tail {
    const T *bias, *residual;
    __device__ __forceinline__ float finish(float sum, i64 at, int column, const Function& f) const {
        if (bias) sum += to_float(bias[column]);
        sum = apply(f, sum);
        return residual ? sum + to_float(residual[at]) : sum;
    }
};
struct NoTail {
    __device__ __forceinline__ float finish(float sum, i64, int, const Function&) const { return sum; }
};

// N neighbours of the result, at once.
template <class T, int N>
__device__ __forceinline__ void put(void* result, i64 at, const float (&value)[N], bool f32) {
    Pack<float, N> wide;
    Pack<T, N> narrow;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        wide.of[i] = value[i];
        narrow.of[i] = from_float<T>(value[i]);
    }
    if (f32) *reinterpret_cast<Pack<float, N>*>(static_cast<float*>(result) + at) = wide;
    else *reinterpret_cast<Pack<T, N>*>(static_cast<T*>(result) + at) = narrow;
}

// Where the sums of a tile go: `base` is where this batch's result begins, (row, column) its corner there.
template <class After>
struct Target {
    After after;
    void* result;
    i64 base;
    int row, column;
};

// Writes M × N sums that lie `pitch` apart in `held`, UNIT neighbours at once, as T or f32.
template <class T, int M, int N, int UNIT, class After>
__device__ __forceinline__ void write_tile(const float* held, int pitch, const Target<After>& to, const MatmulSizes& s) {
    const bool whole = s.parts == 1, f32 = s.result_f32 || !whole;
#pragma unroll 1
    for (int e = threadIdx.x; e < M * N / UNIT; e += THREADS) {
        const int i = e / (N / UNIT), j = e % (N / UNIT) * UNIT;
        if (to.row + i >= s.rows || to.column + j >= s.columns) continue;
        const i64 at = to.base + i64(to.row + i) * s.columns + to.column + j;
        float value[UNIT];
#pragma unroll
        for (int k = 0; k < UNIT; ++k) {
            value[k] = held[i * pitch + j + k];
            if (whole) value[k] = to.after.finish(value[k], at + k, to.column + j + k, s.function);
        }
        put<T, UNIT>(to.result, at, value, f32);
    }
}

template <class T, int M, int N, class After>
__device__ __forceinline__ void write_any(const float* held, int pitch, const Target<After>& to, const MatmulSizes& s) {
    if (s.wide) write_tile<T, M, N, 4>(held, pitch, to, s);
    else write_tile<T, M, N, 1>(held, pitch, to, s);
}
