// Points to channels-last grids by Gaussian weights, and the local maxima of fields.
//
// Features are (batch, points, channels), positions (batch, points, 2) in f32: row and column in grid cells.
//
// splat       a block a tile of 8 by 8 cells and 4 threads a cell, each on 16 bytes of channels where they allow it. All
//             points pass by, 256 at once, and those that reach the tile are kept in their order: each cell adds them
//             in one order. Writes the grid and the sums of weights once.
// splat_grad  a block a point: 4 warps take every fourth cell that it reaches, lanes lie on channels; reads y and dy of
//             these cells, writes the gradients once.
// peak_keys   a key for each element of a field: peaks before all others, the greatest first; an element a thread.
// peaks       the first of the sorted keys, as indices and a mask.
#include "common.cuh"

struct SplatSizes {
    i64 batch;
    int points, channels, rows, columns;
    // How far a point reaches, and −1/2σ².
    float reach, scale;
    int normalised;
    // How many channels a thread works on; divides `channels`.
    int wide;
};

constexpr int THREADS = 256;
// Cells along each side of a tile; threads of a cell.
constexpr int TILE = 8;
constexpr int SHARE = THREADS / (TILE * TILE);
constexpr int WARPS = THREADS / 32;

// The weight of a cell at a distance.
__device__ __forceinline__ float weight_at(float rows, float columns, const SplatSizes& s) {
    const float squared = rows * rows + columns * columns;
    return squared <= s.reach * s.reach ? expf(squared * s.scale) : 0.0f;
}

// Whether a point reaches cells from `first` on of a tile; NaN reaches none.
__device__ __forceinline__ bool near(float position, int first, float reach) {
    return position + reach >= float(first) && position - reach <= float(first + TILE - 1);
}

// The points of a tile, of 256 at once.
struct Nearby {
    float row[THREADS], column[THREADS];
    int point[THREADS];
    int counts[WARPS];
};

// Keeps the points that reach a tile in their order; gives their number.
__device__ __forceinline__ int keep_nearby(const float* positions, int first, int row, int column,
                                           const SplatSizes& s, Nearby& nearby) {
    const int point = first + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float2 at = point < s.points ? make_float2(positions[2 * point], positions[2 * point + 1])
                                       : make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
    const bool kept = near(at.x, row, s.reach) && near(at.y, column, s.reach);
    const u32 votes = __ballot_sync(ALL_LANES, kept);
    if (lane == 0) nearby.counts[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << lane) - 1)), all = 0;
    for (int w = 0; w < WARPS; ++w) {
        before += w < warp ? nearby.counts[w] : 0;
        all += nearby.counts[w];
    }
    if (kept) {
        nearby.row[before] = at.x;
        nearby.column[before] = at.y;
        nearby.point[before] = point;
    }
    __syncthreads();
    return all;
}

template <class T, int N>
__device__ void splat(const T* features, const float* positions, T* y, float* weights, const SplatSizes& s,
                      i64 set, Nearby& nearby) {
    const int tiles_across = (s.columns + TILE - 1) / TILE, cell = threadIdx.x / SHARE;
    const int row = int(blockIdx.x / tiles_across) * TILE, column = int(blockIdx.x % tiles_across) * TILE;
    const int own_row = row + cell / TILE, own_column = column + cell % TILE;
    const int channel = (blockIdx.y * SHARE + threadIdx.x % SHARE) * N;
    const bool inside = own_row < s.rows && own_column < s.columns, live = inside && channel < s.channels;
    float sums[N] = {}, whole = 0.0f;
    for (int first = 0; first < s.points; first += THREADS) {
        const int count = keep_nearby(positions + set * s.points * 2, first, row, column, s, nearby);
        for (int i = 0; i < count; ++i) {
            const float weight = weight_at(own_row - nearby.row[i], own_column - nearby.column[i], s);
            whole += weight;
            if (weight == 0.0f || !live) continue;
            const i64 at = (set * s.points + nearby.point[i]) * s.channels + channel;
            const Pack<T, N> feature = *reinterpret_cast<const Pack<T, N>*>(features + at);
#pragma unroll
            for (int k = 0; k < N; ++k) sums[k] += weight * to_float(feature.of[k]);
        }
        __syncthreads();
    }
    const i64 at = (set * s.rows + own_row) * s.columns + own_column;
    if (inside && blockIdx.y == 0 && threadIdx.x % SHARE == 0) weights[at] = whole;
    if (!live) return;
    const float divisor = s.normalised && whole > 0.0f ? whole : 1.0f;
    Pack<T, N> result;
#pragma unroll
    for (int k = 0; k < N; ++k) result.of[k] = from_float<T>(sums[k] / divisor);
    *reinterpret_cast<Pack<T, N>*>(y + at * s.channels + channel) = result;
}

