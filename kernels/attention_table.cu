// Attention whose heads are too wide for tiles: shares of all queries and keys as a table in f32 (heads, queries, keys),
// between products of matrices. f32 and bf16 tell the type of the mask.
//
// attention_shares       products to shares in place, and the level of each query; one warp a row, which it reads twice
//                        and writes once
// attention_shares_back  products to shares, and gradients of shares to those of products, both in place; one warp a
//                        row, reads and writes both once
#include "attention.cuh"

// Adds a score to the shares that a lane has found: their sum from the greatest score on.
__device__ __forceinline__ void find(float score, float& most, float& total) {
    const float found = fmaxf(most, score);
    // Where all is hidden so far, shares of minus infinity are 0 from any finite level.
    const float level = found == -INFINITE ? 0.0f : found;
    total = total * expf(most - level) + expf(score - level);
    most = found;
}

// What a warp does for one row of the table, of one query of a head.
template <class T>
struct Row {
    i64 row;
    int query, lane;
    Mask<T> mask;
    const AttentionSizes& s;
    __device__ __forceinline__ Row(const T* mask_from, const AttentionSizes& s)
        : row(i64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32), query(int(row % s.queries)),
          lane(threadIdx.x % 32), mask(mask_from, s, row / s.queries), s(s) {}
    __device__ __forceinline__ float score(float product, int key) const { return mask.score(s, product, query, key, 1.0f); }
};

template <class T>
__device__ __forceinline__ void shares(float* table, const T* mask, float2* levels, i64 rows, const AttentionSizes& s) {
    const Row<T> of(mask, s);
    if (of.row >= rows) return;
    float *own = table + of.row * s.keys, most = -INFINITE, total = 0.0f;
    for (int key = of.lane; key < s.keys; key += 32) find(of.score(own[key], key), most, total);
    const float all = warp_fold<Greatest>(most), level = all == -INFINITE ? 0.0f : all;
    total = warp_fold<Sum>(total * expf(most - level));
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
    for (int key = of.lane; key < s.keys; key += 32) own[key] = expf(of.score(own[key], key) - level) * factor;
    if (of.lane == 0) levels[of.row] = total == 0.0f ? make_float2(INFINITE, 0.0f) : make_float2(all, logf(total));
}

template <class T>
__device__ __forceinline__ void shares_back(float* table, float* slopes, const T* mask, const float2* levels,
                                            const float* along, i64 rows, const AttentionSizes& s) {
    const Row<T> of(mask, s);
    if (of.row >= rows) return;
    float *own = table + of.row * s.keys, *own_slopes = slopes + of.row * s.keys;
    const float2 level = levels[of.row];
    const float sum = along[of.row];
    for (int key = of.lane; key < s.keys; key += 32) {
        const float2 both = share_back(of.score(own[key], key), level, own_slopes[key], sum, s.scale);
        own[key] = both.x;
        own_slopes[key] = both.y;
    }
}

#define ATTENTION(suffix, T)                                                                                       \
    extern "C" __global__ void attention_shares_##suffix(float* table, const T* mask, float2* levels, i64 rows,    \
                                                         AttentionSizes s) {                                       \
        shares(table, mask, levels, rows, s);                                                                      \
    }                                                                                                              \
    extern "C" __global__ void attention_shares_back_##suffix(float* table, float* slopes, const T* mask,          \
                                                              const float2* levels, const float* along, i64 rows,  \
                                                              AttentionSizes s) {                                  \
        shares_back(table, slopes, mask, levels, along, rows, s);                                                  \
    }
EACH_DTYPE(ATTENTION)
