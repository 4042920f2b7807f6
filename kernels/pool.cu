// The greatest of windows of channels-last images (batch, rows, columns, channels), and its gradient.
//
// A thread works on 16 bytes of channels of one pixel where channels allow it, else on one channel.
//
// max_pool_2     windows of up to 2×2 pixels, max_pool_3 of up to 3×3: all loads are on their way before the first is
//                compared. Reads x once from memory, writes the greatest and, as 4-byte indices, where it lies.
// max_pool_any   any other window, pixel after pixel.
// max_pool_grad  each input gathers from the windows that it lies in; reads dy and the indices once, writes dx once.
#include "common.cuh"

struct PoolSizes {
    i64 batch;
    int rows, columns, channels, rows_out, columns_out;
    int kernel_rows, kernel_columns, stride_rows, stride_columns, padding_rows, padding_columns;
    // How many channels a thread works on; divides `channels`.
    int wide;
};

// A range of places along a dimension.
struct Places {
    int first, end;
};

// The inputs of a window along a dimension.
__device__ __forceinline__ Places inputs(int output, int kernel, int stride, int padding, int size) {
    const int start = output * stride - padding;
    return {max(start, 0), min(start + kernel, size)};
}

// The windows along a dimension that an input lies in.
__device__ __forceinline__ Places outputs(int input, int kernel, int stride, int padding, int size) {
    const int at = input + padding;
    return {(max(at + 1 - kernel, 0) + stride - 1) / stride, min(at / stride + 1, size)};
}

template <class T, int N>
struct Best {
    float value[N];
    int place[N];
    __device__ __forceinline__ void begin(int first) {
#pragma unroll
        for (int k = 0; k < N; ++k) value[k] = -INFINITE, place[k] = first;
    }
    // The first of equal ones stays; NaN is greater than any number.
    __device__ __forceinline__ void see(const Pack<T, N>& x, int at) {
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const float other = to_float(x.of[k]);
            const bool better = other > value[k] || isnan(other);
            value[k] = better ? other : value[k];
            place[k] = better ? at : place[k];
        }
    }
};

// A window of at most K by K pixels; K is 0 for any other.
template <class T, int N, int K>
__device__ __forceinline__ void window(const T* __restrict__ image, const PoolSizes& s, Places rows, Places columns,
                                       Best<T, N>& best) {
    auto pixel = [&](int row, int column) {
        return *reinterpret_cast<const Pack<T, N>*>(image + (i64(row) * s.columns + column) * s.channels);
    };
    best.begin(rows.first * s.columns + columns.first);
    if constexpr (K == 0) {
        for (int row = rows.first; row < rows.end; ++row)
            for (int column = columns.first; column < columns.end; ++column)
                best.see(pixel(row, column), row * s.columns + column);
    } else {
        Pack<T, N> held[K][K];
#pragma unroll
        for (int r = 0; r < K; ++r)
#pragma unroll
            for (int c = 0; c < K; ++c)
                if (rows.first + r < rows.end && columns.first + c < columns.end)
                    held[r][c] = pixel(rows.first + r, columns.first + c);
#pragma unroll
        for (int r = 0; r < K; ++r)
#pragma unroll
            for (int c = 0; c < K; ++c)
                if (rows.first + r < rows.end && columns.first + c < columns.end)
                    best.see(held[r][c], (rows.first + r) * s.columns + columns.first + c);
    }
}

