// Gradients of a convolution's weights and bias: sums over all pixels of the products of dy and x.
//
// conv_weight_<o>_<c>  one block o output by c input channels and some elements of the kernel, for a part of the tiles
//                      of pixels: dy and the pixels of x that the tile sees lie in shared memory once, in two buffers,
//                      and each warp sums for one element of the kernel. Reads x and dy once for every block of
//                      channels; writes each part's sums. _normed: x is normalised, and passed through SiLU, as it is
//                      read. _split: dy is f32 where x is bf16. What is no bf16 there is multiplied as two of them, but
//                      for the product of what their nearest ones leave.
// conv_weight_direct   runs of few channels: one thread an element and a part of the pixels, straight from memory.
// conv_weight_fold     all parts in f64, in one order: the same bits in every run.
#include "parts.cuh"
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
    int from_reading, to_reading, stages;
    // What is done to x behind its normalisation.
    Function first;
    // From one of its factors to the next, of all channels of all images.
    i64 factor_plane;
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

// An operand of type X that lies in an array of images: the channels that a block sees of the pixels of a window.
template <class X>
struct Pixels {
    const X* from;
    // Of the images; channels that there are for this block, and from one pixel to the next.
    int rows, columns, channels;
    i64 pixel;
    int reading;
    // Of the normalisation of this block's channels: of the first image, from image to image, and from one to the next.
    const float* factors;
    i64 factor_image, factor_plane;
    Function first;

    __device__ __forceinline__ bool inside(int r, int c) const { return unsigned(r) < unsigned(rows) && unsigned(c) < unsigned(columns); }
    __device__ __forceinline__ const X* at(int image, int r, int c) const { return from + ((i64(image) * rows + r) * columns + c) * pixel; }
};

// Pixels of an image from (row, column) on.
struct Window {
    int image, row, column, height, width;
};

// How a window's pixels become `PLANES` of CHANNELS numbers of type T each, one behind the other; zeros where there is
// nothing. Worked on as they are read: normalised, and as two where they are no bf16.
template <class X, class T, int CHANNELS, bool NORMED>
struct Operand {
    static constexpr bool SPLIT = SAME<T, bf16>;
    static constexpr int PITCH = CHANNELS * sizeof(T) + PITCH_PAD, PLANES = SPLIT ? 2 : 1;

    // Pixels that a thread reads before it works on the first of them.
    static constexpr int AHEAD = 8 / sizeof(X);

    // A thread reads the same channels of all its pixels.
    template <int LEN>
    static __device__ __forceinline__ void load_some(u8* to, const Pixels<X>& x, const Window& window) {
        constexpr int LANES = CHANNELS / LEN;
        const int channel = threadIdx.x % LANES * LEN, step = blockDim.x / LANES, pixels = window.height * window.width;
        const float* factors = x.factors + window.image * x.factor_image + channel;
        // Where threads are no multiple of the lanes, the last ones have no pixel.
        const int first = threadIdx.x / LANES < step ? threadIdx.x / LANES : pixels;
#pragma unroll 1
        for (int e = first; e < pixels; e += AHEAD * step) {
            Pack<X, LEN> read[AHEAD];
            bool inside[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                const int own = e + i * step, r = window.row + own / window.width, c = window.column + own % window.width;
                inside[i] = own < pixels && channel < x.channels && x.inside(r, c);
                if (inside[i]) read[i] = *reinterpret_cast<const Pack<X, LEN>*>(x.at(window.image, r, c) + channel);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) {
                if (e + i * step >= pixels) break;
                float values[LEN] = {};
                if (inside[i]) {
#pragma unroll
                    for (int k = 0; k < LEN; ++k) values[k] = to_float(read[i].of[k]);
                    if (NORMED) Factors<LEN>(factors, x.factor_plane).apply(values, x.first);
                }
                put_parts<T, SPLIT>(to + (e + i * step) * PITCH + channel * sizeof(T), pixels * PITCH, values);
            }
        }
    }

    static __device__ __forceinline__ void load(u8* to, const Pixels<X>& x, const Window& window) {
        if (x.reading == WIDE) load_some<SOME>(to, x, window);
        else load_some<1>(to, x, window);
    }
};

