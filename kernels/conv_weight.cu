// Gradients of a convolution's weights and bias: sums over all pixels of the products of dy and x.
//
// conv_weight_<o>_<c>  one block o output by c input channels and some elements of the kernel, for a part of the tiles
//                      of pixels: dy and the pixels of x that the tile sees lie in shared memory once, in two buffers,
//                      and each warp sums for one element of the kernel. Reads x and dy once for every block of
//                      channels; writes each part's sums.
// conv_weight_direct   runs of few channels: one thread an element and a part of the pixels, straight from memory.
// conv_weight_fold     all parts in f64, in one order: the same bits in every run.
#include "tiles.cuh"

struct WeightSizes {
    // Images, runs of channels that do not see each other, and channels of one run.
    int batch, groups, from_channels, to_channels;
    int from_rows, from_columns, to_rows, to_columns;
    int step[2];
    // Elements of the kernel, and how many runs of them blocks take.
    int taps, tap_groups;
    // Tiles of pixels: how many of them, their pixels, the binary logarithm of their columns, and what of x they see.
    int tiles_down, tiles_across, pixels, tile_shift, window_rows, window_columns;
    // Parts of the tiles, and parts of each tile's pixels.
    int parts, splits;
    // How x and dy may be read (`Reading`); buffers.
    int from_reading, to_reading, stages, padding;
};

// Some elements of the kernel, and the first pixel that they see.
struct TapGroup {
    int first, taps, window_row, window_column;
};
struct Tap {
    int row, column, place, padding;
};

// The most threads of a block: nine elements of a kernel, a warp each.
constexpr int MOST_THREADS = 288;

// One pixel's channels from `channel` on, `LANES` times 16 bytes of them; zeros where there is nothing.
template <class T, int CHANNELS>
struct Lines {
    static constexpr int PITCH = CHANNELS * sizeof(T) + PITCH_PAD;
    const T* from;
    int rows, columns, channels;
    i64 pixel;
    int reading;
    // A window of `height` × `width` pixels whose first is (row, column).
    __device__ __forceinline__ void load(u8* to, int image, int row, int column, int height, int width) const {
        if (reading == DENSE)
            return DenseWindow<T>{from + i64(image) * rows * columns * pixel, rows, columns, channels}.load(to, PITCH, row, column,
                                                                                                         height, width);
        const int step = reading == WIDE ? Wide<T>::LEN : 1, lanes = CHANNELS / step;
#pragma unroll 4
        for (int e = threadIdx.x; e < height * width * lanes; e += blockDim.x) {
            const int at = e / lanes, channel = e % lanes * step, r = row + at / width, c = column + at % width;
            const bool valid = channel < channels && unsigned(r) < unsigned(rows) && unsigned(c) < unsigned(columns);
            const T* own = valid ? from + ((i64(image) * rows + r) * columns + c) * pixel + channel : from;
            u8* place = to + at * PITCH + channel * sizeof(T);
            if (reading == WIDE) copy_16(place, own, valid ? 16 : 0);
            else *reinterpret_cast<T*>(place) = valid ? *own : from_float<T>(0.0f);
        }
    }
};

template <class T, int MI, int NI>
struct ConvWeight {
    static constexpr int O = 16 * MI, C = 8 * NI;
    typedef WarpTile<T, MI, NI> Tile;
    typedef Lines<T, O> Left;
    typedef Lines<T, C> Right;

    // What of the gradients a block sums.
    struct Block {
        int group, to, from;
        bool first;
        TapGroup taps;
    };

    static __device__ __forceinline__ void load(u8* held, const Left& dy, const Right& x, const Block& block, int tile,
                                                const WeightSizes& s) {
        const int image = tile / (s.tiles_down * s.tiles_across), at = tile % (s.tiles_down * s.tiles_across);
        const int height = s.pixels >> s.tile_shift, width = 1 << s.tile_shift;
        const int row = at / s.tiles_across * height, column = at % s.tiles_across * width;
        dy.load(held, image, row, column, height, width);
        x.load(held + s.pixels * Left::PITCH, image, row * s.step[0] + block.taps.window_row,
               column * s.step[1] + block.taps.window_column, s.window_rows, s.window_columns);
    }

    static __device__ __forceinline__ void multiply(Tile& sums, const u8* held, int offset, int split, const WeightSizes& s) {
        const u8* window = held + s.pixels * Left::PITCH + offset;
        const int mask = (1 << s.tile_shift) - 1, down = s.step[0] * s.window_columns;
        for (int first = split * DEPTH; first < s.pixels; first += s.splits * DEPTH)
            sums.columns_columns([&](int k) { return held + (first + k) * Left::PITCH; },
                                 [&](int k) {
                                     const int m = first + k;
                                     return window + ((m >> s.tile_shift) * down + (m & mask) * s.step[1]) * Right::PITCH;
                                 });
    }

