// Transforms of lines that are longer than the shared memory of a block, through memory. Complex numbers in f32 lie as
// (batch, number of a line, line): `width` lines side by side.
//
// fft_lines    transforms of n = a · b numbers are two passes of it (Bailey, "FFTs in external or hierarchical memory",
//              1990): of every b-th number, turned by roots of unity; then of b neighbours each, written in order. Reads
//              and writes all numbers once a pass; `across` transforms side by side in a block.
// fft_chirp_*  where n has no such factors (Bluestein, 1970): jk = (j² + k² − (k − j)²) / 2 makes the transform a
//              convolution with chirps, by transforms of m numbers, at least 2n − 1.
// fft_pack, fft_unpack, fft_spread, fft_take  two real rows as one complex line, to half spectra and back.
// fft_begin, fft_finish  numbers of a field to f32 and back, scaled; parts swapped for the inverse.
#include "fft.cuh"

struct LineSizes {
    i64 batch, len, lanes;
    // Number i of lane q is at q / width · group + q % width + i · in_step, and goes to q + i · out_step.
    i64 width, group, in_step, out_step;
    FftPlan plan;
};

extern "C" __global__ __launch_bounds__(512) void fft_lines(const float2* x, float2* y, const float2* roots, const float2* turns,
                                                            LineSizes s) {
    SHARED_BYTES(bytes);
    const FftPlan& plan = s.plan;
    const FftShared shared(bytes, plan);
    const i64 first = i64(blockIdx.x) * plan.across;
    for (i64 field = blockIdx.y; field < s.batch; field += gridDim.y) {
        const float2* from = x + field * s.len;
        for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
            // Neighbouring threads read neighbours.
            const int number = s.in_step == 1 ? i % plan.n : i / plan.across;
            const int lane = s.in_step == 1 ? i / plan.n : i % plan.across;
            const i64 q = first + lane, at = q / s.width * s.group + q % s.width + number * s.in_step;
            shared.a[number * plan.across + lane] = q < s.lanes ? from[at] : make_float2(0.0f, 0.0f);
        }
        __syncthreads();
        const float2* z = transform(shared, roots, plan);
        for (int i = threadIdx.x; i < plan.n * plan.across; i += blockDim.x) {
            const int number = i / plan.across;
            const i64 q = first + i % plan.across;
            if (q >= s.lanes) continue;
            const float2 value = turns ? times(z[i], turns[number * (q / s.width)]) : z[i];
            y[field * s.len + q + number * s.out_step] = value;
        }
        __syncthreads();
    }
}

// Lines of n numbers that become lines of m.
struct ChirpSizes {
    i64 batch, n, m, width;
};

// The chirp e^(−πi j²/n), of roots of unity of 2n.
__device__ __forceinline__ float2 chirp(const float2* roots, i64 j, const ChirpSizes& s) { return roots[j * j % (2 * s.n)]; }

// x times the chirp, filled up with zeros.
extern "C" __global__ void fft_chirp_begin(const float2* x, const float2* roots, float2* y, ChirpSizes s) {
    for (i64 at = grid_thread(); at < s.batch * s.m * s.width; at += grid_threads()) {
        const i64 j = at / s.width % s.m, field = at / (s.m * s.width), column = at % s.width;
        y[at] = j < s.n ? times(x[(field * s.n + j) * s.width + column], chirp(roots, j, s)) : make_float2(0.0f, 0.0f);
    }
}

// What to convolve with: the chirp's conjugate, from 0 on both ways.
extern "C" __global__ void fft_chirp_filter(const float2* roots, float2* y, ChirpSizes s) {
    for (i64 at = grid_thread(); at < s.m; at += grid_threads()) {
        const i64 j = min(at, s.m - at);
        const float2 own = j < s.n ? chirp(roots, j, s) : make_float2(0.0f, 0.0f);
        y[at] = make_float2(own.x, -own.y);
    }
}

// Spectra times that of the filter, ready for the inverse.
extern "C" __global__ void fft_chirp_multiply(float2* x, const float2* filter, ChirpSizes s) {
    for (i64 at = grid_thread(); at < s.batch * s.m * s.width; at += grid_threads())
        x[at] = ordered(times(x[at], filter[at / s.width % s.m]), true);
}

