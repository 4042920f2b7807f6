// Attention in bf16 on tensor cores (Dao, "FlashAttention-2", 2023): a warp has 16 M rows of a tile and all of its
// columns; tiles of the other operand come one ahead by asynchronous copies; shares never leave registers.
//
// attention_D_M          64 M queries a block; reads q once, keys and values once a tile of queries; writes the result
//                        and levels once. Shares times values is two products, of what bf16 holds of a share and of
//                        what it loses, so that the result is rounded once.
// attention_queries_D    dq of 64 queries over all keys; shares are worked out again from the levels
// attention_keys_D       dk and dv of 64 keys over all queries
// D is 32, 64 or 128: what sizes are filled up to in shared memory.
#include "attention.cuh"
#include "mma.cuh"

constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr float LOG2_E = 1.44269504f;

// 2 to the power of x: 2 units in the last place (PTX ISA, ex2.approx).
__device__ __forceinline__ float power_of_two(float x) {
#ifdef GUSTFRONT_HOST
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// COUNT rows in shared memory, filled up with zeros. Packs of a row are exchanged by the row's number, so that eight
// rows of one column, or of one pack, lie in different banks.
template <int D, int COUNT>
struct Rows {
    static constexpr int PACKS = D / 8, BYTES = COUNT * D * 2;
    unsigned char* at;

    __device__ __forceinline__ unsigned char* pack(int row, int pack) const {
        const int turn = D == 32 ? row >> 1 & 3 : row & 7;
        return at + (row * PACKS + (pack ^ turn)) * 16;
    }

    // Begins to fetch the rows from `first` on, of `count` rows of `size`.
    __device__ __forceinline__ void fetch(const bf16* from, int first, int count, int size, bool wide) const {
#pragma unroll
        for (int i = threadIdx.x; i < COUNT * PACKS; i += THREADS) {
            const int row = i / PACKS, column = i % PACKS * 8;
            const bool there = first + row < count && column < size;
            const bf16* source = from + (there ? i64(first + row) * size + column : 0);
            if (wide) copy_16(pack(row, i % PACKS), source, there ? 16 : 0);
            else fetch_plain(source, there ? size - column : 0, pack(row, i % PACKS));
        }
    }

    __device__ __forceinline__ static void fetch_plain(const bf16* from, int count, unsigned char* to) {
        Pack<bf16, 8> held;
#pragma unroll
        for (int k = 0; k < 8; ++k) held.of[k] = k < count ? from[k] : bf16{0};
        *reinterpret_cast<Pack<bf16, 8>*>(to) = held;
    }

    // 16 rows by 16 columns as a left operand.
    __device__ __forceinline__ void left(u32 (&to)[4], int row, int column) const {
        const int lane = threadIdx.x % 32;
        load_matrices(to, pack(row + lane % 16, column / 8 + lane / 16));
    }
    // The same as a right operand whose columns are these rows.
    __device__ __forceinline__ void right_of_rows(u32 (&to)[4], int row, int column) const {
        const int lane = threadIdx.x % 32;
        load_matrices(to, pack(row + lane / 16 * 8 + lane % 8, column / 8 + lane / 8 % 2));
    }
    // The same as a right operand whose rows are these rows.
    __device__ __forceinline__ void right(u32 (&to)[4], int row, int column) const {
        const int lane = threadIdx.x % 32;
        load_transposed(to, pack(row + lane % 16, column / 8 + lane / 16));
    }
};

// Products of 16 M rows of `a` from `row` on, and all rows of `b`.
template <int M, int N, int D, int A>
__device__ __forceinline__ void products(const Rows<D, A>& a, int row, const Rows<D, 8 * N>& b, float (&to)[M][N][4]) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) to[m][n][i] = 0.0f;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
        u32 left[M][4];
#pragma unroll
        for (int m = 0; m < M; ++m) a.left(left[m], row + 16 * m, d);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 right[4];
            b.right_of_rows(right, 8 * n, d);
