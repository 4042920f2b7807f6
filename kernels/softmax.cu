// Softmax of (outer, folded, inner) over `folded`, its logarithm, and the gradients of both from the result.
//
// softmax_wide, _plain  inner = 1, one warp a row that its registers hold; reads x once, writes y once
// softmax_block         inner = 1, one block a row; reads x twice, the second time from the cache where rows are short
// softmax_columns       inner > 1, eight threads a column, neighbours read neighbours; reads x twice
// softmax_back_*        the same of y and dy
#include "rows.cuh"

struct SoftmaxSizes {
    i64 outer, folded, inner;
    int log, padding;
};

// Packs that a lane holds: of 16 bytes, and of one element.
constexpr int WIDE_HELD = 4, PLAIN_HELD = 8;
// Columns of a block, and threads that share each.
constexpr int COLUMNS = 32, SHARE = 8;

// Exponentials added up from the greatest number so far.
struct Shares {
    float most;
    double total;
    __device__ __forceinline__ static Shares none() { return Shares{-INFINITE, 0.0}; }
    // What all is measured from: any finite number where nothing was seen.
    __device__ __forceinline__ static float level(float most) { return most == -INFINITE ? 0.0f : most; }
    __device__ __forceinline__ void add(float x) {
        if (x > most) {
            total = total * expf(most - x);
            most = x;
        }
        total += expf(x - level(most));
    }
    __device__ __forceinline__ void join(const Shares& other) {
        const float both = fmaxf(most, other.most);
        total = total * expf(most - level(both)) + other.total * expf(other.most - level(both));
        most = both;
    }
};

// One element of the result, from the greatest number and 1 / total or ln(total).
__device__ __forceinline__ float share(float x, float most, float factor, int log) {
    return log ? x - most - factor : expf(x - most) * factor;
}
__device__ __forceinline__ float share_factor(double total, int log) {
    return log ? logf(float(total)) : float(1.0 / total);
}

// What is summed for the gradient, and the gradient.
__device__ __forceinline__ float back_part(float y, float dy, int log) { return log ? dy : y * dy; }
__device__ __forceinline__ float back(float y, float dy, float total, int log) {
    return log ? dy - expf(y) * total : y * (dy - total);
}

template <int V, int HELD, class T>
__device__ __forceinline__ void held_shares(const T* x, T* y, const SoftmaxSizes& s) {
    const i64 row = warp_row();
    if (row >= s.outer) return;
    const int len = int(s.folded);
    Row<T, V, HELD> values;
    values.load(x + row * len, len);
    float most = -INFINITE, total = 0.0f;
    values.each(len, [&](float x, int, int) { most = fmaxf(most, x); });
    for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, step));
    if (s.log) {
        values.each(len, [&](float& x, int, int) { total += expf(x - most); });
        const float factor = logf(warp_fold<Sum>(total));
        values.each(len, [&](float& x, int, int) { x = x - most - factor; });
    } else {
        values.each(len, [&](float& x, int, int) { total += x = expf(x - most); });
        const float factor = 1.0f / warp_fold<Sum>(total);
        values.each(len, [&](float& x, int, int) { x *= factor; });
    }
    values.store(y + row * len, len);
}

template <int V, int HELD, class T>
__device__ __forceinline__ void held_back(const T* y, const T* dy, T* dx, const SoftmaxSizes& s) {
    const i64 row = warp_row();
    if (row >= s.outer) return;
    const int len = int(s.folded);
    Row<T, V, HELD> values, slopes;
    values.load(y + row * len, len);
    slopes.load(dy + row * len, len);
    float total = 0.0f;
    values.each(len, [&](float y, int h, int k) { total += back_part(y, slopes.of[h][k], s.log); });
    total = warp_fold<Sum>(total);
    values.each(len, [&](float& y, int h, int k) { y = back(y, slopes.of[h][k], total, s.log); });
    values.store(dx + row * len, len);
}

// Exponentials of this thread's share of `len` numbers, one greatest number a short run.
template <class T>
__device__ __forceinline__ Shares thread_shares(const T* x, i64 first, i64 len, i64 step, i64 stride) {
    Shares all = Shares::none();
    for (i64 i = first; i < len; i += step) all.add(to_float(x[i * stride]));
    return all;
}

__device__ __forceinline__ Shares block_shares(Shares x, Shares* scratch) {
    scratch[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) scratch[threadIdx.x].join(scratch[threadIdx.x + half]);
        __syncthreads();
    }
    x = scratch[0];
    __syncthreads();
    return x;
}

template <class T>
__device__ __forceinline__ void block_row(const T* x, T* y, const SoftmaxSizes& s) {
    __shared__ Shares scratch[256];
    for (i64 row = blockIdx.x; row < s.outer; row += gridDim.x) {
        const T* from = x + row * s.folded;
        const Shares all = block_shares(thread_shares(from, threadIdx.x, s.folded, blockDim.x, 1), scratch);
        const float factor = share_factor(all.total, s.log);
        for (i64 i = threadIdx.x; i < s.folded; i += blockDim.x)
            y[row * s.folded + i] = from_float<T>(share(to_float(from[i]), all.most, factor, s.log));
    }
}

