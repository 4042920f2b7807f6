// The gates of GRU and LSTM cells and their gradients, an element of the state a thread; each array is read and
// written once, in f32: operations on bf16 widen first. In memory: rows times (gates side by side, each of `width`
// elements).
#include "functions.cuh"

struct Gates {
    u64 rows, width;
};

// Where an element's gates are: that of gate `g` of `gates` lies at first + g · width.
__device__ __forceinline__ u64 first_gate(i64 i, u64 width, int gates) { return i / width * width * gates + i % width; }

struct Gru {
    float r, z, n, gn;
};

__device__ __forceinline__ Gru gru_gates(const float* x, const float* g, u64 at, u64 width) {
    const float r = sigmoid(x[at] + g[at]);
    const float z = sigmoid(x[at + width] + g[at + width]);
    const float gn = g[at + 2 * width];
    return {r, z, tanhf(x[at + 2 * width] + r * gn), gn};
}

extern "C" __global__ void gru_f32(const float* x, const float* g, const float* h, float* y, Gates s) {
    for (i64 i = grid_thread(); i < i64(s.rows * s.width); i += grid_threads()) {
        const Gru gate = gru_gates(x, g, first_gate(i, s.width, 3), s.width);
        y[i] = (1.0f - gate.z) * gate.n + gate.z * h[i];
    }
}

extern "C" __global__ void gru_grad_f32(const float* x, const float* g, const float* h, const float* dy, float* dx, float* dg, float* dh, Gates s) {
    for (i64 i = grid_thread(); i < i64(s.rows * s.width); i += grid_threads()) {
        const u64 at = first_gate(i, s.width, 3);
        const Gru gate = gru_gates(x, g, at, s.width);
        const float d = dy[i];
        const float dn = d * (1.0f - gate.z) * (1.0f - gate.n * gate.n);
        const float dz = d * (h[i] - gate.n) * gate.z * (1.0f - gate.z);
        const float dr = dn * gate.gn * gate.r * (1.0f - gate.r);
        dx[at] = dg[at] = dr;
        dx[at + s.width] = dg[at + s.width] = dz;
        dx[at + 2 * s.width] = dn;
        dg[at + 2 * s.width] = dn * gate.r;
        dh[i] = d * gate.z;
    }
}

struct Lstm {
    float i, f, o, g;
};

__device__ __forceinline__ Lstm lstm_gates(const float* gates, u64 at, u64 width) {
    return {sigmoid(gates[at]), sigmoid(gates[at + width]),
            sigmoid(gates[at + 2 * width]), tanhf(gates[at + 3 * width])};
}

// The new state, and behind all of it the new cell.
extern "C" __global__ void lstm_f32(const float* gates, const float* c, float* y, Gates s) {
    const u64 len = s.rows * s.width;
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const Lstm gate = lstm_gates(gates, first_gate(i, s.width, 4), s.width);
        const float next = gate.f * c[i] + gate.i * gate.g;
        y[i] = gate.o * tanhf(next);
        y[len + i] = next;
    }
}

extern "C" __global__ void lstm_grad_f32(const float* gates, const float* c, const float* y, const float* dy, float* d_gates, float* dc, Gates s) {
    const u64 len = s.rows * s.width;
    for (i64 i = grid_thread(); i < i64(len); i += grid_threads()) {
        const u64 at = first_gate(i, s.width, 4);
        const Lstm gate = lstm_gates(gates, at, s.width);
        const float t = tanhf(y[len + i]), dh = dy[i];
        const float d_next = dy[len + i] + dh * gate.o * (1.0f - t * t);
        d_gates[at] = d_next * gate.g * gate.i * (1.0f - gate.i);
        d_gates[at + s.width] = d_next * c[i] * gate.f * (1.0f - gate.f);
        d_gates[at + 2 * s.width] = dh * t * gate.o * (1.0f - gate.o);
        d_gates[at + 3 * s.width] = d_next * gate.i * (1.0f - gate.g * gate.g);
        dc[i] = d_next * gate.f;
    }
}

