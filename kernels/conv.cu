// Convolutions of images that lie channels-last, and their data gradients: (N, H, W, C) with packed weights.
//
// conv_pack        weights as (group, kernel element and input channel, output channel), filled up with zeros; reads and
//                  writes them once.
// conv_tile_<m>_<n> one block m pixels by n output channels. Narrow layers: the pixels that a tile sees lie in shared
//                  memory once, 64 bytes of channels at a time, and all elements of the kernel read them there; reads x
//                  once and the halo again. Wide layers, strides and few channels: the index that is summed is (kernel
//                  element, channel), and each piece of it is gathered for itself, through the second cache.
// conv_direct      runs of few channels: one thread a channel and eight pixels, straight from memory.
// conv_moments     one block an image and channel: the moments of its tiles together in f64, in one order.
//                  _normed: x is normalised, and passed through SiLU, as it is read. _split: x and the result are f32 where
//                  the weights are bf16. A number that is no bf16 is multiplied as two of them, its nearest one and what
//                  that leaves: at most 2^-17 of it is lost. Other tiles copy x as it is.
// Sums go through shared memory in f32, so that bias, residual, activation and moments see whole lines of channels.
#include "conv.cuh"

template <class T>
__device__ __forceinline__ void conv_pack(const T* w, T* packed, const Phase* phases, const Tap* taps, const ConvSizes& s) {
    const i64 per_group = i64(s.packed_rows) * s.packed_columns;
    for (i64 at = grid_thread(); at < per_group * s.groups; at += grid_threads()) {
        const int group = at / per_group, row = at % per_group / s.packed_columns, to = at % s.packed_columns;
        int of = s.phases - 1;
        while (of > 0 && phases[of].first_packed > row) --of;
        const int k = row - phases[of].first_packed, tap = k / s.tap_len, from = k % s.tap_len;
        const bool valid = tap < phases[of].taps && from < s.from_channels && to < s.to_channels;
        const i64 channel = group * s.w_group + to * s.w_to + from * s.w_from;
        packed[at] = valid ? w[channel + taps[phases[of].first_tap + tap].place] : from_float<T>(0.0f);
    }
}

// Products of x, as it is or normalised, with weights of type T.
template <class X, class T, bool NORMED, int WARPS_M, int WARPS_N, int NI>
struct ConvTile {
    // Whether x is copied as it is; whether numbers are held as two parts, one plane behind the other.
    static constexpr bool COPIED = SAME<X, T> && !NORMED, SPLIT = SAME<T, bf16> && !COPIED;
    static constexpr int M = 32 * WARPS_M, N = 8 * NI * WARPS_N, PITCH = N + 4;
    static constexpr int RIGHT_PITCH = N * sizeof(T) + PITCH_PAD;
    typedef WarpTile<T, 2, NI> Tile;

    // The pixels and channels of one tile, and its weights.
    struct Source {
        const X* x;
        const T* packed;
        // In shared memory: mean, slope, offset and addend, each of all channels.
        const float* factors;
        const Phase* phase;
        const Tap* taps;
        int row, column;
        const ConvSizes& s;

        __device__ __forceinline__ int pitch() const { return s.chunk * sizeof(T) + PITCH_PAD; }
        __device__ __forceinline__ int passes() const {
            const int len = s.window_rows ? (phase->taps ? s.from_channels : 0) : phase->taps * s.from_channels;
            return (len + s.chunk - 1) / s.chunk;
        }

        // Some channels from `channel` on of the pixel (r, c), zeros outside of the image or of what is valid.
        __device__ __forceinline__ void put(u8* to, int r, int c, int channel, bool valid) const {
            valid = valid && unsigned(r) < unsigned(s.from_rows) && unsigned(c) < unsigned(s.from_columns);
            const X* from = valid ? x + (i64(r) * s.from_columns + c) * (i64(s.from_channels) * s.groups) + channel : x;
            if (s.from_reading == WIDE) copy_16(to, from, valid ? 16 : 0);
            else *reinterpret_cast<X*>(to) = valid ? *from : from_float<X>(0.0f);
        }