// The first n numbers of what was convolved, times the chirp.
extern "C" __global__ void fft_chirp_end(const float2* x, const float2* roots, float2* y, ChirpSizes s) {
    const float scale = 1.0f / float(s.m);
    for (i64 at = grid_thread(); at < s.batch * s.n * s.width; at += grid_threads()) {
        const i64 j = at / s.width % s.n, field = at / (s.n * s.width), column = at % s.width;
        const float2 value = times(ordered(x[(field * s.m + j) * s.width + column], true), chirp(roots, j, s));
        y[at] = make_float2(scale * value.x, scale * value.y);
    }
}

// Rows of all fields, two of them a line.
struct RowSizes {
    i64 rows, columns;
};

__device__ __forceinline__ i64 pairs(const RowSizes& s) { return (s.rows + 1) / 2; }

template <class T>
__device__ __forceinline__ void pack(const T* x, float2* z, const RowSizes& s) {
    for (i64 at = grid_thread(); at < pairs(s) * s.columns; at += grid_threads()) {
        const i64 row = at / s.columns * 2, column = at % s.columns;
        const T* from = x + row * s.columns + column;
        z[at] = make_float2(to_float(from[0]), row + 1 < s.rows ? to_float(from[s.columns]) : 0.0f);
    }
}

extern "C" __global__ void fft_unpack(const float2* z, float2* y, RowSizes s) {
    const i64 half = s.columns / 2 + 1;
    for (i64 at = grid_thread(); at < pairs(s) * half; at += grid_threads()) {
        const i64 row = at / half * 2, k = at % half, mirror = k == 0 ? 0 : s.columns - k;
        const float2* line = z + at / half * s.columns;
        y[row * half + k] = first_row(line[k], line[mirror]);
        if (row + 1 < s.rows) y[(row + 1) * half + k] = second_row(line[k], line[mirror]);
    }
}

extern "C" __global__ void fft_spread(const float2* x, float2* z, RowSizes s) {
    const i64 half = s.columns / 2 + 1;
    for (i64 at = grid_thread(); at < pairs(s) * half; at += grid_threads()) {
        const i64 row = at / half * 2, k = at % half, mirror = k == 0 ? 0 : s.columns - k;
        float2* line = z + at / half * s.columns;
        const float2 none = make_float2(0.0f, 0.0f);
        both_rows(x[row * half + k], row + 1 < s.rows ? x[(row + 1) * half + k] : none, line[k], line[mirror], k == mirror);
    }
}

template <class T>
__device__ __forceinline__ void take(const float2* z, T* y, const RowSizes& s) {
    for (i64 at = grid_thread(); at < pairs(s) * s.columns; at += grid_threads()) {
        const i64 row = at / s.columns * 2, column = at % s.columns;
        T* to = y + row * s.columns + column;
        to[0] = from_float<T>(z[at].y);
        if (row + 1 < s.rows) to[s.columns] = from_float<T>(z[at].x);
    }
}

// Half spectra of `half` columns, of fields of `columns`, and what their numbers are multiplied by.
struct FieldSizes {
    i64 len;
    int half, columns;
    float scale, paired_scale;
    int inverse, padding;
};

template <class T>
__device__ __forceinline__ void begin(const T* x, float2* z, const FieldSizes& s) {
    for (i64 at = grid_thread(); at < s.len; at += grid_threads()) {
        const Pack<T, 2> both = reinterpret_cast<const Pack<T, 2>*>(x)[at];
        z[at] = ordered(make_float2(to_float(both.of[0]), to_float(both.of[1])), s.inverse);
    }
}

template <class T>
__device__ __forceinline__ void finish(const float2* z, T* y, const FieldSizes& s) {
    for (i64 at = grid_thread(); at < s.len; at += grid_threads()) {
        const float scale = s.scale * paired_scale(int(at % s.half), s.columns, s.paired_scale);
        const float2 value = ordered(z[at], s.inverse);
        reinterpret_cast<Pack<T, 2>*>(y)[at] = Pack<T, 2>{from_float<T>(scale * value.x), from_float<T>(scale * value.y)};
    }
}

#define FFT(suffix, T)                                                                                                  \
    extern "C" __global__ void fft_pack_##suffix(const T* x, float2* z, RowSizes s) { pack(x, z, s); }                  \
    extern "C" __global__ void fft_take_##suffix(const float2* z, T* y, RowSizes s) { take(z, y, s); }                  \
    extern "C" __global__ void fft_begin_##suffix(const T* x, float2* z, FieldSizes s) { begin(x, z, s); }              \
    extern "C" __global__ void fft_finish_##suffix(const float2* z, T* y, FieldSizes s) { finish(z, y, s); }
EACH_DTYPE(FFT)
