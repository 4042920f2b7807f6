// Rows that one warp holds in registers.
#pragma once
#include "common.cuh"

// HELD packs of V neighbours a lane; what lies behind the end of a row is not valid and holds anything.
template <class T, int V, int HELD>
struct Row {
    float of[HELD][V];

    __device__ __forceinline__ static int first(int held) { return (held * 32 + threadIdx.x % 32) * V; }

    __device__ __forceinline__ void load(const T* from, int len) {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (first(h) >= len) continue;
            const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from + first(h));
#pragma unroll
            for (int k = 0; k < V; ++k) of[h][k] = to_float(pack.of[k]);
        }
    }

    __device__ __forceinline__ void store(T* to, int len) const {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (first(h) >= len) continue;
            Pack<T, V> pack;
#pragma unroll
            for (int k = 0; k < V; ++k) pack.of[k] = from_float<T>(of[h][k]);
            *reinterpret_cast<Pack<T, V>*>(to + first(h)) = pack;
        }
    }

    // of(element, its index in the row) for each element that there is.
    template <class F>
    __device__ __forceinline__ void each(int len, F work) {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (first(h) >= len) continue;
#pragma unroll
            for (int k = 0; k < V; ++k) work(of[h][k], h, k);
        }
    }
};

// The row of this thread's warp.
__device__ __forceinline__ i64 warp_row() { return i64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; }

// Numbers that a thread adds in f32 before their sum is added in f64.
constexpr int SHORT_RUN = 64;

// Two sums of this thread's share of a row: `of(index, a, b)` adds to both.
template <class F>
__device__ __forceinline__ void thread_sums(i64 len, double& a, double& b, F of) {
    a = b = 0.0;
    for (i64 start = threadIdx.x; start < len; start += i64(SHORT_RUN) * blockDim.x) {
        float run_a = 0.0f, run_b = 0.0f;
        const i64 end = min(len, start + i64(SHORT_RUN) * blockDim.x);
        for (i64 i = start; i < end; i += blockDim.x) of(i, run_a, run_b);
        a += run_a;
        b += run_b;
    }
}
