// Products of matrices (rows × inner by inner × columns), batch after batch, with bias, activation and residual.
//
// matmul_<l><r>_<size>  one block a tile of the result; <l> and <r> tell how the operands lie: n with their columns next
//                       to each other, t with their rows. Pieces of both operands, 64 bytes of the inner index at a
//                       time, are copied ahead into a ring of buffers; each is read once by every tile that needs it.
//                       large: tiles of 128 × 128 (f32: × 64); small: of 64 × 64, for results with few tiles.
// matmul_fold           where the inner index is cut into parts: their sums in f64, then what follows the product.
// The tile goes through shared memory in f32, so that results are written in whole lines and rounded once.
#include "pieces.cuh"

#define MATMUL(name, suffix, T, left, right, warps_m, warps_n, ni)                                            \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) matmul_##name##_##suffix(                        \
        const T* x, const T* y, const T* bias, const T* residual, void* result, MatmulSizes s) {              \
        Matmul<T, T, left, right, warps_m, warps_n, ni>::run(x, y, Tail<T>{bias, residual}, result, s);       \
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
__device__ __forceinline__ void matmul_fold(const float* parts, const Tail<T>& tail, void* result, const MatmulSizes& s) {
    const i64 len = s.batches * s.rows * s.columns;
    for (i64 at = grid_thread(); at < len; at += grid_threads()) {
        double sum = 0.0;
        for (int part = 0; part < s.parts; ++part) sum += parts[part * len + at];
        const float value[1] = {tail.finish(float(sum), at, int(at % s.columns), s.function)};
        put<T, 1>(result, at, value, s.result_f32);
    }
}

#define MATMUL_FOLD(suffix, T)                                                                              \
    extern "C" __global__ void matmul_fold_##suffix(const float* parts, const T* bias, const T* residual,   \
                                                    void* result, MatmulSizes s) {                          \
        matmul_fold(parts, Tail<T>{bias, residual}, result, s);                                             \
    }
EACH_DTYPE(MATMUL_FOLD)