#pragma unroll
            for (int m = 0; m < M; ++m) multiply_pair(to[m][n], to[m][n + 1], left[m], right);
        }
    }
}

// Adds 16 M rows of shares, one for each row of `b`, times `b`; where EXACT, also what bf16 loses of the shares.
template <bool EXACT, int M, int N, int D>
__device__ __forceinline__ void add_product(const float (&shares)[M][N][4], const Rows<D, 8 * N>& b,
                                            float (&to)[M][D / 8][4]) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        u32 left[M][4], lost[M][4];
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float *of = shares[m][n + i / 2], x = of[i % 2 * 2], y = of[i % 2 * 2 + 1];
                left[m][i] = pair(x, y);
                if (EXACT) lost[m][i] = pair(x - lower(left[m][i]), y - upper(left[m][i]));
            }
#pragma unroll
        for (int d = 0; d < D / 8; d += 2) {
            u32 right[4];
            b.right(right, 8 * n, 8 * d);
#pragma unroll
            for (int m = 0; m < M; ++m) {
                multiply_pair(to[m][d], to[m][d + 1], left[m], right);
                if (EXACT) multiply_pair(to[m][d], to[m][d + 1], lost[m], right);
            }
        }
    }
}

// Of the numbers that a lane holds of a product: the row of the `i`-th, and its column in a tile of 8.
__device__ __forceinline__ int row_of(int i) { return threadIdx.x % 32 / 4 + i / 2 * 8; }
__device__ __forceinline__ int column_of(int i) { return threadIdx.x % 4 * 2 + i % 2; }

// Writes 16 rows that there are, each times the factor of its half.
template <int D>
__device__ __forceinline__ void store_rows(const float (&from)[D / 8][4], float2 factors, bf16* to, int first,
                                           int count, int size, bool wide) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = first + row_of(2 * half);
        if (row >= count) continue;
        bf16* line = to + i64(row) * size;
        const float factor = half ? factors.y : factors.x;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
            const int column = 8 * d + column_of(0);
            const float x = from[d][2 * half] * factor, y = from[d][2 * half + 1] * factor;
            if (wide) {
                if (column < size) *reinterpret_cast<u32*>(line + column) = pair(x, y);
                continue;
            }
            if (column < size) line[column] = from_float<bf16>(x);
            if (column + 1 < size) line[column + 1] = from_float<bf16>(y);
        }
    }
}

// The same in f32.
template <int D>
__device__ __forceinline__ void store_exact(const float (&from)[D / 8][4], float2 factors, float* to, int first,
                                            int count, int size) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int row = first + row_of(i);
        if (row >= count) continue;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
            const int column = 8 * d + column_of(i);
            if (column < size) to[i64(row) * size + column] = from[d][i] * (i / 2 ? factors.y : factors.x);
        }
    }
}

// Over the four lanes that share rows, in each of them.
__device__ __forceinline__ float lanes_greatest(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}
__device__ __forceinline__ float lanes_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

// 16 rows of scores to shares of a running sum; `sum` is what earlier shares gave.
template <int N, int D>
__device__ __forceinline__ void share_rows(float (&scores)[N][4], float (&most)[2], float (&total)[2],
                                           float (&sum)[D / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float found = most[half];
#pragma unroll
        for (int n = 0; n < N; ++n) found = fmaxf(found, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
        found = lanes_greatest(found);
        // Where all is hidden so far, shares of minus infinity are 0 from any finite level.
        const float level = found == -INFINITE ? 0.0f : found, old = power_of_two(most[half] - level);
        most[half] = found;
        total[half] *= old;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                scores[n][i] = power_of_two(scores[n][i] - level);
                total[half] += scores[n][i];
            }
#pragma unroll
        for (int d = 0; d < D / 8; ++d) sum[d][2 * half] *= old, sum[d][2 * half + 1] *= old;
    }
}

