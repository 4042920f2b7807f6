// The transforms of weather fields, with the bits that the host's give: every step is rounded on its own, as there.
//
// check     impossible values to missing, counted by reason: reads and writes each value once, five numbers a block
// rotate    winds between the grid's axes and true east and north: reads two winds and two angles, writes two winds
// nearest   each target's source: 4 bytes of where, one of the source's values, one written
// bilinear  between the four points around a target: 12 bytes of where, four values in two rows, one written
// average   of the sources that overlap a target, by area, summed in f64: 8 bytes and a value for each overlap
#include "common.cuh"

// The missing value of the host.
#define MISSING __int_as_float(0x7fc00000)

// Never joined to one operation with one rounding.
__device__ __forceinline__ float mul(float x, float y) { return __fmul_rn(x, y); }
__device__ __forceinline__ float add(float x, float y) { return __fadd_rn(x, y); }
__device__ __forceinline__ float sub(float x, float y) { return __fadd_rn(x, -y); }

template <class T>
__device__ __forceinline__ T stored(float x) {
    return from_float<T>(isnan(x) ? MISSING : x);
}

struct CheckSizes {
    u64 len;
    float low, high;
    int sentinels, padding;
};

// What a block found; counts are whole numbers, and a block has fewer values than 2²⁴.
struct Found {
    float missing, sentinel, outside, lowest, highest;
};

// `sentinels` holds pairs: a value, and how far from it still counts as equal.
__device__ __forceinline__ bool is_sentinel(float value, const float* sentinels, int count) {
    bool equal = false;
    for (int k = 0; k < count; ++k) equal = equal || fabsf(sub(value, sentinels[2 * k])) <= sentinels[2 * k + 1];
    return equal;
}

template <class T>
__device__ void check(const T* x, const float* sentinels, T* y, Found* found, const CheckSizes& s) {
    __shared__ float scratch[32];
    Found mine = {0.0f, 0.0f, 0.0f, INFINITE, -INFINITE};
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        float value = to_float(x[i]);
        if (isnan(value)) {
            mine.missing += 1.0f;
        } else if (is_sentinel(value, sentinels, s.sentinels)) {
            mine.sentinel += 1.0f;
            value = MISSING;
        } else if (value < s.low || value > s.high) {
            mine.outside += 1.0f;
            value = MISSING;
        } else {
            mine.lowest = fminf(mine.lowest, value);
            mine.highest = fmaxf(mine.highest, value);
        }
        y[i] = stored<T>(value);
    }
    mine.missing = block_fold<Sum>(mine.missing, scratch);
    mine.sentinel = block_fold<Sum>(mine.sentinel, scratch);
    mine.outside = block_fold<Sum>(mine.outside, scratch);
    mine.lowest = block_fold<Least>(mine.lowest, scratch);
    mine.highest = block_fold<Greatest>(mine.highest, scratch);
    if (threadIdx.x == 0) found[blockIdx.x] = mine;
}

template <class T>
__device__ void rotate(const T* u, const T* v, const float* cosine, const float* sine, T* east, T* north, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const float along_x = to_float(u[i]), along_y = to_float(v[i]), c = cosine[i], s = sine[i];
        east[i] = stored<T>(add(mul(c, along_x), mul(s, along_y)));
        north[i] = stored<T>(sub(mul(c, along_y), mul(s, along_x)));
    }
}

// A target outside the source has no source: −1.
template <class T>
__device__ void nearest(const T* x, const int* sources, T* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads())
        y[i] = stored<T>(sources[i] < 0 ? MISSING : to_float(x[sources[i]]));
}

struct BilinearSizes {
    u64 len;
    int columns, points;
};

// The values around a target: south-west, south-east, north-west, north-east.
template <class T>
struct Around {
    float of[4];