// Copied as they are.
template <class T, int CHANNELS>
struct Operand<T, T, CHANNELS, false> {
    static constexpr int PITCH = CHANNELS * sizeof(T) + PITCH_PAD, PLANES = 1;

    static __device__ __forceinline__ void load(u8* to, const Pixels<T>& x, const Window& window) {
        const int step = x.reading == WIDE ? Wide<T>::LEN : 1, lanes = CHANNELS / step;
        if (x.reading == DENSE)
            return DenseWindow<T>{x.at(window.image, 0, 0), x.rows, x.columns, x.channels}.load(to, PITCH, window.row, window.column,
                                                                                             window.height, window.width);
#pragma unroll 4
        for (int e = threadIdx.x; e < window.height * window.width * lanes; e += blockDim.x) {
            const int at = e / lanes, channel = e % lanes * step;
            const int r = window.row + at / window.width, c = window.column + at % window.width;
            const bool valid = channel < x.channels && x.inside(r, c);
            const T* own = valid ? x.at(window.image, r, c) + channel : x.from;
            u8* place = to + at * PITCH + channel * sizeof(T);
            if (step > 1) copy_16(place, own, valid ? 16 : 0);
            else *reinterpret_cast<T*>(place) = valid ? *own : from_float<T>(0.0f);
        }
    }
};

// Products of type T of dy, of type D, and x, of type X, as it is or normalised.
template <class X, class D, class T, bool NORMED, int MI, int NI>
struct ConvWeight {
    static constexpr int O = 16 * MI, C = 8 * NI;
    typedef WarpTile<T, MI, NI> Tile;
    typedef Operand<D, T, O, false> Left;
    typedef Operand<X, T, C, NORMED> Right;

    // What of the gradients a block sums.
    struct Block {
        int group, to, from;
        bool first;
        TapGroup taps;
    };

    static __device__ __forceinline__ int left_bytes(const WeightSizes& s) { return Left::PLANES * s.pixels * Left::PITCH; }
    static __device__ __forceinline__ int window_bytes(const WeightSizes& s) { return s.window_rows * s.window_columns * Right::PITCH; }

    static __device__ __forceinline__ void load(u8* held, const Pixels<D>& dy, const Pixels<X>& x, const Block& block, int tile,
                                                const WeightSizes& s) {
        const int image = tile / (s.tiles_down * s.tiles_across), at = tile % (s.tiles_down * s.tiles_across);
        const int height = s.pixels >> s.tile_shift, width = 1 << s.tile_shift;
        const int row = at / s.tiles_across * height, column = at % s.tiles_across * width;
        Left::load(held, dy, Window{image, row, column, height, width});
        Right::load(held + left_bytes(s), x, Window{image, row * s.step[0] + block.taps.window_row,
                                                    column * s.step[1] + block.taps.window_column, s.window_rows, s.window_columns});
    }

    static __device__ __forceinline__ void multiply(Tile& sums, const u8* held, int offset, int split, const WeightSizes& s) {
        const u8* window = held + left_bytes(s) + offset;
        const int mask = (1 << s.tile_shift) - 1, down = s.step[0] * s.window_columns;
        for (int first = split * DEPTH; first < s.pixels; first += s.splits * DEPTH)
#pragma unroll
            for (int pair = 0; pair < Left::PLANES + Right::PLANES - 1; ++pair) {
                const int of_left = pair < Left::PLANES ? pair : 0, of_right = pair < Left::PLANES ? 0 : 1;
                const u8 *left = held + of_left * s.pixels * Left::PITCH, *right = window + of_right * window_bytes(s);
                sums.columns_columns([&](int k) { return left + (first + k) * Left::PITCH; },
                                     [&](int k) {
                                         const int m = first + k;
                                         return right + ((m >> s.tile_shift) * down + (m & mask) * s.step[1]) * Right::PITCH;
                                     });
            }
    }