template <int D, int M, int N>
__device__ __forceinline__ void attend(const bf16* q, const bf16* k, const bf16* v, const bf16* mask_from, void* y,
                                       float2* levels, const AttentionSizes& s) {
    constexpr int QUERIES = 16 * M * WARPS, KEYS = 8 * N;
    typedef Rows<D, KEYS> KeyRows;
    SHARED_BYTES(shared);
    const Rows<D, QUERIES> queries{shared};
    unsigned char* rest = shared + Rows<D, QUERIES>::BYTES;
    const Tile tile(s, QUERIES);
    const Mask<bf16> mask(mask_from, s, tile.head);
    k += tile.head * s.keys * s.size;
    v += tile.head * s.keys * s.value_size;
    const auto keys = [&](int turn) { return KeyRows{rest + turn % 2 * KeyRows::BYTES}; };
    const auto values = [&](int turn) { return KeyRows{rest + (2 + turn % 2) * KeyRows::BYTES}; };
    const auto fetch = [&](int turn) {
        keys(turn).fetch(k, turn * KEYS, s.keys, s.size, s.wide);
        values(turn).fetch(v, turn * KEYS, s.keys, s.value_size, s.wide);
    };
    const int turns = (keys_seen(s, tile.first + QUERIES) + KEYS - 1) / KEYS;
    queries.fetch(q + tile.head * s.queries * s.size, tile.first, s.queries, s.size, s.wide);
    fetch(0);
    close_copies();
    const int row = threadIdx.x / 32 * 16 * M;
    float most[M][2], total[M][2] = {}, sum[M][D / 8][4] = {};
    for (int m = 0; m < M; ++m) most[m][0] = most[m][1] = -INFINITE;
    for (int turn = 0; turn < turns; ++turn) {
        if (turn + 1 < turns) fetch(turn + 1);
        close_copies();
        await_copies<1>();
        __syncthreads();
        float scores[M][N][4];
        products(queries, row, keys(turn), scores);
        const int first = turn * KEYS;
        const bool plain = mask.none(s, tile.first, QUERIES, first, KEYS);
#pragma unroll
        for (int m = 0; m < M; ++m) {
#pragma unroll
            for (int n = 0; n < N; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    float& score = scores[m][n][i];
                    const int query = tile.first + row + 16 * m + row_of(i);
                    if (plain) score *= s.scale * LOG2_E;
                    else score = mask.score(s, score, query, first + 8 * n + column_of(i), LOG2_E);
                }
            share_rows<N, D>(scores[m], most[m], total[m], sum[m]);
        }
        add_product<true>(scores, values(turn), sum);
        __syncthreads();
    }
    await_copies<0>();
#pragma unroll
    for (int m = 0; m < M; ++m) {
        float2 factors;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float all = lanes_sum(total[m][half]);
            (half ? factors.y : factors.x) = all == 0.0f ? 0.0f : 1.0f / all;
            const int query = tile.first + row + 16 * m + row_of(2 * half);
            if (threadIdx.x % 4 == 0 && query < s.queries)
                levels[tile.head * s.queries + query] =
                    all == 0.0f ? make_float2(INFINITE, 0.0f) : make_float2(most[m][half], log2f(all));
        }
        const i64 start = tile.head * s.queries * s.value_size;
        const int first = tile.first + row + 16 * m;
        if (s.exact)
            store_exact<D>(sum[m], factors, static_cast<float*>(y) + start, first, s.queries, s.value_size);
        else
            store_rows<D>(sum[m], factors, static_cast<bf16*>(y) + start, first, s.queries, s.value_size, s.wide);
    }
}

// What the gradient is worked out from.
struct Kept {
    const bf16 *q, *k, *v, *mask, *dy;
    const float2* levels;
    const float* along;
};