        // The same where something is done to them on the way.
        template <int LEN>
        __device__ __forceinline__ void work(u8* to, int r, int c, int channel, bool valid) const {
            float values[LEN] = {};
            if (valid && unsigned(r) < unsigned(s.from_rows) && unsigned(c) < unsigned(s.from_columns)) {
                const X* from = x + (i64(r) * s.from_columns + c) * (i64(s.from_channels) * s.groups) + channel;
                const Pack<X, LEN> read = *reinterpret_cast<const Pack<X, LEN>*>(from);
#pragma unroll
                for (int k = 0; k < LEN; ++k) values[k] = to_float(read.of[k]);
                if (NORMED) Factors<LEN>(factors + channel, s.from_channels).apply(values, s.first);
            }
            put_parts<T, SPLIT>(to, s.left_bytes / 2, values);
        }

        __device__ __forceinline__ void load_window(u8* to, int pass) const {
            const int top = row * s.from_step[0] + phase->window_row, left = column * s.from_step[1] + phase->window_column;
            if (s.from_reading == DENSE)
                return DenseWindow<X>{x, s.from_rows, s.from_columns, s.from_channels}.load(to, pitch(), top, left, s.window_rows,
                                                                                          s.window_columns);
            const int width = s.from_reading == WIDE ? Wide<X>::LEN : 1, lanes = s.chunk / width;
            const int own = threadIdx.x % lanes * width, channel = pass * s.chunk + own;
            const int step = THREADS / lanes, down = step / s.window_columns, across = step % s.window_columns;
            int r = threadIdx.x / lanes / s.window_columns, c = threadIdx.x / lanes % s.window_columns;
#pragma unroll 2
            for (int pixel = threadIdx.x / lanes; pixel < s.window_rows * s.window_columns; pixel += step) {
                put(to + pixel * pitch() + own * int(sizeof(T)), top + r, left + c, channel, channel < s.from_channels);
                r += down;
                c += across;
                if (c >= s.window_columns) c -= s.window_columns, ++r;
            }
        }

        template <int LEN>
        __device__ __forceinline__ void work_window(u8* to, int pass) const {
            const int top = row * s.from_step[0] + phase->window_row, left = column * s.from_step[1] + phase->window_column;
            const int lanes = s.chunk / LEN, own = threadIdx.x % lanes * LEN, channel = pass * s.chunk + own;
#pragma unroll 2
            for (int pixel = threadIdx.x / lanes; pixel < s.window_rows * s.window_columns; pixel += THREADS / lanes)
                work<LEN>(to + pixel * pitch() + own * int(sizeof(T)), top + pixel / s.window_columns,
                          left + pixel % s.window_columns, channel, channel < s.from_channels);
        }

        __device__ __forceinline__ void load_gathered(u8* to, int pass) const {
            const int width = s.from_reading == WIDE ? Wide<X>::LEN : 1, lanes = s.chunk / width;
            const int own = threadIdx.x % lanes * width, k = pass * s.chunk + own;
            const int tap = k / s.from_channels, channel = k % s.from_channels;
            const bool valid = tap < phase->taps;
            const Tap at = taps[valid ? tap : 0];
#pragma unroll 4
            for (int m = threadIdx.x / lanes; m < M; m += THREADS / lanes) {
                const int r = (row + (m >> s.tile_shift)) * s.from_step[0] + at.row;
                const int c = (column + (m & ((1 << s.tile_shift) - 1))) * s.from_step[1] + at.column;
                put(to + m * pitch() + own * int(sizeof(T)), r, c, channel, valid);
            }
        }

        template <int LEN>
        __device__ __forceinline__ void work_gathered(u8* to, int pass) const {
            const int lanes = s.chunk / LEN, own = threadIdx.x % lanes * LEN, k = pass * s.chunk + own;
            const int tap = k / s.from_channels;
            const bool valid = tap < phase->taps;
            const Tap at = taps[valid ? tap : 0];
#pragma unroll 2
            for (int m = threadIdx.x / lanes; m < M; m += THREADS / lanes) {
                const int r = (row + (m >> s.tile_shift)) * s.from_step[0] + at.row;
                const int c = (column + (m & ((1 << s.tile_shift) - 1))) * s.from_step[1] + at.column;
                work<LEN>(to + m * pitch() + own * int(sizeof(T)), r, c, k % s.from_channels, valid);
            }
        }

        __device__ __forceinline__ void load_pixels(u8* to, int pass) const {
            if constexpr (COPIED) {
                if (s.window_rows) load_window(to, pass);
                else load_gathered(to, pass);
            } else if (s.from_reading == WIDE) {
                if (s.window_rows) work_window<SOME>(to, pass);
                else work_gathered<SOME>(to, pass);
            } else {
                if (s.window_rows) work_window<1>(to, pass);
                else work_gathered<1>(to, pass);
            }
        }

