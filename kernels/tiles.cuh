// Products of tiles in shared memory, kept in registers: bf16 on tensor cores, f32 by fused multiply-adds.
//
// A warp holds 16 MI × 8 NI sums: lane 4g + t the rows 16i + g and 16i + g + 8, the columns 8j + 2t and the next, for
// both types, so that only the innermost product differs. An operand lies in shared memory with the summed index
// innermost ("rows": one row of it per row or column of the result) or outermost ("columns"); rows are PITCH_PAD bytes
// longer than they need, which keeps the rows that are read together in different banks.
#pragma once
#include "mma.cuh"

constexpr int PITCH_PAD = 16;
// How channels may be read: one by one; 16 bytes at once; as a `DenseWindow`.
enum Reading { ALONE, WIDE, DENSE };
// Numbers that are summed in one step.
constexpr int DEPTH = 16;

template <class T, int MI, int NI>
struct WarpTile;

template <int MI, int NI>
struct WarpTile<bf16, MI, NI> {
    // How many addresses a lane keeps for a left operand in rows, and for a right one.
    static constexpr int LEFT = MI, RIGHT = NI / 2;
    float sums[MI][NI][4];

    // The row of the tile that a lane's i-th address names, and the bytes to add to it.
    static __device__ __forceinline__ int left_row(int i, int lane) { return 16 * i + lane % 16; }
    static __device__ __forceinline__ int left_bytes(int lane) { return lane / 16 * 16; }

    template <class Right>
    __device__ __forceinline__ void multiply(const u32 (&a)[MI][4], Right right) {
#pragma unroll
        for (int j = 0; j < NI / 2; ++j) {
            u32 b[4];
            right(j, b);
#pragma unroll
            for (int i = 0; i < MI; ++i) multiply_pair(sums[i][2 * j], sums[i][2 * j + 1], a[i], b);
        }
    }

    // One step: the left operand in rows at `rows` + `left`, the right one in columns.
    __device__ __forceinline__ void rows_columns(const u8* left, const int (&rows)[LEFT], const u8* right, int pitch) {
        const int lane = threadIdx.x % 32;
        const u8* own = right + lane % 16 * pitch + lane / 16 * 16;
        u32 a[MI][4];
#pragma unroll
        for (int i = 0; i < MI; ++i) load_matrices(a[i], left + rows[i]);
        multiply(a, [&](int j, u32 (&b)[4]) { load_transposed(b, own + 32 * j); });
    }

    // One step: both operands in columns; `left_at(k)` and `right_at(k)` are where their k-th rows begin.
    template <class Left, class Right>
    __device__ __forceinline__ void columns_columns(Left left_at, Right right_at) {
        const int lane = threadIdx.x % 32;
        const u8* left = left_at(lane % 8 + lane / 16 * 8) + lane / 8 % 2 * 16;
        const u8* right = right_at(lane % 16) + lane / 16 * 16;
        u32 a[MI][4];
#pragma unroll
        for (int i = 0; i < MI; ++i) load_transposed(a[i], left + 32 * i);
        multiply(a, [&](int j, u32 (&b)[4]) { load_transposed(b, right + 32 * j); });
    }
};

template <int MI, int NI>
struct WarpTile<float, MI, NI> {
    static constexpr int LEFT = 2 * MI, RIGHT = 2 * NI;
    float sums[MI][NI][4];

    static __device__ __forceinline__ int left_row(int i, int lane) { return 8 * i + lane / 4; }
    static __device__ __forceinline__ int left_bytes(int) { return 0; }

    // Adds the product of a column of the left operand and a row of the right one.
    __device__ __forceinline__ void add(const float (&a)[2 * MI], const float2 (&b)[NI]) {
#pragma unroll
        for (int i = 0; i < 2 * MI; ++i)
#pragma unroll
            for (int j = 0; j < NI; ++j) {
                sums[i / 2][j][i % 2 * 2] += a[i] * b[j].x;
                sums[i / 2][j][i % 2 * 2 + 1] += a[i] * b[j].y;
            }
    }

    // One step with the left operand in rows, two of the summed index at once.
    template <class Right>
    __device__ __forceinline__ void rows_step(const u8* left, const int (&rows)[LEFT], Right right) {
#pragma unroll
        for (int k = 0; k < DEPTH; k += 2) {
            float2 two[2 * MI];
            float a[2 * MI];
            float2 b[NI];
#pragma unroll
            for (int i = 0; i < 2 * MI; ++i) two[i] = *reinterpret_cast<const float2*>(left + rows[i] + 4 * k);
#pragma unroll
            for (int i = 0; i < 2 * MI; ++i) a[i] = two[i].x;
#pragma unroll
            for (int j = 0; j < NI; ++j) b[j] = right(k, j);
            add(a, b);
#pragma unroll
            for (int i = 0; i < 2 * MI; ++i) a[i] = two[i].y;
#pragma unroll
            for (int j = 0; j < NI; ++j) b[j] = right(k + 1, j);
            add(a, b);
        }
    }

    __device__ __forceinline__ void rows_columns(const u8* left, const int (&rows)[LEFT], const u8* right, int pitch) {
        const u8* own = right + threadIdx.x % 4 * 8;
        rows_step(left, rows, [&](int k, int j) { return *reinterpret_cast<const float2*>(own + k * pitch + 32 * j); });
    }

