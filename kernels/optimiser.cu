// One step of Adam in one pass (reads four arrays, writes three), and the norm of many arrays.
//
// squares  one block a slab: Σx² in f64, one number a block; root adds them up in one order.
#include "common.cuh"

// As `AdamStep` in tensor/ops/optimiser.rs; `kept` and `added` are its decay, decoupled or not.
struct AdamSizes {
    u64 len;
    float size, beta1, beta2, epsilon, kept, added, correction2;
    int padding;
};

template <class T>
__device__ void adam_step(const float* value, const T* gradient, const float* mean, const float* square,
                          const float* scale, float* values, float* means, float* squares, const AdamSizes& s) {
    const float factor = scale ? *scale : 1.0f;
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const float p = value[i], g = to_float(gradient[i]) * factor + s.added * p;
        const float m = mean[i] + (1.0f - s.beta1) * (g - mean[i]);
        const float v = s.beta2 * square[i] + (1.0f - s.beta2) * (g * g);
        values[i] = p * s.kept - s.size * m / (sqrtf(v) / s.correction2 + s.epsilon);
        means[i] = m;
        squares[i] = v;
    }
}

// The sum over a block of 256 threads, in thread 0.
__device__ __forceinline__ double block_sum(double x, double* parts) {
    parts[threadIdx.x] = x;
    __syncthreads();
    for (unsigned half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
        __syncthreads();
    }
    return parts[0];
}

template <class T>
__device__ void sum_squares(const T* x, double* parts, u64 len) {
    __shared__ double scratch[256];
    double sum = 0.0;
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const double value = to_float(x[i]);
        sum += value * value;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void root(const double* parts, float* y, u64 len) {
    __shared__ double scratch[256];
    double sum = 0.0;
    for (u64 i = threadIdx.x; i < len; i += blockDim.x) sum += parts[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) *y = float(sqrt(sum));
}

#define OPTIMISER(suffix, T)                                                                                         \
    extern "C" __global__ void adam_step_##suffix(const float* value, const T* gradient, const float* mean,          \
                                                  const float* square, const float* scale, float* values,            \
                                                  float* means, float* squares, AdamSizes s) {                       \
        adam_step(value, gradient, mean, square, scale, values, means, squares, s);                                  \
    }                                                                                                                \
    extern "C" __global__ void squares_##suffix(const T* x, double* parts, u64 len) { sum_squares(x, parts, len); }
EACH_DTYPE(OPTIMISER)