    // Adds one channel's dy of some of a tile's pixels.
    static __device__ __forceinline__ float bias_sum(const u8* held, const WeightSizes& s) {
        const int own = threadIdx.x % O, lane = threadIdx.x / O, lanes = blockDim.x / O;
        float sum = 0.0f;
        if (lane < lanes)
            for (int m = lane; m < s.pixels; m += lanes)
                sum += to_float(*reinterpret_cast<const T*>(held + m * Left::PITCH + own * sizeof(T)));
        return sum;
    }

    static __device__ __forceinline__ void put_bias(float* scratch, float sum, float* to, int valid) {
        const int lanes = blockDim.x / O;
        if (threadIdx.x < lanes * O) scratch[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x >= O || int(threadIdx.x) >= valid) return;
        for (int lane = 1; lane < lanes; ++lane) sum += scratch[lane * O + threadIdx.x];
        to[threadIdx.x] = sum;
    }

    static __device__ __forceinline__ void put(const Tile& sums, float* parts, int split, const Tap& tap, const Block& block,
                                               const WeightSizes& s) {
        const int row = s.from_channels * s.taps, valid = s.to_channels - block.to, valid_from = s.from_channels - block.from;
        const i64 len = i64(s.groups) * s.to_channels * row, first = i64(block.group * s.to_channels + block.to) * row;
        float* to = parts + (i64(blockIdx.x) * s.splits + split) * len + first + block.from * s.taps + tap.place;
        each_pair(sums, [&](int o, int c, float one, float two) {
            float* own = to + o * row + c * s.taps;
            if (o < valid && c < valid_from) *own = one;
            if (o < valid && c + 1 < valid_from) own[s.taps] = two;
        });
    }

    static __device__ __forceinline__ Block block_of(const TapGroup* groups, const WeightSizes& s) {
        const int from_tiles = (s.from_channels + C - 1) / C, y = blockIdx.y;
        const int rest = y / from_tiles, group = rest % s.tap_groups, to = rest / s.tap_groups;
        return Block{int(blockIdx.z), to * O, y % from_tiles * C, y % from_tiles == 0 && group == 0, groups[group]};
    }

    static __device__ __forceinline__ void run(const T* x, const T* dy, float* parts, float* bias_parts,
                                               const TapGroup* groups, const Tap* taps, const WeightSizes& s) {
        SHARED_BYTES(shared);
        const Block block = block_of(groups, s);
        const int all_from = s.groups * s.from_channels, all_to = s.groups * s.to_channels;
        const int from = block.group * s.from_channels + block.from, to = block.group * s.to_channels + block.to;
        const Left left{dy + to, s.to_rows, s.to_columns, s.to_channels - block.to, all_to, s.to_reading};
        const Right right{x + from, s.from_rows, s.from_columns, s.from_channels - block.from, all_from, s.from_reading};
        const int warp = threadIdx.x / 32, split = warp % s.splits, own = warp / s.splits;
        const bool busy = own < block.taps.taps;
        const Tap tap = taps[block.taps.first + (busy ? own : 0)];
        const int offset =
            ((tap.row - block.taps.window_row) * s.window_columns + tap.column - block.taps.window_column) * Right::PITCH;
        const int stage = s.pixels * Left::PITCH + s.window_rows * s.window_columns * Right::PITCH;
        const int tiles = s.batch * s.tiles_down * s.tiles_across, ahead = s.stages - 1;
        Tile sums;
        clear(sums);
        float bias = 0.0f;
        if (ahead) load(shared, left, right, block, blockIdx.x, s);
        close_copies();
        int turn = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += s.parts, turn ^= ahead) {
            if (!ahead) load(shared, left, right, block, tile, s), close_copies();
            await_copies<0>();
            __syncthreads();
            if (ahead && tile + s.parts < tiles) load(shared + (turn ^ 1) * stage, left, right, block, tile + s.parts, s);
            close_copies();
            const u8* held = shared + turn * stage;
            if (busy) multiply(sums, held, offset, split, s);
            if (block.first) bias += bias_sum(held, s);
            if (!ahead) __syncthreads();
        }
        await_copies<0>();
        __syncthreads();
        if (busy) put(sums, parts, split, tap, block, s);
        if (block.first)
            put_bias(reinterpret_cast<float*>(shared), bias, bias_parts + i64(blockIdx.x) * all_to + to, s.to_channels - block.to);
    }
};

