// Normalisation over sets of channels: y = f((x - mean) * slope + offset) + addend, with a mean, a slope and an offset a
// channel of a sample that gather statistics, weight, bias, scale and shift.
//
// moments        partial means and squared distances of blocks; reads x once
// moments_fold   (3, batch, channels) of the partial ones, in one order, by the sums of Chan, Golub and LeVeque (1983)
// factors        mean, slope, offset and addend of every channel of every sample; one warp a set
// norm           reads x once, writes y once
// norm_sums      partial sums of dz and dz * (x - mean), dz = dy * f'(z); reads x and dy once
// sums_fold      their totals
// back_factors   what dz, x - mean and 1 are multiplied by for dx, and the gradients of scale and shift; one warp a set
// weight_grads   the gradients of weight and bias; one warp a channel
// norm_back      reads x and dy once, writes dx once
#include "channels.cuh"
#include "functions.cuh"

struct PassSizes {
    View view;
    Function function;
    int padding;
};

// Sets of channels that share statistics: set `s` has `count` of (batch, channels), the first at
// s / groups * outer + s % groups * inner, each `step` behind the one before.
struct SetSizes {
    i64 outer, inner, step;
    int sets, groups, count;
    int batch, channels;
    // Whether statistics are given a channel, and none of the gradient flows into them.
    int fixed;
    // Of a set.
    double elements;
    float epsilon;
    int padding;
};

// What follows a normalisation, and its slope.
struct Nothing {
    __device__ __forceinline__ float value(float z) const { return z; }
    __device__ __forceinline__ float pulled(float, float dy) const { return dy; }
};
struct Any {
    Function function;
    __device__ __forceinline__ float value(float z) const { return apply(function, z); }
    __device__ __forceinline__ float pulled(float z, float dy) const { return ::pulled(function, z, dy); }
};

// Runs `work` with the function that follows as a type, so that no element branches on it.
template <class W>
__device__ __forceinline__ void with_function(const Function& function, W work) {
    if (function.kind == Silu) work(FastSilu{});
    else if (function.kind == None) work(Nothing{});
    else work(Any{function});
}

template <int V, class T>
__device__ __forceinline__ void moments(const T* __restrict__ x, double* parts, const View& s) {
    const Place p = place<V>(s);
    // All threads of a channel measure from its first value in the block.
    const i64 start = p.first - threadIdx.x / p.width;
    float shift[V] = {}, sum[V] = {}, squares[V] = {};
    if (p.active) load<V>(x + at(s, p, start), shift);
#pragma unroll 4
    for (i64 position = p.first; position < p.end; position += p.step) {
        float values[V];
        load<V>(x + at(s, p, position), values);
#pragma unroll
        for (int k = 0; k < V; ++k) {
            const float distance = values[k] - shift[k];
            sum[k] += distance;
            squares[k] += distance * distance;
        }
    }
    const double count = double(min(i64(p.lanes) * s.steps, s.positions - start));
    const i64 row = p.sample * s.positions + start;
    block_sums<V>(sum, squares, s, p, [&](int channel, double sum, double squares) {
        double* to = parts + i64(blockIdx.x) * 2 * s.channels + channel;
        to[0] = to_float(x[row * s.channels + channel]) + sum / count;
        to[s.channels] = fmax(squares - sum * sum / count, 0.0);
    });
}

template <int V, class T>
__device__ __forceinline__ void norm(const T* __restrict__ x, const float* factors, T* __restrict__ y,
                                     const PassSizes& sizes) {
    const View& s = sizes.view;
    const Place p = place<V>(s);
    const i64 len = i64(s.samples) * s.origin;
    float mean[V], slope[V], offset[V], addend[V];
    load_factors<V>(factors, s, p, mean);
    load_factors<V>(factors + len, s, p, slope);
    load_factors<V>(factors + 2 * len, s, p, offset);
    load_factors<V>(factors + 3 * len, s, p, addend);
    with_function(sizes.function, [&](auto function) {
#pragma unroll 2
        for (i64 position = p.first; position < p.end; position += p.step) {
            float values[V];
            load<V>(x + at(s, p, position), values);
#pragma unroll
            for (int k = 0; k < V; ++k)
                values[k] = function.value((values[k] - mean[k]) * slope[k] + offset[k]) + addend[k];
            store<V>(y + at(s, p, position), values);
        }
    });
}

