// Attention in f32: softmax(q kT scale + mask) v in tiles of 64 queries and 64 keys, without a table of all products
// (Dao, "FlashAttention-2", 2023). Blocks of 16 x 16 threads, each with 4 x 4 products of a tile.
//
// attention_D          reads q once, keys and values once a tile of queries; writes the result and levels once
// attention_along      sum of dy y of each query; one warp a row; reads both once. For f32 and bf16.
// attention_queries_D  dq of a tile of queries over all keys; shares are worked out again from the levels
// attention_keys_D     dk and dv of a tile of keys over all queries
// D is 32, 64 or 128: what sizes are filled up to in shared memory.
#include "attention.cuh"

constexpr int TILE = 64, THREADS = 256, SIDE = 16, EACH = TILE / SIDE;
// Floats from row to row of the shares in shared memory: rows begin in different banks.
constexpr int SHARE_STEP = TILE + 4;

// Rows of a head in shared memory, filled up with zeros.
template <int D>
struct Rows {
    static constexpr int STEP = D + 4, FLOATS = TILE * STEP;
    float* at;
    __device__ __forceinline__ const float* row(int row) const { return at + row * STEP; }
    template <class T>
    __device__ __forceinline__ void load(const T* from, int first, int count, int size) {
        for (int i = threadIdx.x; i < TILE * D; i += THREADS) {
            const int row = i / D, column = i % D;
            const bool there = first + row < count && column < size;
            at[row * STEP + column] = there ? to_float(from[i64(first + row) * size + column]) : 0.0f;
        }
    }
};

__device__ __forceinline__ int side_x() { return threadIdx.x % SIDE; }
__device__ __forceinline__ int side_y() { return threadIdx.x / SIDE; }

// Products of rows side_y + 16 i of `a` and rows side_x + 16 j of `b`.
template <int D>
__device__ __forceinline__ void products(const Rows<D>& a, const Rows<D>& b, float (&to)[EACH][EACH]) {
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) to[i][j] = 0.0f;
#pragma unroll 4
    for (int d = 0; d < D; d += 4) {
        Pack<float, 4> left[EACH], right[EACH];
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            left[i] = *reinterpret_cast<const Pack<float, 4>*>(a.row(side_y() + SIDE * i) + d);
            right[i] = *reinterpret_cast<const Pack<float, 4>*>(b.row(side_x() + SIDE * i) + d);
        }
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) to[i][j] += left[i].of[k] * right[j].of[k];
    }
}

// Adds shares (64, 64) times rows of `right`: rows side_y + 16 i, columns side_x + 16 c.
template <int D>
__device__ __forceinline__ void add_product(const float* shares, const Rows<D>& right, float (&to)[EACH][D / SIDE]) {
#pragma unroll 2
    for (int k = 0; k < TILE; k += 4) {
        Pack<float, 4> left[EACH];
#pragma unroll
        for (int i = 0; i < EACH; ++i)
            left[i] = *reinterpret_cast<const Pack<float, 4>*>(shares + (side_y() + SIDE * i) * SHARE_STEP + k);
#pragma unroll
        for (int step = 0; step < 4; ++step)
#pragma unroll
            for (int c = 0; c < D / SIDE; ++c) {
                const float x = right.row(k + step)[side_x() + SIDE * c];
#pragma unroll
                for (int i = 0; i < EACH; ++i) to[i][c] += left[i].of[step] * x;
            }
    }
}

// Writes rows that there are, each times its factor.
template <int D, class T>
__device__ __forceinline__ void store_rows(const float (&from)[EACH][D / SIDE], const float (&factors)[EACH], T* to,
                                           int first, int count, int size) {
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int c = 0; c < D / SIDE; ++c) {
            const int row = first + side_y() + SIDE * i, column = side_x() + SIDE * c;
            if (row < count && column < size) to[i64(row) * size + column] = from_float<T>(from[i][c] * factors[i]);
        }
}

