// Maps of rows and columns of images (outer, rows, columns, inner) to (outer, rows_out, columns_out, inner).
//
// Each output is the sum over its row taps and its column taps of weight · weight · x. Taps lie behind one array a
// dimension: where each output's taps begin (one more than there are outputs, then up to a multiple of 2), then pairs of
// a source and the bits of a weight. A block works on one output row, so that row taps are the same for all its threads;
// a thread on 16 bytes of neighbours, of one output where channels lie inside.
//
// resample          reads each input once from memory (neighbouring outputs share it in cache), writes once.
// resample_single   the same where no output has more than one tap: padding, crops, nearest neighbours.
// resample_rows     the row taps alone, into f32: for windows of many inputs.
// resample_columns  the column taps alone, of f32.
#include "common.cuh"

struct ResampleSizes {
    i64 outer;
    int rows, columns, rows_out, columns_out, inner;
    // How many neighbours a thread works on; divides `inner`.
    int wide;
    // The value of an output without taps.
    float empty;
    int padding;
};

// The taps of one output.
struct TapList {
    const uint2* pairs;
    int len;
    __device__ __forceinline__ int source(int tap) const { return int(pairs[tap].x); }
    __device__ __forceinline__ float weight(int tap) const { return __uint_as_float(pairs[tap].y); }
};

__device__ __forceinline__ TapList taps_of(const u32* taps, int outputs, int output) {
    const uint2* pairs = reinterpret_cast<const uint2*>(taps + (outputs + 2) / 2 * 2);
    return {pairs + taps[output], int(taps[output + 1] - taps[output])};
}

// Adds weight · x of N neighbours.
template <class T, int N>
__device__ __forceinline__ void add_scaled(float (&sums)[N], const Pack<T, N>& x, float weight) {
#pragma unroll
    for (int k = 0; k < N; ++k) sums[k] += weight * to_float(x.of[k]);
}

// Up to two taps a dimension: all loads are on their way before the first is used.
template <class T, int N>
__device__ __forceinline__ void few_taps(const T* __restrict__ x, const TapList& rows, const TapList& columns,
                                         i64 row_step, int inner, float (&sums)[N]) {
    Pack<T, N> held[2][2];
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < 2; ++c)
            if (r < rows.len && c < columns.len)
                held[r][c] = *reinterpret_cast<const Pack<T, N>*>(x + rows.source(r) * row_step +
                                                                  i64(columns.source(c)) * inner);
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < 2; ++c)
            if (r < rows.len && c < columns.len) add_scaled(sums, held[r][c], rows.weight(r) * columns.weight(c));
}

// Rows are summed up each for itself: sums of many taps stay short.
template <class T, int N>
__device__ __forceinline__ void many_taps(const T* __restrict__ x, const TapList& rows, const TapList& columns,
                                          i64 row_step, int inner, float (&sums)[N]) {
    for (int r = 0; r < rows.len; ++r) {
        const T* from = x + rows.source(r) * row_step;
        float row[N] = {};
#pragma unroll 4
        for (int c = 0; c < columns.len; ++c)
            add_scaled(row, *reinterpret_cast<const Pack<T, N>*>(from + i64(columns.source(c)) * inner),
                       columns.weight(c));
        const float weight = rows.weight(r);
#pragma unroll
        for (int k = 0; k < N; ++k) sums[k] += weight * row[k];
    }
}

template <class T, class U, int N>
__device__ __forceinline__ void store(U* y, const float (&sums)[N]) {
    Pack<U, N> result;
#pragma unroll
    for (int k = 0; k < N; ++k) result.of[k] = from_float<U>(sums[k]);
    *reinterpret_cast<Pack<U, N>*>(y) = result;
}

// Outputs are worked out by `Of`, from the plane and the taps of both dimensions.
template <class T, int N, class Of>
__device__ __forceinline__ void each_output(const T* x, const u32* row_taps, const u32* column_taps, T* y,
                                            const ResampleSizes& s, Of of) {
    const i64 plane = i64(s.rows) * s.columns * s.inner, row_len = i64(s.columns_out) * s.inner;
    const int packs = s.inner / N;
    for (i64 outer = blockIdx.z; outer < s.outer; outer += gridDim.z)
        for (int row = blockIdx.y; row < s.rows_out; row += gridDim.y) {
            const TapList rows = taps_of(row_taps, s.rows_out, row);
            T* to = y + (outer * s.rows_out + row) * row_len;
            for (i64 i = grid_thread(); i < i64(s.columns_out) * packs; i += grid_threads()) {
                const int column = int(i / packs), at = int(i - i64(column) * packs) * N;
                const TapList columns = taps_of(column_taps, s.columns_out, column);
                float sums[N] = {};
                of(x + outer * plane + at, rows, columns, sums);
                if (rows.len == 0 || columns.len == 0)
                    for (float& sum : sums) sum = s.empty;
                store<T, T, N>(to + i * N, sums);
            }
        }
}