template <int V, class T>
__device__ __forceinline__ void norm_sums(const T* __restrict__ x, const T* __restrict__ dy, const float* factors,
                                          double* parts, const PassSizes& sizes) {
    const View& s = sizes.view;
    const Place p = place<V>(s);
    const i64 len = i64(s.samples) * s.origin;
    float mean[V], slope[V], offset[V], sum[V] = {}, along[V] = {};
    load_factors<V>(factors, s, p, mean);
    load_factors<V>(factors + len, s, p, slope);
    load_factors<V>(factors + 2 * len, s, p, offset);
    with_function(sizes.function, [&](auto function) {
#pragma unroll 2
        for (i64 position = p.first; position < p.end; position += p.step) {
            float values[V], dz[V];
            load<V>(x + at(s, p, position), values);
            load<V>(dy + at(s, p, position), dz);
#pragma unroll
            for (int k = 0; k < V; ++k) {
                const float distance = values[k] - mean[k];
                dz[k] = function.pulled(distance * slope[k] + offset[k], dz[k]);
                sum[k] += dz[k];
                along[k] += dz[k] * distance;
            }
        }
    });
    block_sums<V>(sum, along, s, p, [&](int channel, double sum, double along) {
        double* to = parts + i64(blockIdx.x) * 2 * s.channels + channel;
        to[0] = sum;
        to[s.channels] = along;
    });
}

template <int V, class T>
__device__ __forceinline__ void norm_back(const T* __restrict__ x, const T* __restrict__ dy, const float* factors,
                                          const float* back, T* __restrict__ dx, const PassSizes& sizes) {
    const View& s = sizes.view;
    const Place p = place<V>(s);
    const i64 len = i64(s.samples) * s.origin;
    float mean[V], slope[V], offset[V], of_dz[V], of_x[V], of_one[V];
    load_factors<V>(factors, s, p, mean);
    load_factors<V>(factors + len, s, p, slope);
    load_factors<V>(factors + 2 * len, s, p, offset);
    load_factors<V>(back, s, p, of_dz);
    load_factors<V>(back + len, s, p, of_x);
    load_factors<V>(back + 2 * len, s, p, of_one);
    with_function(sizes.function, [&](auto function) {
#pragma unroll 2
        for (i64 position = p.first; position < p.end; position += p.step) {
            float values[V], dz[V];
            load<V>(x + at(s, p, position), values);
            load<V>(dy + at(s, p, position), dz);
#pragma unroll
            for (int k = 0; k < V; ++k) {
                const float distance = values[k] - mean[k];
                dz[k] = function.pulled(distance * slope[k] + offset[k], dz[k]);
                values[k] = dz[k] * of_dz[k] + distance * of_x[k] + of_one[k];
            }
            store<V>(dx + at(s, p, position), values);
        }
    });
}

extern "C" __global__ void moments_fold(const double* parts, float* moments, View s) {
    __shared__ double scratch[32];
    const i64 len = i64(s.samples) * s.origin;
    for (i64 index = blockIdx.x; index < len; index += gridDim.x) {
        double sum = 0.0, squares = 0.0;
        each_part(parts, s, index, [&](double mean, double, double count) { sum += mean * count; });
        const double count = double(s.positions) * (s.channels / s.origin), mean = block_sum(sum, scratch) / count;
        each_part(parts, s, index, [&](double part_mean, double part_squares, double count) {
            squares += part_squares + (part_mean - mean) * (part_mean - mean) * count;
        });
        squares = block_sum(squares, scratch);
        if (threadIdx.x == 0) {
            moments[index] = float(mean);
            moments[len + index] = float(mean - float(mean));
            moments[2 * len + index] = float(squares / count);
        }
    }
}