// The cells along an axis that a point reaches.
struct Cells {
    int first, len;
};

__device__ __forceinline__ Cells cells(float position, int size, float reach) {
    const float first = fmaxf(ceilf(position - reach), 0.0f), last = fminf(floorf(position + reach), float(size - 1));
    // Also where the position is NaN.
    if (!(position - reach <= float(size - 1) && position + reach >= 0.0f) || !(first <= last)) return {0, 0};
    return {int(first), int(last) - int(first) + 1};
}

constexpr int GRAD_WARPS = 4;

// Sums of the warps of a block in their order, of `LEN` numbers a lane.
template <class S, int LEN>
__device__ __forceinline__ void join_warps(S (&sums)[LEN], S (*shared)[GRAD_WARPS][32]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int k = 0; k < LEN; ++k) shared[k][warp][lane] = sums[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < LEN; ++k) {
        sums[k] = S(0);
        for (int w = 0; w < GRAD_WARPS; ++w) sums[k] += shared[k][w][lane];
    }
    __syncthreads();
}

// What one point is given.
template <class T>
struct Point {
    float row, column;
    Cells rows, columns;
    const T* features;
};

// The gradient of N channels, and what they add to that of the position: every `GRAD_WARPS`-th cell.
template <class T, int N>
__device__ __forceinline__ void splat_channels(const Point<T>& point, i64 grid, int channel, const T* __restrict__ y,
                                               const float* __restrict__ weights, const T* __restrict__ dy,
                                               const SplatSizes& s, float (&sums)[N], double (&moved)[2]) {
    const Pack<T, N> x = *reinterpret_cast<const Pack<T, N>*>(point.features + channel);
#pragma unroll 2
    for (int i = threadIdx.x / 32; i < point.rows.len * point.columns.len; i += GRAD_WARPS) {
        const int row = point.rows.first + i / point.columns.len, column = point.columns.first + i % point.columns.len;
        const float away_rows = row - point.row, away_columns = column - point.column;
        const i64 cell = (grid * s.rows + row) * s.columns + column;
        float weight = weight_at(away_rows, away_columns, s);
        if (weight == 0.0f) continue;
        if (s.normalised) weight /= weights[cell];
        const Pack<T, N> slopes = *reinterpret_cast<const Pack<T, N>*>(dy + cell * s.channels + channel);
        Pack<T, N> means{};
        if (s.normalised) means = *reinterpret_cast<const Pack<T, N>*>(y + cell * s.channels + channel);
        float slope = 0.0f;
#pragma unroll
        for (int k = 0; k < N; ++k) {
            sums[k] += weight * to_float(slopes.of[k]);
            slope += (to_float(x.of[k]) - to_float(means.of[k])) * to_float(slopes.of[k]);
        }
        moved[0] += double(slope) * (weight * away_rows);
        moved[1] += double(slope) * (weight * away_columns);
    }
}

template <class T, int N>
__device__ void splat_grad(const T* features, const float* positions, const T* y, const float* weights, const T* dy,
                           T* dfeatures, float* dpositions, const SplatSizes& s, float (*held)[GRAD_WARPS][32],
                           double (*held_moves)[GRAD_WARPS][32]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (i64 number = blockIdx.x; number < s.batch * s.points; number += gridDim.x) {
        const float row = positions[2 * number], column = positions[2 * number + 1];
        const Point<T> point{row, column, cells(row, s.rows, s.reach), cells(column, s.columns, s.reach),
                             features + number * s.channels};
        double moved[2] = {};
        for (int first = 0; first < s.channels; first += 32 * N) {
            const int channel = first + lane * N;
            float sums[N] = {};
            if (channel < s.channels)
                splat_channels<T, N>(point, number / s.points, channel, y, weights, dy, s, sums, moved);
            join_warps<float, N>(sums, held);
            Pack<T, N> result;
#pragma unroll
            for (int k = 0; k < N; ++k) result.of[k] = from_float<T>(sums[k]);
            if (warp == 0 && channel < s.channels)
                *reinterpret_cast<Pack<T, N>*>(dfeatures + number * s.channels + channel) = result;
        }
        join_warps<double, 2>(moved, held_moves);
        for (int step = 16; step > 0; step /= 2)
            for (double& sum : moved) sum += __shfl_xor_sync(ALL_LANES, sum, step);
        // −2 · scale is 1/σ².
        if (threadIdx.x < 2)
            dpositions[2 * number + threadIdx.x] = float((threadIdx.x == 0 ? moved[0] : moved[1]) * (-2.0 * s.scale));
    }
}