// Products to shares, and gradients of shares to those of products; `place` is the query and the key of a number, and
// `plain` says that none is masked.
template <int N, class P>
__device__ __forceinline__ void share_back(float (&scores)[N][4], float (&slopes)[N][4], const Mask<bf16>& mask,
                                           const Kept& kept, i64 head, const AttentionSizes& s, bool plain, P place) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int2 at = place(n, i);
            const i64 query = head * s.queries + min(at.x, s.queries - 1);
            const float score =
                plain ? scores[n][i] * (s.scale * LOG2_E) : mask.score(s, scores[n][i], at.x, at.y, LOG2_E);
            const float2 level = kept.levels[query];
            const float share = power_of_two(score - level.x - level.y);
            scores[n][i] = share;
            slopes[n][i] = share * (slopes[n][i] - kept.along[query]) * s.scale;
        }
}

constexpr int BACK = 64, BACK_TURN = 32;

template <int D>
__device__ __forceinline__ void queries_back(const Kept& kept, bf16* dq, const AttentionSizes& s) {
    constexpr int N = BACK_TURN / 8;
    typedef Rows<D, BACK> Own;
    typedef Rows<D, BACK_TURN> Other;
    SHARED_BYTES(shared);
    const Own queries{shared}, slopes{shared + Own::BYTES};
    unsigned char* rest = shared + 2 * Own::BYTES;
    const Tile tile(s, BACK);
    const Mask<bf16> mask(kept.mask, s, tile.head);
    const auto keys = [&](int turn) { return Other{rest + turn % 2 * Other::BYTES}; };
    const auto values = [&](int turn) { return Other{rest + (2 + turn % 2) * Other::BYTES}; };
    const auto fetch = [&](int turn) {
        keys(turn).fetch(kept.k + tile.head * s.keys * s.size, turn * BACK_TURN, s.keys, s.size, s.wide);
        values(turn).fetch(kept.v + tile.head * s.keys * s.value_size, turn * BACK_TURN, s.keys, s.value_size, s.wide);
    };
    const int turns = (keys_seen(s, tile.first + BACK) + BACK_TURN - 1) / BACK_TURN, row = threadIdx.x / 32 * 16;
    queries.fetch(kept.q + tile.head * s.queries * s.size, tile.first, s.queries, s.size, s.wide);
    slopes.fetch(kept.dy + tile.head * s.queries * s.value_size, tile.first, s.queries, s.value_size, s.wide);
    fetch(0);
    close_copies();
    float sum[1][D / 8][4] = {};
    for (int turn = 0; turn < turns; ++turn) {
        if (turn + 1 < turns) fetch(turn + 1);
        close_copies();
        await_copies<1>();
        __syncthreads();
        float scores[1][N][4], gradients[1][N][4];
        products(queries, row, keys(turn), scores);
        products(slopes, row, values(turn), gradients);
        const bool plain = mask.none(s, tile.first, BACK, turn * BACK_TURN, BACK_TURN);
        share_back(scores[0], gradients[0], mask, kept, tile.head, s, plain, [&](int n, int i) {
            return make_int2(tile.first + row + row_of(i), turn * BACK_TURN + 8 * n + column_of(i));
        });
        add_product<false>(gradients, keys(turn), sum);
        __syncthreads();
    }
    await_copies<0>();
    store_rows<D>(sum[0], make_float2(1.0f, 1.0f), dq + tile.head * s.queries * s.size, tile.first + row, s.queries,
                  s.size, s.wide);
}