        __device__ __forceinline__ void load_weights(u8* to, int pass) const {
            constexpr int VECTORS = N * sizeof(T) / 16;
            const int rows = (s.window_rows ? phase->taps : 1) * s.chunk, first = pass * s.chunk;
            for (int e = threadIdx.x; e < rows * VECTORS; e += THREADS) {
                const int line = e / VECTORS, tap = line / s.chunk, k = first + line % s.chunk;
                const bool valid = !s.window_rows || k < s.tap_len;
                const i64 from = (i64(valid ? tap * s.tap_len + k : 0) + phase->first_packed) * s.packed_columns;
                copy_16(to + line * RIGHT_PITCH + e % VECTORS * 16, packed + from + e % VECTORS * Wide<T>::LEN, valid ? 16 : 0);
            }
        }

        __device__ __forceinline__ void load(u8* buffers, int pass) const {
            u8* to = buffers + pass % s.stages * s.stage_bytes;
            load_pixels(to, pass);
            load_weights(to + s.left_bytes, pass);
        }
    };

    static __device__ __forceinline__ void multiply(Tile& tile, const int (&rows)[Tile::LEFT], const u8* held, const int* offsets,
                                                    int pass, const Source& from) {
        const ConvSizes& s = from.s;
        const int warp = threadIdx.x / 32, taps = s.window_rows ? from.phase->taps : 1;
        const int len = s.window_rows ? min(s.chunk, s.tap_len - pass * s.chunk) : s.chunk;
        const u8* right = held + s.left_bytes + warp % WARPS_N * 8 * NI * sizeof(T);
        for (int tap = 0; tap < taps; ++tap) {
            const u8* left = held + (s.window_rows ? offsets[tap] : 0);
            for (int k = 0; k < len; k += DEPTH) {
                const u8 *x = left + k * sizeof(T), *y = right + (tap * s.chunk + k) * RIGHT_PITCH;
                if (SPLIT) tile.rows_columns(x + s.left_bytes / 2, rows, y, RIGHT_PITCH);
                tile.rows_columns(x, rows, y, RIGHT_PITCH);
            }
        }
    }

    static __device__ __forceinline__ void sum(Tile& tile, u8* shared, const Source& from) {
        const ConvSizes& s = from.s;
        int* offsets = reinterpret_cast<int*>(shared);
        u8* buffers = shared + s.table_bytes;
        const int passes = from.passes(), ahead = s.stages - 1, lane = threadIdx.x % 32;
        if (s.window_rows)
            for (int tap = threadIdx.x; tap < from.phase->taps; tap += THREADS) {
                const int r = from.taps[tap].row - from.phase->window_row, c = from.taps[tap].column - from.phase->window_column;
                offsets[tap] = (r * s.window_columns + c) * from.pitch();
            }
        int rows[Tile::LEFT];
#pragma unroll
        for (int i = 0; i < Tile::LEFT; ++i) {
            const int m = threadIdx.x / 32 / WARPS_N * 32 + Tile::left_row(i, lane);
            const int r = (m >> s.tile_shift) * s.from_step[0], c = (m & ((1 << s.tile_shift) - 1)) * s.from_step[1];
            rows[i] = (s.window_rows ? r * s.window_columns + c : m) * from.pitch() + Tile::left_bytes(lane);
        }
        for (int pass = 0; pass < ahead; ++pass) {
            if (pass < passes) from.load(buffers, pass);
            close_copies();
        }
        for (int pass = 0; pass < passes; ++pass) {
            if (ahead == 0) from.load(buffers, pass), close_copies();
            if (ahead == 2) await_copies<1>();
            else await_copies<0>();
            __syncthreads();
            if (ahead > 0 && pass + ahead < passes) from.load(buffers, pass + ahead);
            if (ahead > 0) close_copies();
            multiply(tile, rows, buffers + pass % s.stages * s.stage_bytes, offsets, pass, from);
            if (ahead == 0) __syncthreads();
        }
        await_copies<0>();
        __syncthreads();
    }

    // Copies the factors of an image's channels to shared memory.
    static __device__ __forceinline__ void load_factors(float* to, const float* from, const ConvSizes& s) {
        for (int e = threadIdx.x; e < 4 * s.from_channels; e += THREADS)
            to[e] = from[e / s.from_channels * s.factor_plane + e % s.from_channels];
        __syncthreads();
    }

