// Products of matrices tile by tile: pieces of both operands are copied ahead into a ring of buffers and summed from there.
//
// Both operands are f32 (fused multiply-adds) or bf16 (tensor cores), or the left one is f32 and the right one bf16: then
// a number of the left one is multiplied as two of bf16, its nearest one and what that leaves, which it becomes as it
// comes from shared memory. At most 2^-17 of it is lost.
#pragma once
#include "matmul.cuh"
#include "tiles.cuh"

// The type that is multiplied: the narrower one of both operands'.
template <class X, class Y>
struct Multiplied {
    typedef bf16 Type;
};
template <>
struct Multiplied<float, float> {
    typedef float Type;
};

// Bytes of the inner index that a buffer holds of the narrower type, and buffers.
constexpr int CHUNK_BYTES = 64, STAGES = 3;

// `LINES` lines of `VECTORS` times 16 bytes each, PITCH bytes apart, from `from` on; what is not valid becomes zero.
template <class T, int LINES, int VECTORS, int PITCH>
__device__ __forceinline__ void load_lines(u8* to, const T* from, i64 step, int lines, int elements, bool wide) {
#pragma unroll
    for (int e = threadIdx.x; e < LINES * VECTORS; e += THREADS) {
        const int line = e / VECTORS, first = e % VECTORS * Wide<T>::LEN;
        const int valid = line < lines ? min(elements - first, Wide<T>::LEN) : 0;
        const T* own = valid > 0 ? from + line * step + first : from;
        copy_part(to + line * PITCH + 16 * (e % VECTORS), own, valid, wide);
    }
}

// Where one operand's pieces of `SIZE` rows (columns) and CHUNK of the inner index come from and lie; OUTER: the inner
// index is outermost.
template <class T, int SIZE, int CHUNK, bool OUTER>
struct Pieces {
    static constexpr int LINES = OUTER ? CHUNK : SIZE, ELEMENTS = OUTER ? SIZE : CHUNK;
    // Rows of whole 128 bytes are read eight bytes a lane, from four rows at once: they lie in different banks.
    static constexpr int PAD = !OUTER && ELEMENTS * sizeof(T) % 128 == 0 ? 2 * PITCH_PAD : PITCH_PAD;
    static constexpr int PITCH = ELEMENTS * sizeof(T) + PAD, BYTES = LINES * PITCH;
    const T* from;
    i64 step;
    int first, size, end;
    bool wide;
    __device__ __forceinline__ void load(u8* to, int k) const {
        const int lines = OUTER ? end - k : size - first, elements = OUTER ? size - first : end - k;
        const T* corner = from + (OUTER ? k * step + first : first * step + k);
        load_lines<T, LINES, int(ELEMENTS * sizeof(T) / 16), PITCH>(to, corner, step, lines, elements, wide);
    }
    // Where a row's (column's) number of an inner index lies in a buffer.
    static __device__ __forceinline__ int place(int index, int k) {
        return OUTER ? k * PITCH + index * int(sizeof(T)) : index * PITCH + k * int(sizeof(T));
    }
};

// What a lane brings to products on tensor cores, from a place in a buffer of pieces on.
template <class P>
struct Fragment;

template <int SIZE, int CHUNK, bool OUTER>
struct Fragment<Pieces<bf16, SIZE, CHUNK, OUTER>> {
    typedef Pieces<bf16, SIZE, CHUNK, OUTER> Own;

    // Rows from 16 i on, of the left operand.
    static __device__ __forceinline__ void left(const u8* at, int i, u32 (&near)[4], u32 (&)[4]) {
        const int lane = threadIdx.x % 32;
        if (OUTER) load_transposed(near, at + Own::place(16 * i + lane / 8 % 2 * 8, lane % 8 + lane / 16 * 8));
        else load_matrices(near, at + Own::place(16 * i + lane % 16, lane / 16 * 8));
    }
    // Columns from 16 j on, of the right one.
    static __device__ __forceinline__ void right(const u8* at, int j, u32 (&to)[4]) {
        const int lane = threadIdx.x % 32;
        if (OUTER) load_transposed(to, at + Own::place(16 * j + lane / 16 * 8, lane % 16));
        else load_matrices(to, at + Own::place(16 * j + lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8));
    }
};

template <int SIZE, int CHUNK, bool OUTER>
struct Fragment<Pieces<float, SIZE, CHUNK, OUTER>> {
    typedef Pieces<float, SIZE, CHUNK, OUTER> Own;

    // Rows from 16 i on, of the left operand, and what bf16 leaves of them.
    static __device__ __forceinline__ void left(const u8* at, int i, u32 (&near)[4], u32 (&rest)[4]) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = 16 * i + lane / 4 + part % 2 * 8, k = lane % 4 * 2 + part / 2 * 8;
            split(two(at + Own::place(row, k)), near[part], rest[part]);
        }
    }
    // A number and that of the next inner index.
    static __device__ __forceinline__ float2 two(const u8* at) {
        if (!OUTER) return *reinterpret_cast<const float2*>(at);
        return make_float2(*reinterpret_cast<const float*>(at), *reinterpret_cast<const float*>(at + Own::PITCH));
    }
};