// Weight, bias, 1 + scale and shift of a channel of a sample.
template <class T>
struct Affine {
    const T *weight, *bias, *scale, *shift;
    __device__ __forceinline__ double of(const T* x, i64 index, float other) const {
        return x ? to_float(x[index]) : other;
    }
    __device__ __forceinline__ double weight_at(i64 channel) const { return of(weight, channel, 1.0f); }
    __device__ __forceinline__ double bias_at(i64 channel) const { return of(bias, channel, 0.0f); }
    __device__ __forceinline__ double scale_at(i64 index) const { return 1.0 + of(scale, index, 0.0f); }
    __device__ __forceinline__ double shift_at(i64 index) const { return of(shift, index, 0.0f); }
};

__device__ __forceinline__ i64 set_start(const SetSizes& s, i64 set) {
    return set / s.groups * s.outer + set % s.groups * s.inner;
}

// `exact` gets, in f64, what f32 loses of the mean, and 1 / sqrt(variance + epsilon).
template <class T>
__device__ __forceinline__ void factors(const float* moments, Affine<T> affine, const T* addend, float* factors,
                                        double* exact, const SetSizes& s) {
    const i64 len = i64(s.batch) * s.channels, given = s.fixed ? s.channels : len;
    for (i64 set = blockIdx.x; set < s.sets; set += gridDim.x) {
        const i64 start = set_start(s, set);
        const auto mean_at = [&](i64 index) { return double(moments[index]) + moments[given + index]; };
        double mean = 0.0, variance = 0.0;
        if (s.fixed) {
            mean = mean_at(start);
            variance = moments[2 * given + start];
        } else {
            for (int i = threadIdx.x; i < s.count; i += 32) mean += mean_at(start + i * s.step);
            mean = warp_sum(mean) / s.count;
            for (int i = threadIdx.x; i < s.count; i += 32) {
                const i64 index = start + i * s.step;
                const double distance = mean_at(index) - mean;
                variance += moments[2 * given + index] + distance * distance;
            }
            variance = warp_sum(variance) / s.count;
        }
        const double slope = 1.0 / sqrt(variance + double(s.epsilon)), lost = mean - double(float(mean));
        for (int i = threadIdx.x; i < s.count; i += 32) {
            const i64 index = start + i * s.step, channel = index % s.channels;
            const double of_x = slope * affine.weight_at(channel) * affine.scale_at(index);
            factors[index] = float(mean);
            factors[len + index] = float(of_x);
            factors[2 * len + index] =
                float(affine.bias_at(channel) * affine.scale_at(index) + affine.shift_at(index) - lost * of_x);
            factors[3 * len + index] = addend ? to_float(addend[index]) : 0.0f;
            exact[index] = lost;
            exact[len + index] = slope;
        }
    }
}

// `sums` are (2, batch, channels): of dz, and of dz * (x - mean).
template <class T>
__device__ __forceinline__ void back_factors(const double* sums, const double* exact, Affine<T> affine, float* back,
                                             float* dscale, float* dshift, const SetSizes& s) {
    const i64 len = i64(s.batch) * s.channels;
    for (i64 set = blockIdx.x; set < s.sets; set += gridDim.x) {
        const i64 start = set_start(s, set);
        double sum = 0.0, along = 0.0;
        for (int i = threadIdx.x; i < s.count; i += 32) {
            const i64 index = start + i * s.step, channel = index % s.channels;
            const double normal = (sums[len + index] - exact[index] * sums[index]) * exact[len + index];
            const double weight = affine.weight_at(channel) * affine.scale_at(index);
            sum += weight * sums[index];
            along += weight * normal;
            dscale[index] = float(affine.weight_at(channel) * normal + affine.bias_at(channel) * sums[index]);
            dshift[index] = float(sums[index]);
        }
        sum = s.fixed ? 0.0 : warp_sum(sum);
        along = s.fixed ? 0.0 : warp_sum(along);
        for (int i = threadIdx.x; i < s.count; i += 32) {
            const i64 index = start + i * s.step;
            const double slope = exact[len + index], of_x = -slope * slope * along / s.elements;
            back[index] = float(slope * affine.weight_at(index % s.channels) * affine.scale_at(index));
            back[len + index] = float(of_x);
            back[2 * len + index] = float(-slope * sum / s.elements - exact[index] * of_x);
        }
    }
}

