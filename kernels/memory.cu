// Moves elements: fill, cast, regular gather, interleave. Each element is read once and written once.
#include "common.cuh"

#define FILL(suffix, T)                                                                     \
    extern "C" __global__ void fill_##suffix(T* y, u64 len, float value) {                  \
        for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = from_float<T>(value); \
    }
EACH_DTYPE(FILL)

// Every 4-byte element the same bits: indices are filled as whole numbers.
extern "C" __global__ void fill_i32(int* y, u64 len, float value) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = int(value);
}

template <class From, class To>
__device__ void cast(const From* x, To* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = from_float<To>(to_float(x[i]));
}
extern "C" __global__ void cast_f32_bf16(const float* x, bf16* y, u64 len) { cast(x, y, len); }
extern "C" __global__ void cast_bf16_f32(const bf16* x, float* y, u64 len) { cast(x, y, len); }
extern "C" __global__ void cast_i32_f32(const int* x, float* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = float(x[i]);
}
extern "C" __global__ void cast_f32_i32(const float* x, int* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = int(x[i]);
}

// From `offset` on, sizes[d] elements strides[d] apart along each dimension, densely; the last dimension fastest.
struct GatherSizes {
    i64 len, offset;
    i64 sizes[6], strides[6];
};

template <class T>
__device__ void gather_regular(const T* x, T* y, const GatherSizes& s) {
    for (i64 i = grid_thread(); i < s.len; i += grid_threads()) {
        i64 rest = i, from = s.offset;
        for (int d = 5; d > 0; --d) {
            from += rest % s.sizes[d] * s.strides[d];
            rest /= s.sizes[d];
        }
        y[i] = x[from + rest * s.strides[0]];
    }
}
extern "C" __global__ void gather_regular_16(const u16* x, u16* y, GatherSizes s) { gather_regular(x, y, s); }
extern "C" __global__ void gather_regular_32(const u32* x, u32* y, GatherSizes s) { gather_regular(x, y, s); }

// Rows of `part` elements to column `at` of rows of `width` elements.
struct InterleaveSizes {
    u64 len, part, width, at;
};

template <class T>
__device__ void interleave(const T* x, T* y, const InterleaveSizes& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const u64 row = i / s.part;
        y[row * s.width + s.at + (i - row * s.part)] = x[i];
    }
}
extern "C" __global__ void interleave_16(const u16* x, u16* y, InterleaveSizes s) { interleave(x, y, s); }
extern "C" __global__ void interleave_32(const u32* x, u32* y, InterleaveSizes s) { interleave(x, y, s); }
