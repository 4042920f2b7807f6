// What fields go through before and after a model: scores, quality control, sparse regridding, counts of points; and
// stored numbers as what they stand for.
//
// Each element is read once and written once. Regridding gathers the taps of its target, neighbours together; `decode`
// turns frames by way of tiles in shared memory, so that it reads and writes along rows; `bin` reads 24 bytes a point
// and adds to its bin.
#include "common.cuh"

struct ScoreSizes {
    u64 len, channels, inner;
    int inverse, padding;
};

// (x − mean) / deviation of each channel, or back. NaN stays as it is.
template <class T>
__device__ void standardise(const T* x, const float* mean, const float* deviation, T* y, const ScoreSizes& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const u64 channel = i / s.inner % s.channels;
        const float m = mean[channel], d = deviation[channel], value = to_float(x[i]);
        y[i] = isnan(value) ? x[i] : from_float<T>(s.inverse ? value * d + m : (value - m) / d);
    }
}

struct QualitySizes {
    u64 len;
    float low, high, replacement;
    int sentinels;
};

// NaN compares false with the bounds: it is never good.
template <class T>
__device__ void quality(const T* x, const float* sentinels, T* y, float* mask, const QualitySizes& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const float value = to_float(x[i]);
        bool good = value >= s.low && value <= s.high;
        for (int k = 0; k < s.sentinels; ++k) good = good && value != sentinels[k];
        y[i] = good ? x[i] : from_float<T>(s.replacement);
        mask[i] = good ? 1.0f : 0.0f;
    }
}

struct DecodeSizes {
    // Frames of all windows and of one, points along a side of a frame.
    u64 frames, of_window, size;
    float factor, offset;
};

// Points along a side of a tile.
constexpr int TILE = 64;

// What a level stands for, by a table of all.
struct Table {
    typedef u8 Stored;
    static constexpr int MISSING = 255;
    const float* of;
    __device__ __forceinline__ float operator()(u8 level) const { return of[level]; }
};

// What a code stands for; each step is rounded on its own, as on the host.
struct Line {
    typedef short Stored;
    static constexpr int MISSING = -32768;
    float factor, offset;
    __device__ __forceinline__ float operator()(short code) const {
        return __fadd_rn(__fmul_rn(float(code), factor), offset);
    }
};

