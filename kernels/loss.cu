// Penalties of pairs of elements: their weighted sum, and its gradients.
//
// loss_sum   partial sums of blocks in f64; reads x and t (and weights) once
// loss_fold  their total, by one block in one order
// loss_grad  dx, and dt where asked, in one pass; reads x and t (and weights) once, writes once each
#include "common.cuh"

enum PenaltyKind { Squared, AbsoluteDistance, Huber, SmoothAbsolute, CrossEntropy };

// Weights meet elements by steps along sizes in the order of memory; those of size 1 come first.
struct LossSizes {
    i64 len;
    int kind;
    float parameter;
    // Whether all arrays begin at a multiple of 16 bytes, and the first dimension whose size is not 1.
    int aligned, first;
    i64 sizes[6], steps[6];
};

__device__ __forceinline__ float huber(float distance, float delta) {
    const float far = fabsf(distance);
    return far <= delta ? 0.5f * far * far : delta * (far - 0.5f * delta);
}

__device__ __forceinline__ float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }

// ln(1 + e^-|x|) + max(-x, 0): minus the logarithm of the sigmoid.
__device__ __forceinline__ float minus_log_sigmoid(float x) { return log1pf(expf(-fabsf(x))) + fmaxf(-x, 0.0f); }

__device__ __forceinline__ float penalty(const LossSizes& s, float x, float t) {
    switch (s.kind) {
    case Squared: return (x - t) * (x - t);
    case Huber: return huber(x - t, s.parameter);
    case SmoothAbsolute: return s.parameter > 0.0f ? huber(x - t, s.parameter) / s.parameter : fabsf(x - t);
    case CrossEntropy: {
        const float there = minus_log_sigmoid(x);
        return s.parameter * t * there + (1.0f - t) * (there + x);
    }
    default: return fabsf(x - t);
    }
}

__device__ __forceinline__ float penalty_slope(const LossSizes& s, float x, float t) {
    const float distance = x - t, limit = s.parameter;
    switch (s.kind) {
    case Squared: return 2.0f * distance;
    case Huber: return fabsf(distance) <= limit ? distance : limit * sign(distance);
    case SmoothAbsolute: return limit > 0.0f && fabsf(distance) <= limit ? distance / limit : sign(distance);
    case CrossEntropy: {
        // sigmoid(|x|) and sigmoid(-|x|) of one exponential, neither of which cancels.
        const float e = expf(-fabsf(x)), great = 1.0f / (1.0f + e), little = e * great;
        const float of_x = x < 0.0f ? little : great, of_minus = x < 0.0f ? great : little;
        return (1.0f - t) * of_x - limit * t * of_minus;
    }
    default: return sign(distance);
    }
}

// All but the cross entropy see the distance alone: the target's slope is the other way.
__device__ __forceinline__ float target_slope(const LossSizes& s, float x, float t) {
    if (s.kind != CrossEntropy) return -penalty_slope(s, x, t);
    const float there = minus_log_sigmoid(x);
    return s.parameter * there - (there + x);
}

// Walks through the weights of neighbouring elements.
struct Weights {
    const float* values;
    const LossSizes& s;
    i64 at, left;
    __device__ __forceinline__ Weights(const float* values, const LossSizes& s, i64 first)
        : values(values), s(s), at(0), left(0) {
        if (values) seek(first);
    }
    __device__ __forceinline__ void seek(i64 index) {
        at = 0;
        left = s.sizes[5] - index % s.sizes[5];
        if (s.len <= 0xffffffffll) {
            u32 rest = u32(index);
#pragma unroll
            for (int d = 5; d >= 0; --d) {
                if (d < s.first) continue;
                at += rest % u32(s.sizes[d]) * s.steps[d];
                rest /= u32(s.sizes[d]);
            }
        } else {
#pragma unroll
            for (int d = 5; d >= 0; --d) {
                if (d < s.first) continue;
                at += index % s.sizes[d] * s.steps[d];
                index /= s.sizes[d];
            }
        }
    }
    // The weight of the `index`-th element, which follows the one before.
    __device__ __forceinline__ float next(i64 index) {
        if (!values) return 1.0f;
        if (left == 0) seek(index);
        const float weight = values[at];
        at += s.steps[5];
        --left;
        return weight;
    }
};

