// Normalisation of rows: y = (x - mean) / sqrt(variance + epsilon) * weight + bias.
//
// layer_norm       one warp a row that its registers hold, otherwise one block a row; reads x once (a block: three
//                  times, from the cache where rows are short), writes y once
// layer_norm_back  dx, and (3, rows) mean, what f32 loses of it, and slope; reads x and dy, writes dx
// layer_sums       partial sums of dy * normal and dy a column over runs of rows; reads x, dy and the statistics
// layer_fold       their totals: the gradients of weight and bias
#include "channels.cuh"
#include "rows.cuh"

struct LayerSizes {
    i64 rows;
    int len;
    float epsilon;
};

// Packs that a lane holds: of 16 bytes, and of one element.
constexpr int WIDE_HELD = 4, PLAIN_HELD = 8;

struct Statistics {
    float mean, lost, slope;
    __device__ __forceinline__ float normal(float x) const { return (x - mean - lost) * slope; }
    __device__ __forceinline__ void keep(float* kept, i64 row, i64 rows) const {
        kept[row] = mean;
        kept[rows + row] = lost;
        kept[2 * rows + row] = slope;
    }
};

__device__ __forceinline__ Statistics statistics(float mean, double lost, double squares, const LayerSizes& s) {
    lost /= s.len;
    const double variance = fmax(squares / s.len - lost * lost, 0.0);
    return Statistics{mean, float(lost), float(1.0 / sqrt(variance + double(s.epsilon)))};
}

// An element of factors that may not be there.
template <class T>
__device__ __forceinline__ float factor(const T* x, i64 index, float other) {
    return x ? to_float(x[index]) : other;
}

template <class R>
__device__ __forceinline__ Statistics held_statistics(R& row, const LayerSizes& s) {
    float sum = 0.0f, lost = 0.0f, squares = 0.0f;
    row.each(s.len, [&](float x, int, int) { sum += x; });
    const float mean = warp_fold<Sum>(sum) / s.len;
    row.each(s.len, [&](float x, int, int) {
        lost += x - mean;
        squares += (x - mean) * (x - mean);
    });
    return statistics(mean, warp_fold<Sum>(lost), warp_fold<Sum>(squares), s);
}

// V neighbouring factors, where they are given.
template <int V, class T>
__device__ __forceinline__ void load_factors(const T* x, int first, float other, float (&to)[V]) {
#pragma unroll
    for (int k = 0; k < V; ++k) to[k] = other;
    if (x) load<V>(x + first, to);
}

template <int V, int HELD, class T>
__device__ __forceinline__ void held_row(const T* x, const T* weight, const T* bias, T* y, const LayerSizes& s) {
    typedef Row<T, V, HELD> R;
    const i64 row = warp_row();
    if (row >= s.rows) return;
    R values;
    values.load(x + row * s.len, s.len);
    const Statistics found = held_statistics(values, s);
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        if (R::first(h) >= s.len) continue;
        float weights[V], biases[V];
        load_factors(weight, R::first(h), 1.0f, weights);
        load_factors(bias, R::first(h), 0.0f, biases);
#pragma unroll
        for (int k = 0; k < V; ++k) values.of[h][k] = found.normal(values.of[h][k]) * weights[k] + biases[k];
    }
    values.store(y + row * s.len, s.len);
}

// dx = (g - mean(g) - normal * mean(g * normal)) * slope with g = weight * dy.
template <int V, int HELD, class T>
__device__ __forceinline__ void held_back(const T* x, const T* dy, const T* weight, T* dx, float* kept,
                                          const LayerSizes& s) {
    const i64 row = warp_row();
    if (row >= s.rows) return;
    Row<T, V, HELD> values, slopes;
    values.load(x + row * s.len, s.len);
    slopes.load(dy + row * s.len, s.len);
    const Statistics found = held_statistics(values, s);
    float sum = 0.0f, along = 0.0f;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        if (values.first(h) >= s.len) continue;
        float weights[V];
        load_factors(weight, values.first(h), 1.0f, weights);
#pragma unroll
        for (int k = 0; k < V; ++k) {
            values.of[h][k] = found.normal(values.of[h][k]);
            slopes.of[h][k] *= weights[k];
            sum += slopes.of[h][k];
            along += slopes.of[h][k] * values.of[h][k];
        }
    }
    sum = warp_fold<Sum>(sum) / s.len;
    along = warp_fold<Sum>(along) / s.len;
    values.each(s.len, [&](float& x, int h, int k) { x = found.slope * (slopes.of[h][k] - sum - x * along); });
    values.store(dx + row * s.len, s.len);
    if (threadIdx.x % 32 == 0) found.keep(kept, row, s.rows);
}

template <class T>
__device__ __forceinline__ Statistics block_statistics(const T* x, const LayerSizes& s, double* scratch) {
    double sum, lost, squares;
    thread_sums(s.len, sum, lost, [&](i64 i, float& a, float&) { a += to_float(x[i]); });
    const float mean = float(block_sum(sum, scratch) / s.len);
    thread_sums(s.len, lost, squares, [&](i64 i, float& a, float& b) {
        const float distance = to_float(x[i]) - mean;
        a += distance;
        b += distance * distance;
    });
    lost = block_sum(lost, scratch);
    return statistics(mean, lost, block_sum(squares, scratch), s);
}

