// Tensor cores and asynchronous copies, each with a twin for the host.
//
// A warp multiplies 16 × 16 by 16 × 8 of bf16 into f32 at once; lane 4g + t holds of the product the rows g and g + 8
// and the columns 2t and 2t + 1. Matrices of 8 × 8 elements come from shared memory, one row of 16 bytes a lane.
#pragma once
#include "common.cuh"

#ifdef GUSTFRONT_HOST
#include "host/shared.h"

// What a lane brings to a product.
struct Fragments {
    u32 a[4], b[2];
};
// A row of a matrix, as it is when the lane that names it comes.
struct Row {
    u16 elements[8];
};

__device__ __forceinline__ float half_of(u32 word, int half) {
    return __uint_as_float(half ? word & 0xffff0000u : word << 16);
}

// d += a · b.
inline void multiply_16x8x16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    const Fragments own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    host::exchange(ALL_LANES, own, [&](auto lane) {
        const int g = host::lane_index() / 4, t = host::lane_index() % 4;
        float rows[2][16], columns[2][16];
        for (int j = 0; j < 4; ++j) {
            const Fragments left = lane(4 * g + j);
            for (int part = 0; part < 4; ++part)
                for (int half = 0; half < 2; ++half) rows[part % 2][8 * (part / 2) + 2 * j + half] = half_of(left.a[part], half);
            for (int side = 0; side < 2; ++side) {
                const Fragments right = lane(4 * (2 * t + side) + j);
                for (int part = 0; part < 2; ++part)
                    for (int half = 0; half < 2; ++half) columns[side][8 * part + 2 * j + half] = half_of(right.b[part], half);
            }
        }
        for (int i = 0; i < 4; ++i)
            for (int k = 0; k < 16; ++k) d[i] += rows[i / 2][k] * columns[i % 2][k];
        return 0;
    });
}

inline Row row_at(const void* at) {
    Row row;
    std::memcpy(&row, at, sizeof row);
    return row;
}

// Four matrices: lane 8q + r names row r of matrix q, and gets of each matrix row lane / 4, elements 2 (lane % 4) and
// the next.
inline void load_matrices(u32 (&to)[4], const void* row) {
    host::exchange(ALL_LANES, row_at(row), [&](auto lane) {
        const unsigned own = host::lane_index();
        for (unsigned q = 0; q < 4; ++q) {
            const Row from = lane(8 * q + own / 4);
            std::memcpy(&to[q], &from.elements[own % 4 * 2], 4);
        }
        return 0;
    });
}

// The same of the transposed matrices.
inline void load_transposed(u32 (&to)[4], const void* row) {
    host::exchange(ALL_LANES, row_at(row), [&](auto lane) {
        const unsigned own = host::lane_index();
        for (unsigned q = 0; q < 4; ++q) {
            const Row low = lane(8 * q + own % 4 * 2), high = lane(8 * q + own % 4 * 2 + 1);
            to[q] = u32(high.elements[own / 4]) << 16 | low.elements[own / 4];
        }
        return 0;
    });
}

#else

__device__ __forceinline__ u32 shared_address(const void* at) { return u32(__cvta_generic_to_shared(at)); }

__device__ __forceinline__ void multiply_16x8x16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void load_matrices(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_transposed(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Begins to copy `bytes` of 16 from global to shared memory; the others become zero.
__device__ __forceinline__ void copy_16(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for this thread's copies but for those of its last N groups.
template <int N>
__device__ __forceinline__ void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

// Two numbers as bf16, the first in the lower half.
__device__ __forceinline__ u32 pair(float low, float high) {
#ifdef GUSTFRONT_HOST
    return u32(bf16_bits(high)) << 16 | bf16_bits(low);
#else
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#endif
}

__device__ __forceinline__ float lower(u32 word) { return __uint_as_float(word << 16); }
__device__ __forceinline__ float upper(u32 word) { return __uint_as_float(word & 0xffff0000u); }

// Of two numbers what bf16 holds of them, and what it holds of the rest.
__device__ __forceinline__ void split(float2 x, u32& near, u32& rest) {
    near = pair(x.x, x.y);
    const float one = lower(near), two = upper(near);
    rest = pair(fabsf(one) < INFINITE ? x.x - one : 0.0f, fabsf(two) < INFINITE ? x.y - two : 0.0f);
}

// Two neighbouring products of 16 x 8.
__device__ __forceinline__ void multiply_pair(float (&first)[4], float (&second)[4], const u32 (&a)[4],
                                              const u32 (&b)[4]) {
    const u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
    multiply_16x8x16(first, a, low);
    multiply_16x8x16(second, a, high);
}
