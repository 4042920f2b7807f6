// Wide products of matrices in bf16 on `wgmma` (sm_90a), with the contract of `matmul.cu`, whose kernels do the same by
// `mma.sync`; operands may be read 16 bytes at a time.
//
// matmul_<l><r>_wide_<n>  one block 128 rows by n columns; <l> and <r> tell how the operands lie, as in `matmul.cu`.
//                         Pieces of both operands, 64 of the inner index at a time, are copied ahead into a ring of
//                         buffers, from which the tensor cores read them as they lie: neither is turned around.
// Blocks that run together make a band of BAND tiles down, so that they share operands in the second cache.
#include "matmul.cuh"
#include "wide.cuh"

// Tiles down of a band.
constexpr int BAND = 8;

// Where one operand's pieces of SIZE rows (columns) come from and lie; OUTER: the inner index is outermost.
template <int SIZE, bool OUTER>
struct WidePieces {
    const bf16* from;
    i64 step;
    int first, size, end;

    // A thread copies every 32nd line's 16 bytes of one number: the swizzle is the same for all of them.
    __device__ __forceinline__ void load(u8* to, int k) const {
        const int unit = threadIdx.x % 8, line = threadIdx.x / 8;
        u8* own = to + swizzled(line, unit);
        if (OUTER) load_columns(own, k + line, first + 8 * unit);
        else load_rows(own, first + line, k + 8 * unit);
    }

    __device__ __forceinline__ void load_rows(u8* to, int row, int inner) const {
        const int bytes = 2 * max(0, min(8, end - inner));
        const bf16* own = from + (row * step + inner);
#pragma unroll
        for (int i = 0; i < SIZE / 32; ++i, own += 32 * step) {
            const bool inside = row + 32 * i < size && bytes > 0;
            copy_16(to + i * 32 * LINE_BYTES, inside ? own : from, inside ? bytes : 0);
        }
    }

    __device__ __forceinline__ void load_columns(u8* to, int inner, int column) const {
#pragma unroll
        for (int half = 0; half < 2; ++half, to += 32 * LINE_BYTES, inner += 32) {
            const bf16* own = from + (inner * step + column);
#pragma unroll
            for (int panel = 0; panel < SIZE / 64; ++panel) {
                const int valid = inner < end ? max(0, min(8, size - column - 64 * panel)) : 0;
                copy_16(to + panel * PANEL_BYTES, valid ? own + 64 * panel : from, 2 * valid);
            }
        }
    }
};

// Down and across: the tile of a block.
__device__ __forceinline__ int2 banded(int block, int down, int across) {
    const int band = block / (BAND * across), rows = min(BAND, down - band * BAND), own = block % (BAND * across);
    return make_int2(band * BAND + own % rows, own / rows);
}

template <bool LEFT_OUTER, bool RIGHT_OUTER, int N>
__device__ __forceinline__ void matmul_wide(const bf16* x, const bf16* y, const bf16* bias, const bf16* residual, void* result,
                                            const MatmulSizes& s) {
#ifdef HAS_WGMMA
    SHARED_BYTES(shared);
    u8* buffers = wide_buffers(shared);
    const int2 at = banded(blockIdx.x, (s.rows + WIDE_ROWS - 1) / WIDE_ROWS, (s.columns + N - 1) / N);
    const int row = at.x * WIDE_ROWS, column = at.y * N;
    const int k = int(blockIdx.y) * s.part_len, end = min(s.inner, k + s.part_len);
    for (i64 batch = blockIdx.z; batch < s.batches; batch += gridDim.z) {
        const WidePieces<WIDE_ROWS, LEFT_OUTER> left{x + batch_start(s.batch, s.x_batch, batch), s.x_step, row, s.rows, end};
        const WidePieces<N, RIGHT_OUTER> right{y + batch_start(s.batch, s.y_batch, batch), s.y_step, column, s.columns, end};
        WideTile<N> tile;
        tile.template sum<LEFT_OUTER, RIGHT_OUTER>(buffers, (end - k + PIECE - 1) / PIECE, [&](u8* to, int piece) {
            left.load(to, k + piece * PIECE);
            right.load(to + LEFT_BYTES, k + piece * PIECE);
        });
        float* held = reinterpret_cast<float*>(buffers);
        tile.put(held);
        const i64 base = (i64(blockIdx.y) * s.batches + batch) * s.rows * s.columns;
        const Target<Tail<bf16>> target{{bias, residual}, result, base, row, column};
        write_any<bf16, WIDE_ROWS, N>(held, WideTile<N>::PITCH, target, s);
        __syncthreads();
    }
#endif
}

#define MATMUL_WIDE(name, n, blocks, left, right)                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks) matmul_##name##_wide_##n##_bf16(               \
        const bf16* x, const bf16* y, const bf16* bias, const bf16* residual, void* result, MatmulSizes s) {     \
        matmul_wide<left, right, n>(x, y, bias, residual, result, s);                                            \
    }
#define MATMUL_WIDE_EACH(n, blocks)             \
    MATMUL_WIDE(nn, n, blocks, false, true)     \
    MATMUL_WIDE(nt, n, blocks, false, false)    \
    MATMUL_WIDE(tn, n, blocks, true, true)      \
    MATMUL_WIDE(tt, n, blocks, true, false)
MATMUL_WIDE_EACH(128, 2)
MATMUL_WIDE_EACH(256, 1)