    static __device__ __forceinline__ void run(const X* x, const T* packed, const float* factors, const Tail<X>& tail,
                                               const Phase* phases, const Tap* taps, const ConvSizes& s) {
        SHARED_BYTES(shared);
        float* held = reinterpret_cast<float*>(shared);
        const int blocks = s.packed_columns / N, first = int(blockIdx.x % blocks) * N, warp = threadIdx.x / 32;
        const i64 group = blockIdx.y, image_len = i64(s.from_rows) * s.from_columns * s.from_channels * s.groups;
        const int z = s.first_image + blockIdx.z;
        const TilePlace place = tile_place(z, blockIdx.x / blocks, M, phases, s);
        if (!place.has(0, s)) return;
        const X* image = x + place.image * image_len + group * s.from_channels;
        float* own_factors = reinterpret_cast<float*>(shared + s.table_bytes) - 4 * s.from_channels;
        if (NORMED) load_factors(own_factors, factors + (place.image * s.groups + group) * s.from_channels, s);
        const T* weights = packed + group * s.packed_rows * s.packed_columns + first;
        const Source from{image, weights, own_factors, &place.phase, taps + place.phase.first_tap, place.row, place.column, s};
        Tile tile;
        clear(tile);
        sum(tile, shared, from);
        float* own = held + warp / WARPS_N * 32 * PITCH + warp % WARPS_N * 8 * NI;
        each_pair(tile, [&](int i, int j, float one, float two) {
            *reinterpret_cast<float2*>(own + i * PITCH + j) = make_float2(one, two);
        });
        __syncthreads();
        const int channel = group * s.to_channels;
        finish_any<X, M, N>(held, PITCH, place, channel + first, channel + s.to_channels, s.groups * s.to_channels, tail, s);
    }
};

// Pixels and channels of a block of the direct kernel, pixels of a thread, and numbers in shared memory: the sums, and
// then the moments of four channels a thread.
constexpr int DIRECT_M = 64, DIRECT_N = 32, DIRECT_PIXELS = DIRECT_M * DIRECT_N / THREADS;
static_assert(DIRECT_M * (DIRECT_N + 4) <= 12 * THREADS, "the sums fit where the moments do");
constexpr int DIRECT_SHARED = 4 * THREADS * sizeof(Moments) / sizeof(float);

template <class T>
__device__ __forceinline__ void conv_direct(const T* x, const T* w, const Tail<T>& tail, const Phase* phases,
                                            const Tap* taps, const ConvSizes& s) {
    __shared__ float4 shared[DIRECT_SHARED / 4];
    float* held = reinterpret_cast<float*>(shared);
    const int channels = s.groups * s.to_channels, blocks = (channels + DIRECT_N - 1) / DIRECT_N;
    const int first = int(blockIdx.x % blocks) * DIRECT_N, own = threadIdx.x % DIRECT_N, lane = threadIdx.x / DIRECT_N;
    const int channel = min(first + own, channels - 1), group = channel / s.to_channels;
    const T* weights = w + group * s.w_group + channel % s.to_channels * s.w_to;
    const i64 pixel = i64(s.from_channels) * s.groups;
    const int z = s.first_image + blockIdx.z;
    const TilePlace place = tile_place(z, blockIdx.x / blocks, DIRECT_M, phases, s);
    if (!place.has(0, s)) return;
    const T* image = x + i64(place.image) * s.from_rows * s.from_columns * pixel + group * s.from_channels;
    float sums[DIRECT_PIXELS] = {};
    for (int tap = 0; tap < place.phase.taps; ++tap) {
        const Tap at = taps[place.phase.first_tap + tap];
#pragma unroll 1
        for (int from = 0; from < s.from_channels; ++from) {
            const float weight = to_float(weights[from * s.w_from + at.place]);
#pragma unroll
            for (int p = 0; p < DIRECT_PIXELS; ++p) {
                const int m = lane + p * (THREADS / DIRECT_N);
                const int r = place.i(m, s) * s.from_step[0] + at.row, c = place.j(m, s) * s.from_step[1] + at.column;
                if (unsigned(r) < unsigned(s.from_rows) && unsigned(c) < unsigned(s.from_columns))
                    sums[p] += weight * to_float(image[(i64(r) * s.from_columns + c) * pixel + from]);
            }
        }
    }
#pragma unroll
    for (int p = 0; p < DIRECT_PIXELS; ++p) held[(lane + p * (THREADS / DIRECT_N)) * (DIRECT_N + 4) + own] = sums[p];
    __syncthreads();
    finish_any<T, DIRECT_M, DIRECT_N>(held, DIRECT_N + 4, place, first, channels, channels, tail, s);
}