template <class T>
__device__ __forceinline__ void block_row(const T* x, const T* weight, const T* bias, T* y, const LayerSizes& s) {
    __shared__ double scratch[32];
    for (i64 row = blockIdx.x; row < s.rows; row += gridDim.x) {
        const T* from = x + row * s.len;
        const Statistics found = block_statistics(from, s, scratch);
        for (int i = threadIdx.x; i < s.len; i += blockDim.x)
            y[row * s.len + i] =
                from_float<T>(found.normal(to_float(from[i])) * factor(weight, i, 1.0f) + factor(bias, i, 0.0f));
    }
}

template <class T>
__device__ __forceinline__ void block_back(const T* x, const T* dy, const T* weight, T* dx, float* kept,
                                           const LayerSizes& s) {
    __shared__ double scratch[32];
    for (i64 row = blockIdx.x; row < s.rows; row += gridDim.x) {
        const T *from = x + row * s.len, *slopes = dy + row * s.len;
        const Statistics found = block_statistics(from, s, scratch);
        double sum, along;
        thread_sums(s.len, sum, along, [&](i64 i, float& a, float& b) {
            const float g = to_float(slopes[i]) * factor(weight, i, 1.0f);
            a += g;
            b += g * found.normal(to_float(from[i]));
        });
        const float mean = float(block_sum(sum, scratch) / s.len), slope = float(block_sum(along, scratch) / s.len);
        for (int i = threadIdx.x; i < s.len; i += blockDim.x) {
            const float g = to_float(slopes[i]) * factor(weight, i, 1.0f), normal = found.normal(to_float(from[i]));
            dx[row * s.len + i] = from_float<T>(found.slope * (g - mean - normal * slope));
        }
        if (threadIdx.x == 0) found.keep(kept, row, s.rows);
    }
}

template <int V, class T>
__device__ __forceinline__ void layer_sums(const T* __restrict__ x, const T* __restrict__ dy,
                                           const float* __restrict__ kept, double* parts, const View& s) {
    const Place p = place<V>(s);
    float along[V] = {}, sum[V] = {};
#pragma unroll 2
    for (i64 row = p.first; row < p.end; row += p.step) {
        const Statistics found{kept[row], kept[s.positions + row], kept[2 * s.positions + row]};
        float values[V], slopes[V];
        load<V>(x + at(s, p, row), values);
        load<V>(dy + at(s, p, row), slopes);
#pragma unroll
        for (int k = 0; k < V; ++k) {
            along[k] += slopes[k] * found.normal(values[k]);
            sum[k] += slopes[k];
        }
    }
    block_sums<V>(along, sum, s, p, [&](int channel, double along, double sum) {
        double* to = parts + i64(blockIdx.x) * 2 * s.channels + channel;
        to[0] = along;
        to[s.channels] = sum;
    });
}

extern "C" __global__ void layer_fold(const double* parts, float* dweight, float* dbias, View s) {
    __shared__ double scratch[32];
    for (i64 index = blockIdx.x; index < s.origin; index += gridDim.x) {
        double along = 0.0, sum = 0.0;
        each_part(parts, s, index, [&](double a, double b, double) { along += a, sum += b; });
        along = block_sum(along, scratch);
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) dweight[index] = float(along), dbias[index] = float(sum);
    }
}

#define LAYER(suffix, T)                                                                                       \
    extern "C" __global__ void layer_norm_wide_##suffix(const T* x, const T* weight, const T* bias, T* y,      \
                                                        LayerSizes s) {                                        \
        held_row<Wide<T>::LEN, WIDE_HELD>(x, weight, bias, y, s);                                              \
    }                                                                                                          \
    extern "C" __global__ void layer_norm_plain_##suffix(const T* x, const T* weight, const T* bias, T* y,     \
                                                         LayerSizes s) {                                       \
        held_row<1, PLAIN_HELD>(x, weight, bias, y, s);                                                        \
    }                                                                                                          \
    extern "C" __global__ void layer_norm_block_##suffix(const T* x, const T* weight, const T* bias, T* y,     \
                                                         LayerSizes s) {                                       \
        block_row(x, weight, bias, y, s);                                                                      \
    }                                                                                                          \
    extern "C" __global__ void layer_norm_back_wide_##suffix(const T* x, const T* dy, const T* weight, T* dx,  \
                                                             float* kept, LayerSizes s) {                      \
        held_back<Wide<T>::LEN, WIDE_HELD>(x, dy, weight, dx, kept, s);                                        \
    }                                                                                                          \
    extern "C" __global__ void layer_norm_back_plain_##suffix(const T* x, const T* dy, const T* weight, T* dx, \
                                                              float* kept, LayerSizes s) {                     \
        held_back<1, PLAIN_HELD>(x, dy, weight, dx, kept, s);                                                  \
    }                                                                                                          \
    extern "C" __global__ void layer_norm_back_block_##suffix(const T* x, const T* dy, const T* weight, T* dx, \
                                                              float* kept, LayerSizes s) {                     \
        block_back(x, dy, weight, dx, kept, s);                                                                \
    }                                                                                                          \
    extern "C" __global__ void layer_sums_##suffix(const T* x, const T* dy, const float* kept, double* parts,  \
                                                   View s) {                                                   \
        if (s.wide) layer_sums<Wide<T>::LEN>(x, dy, kept, parts, s);                                           \
        else layer_sums<1>(x, dy, kept, parts, s);                                                             \
    }
EACH_DTYPE(LAYER)
