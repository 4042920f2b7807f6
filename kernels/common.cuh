// What every kernel file uses: element types, wide loads, sums over warps and blocks.
//
// Kernels compute in f32 and round once, to nearest even, as they store. Each file holds its sizes as one struct, the
// same as in tensor/cuda/, and instantiates its kernels for both element types with EACH_DTYPE.
#pragma once
#ifdef GUSTFRONT_HOST
#include "host/cuda.h"
#else
#define SHARED_BYTES(name) extern __shared__ __align__(16) unsigned char name[]
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// NVRTC has no header that names them.
#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)
#define ALL_LANES 0xffffffffu

// The upper half of an f32.
struct bf16 {
    u16 bits;
};

// M(suffix, type) for each element type.
#define EACH_DTYPE(M) M(f32, float) M(bf16, bf16)

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }

// The bits of the nearest bf16, the even one of two that are as near.
__device__ __forceinline__ u16 bf16_bits(float x) {
#ifdef GUSTFRONT_HOST
    const u32 bits = __float_as_uint(x);
    if (isnan(x)) return u16(bits >> 16 | 0x40);
    return u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#endif
}

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return bf16{bf16_bits(x)};
}

// N neighbours in memory that are read or written at once; the address is a multiple of their size.
template <class T, int N>
struct __align__(sizeof(T) * N) Pack {
    T of[N];
};

// How many elements of a type 16 bytes hold: the widest load.
template <class T>
struct Wide {
    static constexpr int LEN = 16 / sizeof(T);
    typedef Pack<T, LEN> Type;
};

// This thread among all of the grid's first dimension, and how many there are.
__device__ __forceinline__ i64 grid_thread() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 grid_threads() { return i64(gridDim.x) * blockDim.x; }

struct Sum {
    static __device__ __forceinline__ float none() { return 0.0f; }
    static __device__ __forceinline__ float join(float x, float y) { return x + y; }
};
// NaN wins over any number, and of equal zeros the second, as in PyTorch.
struct Greatest {
    static __device__ __forceinline__ float none() { return -INFINITE; }
    static __device__ __forceinline__ float join(float x, float y) { return x > y || isnan(x) ? x : y; }
};
struct Least {
    static __device__ __forceinline__ float none() { return INFINITE; }
    static __device__ __forceinline__ float join(float x, float y) { return x < y || isnan(x) ? x : y; }
};

// One number of all 32 lanes, in every lane.
template <class Op>
__device__ __forceinline__ float warp_fold(float x) {
    for (int step = 16; step > 0; step /= 2) x = Op::join(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

// One number of all threads of a block of whole warps, in every thread. `scratch` holds 32 floats of shared memory and
// may be used again at once.
template <class Op>
__device__ __forceinline__ float block_fold(float x, float* scratch) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_fold<Op>(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = warp_fold<Op>(lane < warps ? scratch[lane] : Op::none());
    __syncthreads();
    return x;
}
