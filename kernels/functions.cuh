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
__device__ __forceinline__ float gelu_argument(float x) { return 0.7978846f * (x + 0.044715f * x * x * x); }

__device__ __forceinline__ float apply(const Function& f, float x) {
    switch (f.kind) {
    case AddConstant: return x + f.a;
    case MultiplyConstant: return x * f.a;
    case Reciprocal: return 1.0f / x;
    case Power: return f.a == 2.0f ? x * x : powf(x, f.a);
    case SquareRoot: return sqrtf(x);
    case Absolute: return fabsf(x);
    case Exponential: return expf(x);
    case Logarithm: return logf(x);
    case Sine: return sinf(x);
    case Cosine: return cosf(x);
    case Clamp: return x < f.a ? f.a : x > f.b ? f.b : x;
    case Relu: return x < 0.0f ? 0.0f : x;
    case LeakyRelu: return x < 0.0f ? f.a * x : x;
    case Elu: return x > 0.0f ? x : expm1f(x);
    case Silu: return x * sigmoid(x);
    case Gelu: return x * normal_below(x);
    case GeluTanh: return 0.5f * x * (1.0f + tanhf(gelu_argument(x)));
    case Sigmoid: return sigmoid(x);
    case Tanh: return tanhf(x);
    case Softplus: return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    default: return x;
    }
}

__device__ __forceinline__ float gelu_tanh_slope(float x) {
    const float t = tanhf(gelu_argument(x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978846f * (1.0f + 3.0f * 0.044715f * x * x);
}

__device__ __forceinline__ float slope(const Function& f, float x) {
    const float s = sigmoid(x);
    switch (f.kind) {
    case MultiplyConstant: return f.a;
    case Reciprocal: return -1.0f / (x * x);
    case Power: return f.a == 2.0f ? 2.0f * x : f.a * powf(x, f.a - 1.0f);
    case SquareRoot: return 0.5f / sqrtf(x);
    case Absolute: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    case Exponential: return expf(x);
    case Logarithm: return 1.0f / x;
    case Sine: return cosf(x);
    case Cosine: return -sinf(x);
    case Clamp: return x < f.a || x > f.b ? 0.0f : 1.0f;
    case Relu: return x > 0.0f ? 1.0f : 0.0f;
    case LeakyRelu: return x > 0.0f ? 1.0f : f.a;
    case Elu: return x > 0.0f ? 1.0f : expf(x);
    case Silu: return s * (1.0f + x * (1.0f - s));
    case Gelu: return normal_below(x) + x * 0.3989423f * expf(-0.5f * x * x);
    case GeluTanh: return gelu_tanh_slope(x);
    case Sigmoid: return s * (1.0f - s);
    case Tanh: return 1.0f - tanhf(x) * tanhf(x);
    case Softplus: return s;
    default: return 1.0f;
    }
}
