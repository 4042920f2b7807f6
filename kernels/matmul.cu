// Products of matrices (rows × inner by inner × columns), batch after batch, with bias, activation and residual.
//
// matmul_<l><r>_<size>  one block a tile of the result; <l> and <r> tell how the operands lie: n with their columns next
//                       to each other, t with their rows. Pieces of both operands, 64 bytes of the inner index at a
//                       time, are copied ahead into a ring of buffers; each is read once by every tile that needs it.
//                       large: tiles of 128 × 128 (f32: × 64); small: of 64 × 64, for results with few tiles.
// matmul_fold           where the inner index is cut into parts: their sums in f64, then what follows the product.
// The tile goes through shared memory in f32, so that results are written in whole lines and rounded once.
#include "matmul.cuh"
#include "tiles.cuh"

// Bytes of the inner index that a buffer holds, and buffers.
constexpr int CHUNK_BYTES = 64, STAGES = 3;

// `LINES` lines of `VECTORS` times 16 bytes each, from `from` on; what is not valid becomes zero.
template <class T, int LINES, int VECTORS>
__device__ __forceinline__ void load_lines(u8* to, const T* from, i64 step, int lines, int elements, bool wide) {
#pragma unroll
    for (int e = threadIdx.x; e < LINES * VECTORS; e += THREADS) {
        const int line = e / VECTORS, first = e % VECTORS * Wide<T>::LEN;
        const int valid = line < lines ? min(elements - first, Wide<T>::LEN) : 0;
        const T* own = valid > 0 ? from + line * step + first : from;
        copy_part(to + line * (16 * VECTORS + PITCH_PAD) + 16 * (e % VECTORS), own, valid, wide);
    }
}

// Where one operand's pieces of `SIZE` rows (columns) come from and lie; OUTER: the inner index is outermost.
template <class T, int SIZE, bool OUTER>
struct Pieces {
    static constexpr int CHUNK = CHUNK_BYTES / sizeof(T);
    static constexpr int LINES = OUTER ? CHUNK : SIZE, ELEMENTS = OUTER ? SIZE : CHUNK;
    static constexpr int PITCH = ELEMENTS * sizeof(T) + PITCH_PAD, BYTES = LINES * PITCH;
    const T* from;
    i64 step;
    int first, size, end;
    bool wide;
    __device__ __forceinline__ void load(u8* to, int k) const {
        const int lines = OUTER ? end - k : size - first, elements = OUTER ? size - first : end - k;
        const T* corner = from + (OUTER ? k * step + first : first * step + k);
        load_lines<T, LINES, int(ELEMENTS * sizeof(T) / 16)>(to, corner, step, lines, elements, wide);
    }
};

template <class T, bool LEFT_OUTER, bool RIGHT_OUTER, int WARPS_M, int WARPS_N, int NI>
struct Matmul {
    static constexpr int M = 32 * WARPS_M, N = 8 * NI * WARPS_N;
    static constexpr int PITCH = N + 4;
    typedef WarpTile<T, 2, NI> Tile;
    typedef Pieces<T, M, LEFT_OUTER> Left;
    typedef Pieces<T, N, RIGHT_OUTER> Right;
    static constexpr int STAGE = Left::BYTES + Right::BYTES;

    static __device__ __forceinline__ void multiply(Tile& tile, const u8* held, int row, int column) {
        const int lane = threadIdx.x % 32;
        const u8* right = held + Left::BYTES;
        int rows[Tile::LEFT];
#pragma unroll
        for (int i = 0; i < Tile::LEFT; ++i)
            rows[i] = (row + Tile::left_row(i, lane)) * Left::PITCH + Tile::left_bytes(lane);
#pragma unroll
        for (int k = 0; k < Left::CHUNK; k += DEPTH) {
            const u8 *x = held + k * sizeof(T), *x_outer = held + k * Left::PITCH + row * sizeof(T);
            const u8 *y = right + column * Right::PITCH + k * sizeof(T);
            const u8* y_outer = right + k * Right::PITCH + column * sizeof(T);
            if (!LEFT_OUTER && RIGHT_OUTER) tile.rows_columns(x, rows, y_outer, Right::PITCH);
            if (!LEFT_OUTER && !RIGHT_OUTER) tile.rows_rows(x, rows, y, Right::PITCH);
            if (LEFT_OUTER && !RIGHT_OUTER) tile.columns_rows(x_outer, Left::PITCH, y, Right::PITCH);
            if (LEFT_OUTER && RIGHT_OUTER)
                tile.columns_columns([&](int i) { return x_outer + i * Left::PITCH; },
                                     [&](int i) { return y_outer + i * Right::PITCH; });
        }
    }

    static __device__ __forceinline__ void sum(Tile& tile, u8* shared, const Left& left, const Right& right, int k) {
        const int warp = threadIdx.x / 32, chunks = (left.end - k + Left::CHUNK - 1) / Left::CHUNK;
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
        left.load(to, k + chunk * Left::CHUNK);
        right.load(to + Left::BYTES, k + chunk * Left::CHUNK);
    }

    static __device__ __forceinline__ void run(const T* x, const T* y, const T* bias, const T* residual, void* result,
                                               const MatmulSizes& s) {
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
            write_any<T, M, N>(held, PITCH, Target<T>{bias, residual, result, base, row, column}, s);
            __syncthreads();
        }
    }
};

#define MATMUL(name, suffix, T, left, right, warps_m, warps_n, ni)                                            \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) matmul_##name##_##suffix(                        \
        const T* x, const T* y, const T* bias, const T* residual, void* result, MatmulSizes s) {              \
        Matmul<T, left, right, warps_m, warps_n, ni>::run(x, y, bias, residual, result, s);                   \
    }
// Columns of a large tile's warps, in eights: f32 keeps parts of both operands beside the sums.
#define LARGE_f32 4
#define LARGE_bf16 8
#define MATMUL_SIZES(name, suffix, T, left, right)         \
    MATMUL(name##_large, suffix, T, left, right, 4, 2, LARGE_##suffix) \
    MATMUL(name##_small, suffix, T, left, right, 2, 4, 2)
#define MATMUL_EACH(suffix, T)                  \
    MATMUL_SIZES(nn, suffix, T, false, true)    \
    MATMUL_SIZES(nt, suffix, T, false, false)   \
    MATMUL_SIZES(tn, suffix, T, true, true)     \
    MATMUL_SIZES(tt, suffix, T, true, false)
EACH_DTYPE(MATMUL_EACH)

template <class T>
__device__ __forceinline__ void matmul_fold(const float* parts, const T* bias, const T* residual, void* result,
                                            const MatmulSizes& s) {
    const i64 len = s.batches * s.rows * s.columns;
    for (i64 at = grid_thread(); at < len; at += grid_threads()) {
        double sum = 0.0;
        for (int part = 0; part < s.parts; ++part) sum += parts[part * len + at];
        const float value[1] = {finish(float(sum), bias, residual, at, int(at % s.columns), s.function)};
        put<T, 1>(result, at, value, s.result_f32);
    }
}

#define MATMUL_FOLD(suffix, T)                                                                              \
    extern "C" __global__ void matmul_fold_##suffix(const float* parts, const T* bias, const T* residual,   \
                                                    void* result, MatmulSizes s) {                          \
        matmul_fold(parts, bias, residual, result, s);                                                      \
    }
EACH_DTYPE(MATMUL_FOLD)