template <class T>
__device__ __forceinline__ void weight_grads(const double* sums, const double* exact, Affine<T> affine,
                                             float* dweight, float* dbias, const SetSizes& s) {
    const i64 len = i64(s.batch) * s.channels;
    for (i64 channel = blockIdx.x; channel < s.channels; channel += gridDim.x) {
        double of_weight = 0.0, of_bias = 0.0;
        for (int sample = threadIdx.x; sample < s.batch; sample += 32) {
            const i64 index = i64(sample) * s.channels + channel;
            const double normal = (sums[len + index] - exact[index] * sums[index]) * exact[len + index];
            of_weight += affine.scale_at(index) * normal;
            of_bias += affine.scale_at(index) * sums[index];
        }
        of_weight = warp_sum(of_weight);
        of_bias = warp_sum(of_bias);
        if (threadIdx.x == 0) dweight[channel] = float(of_weight), dbias[channel] = float(of_bias);
    }
}

extern "C" __global__ void sums_fold(const double* parts, double* sums, View s) { fold_parts(parts, sums, s); }

#define NORM(suffix, T)                                                                                               \
    extern "C" __global__ void moments_##suffix(const T* x, double* parts, View s) {                                  \
        if (s.wide) moments<Wide<T>::LEN>(x, parts, s);                                                               \
        else moments<1>(x, parts, s);                                                                                 \
    }                                                                                                                 \
    extern "C" __global__ void norm_##suffix(const T* x, const float* factors, T* y, PassSizes s) {                   \
        if (s.view.wide) norm<Wide<T>::LEN>(x, factors, y, s);                                                        \
        else norm<1>(x, factors, y, s);                                                                               \
    }                                                                                                                 \
    extern "C" __global__ void norm_sums_##suffix(const T* x, const T* dy, const float* factors, double* parts,       \
                                                  PassSizes s) {                                                      \
        if (s.view.wide) norm_sums<Wide<T>::LEN>(x, dy, factors, parts, s);                                           \
        else norm_sums<1>(x, dy, factors, parts, s);                                                                  \
    }                                                                                                                 \
    extern "C" __global__ void norm_back_##suffix(const T* x, const T* dy, const float* factors, const float* back,   \
                                                  T* dx, PassSizes s) {                                               \
        if (s.view.wide) norm_back<Wide<T>::LEN>(x, dy, factors, back, dx, s);                                        \
        else norm_back<1>(x, dy, factors, back, dx, s);                                                               \
    }                                                                                                                 \
    extern "C" __global__ void factors_##suffix(const float* moments, const T* weight, const T* bias, const T* scale, \
                                                const T* shift, const T* addend, float* to, double* exact,            \
                                                SetSizes s) {                                                         \
        factors(moments, Affine<T>{weight, bias, scale, shift}, addend, to, exact, s);                                \
    }                                                                                                                 \
    extern "C" __global__ void back_factors_##suffix(const double* sums, const double* exact, const T* weight,        \
                                                     const T* bias, const T* scale, const T* shift, float* back,      \
                                                     float* dscale, float* dshift, SetSizes s) {                      \
        back_factors(sums, exact, Affine<T>{weight, bias, scale, shift}, back, dscale, dshift, s);                    \
    }                                                                                                                 \
    extern "C" __global__ void weight_grads_##suffix(const double* sums, const double* exact, const T* weight,        \
                                                     const T* bias, const T* scale, const T* shift, float* dweight,   \
                                                     float* dbias, SetSizes s) {                                      \
        weight_grads(sums, exact, Affine<T>{weight, bias, scale, shift}, dweight, dbias, s);                          \
    }
EACH_DTYPE(NORM)