template <class T, int N, int K>
__device__ void max_pool(const T* x, T* y, int* index, const PoolSizes& s) {
    const int packs = s.channels / N;
    const i64 plane = i64(s.rows) * s.columns * s.channels, width = i64(s.columns_out) * packs;
    for (i64 row = blockIdx.y; row < s.batch * s.rows_out; row += gridDim.y) {
        const i64 image = row / s.rows_out;
        const Places rows =
            inputs(int(row - image * s.rows_out), s.kernel_rows, s.stride_rows, s.padding_rows, s.rows);
        for (i64 i = grid_thread(); i < width; i += grid_threads()) {
            const int column = int(i / packs), channel = int(i - i64(column) * packs) * N;
            Best<T, N> best;
            window<T, N, K>(x + image * plane + channel, s, rows,
                            inputs(column, s.kernel_columns, s.stride_columns, s.padding_columns, s.columns), best);
            Pack<T, N> values;
            Pack<int, (N < 4 ? N : 4)>* places = reinterpret_cast<Pack<int, (N < 4 ? N : 4)>*>(index) +
                                                 (row * width + i) * (N < 4 ? 1 : N / 4);
#pragma unroll
            for (int k = 0; k < N; ++k) values.of[k] = from_float<T>(best.value[k]);
            reinterpret_cast<Pack<T, N>*>(y)[row * width + i] = values;
#pragma unroll
            for (int k = 0; k < N; k += 4) {
                Pack<int, (N < 4 ? N : 4)> part;
#pragma unroll
                for (int l = 0; l < (N < 4 ? N : 4); ++l) part.of[l] = best.place[k + l];
                places[k / 4] = part;
            }
        }
    }
}

template <class T, int N>
__device__ void max_pool_grad(const int* __restrict__ index, const T* __restrict__ dy, T* dx, const PoolSizes& s) {
    constexpr int PART = N < 4 ? N : 4;
    const int packs = s.channels / N;
    const i64 width = i64(s.columns) * packs;
    for (i64 row = blockIdx.y; row < s.batch * s.rows; row += gridDim.y) {
        const i64 image = row / s.rows;
        const int within = int(row - image * s.rows);
        const Places rows = outputs(within, s.kernel_rows, s.stride_rows, s.padding_rows, s.rows_out);
        for (i64 i = grid_thread(); i < width; i += grid_threads()) {
            const int column = int(i / packs), channel = int(i - i64(column) * packs) * N;
            const Places columns =
                outputs(column, s.kernel_columns, s.stride_columns, s.padding_columns, s.columns_out);
            const int own = within * s.columns + column;
            float sums[N] = {};
            for (int r = rows.first; r < rows.end; ++r)
                for (int c = columns.first; c < columns.end; ++c) {
                    const i64 at = ((image * s.rows_out + r) * s.columns_out + c) * s.channels + channel;
                    const Pack<T, N> slopes = *reinterpret_cast<const Pack<T, N>*>(dy + at);
#pragma unroll
                    for (int k = 0; k < N; k += 4) {
                        const Pack<int, PART> chosen = *reinterpret_cast<const Pack<int, PART>*>(index + at + k);
#pragma unroll
                        for (int l = 0; l < PART; ++l)
                            if (chosen.of[l] == own) sums[k + l] += to_float(slopes.of[k + l]);
                    }
                }
            Pack<T, N> result;
#pragma unroll
            for (int k = 0; k < N; ++k) result.of[k] = from_float<T>(sums[k]);
            reinterpret_cast<Pack<T, N>*>(dx)[row * width + i] = result;
        }
    }
}

#define MAX_POOL(name, suffix, T, K)                                                              \
    extern "C" __global__ void name##_##suffix(const T* x, T* y, int* index, PoolSizes s) {       \
        if (s.wide > 1)                                                                           \
            max_pool<T, Wide<T>::LEN, K>(x, y, index, s);                                         \
        else                                                                                      \
            max_pool<T, 1, K>(x, y, index, s);                                                    \
    }
#define POOL(suffix, T)                                                                                     \
    MAX_POOL(max_pool_2, suffix, T, 2)                                                                      \
    MAX_POOL(max_pool_3, suffix, T, 3)                                                                      \
    MAX_POOL(max_pool_any, suffix, T, 0)                                                                    \
    extern "C" __global__ void max_pool_grad_##suffix(const int* index, const T* dy, T* dx, PoolSizes s) {  \
        if (s.wide > 1)                                                                                     \
            max_pool_grad<T, Wide<T>::LEN>(index, dy, dx, s);                                               \
        else                                                                                                \
            max_pool_grad<T, 1>(index, dy, dx, s);                                                          \
    }
EACH_DTYPE(POOL)
