// Transforms of real fields (batch, rows, columns) to half spectra (batch, rows, columns / 2 + 1) and back.
//
// Stockham's transform in shared memory, `across` of them side by side in a block: a stage of radix R takes every
// (n / R)-th number, so that the result is in order. Small radices are butterflies in registers. A prime radix p takes
// sums and differences of the inputs r and p − r, of which outputs k and p − k are sums of cosines and sines: (p − 1)² / 2
// multiplications of real by complex numbers. The inverse is the transform of numbers whose parts are swapped.
//
// fft_rows_forward   two real rows as one complex row; reads the field once, writes half spectra in f32 once.
// fft_columns        reads `across` columns side by side, writes them once; scales.
// fft_rows_inverse   reads two half spectra in f32, writes two real rows.
// amplitude          a complex number a thread, as amplitude_grad: reads once, writes once.
#include "fft.cuh"

struct FftSizes {
    i64 batch;
    int rows, columns, half, padding;
    // What every number is multiplied by, and those of columns that stand for two as well.
    float scale, paired_scale;
    FftPlan plan;
};

// The columns' n of a plan is the rows of a field.
template <class T>
__device__ void rows_forward(const T* __restrict__ x, float2* y, const float2* roots, const FftSizes& s) {
    SHARED_BYTES(bytes);
    const FftPlan& plan = s.plan;
    const FftShared shared(bytes, plan);
    const i64 rows = s.batch * s.rows, first = i64(blockIdx.x) * plan.across * 2;
    for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
        const int pair = i / plan.n, column = i - pair * plan.n;
        const i64 row = first + 2 * pair;
        const T* from = x + row * s.columns + column;
        shared.a[column * plan.across + pair] = make_float2(row < rows ? to_float(from[0]) : 0.0f,
                                                            row + 1 < rows ? to_float(from[s.columns]) : 0.0f);
    }
    __syncthreads();
    const float2* z = transform(shared, roots, plan);
    for (int i = threadIdx.x; i < s.half * plan.across; i += blockDim.x) {
        const int pair = i / s.half, k = i - pair * s.half, mirror = k == 0 ? 0 : plan.n - k;
        const i64 row = first + 2 * pair;
        const float2 p = z[k * plan.across + pair], q = z[mirror * plan.across + pair];
        if (row < rows) y[row * s.half + k] = first_row(p, q);
        if (row + 1 < rows) y[(row + 1) * s.half + k] = second_row(p, q);
    }
}

template <class From, class To>
__device__ void columns(const From* __restrict__ x, To* y, const float2* roots, bool inverse, const FftSizes& s) {
    SHARED_BYTES(bytes);
    const FftPlan& plan = s.plan;
    const FftShared shared(bytes, plan);
    const int first = blockIdx.x * plan.across;
    for (i64 field = blockIdx.y; field < s.batch; field += gridDim.y) {
        for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
            const int row = i / plan.across, column = first + i % plan.across;
            float2 value = make_float2(0.0f, 0.0f);
            if (column < s.half) {
                const Pack<From, 2> pair =
                    reinterpret_cast<const Pack<From, 2>*>(x)[(field * s.rows + row) * s.half + column];
                value = make_float2(to_float(pair.of[0]), to_float(pair.of[1]));
            }
            shared.a[i] = ordered(value, inverse);
        }
        __syncthreads();
        const float2* z = transform(shared, roots, plan);
        for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
            const int row = i / plan.across, column = first + i % plan.across;
            if (column >= s.half) continue;
            const float scale = s.scale * paired_scale(column, s.columns, s.paired_scale);
            const float2 value = ordered(z[i], inverse);
            reinterpret_cast<Pack<To, 2>*>(y)[(field * s.rows + row) * s.half + column] =
                Pack<To, 2>{from_float<To>(scale * value.x), from_float<To>(scale * value.y)};
        }
        __syncthreads();
    }
}