#define SPLAT(suffix, T)                                                                                              \
    extern "C" __global__ void splat_##suffix(const T* features, const float* positions, T* y, float* weights,        \
                                              SplatSizes s) {                                                         \
        __shared__ Nearby nearby;                                                                                     \
        for (i64 set = blockIdx.z; set < s.batch; set += gridDim.z) {                                                 \
            if (s.wide > 1)                                                                                           \
                splat<T, Wide<T>::LEN>(features, positions, y, weights, s, set, nearby);                              \
            else                                                                                                      \
                splat<T, 1>(features, positions, y, weights, s, set, nearby);                                         \
        }                                                                                                             \
    }                                                                                                                 \
    extern "C" __global__ void splat_grad_##suffix(const T* features, const float* positions, const T* y,             \
                                                   const float* weights, const T* dy, T* dfeatures,                   \
                                                   float* dpositions, SplatSizes s) {                                 \
        __shared__ float held[Wide<T>::LEN][GRAD_WARPS][32];                                                          \
        __shared__ double moves[2][GRAD_WARPS][32];                                                                   \
        if (s.wide > 1)                                                                                               \
            splat_grad<T, Wide<T>::LEN>(features, positions, y, weights, dy, dfeatures, dpositions, s, held, moves);  \
        else                                                                                                          \
            splat_grad<T, 1>(features, positions, y, weights, dy, dfeatures, dpositions, s, held, moves);             \
    }
EACH_DTYPE(SPLAT)

struct PeakSizes {
    i64 batch;
    int rows, columns, radius, count;
    float threshold;
    int padding;
};

// The key of what is no peak: behind all numbers.
constexpr u32 NO_PEAK = 0xffffffffu;

// Numbers as keys, the greatest first.
__device__ __forceinline__ u32 descending(float x) {
    const u32 bits = __float_as_uint(x);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

// Whether no element of the window is greater, and none before is equal; NaN is less than any.
template <class T>
__device__ __forceinline__ bool is_peak(const T* field, int row, int column, const PeakSizes& s) {
    const i64 at = i64(row) * s.columns + column;
    const float own = to_float(field[at]);
    for (int r = max(row - s.radius, 0); r <= min(row + s.radius, s.rows - 1); ++r)
        for (int c = max(column - s.radius, 0); c <= min(column + s.radius, s.columns - 1); ++c) {
            const i64 place = i64(r) * s.columns + c;
            const float other = to_float(field[place]);
            if (place < at ? other >= own : other > own) return false;
        }
    return true;
}

template <class T>
__device__ void peak_keys(const T* x, u32* keys, const PeakSizes& s) {
    const i64 plane = i64(s.rows) * s.columns;
    for (i64 i = grid_thread(); i < s.batch * plane; i += grid_threads()) {
        const i64 field = i / plane;
        const int within = int(i - field * plane);
        const float own = to_float(x[i]);
        const bool peak = own > s.threshold && is_peak(x + field * plane, within / s.columns, within % s.columns, s);
        keys[i] = peak ? descending(own) : NO_PEAK;
    }
}
extern "C" __global__ void peak_keys_f32(const float* x, u32* keys, PeakSizes s) { peak_keys(x, keys, s); }
extern "C" __global__ void peak_keys_bf16(const bf16* x, u32* keys, PeakSizes s) { peak_keys(x, keys, s); }

extern "C" __global__ void peaks(const u32* keys, const u32* places, int* index, float* mask, PeakSizes s) {
    const i64 plane = i64(s.rows) * s.columns;
    for (i64 i = grid_thread(); i < s.batch * s.count; i += grid_threads()) {
        const i64 field = i / s.count, at = i - field * s.count;
        const bool peak = at < plane && keys[field * plane + at] != NO_PEAK;
        index[i] = peak ? int(places[field * plane + at]) : 0;
        mask[i] = peak ? 1.0f : 0.0f;
    }
}