// What an element of weight 0 would be is of no account.
__device__ __forceinline__ float counted(float weight, float value) { return weight == 0.0f ? 0.0f : weight * value; }

template <class T>
__device__ __forceinline__ float pack_sum(const Pack<T, Wide<T>::LEN>& x, const Pack<T, Wide<T>::LEN>& t,
                                          const float* weights, i64 first, const LossSizes& s) {
    Weights walk(weights, s, first);
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < Wide<T>::LEN; ++k) {
        const float weight = walk.next(first + k);
        sum += counted(weight, penalty(s, to_float(x.of[k]), to_float(t.of[k])));
    }
    return sum;
}

template <class T>
__device__ __forceinline__ double block_share(const T* __restrict__ x, const T* __restrict__ t, const float* weights,
                                              const LossSizes& s) {
    constexpr int N = Wide<T>::LEN;
    typedef Pack<T, N> P;
    const i64 packs = s.aligned ? s.len / N : 0;
    double sum = 0.0;
    for (i64 pack = grid_thread(); pack < packs; pack += grid_threads())
        sum += pack_sum<T>(reinterpret_cast<const P*>(x)[pack], reinterpret_cast<const P*>(t)[pack], weights,
                           pack * N, s);
    for (i64 i = packs * N + grid_thread(); i < s.len; i += grid_threads()) {
        Weights walk(weights, s, i);
        sum += counted(walk.next(i), penalty(s, to_float(x[i]), to_float(t[i])));
    }
    return sum;
}

// One sum over a block, in one order; the first thread gets it.
__device__ __forceinline__ double block_total(double x) {
    __shared__ double held[256];
    held[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) held[threadIdx.x] += held[threadIdx.x + half];
        __syncthreads();
    }
    return held[0];
}

template <class T>
__device__ __forceinline__ void grads(const T* __restrict__ x, const T* __restrict__ t, const float* weights,
                                      const float* dy, T* dx, T* dt, const LossSizes& s) {
    constexpr int N = Wide<T>::LEN;
    typedef Pack<T, N> P;
    const float scale = dy[0];
    const i64 packs = s.aligned ? s.len / N : 0;
    for (i64 pack = grid_thread(); pack < packs; pack += grid_threads()) {
        const P of_x = reinterpret_cast<const P*>(x)[pack], of_t = reinterpret_cast<const P*>(t)[pack];
        P to_x, to_t;
        Weights walk(weights, s, pack * N);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const float weight = walk.next(pack * N + k), x = to_float(of_x.of[k]), t = to_float(of_t.of[k]);
            to_x.of[k] = from_float<T>(counted(weight, scale * penalty_slope(s, x, t)));
            if (dt) to_t.of[k] = from_float<T>(counted(weight, scale * target_slope(s, x, t)));
        }
        reinterpret_cast<P*>(dx)[pack] = to_x;
        if (dt) reinterpret_cast<P*>(dt)[pack] = to_t;
    }
    for (i64 i = packs * N + grid_thread(); i < s.len; i += grid_threads()) {
        Weights walk(weights, s, i);
        const float weight = walk.next(i), of_x = to_float(x[i]), of_t = to_float(t[i]);
        dx[i] = from_float<T>(counted(weight, scale * penalty_slope(s, of_x, of_t)));
        if (dt) dt[i] = from_float<T>(counted(weight, scale * target_slope(s, of_x, of_t)));
    }
}

extern "C" __global__ void loss_fold(const double* parts, float* sum, i64 count) {
    double all = 0.0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) all += parts[i];
    all = block_total(all);
    if (threadIdx.x == 0) sum[0] = float(all);
}

#define LOSS(suffix, T)                                                                                          \
    extern "C" __global__ void loss_sum_##suffix(const T* x, const T* t, const float* weights, double* parts,    \
                                                 LossSizes s) {                                                  \
        const double sum = block_total(block_share(x, t, weights, s));                                           \
        if (threadIdx.x == 0) parts[blockIdx.x] = sum;                                                           \
    }                                                                                                            \
    extern "C" __global__ void loss_grad_##suffix(const T* x, const T* t, const float* weights, const float* dy, \
                                                  T* dx, T* dt, LossSizes s) {                                   \
        grads(x, t, weights, dy, dx, dt, s);                                                                     \
    }
EACH_DTYPE(LOSS)