template <class T>
__device__ void rows_inverse(const float2* __restrict__ x, T* y, const float2* roots, const FftSizes& s) {
    SHARED_BYTES(bytes);
    const FftPlan& plan = s.plan;
    const FftShared shared(bytes, plan);
    const i64 rows = s.batch * s.rows, first = i64(blockIdx.x) * plan.across * 2;
    for (int i = threadIdx.x; i < s.half * plan.across; i += blockDim.x) {
        const int pair = i / s.half, k = i - pair * s.half, mirror = k == 0 ? 0 : plan.n - k;
        const i64 row = first + 2 * pair;
        const float2 a = row < rows ? x[row * s.half + k] : make_float2(0.0f, 0.0f);
        const float2 b = row + 1 < rows ? x[(row + 1) * s.half + k] : make_float2(0.0f, 0.0f);
        both_rows(a, b, shared.a[k * plan.across + pair], shared.a[mirror * plan.across + pair], k == mirror);
    }
    __syncthreads();
    const float2* z = transform(shared, roots, plan);
    for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
        const int pair = i / plan.n, column = i - pair * plan.n;
        const i64 row = first + 2 * pair;
        const float2 value = z[column * plan.across + pair];
        T* to = y + row * s.columns + column;
        if (row < rows) to[0] = from_float<T>(value.y);
        if (row + 1 < rows) to[s.columns] = from_float<T>(value.x);
    }
}

#define FFT(suffix, T)                                                                                             \
    extern "C" __global__ __launch_bounds__(512) void fft_rows_forward_##suffix(const T* x, float2* y,            \
                                                                                 const float2* roots, FftSizes s) {\
        rows_forward(x, y, roots, s);                                                                              \
    }                                                                                                              \
    extern "C" __global__ __launch_bounds__(512) void fft_columns_forward_##suffix(const float* x, T* y,          \
                                                                                    const float2* roots,           \
                                                                                    FftSizes s) {                  \
        columns(x, y, roots, false, s);                                                                            \
    }                                                                                                              \
    extern "C" __global__ __launch_bounds__(512) void fft_columns_inverse_##suffix(const T* x, float* y,          \
                                                                                    const float2* roots,           \
                                                                                    FftSizes s) {                  \
        columns(x, y, roots, true, s);                                                                             \
    }                                                                                                              \
    extern "C" __global__ __launch_bounds__(512) void fft_rows_inverse_##suffix(const float2* x, T* y,            \
                                                                                 const float2* roots, FftSizes s) {\
        rows_inverse(x, y, roots, s);                                                                              \
    }
EACH_DTYPE(FFT)

// √(re² + im²); in f64 where a square is too great or too small for f32.
__device__ __forceinline__ float length(float re, float im) {
    const float squared = re * re + im * im;
    if (squared > 1e-30f && squared < 1e30f) return sqrtf(squared);
    return float(sqrt(double(re) * re + double(im) * im));
}

#define AMPLITUDE(suffix, T)                                                                               \
    extern "C" __global__ void amplitude_##suffix(const T* x, T* y, u64 len) {                             \
        for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {                                   \
            const Pack<T, 2> pair = reinterpret_cast<const Pack<T, 2>*>(x)[i];                             \
            y[i] = from_float<T>(length(to_float(pair.of[0]), to_float(pair.of[1])));                      \
        }                                                                                                  \
    }                                                                                                      \
    extern "C" __global__ void amplitude_grad_##suffix(const T* x, const T* dy, T* dx, u64 len) {          \
        for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {                                   \
            const Pack<T, 2> pair = reinterpret_cast<const Pack<T, 2>*>(x)[i];                             \
            const float re = to_float(pair.of[0]), im = to_float(pair.of[1]), whole = length(re, im);      \
            const float scale = whole > 0.0f ? to_float(dy[i]) / whole : 0.0f;                             \
            reinterpret_cast<Pack<T, 2>*>(dx)[i] =                                                         \
                Pack<T, 2>{from_float<T>(scale * re), from_float<T>(scale * im)};                          \
        }                                                                                                  \
    }
EACH_DTYPE(AMPLITUDE)