template <class T, int N>
__device__ void resample(const T* x, const u32* rows, const u32* columns, T* y, const ResampleSizes& s) {
    const i64 row_step = i64(s.columns) * s.inner;
    each_output<T, N>(x, rows, columns, y, s,
                      [&](const T* from, const TapList& rows, const TapList& columns, float(&sums)[N]) {
                          if (rows.len <= 2 && columns.len <= 2)
                              few_taps<T, N>(from, rows, columns, row_step, s.inner, sums);
                          else
                              many_taps<T, N>(from, rows, columns, row_step, s.inner, sums);
                      });
}

template <class T, int N>
__device__ void resample_single(const T* x, const u32* rows, const u32* columns, T* y, const ResampleSizes& s) {
    const i64 row_step = i64(s.columns) * s.inner;
    each_output<T, N>(x, rows, columns, y, s,
                      [&](const T* from, const TapList& rows, const TapList& columns, float(&sums)[N]) {
                          if (rows.len == 0 || columns.len == 0) return;
                          const T* at = from + rows.source(0) * row_step + i64(columns.source(0)) * s.inner;
                          add_scaled(sums, *reinterpret_cast<const Pack<T, N>*>(at), rows.weight(0) * columns.weight(0));
                      });
}

// One dimension alone: (outer, from, inner) to (outer, to, inner), for `rows` = from and `rows_out` = to.
template <class T, class U, int N>
__device__ void resample_axis(const T* __restrict__ x, const u32* taps, U* y, const ResampleSizes& s) {
    const int packs = s.inner / N;
    for (i64 outer = blockIdx.z; outer < s.outer; outer += gridDim.z)
        for (int row = blockIdx.y; row < s.rows_out; row += gridDim.y) {
            const TapList list = taps_of(taps, s.rows_out, row);
            for (i64 i = grid_thread(); i < packs; i += grid_threads()) {
                const T* from = x + outer * s.rows * s.inner + i * N;
                float sums[N] = {};
#pragma unroll 4
                for (int tap = 0; tap < list.len; ++tap)
                    add_scaled(sums, *reinterpret_cast<const Pack<T, N>*>(from + i64(list.source(tap)) * s.inner),
                               list.weight(tap));
                store<T, U, N>(y + (outer * s.rows_out + row) * s.inner + i * N, sums);
            }
        }
}

#define RESAMPLE_BOTH(name, suffix, T)                                                                          \
    extern "C" __global__ void name##_##suffix(const T* x, const u32* rows, const u32* columns, T* y,           \
                                               ResampleSizes s) {                                               \
        if (s.wide > 1)                                                                                         \
            name<T, Wide<T>::LEN>(x, rows, columns, y, s);                                                      \
        else                                                                                                    \
            name<T, 1>(x, rows, columns, y, s);                                                                 \
    }
#define RESAMPLE(suffix, T)                                                                                         \
    RESAMPLE_BOTH(resample, suffix, T)                                                                              \
    RESAMPLE_BOTH(resample_single, suffix, T)                                                                       \
    extern "C" __global__ void resample_rows_##suffix(const T* x, const u32* taps, float* y, ResampleSizes s) {     \
        if (s.wide > 1)                                                                                             \
            resample_axis<T, float, Wide<T>::LEN>(x, taps, y, s);                                                   \
        else                                                                                                        \
            resample_axis<T, float, 1>(x, taps, y, s);                                                              \
    }                                                                                                               \
    extern "C" __global__ void resample_columns_##suffix(const float* x, const u32* taps, T* y, ResampleSizes s) {  \
        if (s.wide > 1)                                                                                             \
            resample_axis<float, T, 4>(x, taps, y, s);                                                              \
        else                                                                                                        \
            resample_axis<float, T, 1>(x, taps, y, s);                                                              \
    }
EACH_DTYPE(RESAMPLE)
