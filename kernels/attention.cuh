// The sizes of an attention, and which keys a query sees.
#pragma once
#include "common.cuh"

// The largest finite number.
constexpr float LARGEST = 3.40282347e38f;

struct AttentionSizes {
    // How far apart the mask's neighbours lie along (batch, heads, queries, keys).
    i64 mask[4];
    int heads, queries, keys;
    // Numbers of a query and of a value.
    int size, value_size;
    float scale;
    int causal;
    // Blocks of a head, and whether rows are whole packs of 16 bytes at multiples of 16.
    int tiles, wide;
    // Whether the result is f32 whatever the queries are.
    int exact;
};

// The tile of a head that a block works on: heads of all samples lie one after the other.
struct Tile {
    i64 head;
    int first;
    __device__ __forceinline__ Tile(const AttentionSizes& s, int rows)
        : head(blockIdx.x / s.tiles), first(int(blockIdx.x % s.tiles) * rows) {}
};

// What is added to the products of one head.
template <class T>
struct Mask {
    const T* at;
    i64 of_query, of_key;
    __device__ __forceinline__ Mask(const T* mask, const AttentionSizes& s, i64 head)
        : at(mask ? mask + head / s.heads * s.mask[0] + head % s.heads * s.mask[1] : nullptr), of_query(s.mask[2]),
          of_key(s.mask[3]) {}
    // Whether each of `queries` and `keys` neighbours is seen as it is, so that a score is its product times the scale.
    __device__ __forceinline__ bool none(const AttentionSizes& s, int query, int queries, int key, int keys) const {
        return !at && query + queries <= s.queries && key + keys <= s.keys && !(s.causal && key + keys > query + 1);
    }
    // A scaled and masked product times `unit`; minus infinity where the query does not see the key.
    __device__ __forceinline__ float score(const AttentionSizes& s, float product, int query, int key,
                                           float unit) const {
        if (query >= s.queries || key >= s.keys || (s.causal && key > query)) return -INFINITE;
        const float scaled = product * (s.scale * unit);
        return at ? scaled + in_units(to_float(at[query * of_query + key * of_key]), unit) : scaled;
    }
    // A mask's number times `unit`: where it is finite, the nearest finite one.
    __device__ __forceinline__ static float in_units(float mask, float unit) {
        return fabsf(mask) < INFINITE ? fminf(fmaxf(mask * unit, -LARGEST), LARGEST) : mask;
    }
};

// Keys that any of the queries before `end` sees.
__device__ __forceinline__ int keys_seen(const AttentionSizes& s, int end) {
    return s.causal ? min(s.keys, end) : s.keys;
}

// A share, and the gradient of its score.
__device__ __forceinline__ float2 share_back(float score, float2 level, float slope, float along, float scale) {
    const float share = expf(score - level.x - level.y);
    return make_float2(share, share * (slope - along) * scale);
}