    // Adds one channel's dy of some of a tile's pixels.
    static __device__ __forceinline__ float bias_sum(const u8* held, const WeightSizes& s) {
        const int own = threadIdx.x % O, lane = threadIdx.x / O, lanes = blockDim.x / O;
        float sum = 0.0f;
        if (lane < lanes)
            for (int m = lane; m < Left::PLANES * s.pixels; m += lanes)
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

    static __device__ __forceinline__ void run(const X* x, const D* dy, const float* factors, float* parts, float* bias_parts,
                                               const TapGroup* groups, const Tap* taps, const WeightSizes& s) {
        SHARED_BYTES(shared);
        const Block block = block_of(groups, s);
        const int all_from = s.groups * s.from_channels, all_to = s.groups * s.to_channels;
        const int from = block.group * s.from_channels + block.from, to = block.group * s.to_channels + block.to;
        const Pixels<D> left{dy + to, s.to_rows, s.to_columns, s.to_channels - block.to, all_to, s.to_reading};
        const Pixels<X> right{x + from, s.from_rows, s.from_columns, s.from_channels - block.from, all_from, s.from_reading,
                              factors + from, all_from, s.factor_plane, s.first};
        const int warp = threadIdx.x / 32, split = warp % s.splits, own = warp / s.splits;
        const bool busy = own < block.taps.taps;
        const Tap tap = taps[block.taps.first + (busy ? own : 0)];
        const int offset =
            ((tap.row - block.taps.window_row) * s.window_columns + tap.column - block.taps.window_column) * Right::PITCH;
        const int stage = left_bytes(s) + Right::PLANES * window_bytes(s);
        const int tiles = s.batch * s.tiles_down * s.tiles_across, ahead = s.stages - 1;
        Tile sums;
        clear(sums);
        float bias = 0.0f;
        // With two buffers, a first turn only reads.
        for (int tile = int(blockIdx.x) - ahead * s.parts, turn = 0; tile < tiles; tile += s.parts, turn ^= ahead) {
            if (ahead) await_copies<0>(), __syncthreads();
            const int next = tile + ahead * s.parts;
            if (next < tiles) load(shared + (turn ^ ahead) * stage, left, right, block, next, s);
            close_copies();
            if (!ahead) await_copies<0>(), __syncthreads();
            if (tile < 0) continue;
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

#define CONV_WEIGHT(o, c, blocks, suffix, X, D, T, normed)                                                            \
    extern "C" __global__ void __launch_bounds__(MOST_THREADS, blocks) conv_weight_##o##_##c##_##suffix(              \
        const X* x, const D* dy, const float* factors, float* parts, float* bias_parts, const TapGroup* groups,       \
        const Tap* taps, WeightSizes s) {                                                                             \
        ConvWeight<X, D, T, normed, o / 16, c / 8>::run(x, dy, factors, parts, bias_parts, groups, taps, s);          \
    }
// As many sums, and blocks beside each other, as registers allow.
#define CONV_WEIGHTS(o, c, blocks)                                                                                    \
    CONV_WEIGHT(o, c, blocks, f32, float, float, float, false)                                                        \
    CONV_WEIGHT(o, c, blocks, bf16, bf16, bf16, bf16, false)
#define CONV_WEIGHTS_WORKED(o, c, blocks)                                                                             \
    CONV_WEIGHT(o, c, blocks, normed_f32, float, float, float, true)                                                  \
    CONV_WEIGHT(o, c, blocks, split_bf16, bf16, float, bf16, false)                                                   \
    CONV_WEIGHT(o, c, blocks, normed_bf16, bf16, bf16, bf16, true)                                                    \
    CONV_WEIGHT(o, c, blocks, normed_split_bf16, bf16, float, bf16, true)
CONV_WEIGHTS(16, 16, 3)
CONV_WEIGHTS(16, 32, 2)
CONV_WEIGHTS(32, 32, 2)
CONV_WEIGHTS(64, 16, 2)
CONV_WEIGHTS(64, 32, 1)
CONV_WEIGHTS_WORKED(16, 16, 2)
CONV_WEIGHTS_WORKED(16, 32, 2)
CONV_WEIGHTS_WORKED(32, 32, 1)

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