template <class T>
__device__ __forceinline__ void block_back(const T* y, const T* dy, T* dx, const SoftmaxSizes& s) {
    __shared__ double scratch[256];
    for (i64 row = blockIdx.x; row < s.outer; row += gridDim.x) {
        const T *values = y + row * s.folded, *slopes = dy + row * s.folded;
        double sum, unused;
        thread_sums(s.folded, sum, unused, [&](i64 i, float& a, float&) {
            a += back_part(to_float(values[i]), to_float(slopes[i]), s.log);
        });
        scratch[threadIdx.x] = sum;
        __syncthreads();
        for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
            if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
            __syncthreads();
        }
        const float total = float(scratch[0]);
        for (i64 i = threadIdx.x; i < s.folded; i += blockDim.x)
            dx[row * s.folded + i] = from_float<T>(back(to_float(values[i]), to_float(slopes[i]), total, s.log));
        __syncthreads();
    }
}

// The first element of this thread's column, or one behind the last column.
__device__ __forceinline__ bool column_start(i64 first, const SoftmaxSizes& s, i64& start) {
    const i64 column = first + threadIdx.x % COLUMNS;
    start = column / s.inner * s.folded * s.inner + column % s.inner;
    return column < s.outer * s.inner;
}

template <class T>
__device__ __forceinline__ void columns(const T* x, T* y, const SoftmaxSizes& s) {
    __shared__ Shares scratch[SHARE][COLUMNS];
    const int lane = threadIdx.x % COLUMNS, part = threadIdx.x / COLUMNS;
    for (i64 first = i64(blockIdx.x) * COLUMNS; first < s.outer * s.inner; first += i64(gridDim.x) * COLUMNS) {
        i64 start;
        const bool there = column_start(first, s, start);
        scratch[part][lane] = there ? thread_shares(x + start, part, s.folded, SHARE, s.inner) : Shares::none();
        __syncthreads();
        Shares all = scratch[0][lane];
        for (int other = 1; other < SHARE; ++other) all.join(scratch[other][lane]);
        const float factor = share_factor(all.total, s.log);
        if (there) {
            for (i64 i = part; i < s.folded; i += SHARE) {
                const i64 index = start + i * s.inner;
                y[index] = from_float<T>(share(to_float(x[index]), all.most, factor, s.log));
            }
        }
        __syncthreads();
    }
}

template <class T>
__device__ __forceinline__ void columns_back(const T* y, const T* dy, T* dx, const SoftmaxSizes& s) {
    __shared__ double scratch[SHARE][COLUMNS];
    const int lane = threadIdx.x % COLUMNS, part = threadIdx.x / COLUMNS;
    for (i64 first = i64(blockIdx.x) * COLUMNS; first < s.outer * s.inner; first += i64(gridDim.x) * COLUMNS) {
        i64 start;
        const bool there = column_start(first, s, start);
        double sum = 0.0;
        for (i64 i = part; there && i < s.folded; i += SHARE) {
            const i64 index = start + i * s.inner;
            sum += back_part(to_float(y[index]), to_float(dy[index]), s.log);
        }
        scratch[part][lane] = sum;
        __syncthreads();
        double total = 0.0;
        for (int other = 0; other < SHARE; ++other) total += scratch[other][lane];
        for (i64 i = part; there && i < s.folded; i += SHARE) {
            const i64 index = start + i * s.inner;
            dx[index] = from_float<T>(back(to_float(y[index]), to_float(dy[index]), float(total), s.log));
        }
        __syncthreads();
    }
}

#define SOFTMAX(suffix, T)                                                                                      \
    extern "C" __global__ void softmax_wide_##suffix(const T* x, T* y, SoftmaxSizes s) {                        \
        held_shares<Wide<T>::LEN, WIDE_HELD>(x, y, s);                                                          \
    }                                                                                                           \
    extern "C" __global__ void softmax_plain_##suffix(const T* x, T* y, SoftmaxSizes s) {                       \
        held_shares<1, PLAIN_HELD>(x, y, s);                                                                    \
    }                                                                                                           \
    extern "C" __global__ void softmax_block_##suffix(const T* x, T* y, SoftmaxSizes s) { block_row(x, y, s); } \
    extern "C" __global__ void softmax_columns_##suffix(const T* x, T* y, SoftmaxSizes s) { columns(x, y, s); } \
    extern "C" __global__ void softmax_back_wide_##suffix(const T* y, const T* dy, T* dx, SoftmaxSizes s) {     \
        held_back<Wide<T>::LEN, WIDE_HELD>(y, dy, dx, s);                                                       \
    }                                                                                                           \
    extern "C" __global__ void softmax_back_plain_##suffix(const T* y, const T* dy, T* dx, SoftmaxSizes s) {    \
        held_back<1, PLAIN_HELD>(y, dy, dx, s);                                                                 \
    }                                                                                                           \
    extern "C" __global__ void softmax_back_block_##suffix(const T* y, const T* dy, T* dx, SoftmaxSizes s) {    \
        block_back(y, dy, dx, s);                                                                               \
    }                                                                                                           \
    extern "C" __global__ void softmax_back_columns_##suffix(const T* y, const T* dy, T* dx, SoftmaxSizes s) {  \
        columns_back(y, dy, dx, s);                                                                             \
    }
EACH_DTYPE(SOFTMAX)