template <int D>
__device__ __forceinline__ void keys_back(const Kept& kept, bf16* dk, bf16* dv, const AttentionSizes& s) {
    constexpr int N = BACK_TURN / 8;
    typedef Rows<D, BACK> Own;
    typedef Rows<D, BACK_TURN> Other;
    SHARED_BYTES(shared);
    const Own keys{shared}, values{shared + Own::BYTES};
    unsigned char* rest = shared + 2 * Own::BYTES;
    const Tile tile(s, BACK);
    const Mask<bf16> mask(kept.mask, s, tile.head);
    const int start = s.causal ? tile.first : 0;
    const auto queries = [&](int turn) { return Other{rest + turn % 2 * Other::BYTES}; };
    const auto slopes = [&](int turn) { return Other{rest + (2 + turn % 2) * Other::BYTES}; };
    const auto fetch = [&](int turn) {
        const int first = start + turn * BACK_TURN;
        queries(turn).fetch(kept.q + tile.head * s.queries * s.size, first, s.queries, s.size, s.wide);
        slopes(turn).fetch(kept.dy + tile.head * s.queries * s.value_size, first, s.queries, s.value_size, s.wide);
    };
    const int turns = (max(s.queries - start, 0) + BACK_TURN - 1) / BACK_TURN, row = threadIdx.x / 32 * 16;
    keys.fetch(kept.k + tile.head * s.keys * s.size, tile.first, s.keys, s.size, s.wide);
    values.fetch(kept.v + tile.head * s.keys * s.value_size, tile.first, s.keys, s.value_size, s.wide);
    fetch(0);
    close_copies();
    float of_keys[1][D / 8][4] = {}, of_values[1][D / 8][4] = {};
    for (int turn = 0; turn < turns; ++turn) {
        if (turn + 1 < turns) fetch(turn + 1);
        close_copies();
        await_copies<1>();
        __syncthreads();
        float scores[1][N][4], gradients[1][N][4];
        products(keys, row, queries(turn), scores);
        products(values, row, slopes(turn), gradients);
        const bool plain = mask.none(s, start + turn * BACK_TURN, BACK_TURN, tile.first, BACK);
        share_back(scores[0], gradients[0], mask, kept, tile.head, s, plain, [&](int n, int i) {
            return make_int2(start + turn * BACK_TURN + 8 * n + column_of(i), tile.first + row + row_of(i));
        });
        add_product<false>(scores, slopes(turn), of_values);
        add_product<false>(gradients, queries(turn), of_keys);
        __syncthreads();
    }
    await_copies<0>();
    const float2 one = make_float2(1.0f, 1.0f);
    store_rows<D>(of_keys[0], one, dk + tile.head * s.keys * s.size, tile.first + row, s.keys, s.size, s.wide);
    store_rows<D>(of_values[0], one, dv + tile.head * s.keys * s.value_size, tile.first + row, s.keys, s.value_size,
                  s.wide);
}

#define ATTENTION(D, M, N)                                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_##D##_##M##_bf16(                             \
        const bf16* q, const bf16* k, const bf16* v, const bf16* mask, void* y, float2* levels, AttentionSizes s) {  \
        attend<D, M, N>(q, k, v, mask, y, levels, s);                                                                \
    }
ATTENTION(32, 1, 8)
ATTENTION(32, 2, 4)
ATTENTION(64, 1, 8)
ATTENTION(64, 2, 4)
ATTENTION(128, 1, 4)

#define ATTENTION_BACK(D)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, D < 128 ? 3 : 2) attention_queries_##D##_bf16(      \
        const bf16* q, const bf16* k, const bf16* v, const bf16* mask, const bf16* dy, const float2* levels,  \
        const float* along, bf16* dq, AttentionSizes s) {                                                     \
        queries_back<D>(Kept{q, k, v, mask, dy, levels, along}, dq, s);                                       \
    }                                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS, D < 128 ? 3 : 2) attention_keys_##D##_bf16(         \
        const bf16* q, const bf16* k, const bf16* v, const bf16* mask, const bf16* dy, const float2* levels,  \
        const float* along, bf16* dk, bf16* dv, AttentionSizes s) {                                           \
        keys_back<D>(Kept{q, k, v, mask, dy, levels, along}, dk, dv, s);                                      \
    }
ATTENTION_BACK(32)
ATTENTION_BACK(64)
ATTENTION_BACK(128)
