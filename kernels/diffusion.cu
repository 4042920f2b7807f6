// Noise added to whole fields, and one step of a sampler; each array is read once and written once.
#include "common.cuh"

// What counts nothing may be infinite.
__device__ __forceinline__ float plus(float so_far, float factor, float x) {
    return factor == 0.0f ? so_far : so_far + factor * x;
}

struct BlendSizes {
    u64 len, each;
};

// a·x + b·y with one a and b for every `each` elements.
template <class T>
__device__ void blend(const T* x, const T* y, const float2* factors, T* z, const BlendSizes& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const float2 factor = factors[i / s.each];
        z[i] = from_float<T>(plus(factor.x * to_float(x[i]), factor.y, to_float(y[i])));
    }
}

// As `SamplerStep` in tensor/ops/diffusion.rs; `clip` is infinite where nothing is held back.
struct Step {
    u64 len;
    float from_x, from_model, clip, keep_x, keep_model, keep_denoised, keep_previous, noise;
};

template <class T>
__device__ void sampler_step(const T* x, const T* model, const T* previous, const T* noise, T* next, T* denoised,
                             const Step& s) {
    for (i64 i = grid_thread(); i < i64(s.len); i += grid_threads()) {
        const float value = to_float(x[i]), answer = to_float(model[i]);
        const float free = plus(s.from_x * value, s.from_model, answer);
        const float held = free > s.clip ? s.clip : free < -s.clip ? -s.clip : free;
        float to = plus(plus(s.keep_denoised * held, s.keep_x, value), s.keep_model, answer);
        if (previous) to = plus(to, s.keep_previous, to_float(previous[i]));
        if (noise) to = plus(to, s.noise, to_float(noise[i]));
        denoised[i] = from_float<T>(held);
        next[i] = from_float<T>(to);
    }
}

#define DIFFUSION(suffix, T)                                                                                        \
    extern "C" __global__ void blend_##suffix(const T* x, const T* y, const float2* factors, T* z, BlendSizes s) {  \
        blend(x, y, factors, z, s);                                                                                 \
    }                                                                                                               \
    extern "C" __global__ void sampler_step_##suffix(const T* x, const T* model, const T* previous, const T* noise, \
                                                     T* next, T* denoised, Step s) {                                \
        sampler_step(x, model, previous, noise, next, denoised, s);                                                 \
    }
EACH_DTYPE(DIFFUSION)