// A turn is made of bits: 1 rows become columns, 2 the first row becomes the last, 4 the first column the last.
template <class Coding>
__device__ __forceinline__ void decode(const typename Coding::Stored* __restrict__ x, const u32* turns, float* y,
                                       float* mask, const Coding& number, const DecodeSizes& s) {
    typedef typename Coding::Stored T;
    // Four bytes behind each row: a column is in all banks.
    __shared__ T tile[TILE][TILE + 4 / sizeof(T)];
    const u64 across = (s.size + TILE - 1) / TILE, tiles = across * across;
    const int column = threadIdx.x % TILE, first = threadIdx.x / TILE, step = blockDim.x / TILE;
    for (u64 work = blockIdx.x; work < s.frames * tiles; work += gridDim.x) {
        const u64 frame = work / tiles, top = work % tiles / across * TILE, left = work % across * TILE;
        const int rows = int(min(i64(TILE), i64(s.size - top))), columns = int(min(i64(TILE), i64(s.size - left)));
        const u32 turn = turns[frame / s.of_window];
        const bool diagonal = turn & 1, upside_down = turn & 2, mirrored = turn & 4;
        // Where that lies which comes to this tile.
        const u64 y0 = upside_down ? s.size - top - rows : top, x0 = mirrored ? s.size - left - columns : left;
        const T* from = x + frame * s.size * s.size + (diagonal ? x0 * s.size + y0 : y0 * s.size + x0);
        const int high = diagonal ? columns : rows, wide = diagonal ? rows : columns;
        if (column < wide) {
#pragma unroll 4
            for (int row = first; row < high; row += step) tile[row][column] = from[u64(row) * s.size + column];
        }
        __syncthreads();
        if (column < columns) {
            const int of_column = mirrored ? columns - 1 - column : column;
            u64 at = (frame * s.size + top + first) * s.size + left + column;
#pragma unroll 4
            for (int row = first; row < rows; row += step, at += u64(step) * s.size) {
                const int of_row = upside_down ? rows - 1 - row : row;
                const T stored = diagonal ? tile[of_column][of_row] : tile[of_row][of_column];
                const bool there = stored != Coding::MISSING;
                y[at] = there ? number(stored) : 0.0f;
                mask[at] = there ? 1.0f : 0.0f;
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void decode_u8(const u8* x, const u32* turns, const float* table, float* y, float* mask,
                                     DecodeSizes s) {
    __shared__ float levels[256];
    for (int level = threadIdx.x; level < 256; level += blockDim.x) levels[level] = table[level];
    // The first tile's barrier is between these and their readers.
    decode(x, turns, y, mask, Table{levels}, s);
}

extern "C" __global__ void decode_i16(const short* x, const u32* turns, float* y, float* mask, DecodeSizes s) {
    decode(x, turns, y, mask, Line{s.factor, s.offset}, s);
}

struct RegridSizes {
    u64 outer, inputs, outputs, inner;
    float least;
    // Whether NaN is left out where at least that share of the weight is left; else it spreads.
    int lenient;
};

template <class T>
__device__ __forceinline__ float regrid_lenient(const T* field, const int* sources, const float* weights, int taps,
                                                const RegridSizes& s) {
    float sum = 0.0f, valid = 0.0f, whole = 0.0f;
    for (int k = 0; k < taps; ++k) {
        const float value = to_float(field[u64(sources[k]) * s.inner]);
        whole += weights[k];
        if (!isnan(value)) {
            sum += weights[k] * value;
            valid += weights[k];
        }
    }
    return valid > s.least * whole ? sum * (whole / valid) : NOT_A_NUMBER;
}

template <class T>
__device__ void regrid(const T* x, const int* offsets, const int* sources, const float* weights, T* y,
                       const RegridSizes& s) {
    const u64 len = s.outer * s.outputs * s.inner;
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const u64 point = i / s.inner % s.outputs, field = i / s.inner / s.outputs;
        const T* from = x + field * s.inputs * s.inner + i % s.inner;
        const int first = offsets[point], taps = offsets[point + 1] - first;
        float value = 0.0f;
        if (s.lenient)
            value = regrid_lenient(from, sources + first, weights + first, taps, s);
        else
            for (int k = first; k < first + taps; ++k) value += weights[k] * to_float(from[u64(sources[k]) * s.inner]);
        y[i] = from_float<T>(value);
    }
}

struct BinSizes {
    u64 points;
    double origin[3], step[3];
    u64 count[3];
};

// Counts points (x, y, t) in bins (t, y, x): in f64 by operations that are exact to rounding, so that a point on an edge
// is in the bin that the host finds; whole numbers add up to the same in any order.
extern "C" __global__ void bin(const double* points, u32* counts, BinSizes s) {
    for (i64 i = grid_thread(); i < i64(s.points); i += grid_threads()) {
        u64 place = 0;
        bool inside = true;
        for (int axis = 0; axis < 3; ++axis) {
            const double at = floor((points[3 * i + 2 - axis] - s.origin[axis]) / s.step[axis]);
            inside = inside && at >= 0.0 && at < double(s.count[axis]);
            place = place * s.count[axis] + (inside ? u64(at) : 0);
        }
        if (inside) atomicAdd(counts + place, 1u);
    }
}

extern "C" __global__ void counts_to_f32(const u32* counts, float* y, u64 len) {
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) y[i] = float(counts[i]);
}

#define DATA(suffix, T)                                                                                               \
    extern "C" __global__ void standardise_##suffix(const T* x, const float* mean, const float* deviation, T* y,      \
                                                    ScoreSizes s) {                                                   \
        standardise(x, mean, deviation, y, s);                                                                        \
    }                                                                                                                 \
    extern "C" __global__ void quality_##suffix(const T* x, const float* sentinels, T* y, float* mask,                \
                                                QualitySizes s) {                                                     \
        quality(x, sentinels, y, mask, s);                                                                            \
    }                                                                                                                 \
    extern "C" __global__ void regrid_##suffix(const T* x, const int* offsets, const int* sources,                    \
                                               const float* weights, T* y, RegridSizes s) {                           \
        regrid(x, offsets, sources, weights, y, s);                                                                   \
    }
EACH_DTYPE(DATA)