    // The first column follows the last, and the only row itself.
    __device__ __forceinline__ Around(const T* x, int south_west, const BilinearSizes& s) {
        const int column = south_west % s.columns, east = column + 1 == s.columns ? -column : 1;
        const int north = south_west + s.columns < s.points ? south_west + s.columns : south_west;
        of[0] = to_float(x[south_west]);
        of[1] = to_float(x[south_west + east]);
        of[2] = to_float(x[north]);
        of[3] = to_float(x[north + east]);
    }
};

__device__ __forceinline__ float between(float from, float to, float along) {
    return add(from, mul(along, sub(to, from)));
}

// The mean of those that are not missing by their weights, where these hold half of it.
__device__ __forceinline__ float from_valid(const float* around, float x, float y) {
    const float weights[4] = {mul(sub(1.0f, x), sub(1.0f, y)), mul(x, sub(1.0f, y)), mul(sub(1.0f, x), y), mul(x, y)};
    float total = 0.0f, valid = 0.0f;
    for (int k = 0; k < 4; ++k) {
        if (isnan(around[k])) continue;
        total = add(total, mul(weights[k], around[k]));
        valid = add(valid, weights[k]);
    }
    return valid >= 0.5f ? total / valid : MISSING;
}

// First south to north at both ends, then west to east; `along` holds pairs of x and y.
template <class T>
__device__ void bilinear(const T* x, const int* corners, const float* along, T* y, const BilinearSizes& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        float value = MISSING;
        if (corners[i] >= 0) {
            const Around<T> around(x, corners[i], s);
            const Pack<float, 2> to = reinterpret_cast<const Pack<float, 2>*>(along)[i];
            const float west = between(around.of[0], around.of[2], to.of[1]);
            const float east = between(around.of[1], around.of[3], to.of[1]);
            value = between(west, east, to.of[0]);
            if (isnan(value)) value = from_valid(around.of, to.of[0], to.of[1]);
        }
        y[i] = stored<T>(value);
    }
}

// The weights of a target add up to 1; where sources are missing, the others' are what counts. The product of two f32 is
// exact in f64.
template <class T>
__device__ __forceinline__ float average_of(const T* x, const int* sources, const float* weights, int taps) {
    double total = 0.0, valid = 0.0;
    bool missing = taps == 0;
    for (int k = 0; k < taps; ++k) {
        const double value = to_float(x[sources[k]]), weight = weights[k];
        missing = missing || isnan(value);
        total += isnan(value) ? 0.0 : weight * value;
        valid += isnan(value) ? 0.0 : weight;
    }
    if (!missing) return float(total);
    return valid > 0.0 ? float(total / valid) : MISSING;
}

template <class T>
__device__ void average(const T* x, const int* offsets, const int* sources, const float* weights, T* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const int first = offsets[i], taps = offsets[i + 1] - first;
        y[i] = stored<T>(average_of(x, sources + first, weights + first, taps));
    }
}

#define FIELDS(suffix, T)                                                                                             \
    extern "C" __global__ void check_##suffix(const T* x, const float* sentinels, T* y, Found* found, CheckSizes s) { \
        check(x, sentinels, y, found, s);                                                                             \
    }                                                                                                                 \
    extern "C" __global__ void rotate_##suffix(const T* u, const T* v, const float* cosine, const float* sine,        \
                                               T* east, T* north, u64 len) {                                          \
        rotate(u, v, cosine, sine, east, north, len);                                                                 \
    }                                                                                                                 \
    extern "C" __global__ void nearest_##suffix(const T* x, const int* sources, T* y, u64 len) {                      \
        nearest(x, sources, y, len);                                                                                  \
    }                                                                                                                 \
    extern "C" __global__ void bilinear_##suffix(const T* x, const int* corners, const float* along, T* y,            \
                                                 BilinearSizes s) {                                                   \
        bilinear(x, corners, along, y, s);                                                                            \
    }                                                                                                                 \
    extern "C" __global__ void average_##suffix(const T* x, const int* offsets, const int* sources,                   \
                                                const float* weights, T* y, u64 len) {                                \
        average(x, offsets, sources, weights, y, len);                                                                \
    }
EACH_DTYPE(FIELDS)