#define CONV_ARGUMENTS(X, T)                                                                                   \
    const X *x, const T *w, const float *factors, const X *bias, const X *residual, X *y, float *before,       \
        Moments *moments, const Phase *phases, const Tap *taps, ConvSizes s
#define CONV_KERNEL(name, X, T, normed, warps_m, warps_n, ni, blocks)                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks) conv_tile_##name(CONV_ARGUMENTS(X, T)) {     \
        const Tail<X> tail{bias, residual, y, before, moments};                                             \
        ConvTile<X, T, normed, warps_m, warps_n, ni>::run(x, w, factors, tail, phases, taps, s);               \
    }
#define CONV(suffix, T)                                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) conv_direct_##suffix(CONV_ARGUMENTS(T, T)) {      \
        conv_direct(x, w, Tail<T>{bias, residual, y, before, moments}, phases, taps, s);                    \
    }                                                                                                          \
    extern "C" __global__ void conv_pack_##suffix(const T* w, T* packed, const Phase* phases, const Tap* taps, \
                                                  ConvSizes s) {                                               \
        conv_pack(w, packed, phases, taps, s);                                                                 \
    }
EACH_DTYPE(CONV)
// As many sums, and blocks beside each other, as registers allow: f32 keeps parts of both operands beside its sums.
#define CONV_F32(m, n, warps_m, warps_n, ni, blocks)                                          \
    CONV_KERNEL(m##_##n##_f32, float, float, false, warps_m, warps_n, ni, blocks)             \
    CONV_KERNEL(m##_##n##_normed_f32, float, float, true, warps_m, warps_n, ni, blocks)
#define CONV_BF16(m, n, warps_m, warps_n, ni, blocks) CONV_KERNEL(m##_##n##_bf16, bf16, bf16, false, warps_m, warps_n, ni, blocks)
#define CONV_SPLIT(m, n, warps_m, warps_n, ni)                                                \
    CONV_KERNEL(m##_##n##_normed_bf16, bf16, bf16, true, warps_m, warps_n, ni, 2)             \
    CONV_KERNEL(m##_##n##_split_bf16, float, bf16, false, warps_m, warps_n, ni, 2)
CONV_F32(256, 16, 8, 1, 2, 2)
CONV_F32(256, 32, 8, 1, 4, 2)
CONV_F32(128, 64, 4, 2, 4, 2)
CONV_F32(64, 64, 2, 4, 2, 2)
CONV_BF16(256, 16, 8, 1, 2, 4)
CONV_BF16(256, 32, 8, 1, 4, 3)
CONV_BF16(256, 64, 8, 1, 8, 2)
CONV_BF16(128, 128, 4, 2, 8, 2)
CONV_BF16(64, 64, 2, 4, 2, 3)
CONV_SPLIT(256, 16, 8, 1, 2)
CONV_SPLIT(256, 32, 8, 1, 4)
CONV_SPLIT(128, 64, 4, 2, 4)
CONV_SPLIT(64, 64, 2, 4, 2)

// As `Moments`, in f64.
struct Total {
    double count, mean, squares;
};

__device__ __forceinline__ Total join(const Total& x, const Total& y) {
    const double count = x.count + y.count;
    if (count == 0.0) return x;
    const double apart = y.mean - x.mean, share = y.count / count;
    return Total{count, x.mean + apart * share, x.squares + y.squares + apart * apart * x.count * share};
}

// Mean, what f32 loses of it, and variance as (3, batch, channels), of what tiles gave as (batch, tiles, channels).
extern "C" __global__ void conv_moments(const Moments* tiles, float* moments, i64 count, i64 channels) {
    __shared__ Total totals[THREADS];
    const i64 image = blockIdx.x / channels, channel = blockIdx.x - image * channels, len = gridDim.x;
    Total own{0.0, 0.0, 0.0};
    for (i64 tile = threadIdx.x; tile < count; tile += THREADS) {
        const Moments of = tiles[(image * count + tile) * channels + channel];
        own = join(own, Total{of.count, of.mean, of.squares});
    }
    totals[threadIdx.x] = own;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) totals[threadIdx.x] = join(totals[threadIdx.x], totals[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x > 0) return;
    const Total all = totals[0];
    float* to = moments + image * channels + channel;
    to[0] = float(all.mean);
    to[len] = float(all.mean - double(float(all.mean)));
    to[2 * len] = all.count == 0.0 ? 0.0f : float(all.squares / all.count);
}