    __device__ __forceinline__ void rows_rows(const u8* left, const int (&rows)[LEFT], const u8* right, int pitch) {
        const u8* own = right + threadIdx.x % 4 * 2 * pitch;
        rows_step(left, rows, [&](int k, int j) { return pair(own + 8 * j * pitch + 4 * k, pitch); });
    }

    template <class Left, class Right>
    __device__ __forceinline__ void columns_columns(Left left_at, Right right_at) {
        const int lane = threadIdx.x % 32;
#pragma unroll 2
        for (int k = 0; k < DEPTH; ++k) {
            const u8 *left = left_at(k) + lane / 4 * 4, *right = right_at(k) + lane % 4 * 8;
            column_step(left, [&](int j) { return *reinterpret_cast<const float2*>(right + 32 * j); });
        }
    }

    __device__ __forceinline__ void columns_rows(const u8* left, int left_pitch, const u8* right, int pitch) {
        const int lane = threadIdx.x % 32;
        const u8* own = right + lane % 4 * 2 * pitch;
#pragma unroll 2
        for (int k = 0; k < DEPTH; ++k)
            column_step(left + k * left_pitch + lane / 4 * 4, [&](int j) { return pair(own + 8 * j * pitch + 4 * k, pitch); });
    }

    template <class Right>
    __device__ __forceinline__ void column_step(const u8* left, Right right) {
        float a[2 * MI];
        float2 b[NI];
#pragma unroll
        for (int i = 0; i < 2 * MI; ++i) a[i] = *reinterpret_cast<const float*>(left + 32 * i);
#pragma unroll
        for (int j = 0; j < NI; ++j) b[j] = right(j);
        add(a, b);
    }

    // The same number of two neighbouring rows.
    static __device__ __forceinline__ float2 pair(const u8* at, int pitch) {
        return make_float2(*reinterpret_cast<const float*>(at), *reinterpret_cast<const float*>(at + pitch));
    }
};

template <class T, int MI, int NI>
__device__ __forceinline__ void clear(WarpTile<T, MI, NI>& tile) {
#pragma unroll
    for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int j = 0; j < NI; ++j)
#pragma unroll
            for (int k = 0; k < 4; ++k) tile.sums[i][j][k] = 0.0f;
}

// of(row, column, sum, the next column's sum) of all of a lane's sums.
template <class T, int MI, int NI, class F>
__device__ __forceinline__ void each_pair(const WarpTile<T, MI, NI>& tile, F of) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < MI; ++i)
#pragma unroll
        for (int j = 0; j < NI; ++j) {
            const float(&sums)[4] = tile.sums[i][j];
            of(16 * i + lane / 4, 8 * j + lane % 4 * 2, sums[0], sums[1]);
            of(16 * i + lane / 4 + 8, 8 * j + lane % 4 * 2, sums[2], sums[3]);
        }
}

// 16 bytes of `valid` elements (the others zero) from global to shared memory, at once where the address allows it.
template <class T>
__device__ __forceinline__ void copy_part(u8* to, const T* from, int valid, bool wide) {
    if (wide) return copy_16(to, from, max(0, min(valid, Wide<T>::LEN)) * int(sizeof(T)));
#pragma unroll
    for (int i = 0; i < Wide<T>::LEN; ++i)
        reinterpret_cast<T*>(to)[i] = i < valid ? from[i] : from_float<T>(0.0f);
}

// A window of pixels whose channels all lie next to each other: what lies between two pixels of one row is read 16 bytes
// at a time wherever it begins, and each number goes to its place. All threads of a block call it; it waits for them once.
template <class T>
struct DenseWindow {
    // The first pixel of the image, its rows, columns and channels; the array that holds it begins at a multiple of 16.
    const T* image;
    int rows, columns, channels;

    // Pixels of `height` × `width` from (row, column) on go to `to`, `pitch` bytes apart; zeros outside of the image.
    __device__ __forceinline__ void load(u8* to, int pitch, int row, int column, int height, int width) const {
        for (int e = threadIdx.x; e < height * width * pitch / 16; e += blockDim.x)
            reinterpret_cast<uint4*>(to)[e] = make_uint4(0, 0, 0, 0);
        __syncthreads();
        const int first = max(column, 0), end = min(column + width, columns), warps = blockDim.x / 32;
        for (int r = threadIdx.x / 32; r < height; r += warps)
            if (unsigned(row + r) < unsigned(rows) && first < end)
                load_row(to + (r * width + first - column) * pitch, pitch, image + (i64(row + r) * columns + first) * channels,
                         (end - first) * channels);
    }

    // `len` numbers from `from` on, the first of them a pixel's first.
    __device__ __forceinline__ void load_row(u8* to, int pitch, const T* from, int len) const {
        constexpr int LEN = Wide<T>::LEN;
        const int before = int(u64(from) % 16 / sizeof(T)), vectors = (before + len + LEN - 1) / LEN;
        const typename Wide<T>::Type* wide = reinterpret_cast<const typename Wide<T>::Type*>(from - before);
        for (int v = threadIdx.x % 32; v < vectors; v += 32) {
            const typename Wide<T>::Type values = wide[v];
            const int at = v * LEN - before;
            int pixel = max(at, 0) / channels, channel = at - pixel * channels;
#pragma unroll
            for (int k = 0; k < LEN; ++k) {
                if (at + k >= 0 && at + k < len) reinterpret_cast<T*>(to + pixel * pitch)[channel] = values.of[k];
                if (++channel == channels) channel = 0, ++pixel;
            }
        }
    }
};
