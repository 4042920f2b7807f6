// Tiles of WIDE_ROWS × N sums on `wgmma`: two warpgroups, each 64 rows, and pieces of both operands in a ring of buffers.
//
// A piece is 64 of the inner index: 128 bytes for each row and each column of the tile (`wgmma.cuh` tells how they lie).
// While the tensor cores multiply a piece and the one before, those behind are copied. A buffer is filled again two
// pieces after its own: every thread has waited for its product by then, and met the others since.
#pragma once
#include "wgmma.cuh"

constexpr int WIDE_ROWS = 128, PIECE = 64, LEFT_BYTES = WIDE_ROWS * LINE_BYTES;
static_assert(WIDE_ROWS / GROUP_ROWS * WARPGROUP == 256, "a block's threads are its warpgroups");

#ifdef HAS_WGMMA

// N columns: 256 keep the tensor cores busiest; with 128, two blocks share a multiprocessor.
template <int N>
struct WideTile {
    static constexpr int STAGES = N == 256 ? 4 : 3, AHEAD = STAGES - 2;
    static constexpr int STAGE_BYTES = LEFT_BYTES + N * LINE_BYTES;
    // From row to row of the sums as they lie in shared memory in the end: lanes that write together miss each other.
    static constexpr int PITCH = N + 8;
    float sums[N / 2];

    // Begins to multiply the piece in the buffer at `address`.
    template <bool LEFT_OUTER, bool RIGHT_OUTER>
    __device__ __forceinline__ void multiply(u32 address) {
        // The same in all lanes, which the compiler does not know by itself.
        const int group = __shfl_sync(ALL_LANES, int(threadIdx.x) / WARPGROUP, 0);
        const u32 left = address + group * PANEL_BYTES, right = address + LEFT_BYTES;
        open_products();
#pragma unroll
        for (int k = 0; k < PIECE / GROUP_DEPTH; ++k)
            multiply_group<LEFT_OUTER, RIGHT_OUTER>(sums, described<LEFT_OUTER>(left + k * GroupStep<LEFT_OUTER>::BYTES),
                                                    described<RIGHT_OUTER>(right + k * GroupStep<RIGHT_OUTER>::BYTES));
        close_products();
    }

    // Sums `pieces` of which load(buffer, piece) begins to copy one, with buffers from a multiple of PATTERN_BYTES on.
    template <bool LEFT_OUTER, bool RIGHT_OUTER, class Load>
    __device__ __forceinline__ void sum(u8* buffers, int pieces, Load load) {
#pragma unroll
        for (int i = 0; i < N / 2; ++i) sums[i] = 0.0f;
        // Where there are none, no wait for products may follow: the compiler would make all products wait for each other.
        if (pieces > 0) add<LEFT_OUTER, RIGHT_OUTER>(buffers, pieces, load);
        __syncthreads();
    }

    template <bool LEFT_OUTER, bool RIGHT_OUTER, class Load>
    __device__ __forceinline__ void add(u8* buffers, int pieces, Load load) {
        for (int piece = 0; piece < AHEAD; ++piece) {
            if (piece < pieces) load(buffers + piece * STAGE_BYTES, piece);
            close_copies();
        }
        const u32 first = shared_address(buffers);
        int piece = 0;
#pragma unroll 1
        do {
            await_copies<AHEAD - 1>();
            show_to_products();
            __syncthreads();
            multiply<LEFT_OUTER, RIGHT_OUTER>(first + piece % STAGES * STAGE_BYTES);
            await_products<1>();
            const int next = piece + AHEAD;
            if (next < pieces) load(buffers + next % STAGES * STAGE_BYTES, next);
            close_copies();
        } while (++piece < pieces);
        await_products<0>();
        await_copies<0>();
    }

    // Puts the sums where all threads see them, PITCH apart.
    __device__ __forceinline__ void put(float* held) const {
        const int row = int(threadIdx.x) / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < N / 8; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                *reinterpret_cast<float2*>(held + (row + 8 * half) * PITCH + 8 * j + column) =
                    make_float2(sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1]);
        __syncthreads();
    }
};

// The first multiple of PATTERN_BYTES at or behind the start of a block's shared memory.
__device__ __forceinline__ u8* wide_buffers(u8* shared) {
    return shared + (PATTERN_BYTES - shared_address(shared) % PATTERN_BYTES) % PATTERN_BYTES;
}

#endif