#define CONV_WEIGHT(o, c, blocks, suffix, T)                                                                     \
    extern "C" __global__ void __launch_bounds__(MOST_THREADS, blocks) conv_weight_##o##_##c##_##suffix(              \
        const T* x, const T* dy, float* parts, float* bias_parts, const TapGroup* groups, const Tap* taps,       \
        WeightSizes s) {                                                                                         \
        ConvWeight<T, o / 16, c / 8>::run(x, dy, parts, bias_parts, groups, taps, s);                            \
    }
#define CONV_WEIGHTS(suffix, T)     \
    CONV_WEIGHT(16, 16, 3, suffix, T)  \
    CONV_WEIGHT(16, 32, 2, suffix, T)  \
    CONV_WEIGHT(32, 32, 2, suffix, T)  \
    CONV_WEIGHT(64, 16, 2, suffix, T)  \
    CONV_WEIGHT(64, 32, 1, suffix, T)
EACH_DTYPE(CONV_WEIGHTS)

// One element of the weights, or of the bias, a thread; neighbours have neighbouring output channels.
template <class T>
__device__ __forceinline__ void conv_weight_direct(const T* x, const T* dy, float* parts, float* bias_parts, const Tap* taps,
                                                   const WeightSizes& s) {
    const int all_to = s.groups * s.to_channels, weights = s.taps * s.from_channels;
    const i64 all_from = i64(s.groups) * s.from_channels, rows = i64(s.batch) * s.to_rows;
    const i64 first = rows * blockIdx.y / s.parts, end = rows * (blockIdx.y + 1) / s.parts;
    for (i64 e = grid_thread(); e < i64(weights + 1) * all_to; e += grid_threads()) {
        const int to = e % all_to, row = e / all_to, from = row / s.taps, group = to / s.to_channels;
        const bool is_bias = row == weights;
        const Tap tap = taps[is_bias ? 0 : row % s.taps];
        double sum = 0.0;
        for (i64 line = first; line < end; ++line) {
            const i64 r = line % s.to_rows * s.step[0] + tap.row;
            if (!is_bias && (r < 0 || r >= s.from_rows)) continue;
            const T* d = dy + line * s.to_columns * all_to + to;
            const T* own = x + (line / s.to_rows * s.from_rows + r) * s.from_columns * all_from + group * s.from_channels + from;
            float part = 0.0f;
            for (int column = 0; column < s.to_columns; ++column) {
                const int c = column * s.step[1] + tap.column;
                if (is_bias) part += to_float(d[i64(column) * all_to]);
                else if (unsigned(c) < unsigned(s.from_columns))
                    part += to_float(d[i64(column) * all_to]) * to_float(own[c * all_from]);
            }
            sum += part;
        }
        if (is_bias) bias_parts[i64(blockIdx.y) * all_to + to] = float(sum);
        else parts[(i64(blockIdx.y) * all_to + to) * weights + i64(from) * s.taps + tap.place] = float(sum);
    }
}

// y[i] = Σ parts[part][i]: eight threads an element share its parts.
template <class T>
__device__ __forceinline__ void conv_weight_fold(const float* parts, T* y, i64 len, int count) {
    __shared__ double sums[256];
    const int lane = threadIdx.x / 32;
    for (i64 first = i64(blockIdx.x) * 32; first < len; first += i64(gridDim.x) * 32) {
        const i64 i = first + threadIdx.x % 32;
        double sum = 0.0;
        if (i < len)
            for (int part = lane; part < count; part += 8) sum += parts[part * len + i];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (lane == 0 && i < len) {
            for (int other = 1; other < 8; ++other) sum += sums[threadIdx.x + 32 * other];
            y[i] = from_float<T>(float(sum));
        }
        __syncthreads();
    }
}

#define CONV_WEIGHT_OTHER(suffix, T)                                                                             \
    extern "C" __global__ void conv_weight_direct_##suffix(const T* x, const T* dy, float* parts,                \
                                                           float* bias_parts, const Tap* taps, WeightSizes s) {  \
        conv_weight_direct(x, dy, parts, bias_parts, taps, s);                                                   \
    }                                                                                                            \
    extern "C" __global__ void conv_weight_fold_##suffix(const float* parts, T* y, i64 len, int count) {         \
        conv_weight_fold(parts, y, len, count);                                                                  \
    }
EACH_DTYPE(CONV_WEIGHT_OTHER)
