// What convolutions share: their sizes, the pixels of a tile, and what is done to a tile of sums before it is rounded.
//
// An output is cut into phases: pixels that see the same elements of the kernel. A convolution has one; its data
// gradient one for each remainder of the stride, and is then the same sum with another kernel.
#pragma once
#include "parts.cuh"
#include "tiles.cuh"

struct ConvSizes {
    // Images, runs of channels that do not see each other, and channels of one run.
    int batch, groups, from_channels, to_channels;
    int from_rows, from_columns, to_rows, to_columns;
    // From one output of a phase to the next: pixels of the input, and pixels of the output.
    int from_step[2], to_step[2];
    int phases;
    // Tiles of the largest phase down and across, and the binary logarithm of a tile's columns.
    int tiles_down, tiles_across, tile_shift;
    // Pixels of the input that a tile sees; 0 where each product's pixels are gathered apart.
    int window_rows, window_columns;
    // Of the index that is summed: how much a buffer holds, and how much each element of the kernel has in the packed
    // weights.
    int chunk, tap_len;
    int packed_rows, packed_columns;
    // Buffers, bytes of the pixels in each, bytes of all of each, bytes in front of them.
    int stages, left_bytes, stage_bytes, table_bytes;
    // How x may be read (`Reading`), and whether four elements of all that is as long as the output may be written at once.
    int from_reading, wide;
    // What is done to the sums, and to x behind its normalisation.
    Function function, first;
    // The first image (times the phases, and the phase) of a launch.
    int first_image, padding;
    // From one of a normalisation's factors to the next, of all channels of all images.
    i64 factor_plane;
    // From one output (input) channel of the weights to the next, and from group to group.
    i64 w_to, w_from, w_group;
};

// Pixels of an output that see the same elements of the kernel, and where what they need begins.
struct Phase {
    int to_row, to_column, rows, columns, first_tap, taps, first_packed, window_row, window_column, padding;
};

// One element of the kernel: the pixel it meets, seen from the first pixel of the phase, and where it lies in a kernel.
struct Tap {
    int row, column, place, padding;
};

constexpr int THREADS = 256;

// One tile of a launch's output.
struct TilePlace {
    Phase phase;
    int image, row, column, index;
    // Of the pixel m of the tile.
    __device__ __forceinline__ int i(int m, const ConvSizes& s) const { return row + (m >> s.tile_shift); }
    __device__ __forceinline__ int j(int m, const ConvSizes& s) const { return column + (m & ((1 << s.tile_shift) - 1)); }
    __device__ __forceinline__ bool has(int m, const ConvSizes& s) const { return i(m, s) < phase.rows && j(m, s) < phase.columns; }
};

__device__ __forceinline__ TilePlace tile_place(int z, int tile, int pixels, const Phase* phases, const ConvSizes& s) {
    const int row = tile / s.tiles_across * (pixels >> s.tile_shift), column = tile % s.tiles_across << s.tile_shift;
    return TilePlace{phases[z % s.phases], z / s.phases, row, column, tile};
}

// How many numbers, their mean and the sum of squared distances from it.
struct Moments {
    float count, mean, squares;
};

// Both together (Chan, Golub and LeVeque, 1983).
__device__ __forceinline__ Moments join(const Moments& x, const Moments& y) {
    const float count = x.count + y.count;
    if (count == 0.0f) return x;
    const float apart = y.mean - x.mean, share = y.count / count;
    return Moments{count, x.mean + apart * share, x.squares + y.squares + apart * apart * x.count * share};
}

// What is added to, done to and kept of the sums.
template <class T>
struct Tail {
    const T *bias, *residual;
    T* y;
    float* before;
    // Of each tile and channel how many, their mean and squared distances from it: (batch, tiles, channels).
    Moments* moments;
};

// Finishes M × N sums that lie `pitch` apart in `held`: the channels from `channel` on, `channels` in all of which this
// run ends at `end`. UNIT neighbours are written at once. Moments are taken around a lane's first value and then lane by lane.
template <class T, int M, int N, int UNIT>
__device__ __forceinline__ void finish_tile(float* held, int pitch, const TilePlace& place, int channel, int end, int channels,
                                            const Tail<T>& tail, const ConvSizes& s) {
    constexpr int UNITS = N / UNIT, LANES = THREADS / UNITS;
    typedef Pack<T, UNIT> Neighbours;
    const int own = threadIdx.x % UNITS * UNIT, lane = threadIdx.x / UNITS;
    float near[UNIT], sums[UNIT] = {}, squares[UNIT] = {}, bias[UNIT] = {}, count = 0.0f;
    if (channel + own < end && tail.bias)
        for (int k = 0; k < UNIT; ++k) bias[k] = to_float(tail.bias[channel + own + k]);
#pragma unroll 1
    for (int m = lane; m < M; m += LANES) {
        if (channel + own >= end || !place.has(m, s)) continue;
        const i64 row = place.phase.to_row + place.i(m, s) * s.to_step[0];
        const i64 column = place.phase.to_column + place.j(m, s) * s.to_step[1];
        const i64 at = ((place.image * i64(s.to_rows) + row) * s.to_columns + column) * channels + channel + own;
        Pack<float, UNIT> y = *reinterpret_cast<const Pack<float, UNIT>*>(held + m * pitch + own);
        for (int k = 0; k < UNIT; ++k) y.of[k] += bias[k];
        if (tail.residual) {
            const Neighbours residual = *reinterpret_cast<const Neighbours*>(tail.residual + at);
            for (int k = 0; k < UNIT; ++k) y.of[k] += to_float(residual.of[k]);
        }
        if (tail.before) *reinterpret_cast<Pack<float, UNIT>*>(tail.before + at) = y;
        Neighbours rounded;
        for (int k = 0; k < UNIT; ++k) {
            const float value = apply(s.function, y.of[k]);
            if (count == 0.0f) near[k] = value;
            sums[k] += value - near[k];
            squares[k] += (value - near[k]) * (value - near[k]);
            rounded.of[k] = from_float<T>(value);
        }
        *reinterpret_cast<Neighbours*>(tail.y + at) = rounded;
        count += 1.0f;
    }
    if (!tail.moments) return;
    __syncthreads();
    Moments* scratch = reinterpret_cast<Moments*>(held);
    for (int k = 0; k < UNIT; ++k) {
        const float mean = count == 0.0f ? 0.0f : near[k] + sums[k] / count;
        const float around = count == 0.0f ? 0.0f : squares[k] - sums[k] * sums[k] / count;
        scratch[lane * N + own + k] = Moments{count, mean, fmaxf(around, 0.0f)};
    }
    __syncthreads();
    const i64 tiles = i64(s.tiles_down) * s.tiles_across;
    Moments* to = tail.moments + (place.image * tiles + place.index) * channels + channel;
    for (int n = threadIdx.x; n < N && channel + n < end; n += THREADS) {
        Moments all = scratch[n];
        for (int from = 1; from < LANES; ++from) all = join(all, scratch[from * N + n]);
        to[n] = all;
    }
}

template <class T, int M, int N>
__device__ __forceinline__ void finish_any(float* held, int pitch, const TilePlace& place, int channel, int end, int channels,
                                           const Tail<T>& tail, const ConvSizes& s) {
    if (s.wide) finish_tile<T, M, N, 4>(held, pitch, place, channel, end, channels, tail, s);
    else finish_tile<T, M, N, 1>(held, pitch, place, channel, end, channels, tail, s);
}
