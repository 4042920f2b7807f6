// Numbers on their way to the tiles that are multiplied: normalised, and as numbers of the tiles' type.
//
// A number that is no bf16 is held as two of them where tensor cores multiply it, its nearest one and what that leaves,
// in two planes: at most 2^-17 of it is lost.
#pragma once
#include "functions.cuh"

template <class X, class T>
constexpr bool SAME = false;
template <class T>
constexpr bool SAME<T, T> = true;

// Numbers that are read at once where they are not copied as they are.
constexpr int SOME = 4;

// What a normalisation does to LEN channels: mean, slope, offset and addend of each.
template <int LEN>
struct Factors {
    Pack<float, LEN> of[4];

    // `plane` numbers lie from one factor to the next.
    __device__ __forceinline__ Factors(const float* from, i64 plane) {
#pragma unroll
        for (int which = 0; which < 4; ++which) of[which] = *reinterpret_cast<const Pack<float, LEN>*>(from + which * plane);
    }

    __device__ __forceinline__ void apply(float (&values)[LEN], const Function& function) const {
#pragma unroll
        for (int k = 0; k < LEN; ++k) {
            const float z = (values[k] - of[0].of[k]) * of[1].of[k] + of[2].of[k];
            values[k] = (function.kind == Silu ? FastSilu{}.value(z) : z) + of[3].of[k];
        }
    }
};

// Puts numbers as they are nearest, and what that leaves `plane` bytes behind where they are to be two.
template <class T, bool SPLIT, int LEN>
__device__ __forceinline__ void put_parts(u8* to, int plane, const float (&values)[LEN]) {
    Pack<T, LEN> near, rest;
#pragma unroll
    for (int k = 0; k < LEN; ++k) {
        near.of[k] = from_float<T>(values[k]);
        const float held = to_float(near.of[k]);
        if (SPLIT) rest.of[k] = from_float<T>(fabsf(held) < INFINITE ? values[k] - held : 0.0f);
    }
    *reinterpret_cast<Pack<T, LEN>*>(to) = near;
    if (SPLIT) *reinterpret_cast<Pack<T, LEN>*>(to + plane) = rest;
}
