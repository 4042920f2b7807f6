// Functions of one number and their derivatives; `Function` names one, as `Map` does in tensor/ops/elementwise.rs.
#pragma once
#include "common.cuh"

// The numbers of the functions, in the order of `Map`; None leaves x as it is.
enum FunctionKind {
    None, AddConstant, MultiplyConstant, Reciprocal, Power, SquareRoot, Absolute, Exponential, Logarithm, Sine, Cosine,
    Clamp, Relu, LeakyRelu, Elu, Silu, Gelu, GeluTanh, Sigmoid, Tanh, Softplus
};

struct Function {
    int kind;
    float a, b;
};

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
// The normal distribution.
__device__ __forceinline__ float normal_below(float x) { return 0.5f * erfcf(-0.70710678f * x); }
// x between bounds, the upper one where they cross; NaN stays.
__device__ __forceinline__ float within(float x, float low, float high) {
    const float held = x < low ? low : x;
    return held > high ? high : held;
}
// A factor of 0 wins over what is held at the greatest finite numbers.
constexpr float MOST = 3.4028235e38f;
// x to a power; half powers are roots: NaN of -infinity, -0 of -0.
__device__ __forceinline__ float power(float x, float c) {
    return c == 2.0f ? x * x : c == 0.5f ? sqrtf(x) : c == -0.5f ? 1.0f / sqrtf(x) : powf(x, c);
}
__device__ __forceinline__ float gelu_argument(float x) { return 0.7978846f * (x + 0.044715f * x * x * x); }

__device__ __forceinline__ float apply(const Function& f, float x) {
    switch (f.kind) {
    case AddConstant: return x + f.a;
    case MultiplyConstant: return x * f.a;
    case Reciprocal: return 1.0f / x;
    case Power: return power(x, f.a);
    case SquareRoot: return sqrtf(x);
    case Absolute: return fabsf(x);
    case Exponential: return expf(x);
    case Logarithm: return logf(x);
    case Sine: return sinf(x);
    case Cosine: return cosf(x);
    case Clamp: return isnan(f.a) || isnan(f.b) ? NOT_A_NUMBER : within(x, f.a, f.b);
    case Relu: return x < 0.0f ? 0.0f : x;
    case LeakyRelu: return x < 0.0f ? f.a * x : x;
    case Elu: return x > 0.0f ? x : expm1f(x);
    case Silu: return within(x, -MOST, INFINITE) * sigmoid(x);
    case Gelu: return within(x, -MOST, INFINITE) * normal_below(x);
    case GeluTanh: return 0.5f * within(x, -MOST, INFINITE) * (1.0f + tanhf(gelu_argument(x)));
    case Sigmoid: return sigmoid(x);
    case Tanh: return tanhf(x);
    case Softplus: return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    default: return x;
    }
}

__device__ __forceinline__ float gelu_tanh_slope(float x) {
    // Beyond it the tanh is -1 or 1 and the slope 0 or 1; squares of numbers within are finite.
    x = within(x, -1e6f, 1e6f);
    const float t = tanhf(gelu_argument(x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978846f * (1.0f + 3.0f * 0.044715f * x * x);
}

__device__ __forceinline__ float slope(const Function& f, float x) {
    const float s = sigmoid(x);
    switch (f.kind) {
    case MultiplyConstant: return f.a;
    case Reciprocal: return -1.0f / (x * x);
    case Power: return f.a == 0.0f ? 0.0f : f.a == 2.0f ? 2.0f * x : f.a * power(x, f.a - 1.0f);
    case SquareRoot: return 0.5f / sqrtf(x);
    case Absolute: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    case Exponential: return expf(x);
    case Logarithm: return 1.0f / x;
    case Sine: return cosf(x);
    case Cosine: return -sinf(x);
    case Clamp: return x > f.a && x < f.b ? 1.0f : 0.0f;
    case Relu: return x <= 0.0f ? 0.0f : 1.0f;
    case LeakyRelu: return x > 0.0f ? 1.0f : f.a;
    case Elu: return x > 0.0f ? 1.0f : expf(x);
    case Silu: return s * (1.0f + within(x, -MOST, MOST) * (1.0f - s));
    case Gelu: return normal_below(x) + within(x, -MOST, MOST) * 0.3989423f * expf(-0.5f * x * x);
    case GeluTanh: return gelu_tanh_slope(x);
    case Sigmoid: return s * (1.0f - s);
    case Tanh: return 1.0f - tanhf(x) * tanhf(x);
    case Softplus: return s;
    default: return 1.0f;
    }
}

// dy times the derivative at x; where that is 0 by a rule, dy is of no account even if it is infinite.
__device__ __forceinline__ float pulled(const Function& f, float x, float dy) {
    const float by = slope(f, x);
    const bool cut = by == 0.0f && (f.kind == Clamp || f.kind == Relu || (f.kind == Power && f.a == 0.0f));
    return cut ? 0.0f : by * dy;
}

// The sigmoid with the fast exponential and division: relative errors below 1e-6 where |z| < 10.
struct FastSilu {
    __device__ __forceinline__ static float sigmoid(float z) { return __fdividef(1.0f, 1.0f + __expf(-z)); }
    __device__ __forceinline__ float value(float z) const { return within(z, -MOST, INFINITE) * sigmoid(z); }
    __device__ __forceinline__ float pulled(float z, float dy) const {
        const float s = sigmoid(z);
        return dy * (s * (1.0f + within(z, -MOST, MOST) * (1.0f - s)));
    }
};