// Over the 16 threads that share rows, in each of them.
template <class Op>
__device__ __forceinline__ float side_fold(float x) {
    for (int step = SIDE / 2; step > 0; step /= 2) x = Op::join(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

template <int D, class T>
__device__ __forceinline__ void attend(const T* q, const T* k, const T* v, const T* mask_from, T* y, float2* levels,
                                       const AttentionSizes& s) {
    SHARED_BYTES(shared);
    Rows<D> queries{reinterpret_cast<float*>(shared)}, keys{queries.at + Rows<D>::FLOATS},
        values{keys.at + Rows<D>::FLOATS};
    float* shares = values.at + Rows<D>::FLOATS;
    const Tile tile(s, TILE);
    const Mask<T> mask(mask_from, s, tile.head);
    queries.load(q + tile.head * s.queries * s.size, tile.first, s.queries, s.size);
    float most[EACH], total[EACH], sum[EACH][D / SIDE] = {};
    for (int i = 0; i < EACH; ++i) most[i] = -INFINITE, total[i] = 0.0f;
    const int end = keys_seen(s, tile.first + TILE);
    for (int first = 0; first < end; first += TILE) {
        __syncthreads();
        keys.load(k + tile.head * s.keys * s.size, first, s.keys, s.size);
        values.load(v + tile.head * s.keys * s.value_size, first, s.keys, s.value_size);
        __syncthreads();
        float scores[EACH][EACH];
        products(queries, keys, scores);
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int row = side_y() + SIDE * i;
            float found = most[i];
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                scores[i][j] = mask.score(s, scores[i][j], tile.first + row, first + side_x() + SIDE * j, 1.0f);
                found = fmaxf(found, scores[i][j]);
            }
            for (int step = SIDE / 2; step > 0; step /= 2)
                found = fmaxf(found, __shfl_xor_sync(ALL_LANES, found, step));
            // Where all is hidden so far, shares of minus infinity are 0 from any finite level.
            const float level = found == -INFINITE ? 0.0f : found, old = expf(most[i] - level);
            float part = 0.0f;
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                const float share = expf(scores[i][j] - level);
                part += share;
                shares[row * SHARE_STEP + side_x() + SIDE * j] = share;
            }
            most[i] = found;
            total[i] = total[i] * old + side_fold<Sum>(part);
#pragma unroll
            for (int c = 0; c < D / SIDE; ++c) sum[i][c] *= old;
        }
        __syncthreads();
        add_product(shares, values, sum);
    }
    float factors[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int row = tile.first + side_y() + SIDE * i;
        factors[i] = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
        if (side_x() == 0 && row < s.queries)
            levels[tile.head * s.queries + row] =
                total[i] == 0.0f ? make_float2(INFINITE, 0.0f) : make_float2(most[i], logf(total[i]));
    }
    store_rows<D>(sum, factors, y + tile.head * s.queries * s.value_size, tile.first, s.queries, s.value_size);
}

// What the gradient is worked out from.
template <class T>
struct Kept {
    const T *q, *k, *v, *mask, *dy;
    const float2* levels;
    const float* along;
};

template <int D, class T>
__device__ __forceinline__ void queries_back(const Kept<T>& kept, T* dq, const AttentionSizes& s) {
    SHARED_BYTES(shared);
    Rows<D> queries{reinterpret_cast<float*>(shared)}, slopes{queries.at + Rows<D>::FLOATS};
    Rows<D> keys{slopes.at + Rows<D>::FLOATS}, values{keys.at + Rows<D>::FLOATS};
    float* gradients = values.at + Rows<D>::FLOATS;
    const Tile tile(s, TILE);
    const Mask<T> mask(kept.mask, s, tile.head);
    queries.load(kept.q + tile.head * s.queries * s.size, tile.first, s.queries, s.size);
    slopes.load(kept.dy + tile.head * s.queries * s.value_size, tile.first, s.queries, s.value_size);
    float sum[EACH][D / SIDE] = {};
    const int end = keys_seen(s, tile.first + TILE);
    for (int first = 0; first < end; first += TILE) {
        __syncthreads();
        keys.load(kept.k + tile.head * s.keys * s.size, first, s.keys, s.size);
        values.load(kept.v + tile.head * s.keys * s.value_size, first, s.keys, s.value_size);
        __syncthreads();
        float scores[EACH][EACH], of_shares[EACH][EACH];
        products(queries, keys, scores);
        products(slopes, values, of_shares);
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int row = side_y() + SIDE * i, query = tile.first + row;
            const i64 at = tile.head * s.queries + min(query, s.queries - 1);
            const float2 level = kept.levels[at];
            const float along = kept.along[at];
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                const float score = mask.score(s, scores[i][j], query, first + side_x() + SIDE * j, 1.0f);
                gradients[row * SHARE_STEP + side_x() + SIDE * j] =
                    share_back(score, level, of_shares[i][j], along, s.scale).y;
            }
        }
        __syncthreads();
        add_product(gradients, keys, sum);
    }
    const float factors[EACH] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_rows<D>(sum, factors, dq + tile.head * s.queries * s.size, tile.first, s.queries, s.size);
}