template <class X, class Y, bool LEFT_OUTER, bool RIGHT_OUTER, int WARPS_M, int WARPS_N, int NI>
struct Matmul {
    typedef typename Multiplied<X, Y>::Type T;
    // Whether numbers of the left operand are multiplied as two.
    static constexpr bool SPLIT = sizeof(X) > sizeof(Y);
    static constexpr int CHUNK = CHUNK_BYTES / sizeof(T);
    static constexpr int M = 32 * WARPS_M, N = 8 * NI * WARPS_N;
    static constexpr int PITCH = N + 4;
    typedef WarpTile<T, 2, NI> Tile;
    typedef Pieces<X, M, CHUNK, LEFT_OUTER> Left;
    typedef Pieces<Y, N, CHUNK, RIGHT_OUTER> Right;
    static constexpr int STAGE = Left::BYTES + Right::BYTES;

    // Adds the products of DEPTH of the inner index.
    static __device__ __forceinline__ void step(WarpTile<bf16, 2, NI>& tile, const u8* x, const u8* y) {
        u32 near[2][4], rest[2][4];
#pragma unroll
        for (int i = 0; i < 2; ++i) Fragment<Left>::left(x, i, near[i], rest[i]);
#pragma unroll
        for (int j = 0; j < NI / 2; ++j) {
            u32 right[4];
            Fragment<Right>::right(y, j, right);
            if (SPLIT) {
#pragma unroll
                for (int i = 0; i < 2; ++i) multiply_pair(tile.sums[i][2 * j], tile.sums[i][2 * j + 1], rest[i], right);
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) multiply_pair(tile.sums[i][2 * j], tile.sums[i][2 * j + 1], near[i], right);
        }
    }

    static __device__ __forceinline__ void step(WarpTile<float, 2, NI>& tile, const u8* x, const u8* y) {
        int rows[Tile::LEFT];
#pragma unroll
        for (int i = 0; i < Tile::LEFT; ++i) rows[i] = Left::place(Tile::left_row(i, threadIdx.x % 32), 0);
        if (!LEFT_OUTER && RIGHT_OUTER) tile.rows_columns(x, rows, y, Right::PITCH);
        if (!LEFT_OUTER && !RIGHT_OUTER) tile.rows_rows(x, rows, y, Right::PITCH);
        if (LEFT_OUTER && !RIGHT_OUTER) tile.columns_rows(x, Left::PITCH, y, Right::PITCH);
        if (LEFT_OUTER && RIGHT_OUTER)
            tile.columns_columns([&](int i) { return x + i * Left::PITCH; }, [&](int i) { return y + i * Right::PITCH; });
    }

    static __device__ __forceinline__ void multiply(Tile& tile, const u8* held, int row, int column) {
#pragma unroll
        for (int k = 0; k < CHUNK; k += DEPTH)
            step(tile, held + Left::place(row, k), held + Left::BYTES + Right::place(column, k));
    }

    static __device__ __forceinline__ void sum(Tile& tile, u8* shared, const Left& left, const Right& right, int k) {
        const int warp = threadIdx.x / 32, chunks = (left.end - k + CHUNK - 1) / CHUNK;
        for (int stage = 0; stage < STAGES - 1; ++stage) {
            if (stage < chunks) load(shared, left, right, k, stage);
            close_copies();
        }
        for (int chunk = 0; chunk < chunks; ++chunk) {
            await_copies<STAGES - 2>();
            __syncthreads();
            if (chunk + STAGES - 1 < chunks) load(shared, left, right, k, chunk + STAGES - 1);
            close_copies();
            multiply(tile, shared + chunk % STAGES * STAGE, warp / WARPS_N * 32, warp % WARPS_N * 8 * NI);
        }
        await_copies<0>();
        __syncthreads();
    }

    static __device__ __forceinline__ void load(u8* shared, const Left& left, const Right& right, int k, int chunk) {
        u8* to = shared + chunk % STAGES * STAGE;
        left.load(to, k + chunk * CHUNK);
        right.load(to + Left::BYTES, k + chunk * CHUNK);
    }

    template <class After>
    static __device__ __forceinline__ void run(const X* x, const Y* y, const After& after, void* result, const MatmulSizes& s) {
        SHARED_BYTES(shared);
        float* held = reinterpret_cast<float*>(shared);
        const int tiles = (s.columns + N - 1) / N, warp = threadIdx.x / 32;
        const int row = int(blockIdx.x / tiles) * M, column = int(blockIdx.x % tiles) * N;
        const int k = int(blockIdx.y) * s.part_len, end = min(s.inner, k + s.part_len);
        for (i64 batch = blockIdx.z; batch < s.batches; batch += gridDim.z) {
            const Left left{x + batch_start(s.batch, s.x_batch, batch), s.x_step, row, s.rows, end, bool(s.x_wide)};
            const Right right{y + batch_start(s.batch, s.y_batch, batch), s.y_step, column, s.columns, end, bool(s.y_wide)};
            Tile tile;
            clear(tile);
            sum(tile, shared, left, right, k);
            each_pair(tile, [&](int i, int j, float first, float second) {
                float* to = held + (warp / WARPS_N * 32 + i) * PITCH + warp % WARPS_N * 8 * NI + j;
                *reinterpret_cast<float2*>(to) = make_float2(first, second);
            });
            __syncthreads();
            const i64 base = (i64(blockIdx.y) * s.batches + batch) * s.rows * s.columns;
            write_any<T, M, N>(held, PITCH, Target<After>{after, result, base, row, column}, s);
            __syncthreads();
        }
    }
};