template <int D, class T>
__device__ __forceinline__ void keys_back(const Kept<T>& kept, T* dk, T* dv, const AttentionSizes& s) {
    SHARED_BYTES(shared);
    Rows<D> queries{reinterpret_cast<float*>(shared)}, slopes{queries.at + Rows<D>::FLOATS};
    Rows<D> keys{slopes.at + Rows<D>::FLOATS}, values{keys.at + Rows<D>::FLOATS};
    float* turned = values.at + Rows<D>::FLOATS;
    const Tile tile(s, TILE);
    const Mask<T> mask(kept.mask, s, tile.head);
    keys.load(kept.k + tile.head * s.keys * s.size, tile.first, s.keys, s.size);
    values.load(kept.v + tile.head * s.keys * s.value_size, tile.first, s.keys, s.value_size);
    float of_keys[EACH][D / SIDE] = {}, of_values[EACH][D / SIDE] = {};
    for (int first = s.causal ? tile.first : 0; first < s.queries; first += TILE) {
        __syncthreads();
        queries.load(kept.q + tile.head * s.queries * s.size, first, s.queries, s.size);
        slopes.load(kept.dy + tile.head * s.queries * s.value_size, first, s.queries, s.value_size);
        __syncthreads();
        float scores[EACH][EACH], of_shares[EACH][EACH];
        products(keys, queries, scores);
        products(values, slopes, of_shares);
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            const int query = first + side_x() + SIDE * j;
            const i64 at = tile.head * s.queries + min(query, s.queries - 1);
            const float2 level = kept.levels[at];
            const float along = kept.along[at];
#pragma unroll
            for (int i = 0; i < EACH; ++i) {
                const int row = side_y() + SIDE * i;
                const float score = mask.score(s, scores[i][j], query, tile.first + row, 1.0f);
                const float2 both = share_back(score, level, of_shares[i][j], along, s.scale);
                turned[row * SHARE_STEP + side_x() + SIDE * j] = both.x;
                of_shares[i][j] = both.y;
            }
        }
        __syncthreads();
        add_product(turned, slopes, of_values);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < EACH; ++j)
                turned[(side_y() + SIDE * i) * SHARE_STEP + side_x() + SIDE * j] = of_shares[i][j];
        __syncthreads();
        add_product(turned, queries, of_keys);
    }
    const float factors[EACH] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_rows<D>(of_keys, factors, dk + tile.head * s.keys * s.size, tile.first, s.keys, s.size);
    store_rows<D>(of_values, factors, dv + tile.head * s.keys * s.value_size, tile.first, s.keys, s.value_size);
}

// Sums of dy * y over rows of `size`.
template <class T>
__device__ __forceinline__ void along(const float* y, const T* dy, float* to, i64 rows, int size) {
    const i64 row = i64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    float sum = 0.0f;
    for (int i = threadIdx.x % 32; i < size; i += 32) sum += y[row * size + i] * to_float(dy[row * size + i]);
    sum = warp_fold<Sum>(sum);
    if (threadIdx.x % 32 == 0) to[row] = sum;
}

#define ALONG(suffix, T)                                                                                   \
    extern "C" __global__ void attention_along_##suffix(const float* y, const T* dy, float* to, i64 rows, \
                                                        int size) {                                       \
        along(y, dy, to, rows, size);                                                                     \
    }
EACH_DTYPE(ALONG)

#define ATTENTION(D)                                                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS, D < 128 ? 2 : 1) attention_##D##_f32(                    \
        const float* q, const float* k, const float* v, const float* mask, float* y, float2* levels,               \
        AttentionSizes s) {                                                                                        \
        attend<D>(q, k, v, mask, y, levels, s);                                                                    \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_queries_##D##_f32(                          \
        const float* q, const float* k, const float* v, const float* mask, const float* dy, const float2* levels,  \
        const float* along, float* dq, AttentionSizes s) {                                                         \
        queries_back<D>(Kept<float>{q, k, v, mask, dy, levels, along}, dq, s);                                     \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_keys_##D##_f32(                             \
        const float* q, const float* k, const float* v, const float* mask, const float* dy, const float2* levels,  \
        const float* along, float* dk, float* dv, AttentionSizes s) {                                              \
        keys_back<D>(Kept<float>{q, k, v, mask, dy, levels, along}, dk, dv, s);                                    \
    }
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
