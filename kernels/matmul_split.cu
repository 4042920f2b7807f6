// Products of matrices in f32 by matrices in bf16 on tensor cores, as gradients are; the result is bf16 or f32.
//
// matmul_<l><r>_<size>_split  as in `matmul.cu`, with nothing behind the product; a number in f32 is split into two of
//                             bf16 as it comes from shared memory (`pieces.cuh`), so that each operand is read from
//                             memory as it is. large: tiles of 128 × 64, as both parts of a number lie beside the sums.
#include "pieces.cuh"

#define MATMUL(name, left, right, warps_m, warps_n, ni)                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) matmul_##name##_split_bf16(                      \
        const float* x, const bf16* y, void* result, MatmulSizes s) {                                         \
        Matmul<float, bf16, left, right, warps_m, warps_n, ni>::run(x, y, NoTail{}, result, s);               \
    }
#define MATMUL_SIZES(name, left, right)          \
    MATMUL(name##_large, left, right, 4, 2, 4)   \
    MATMUL(name##_small, left, right, 2, 4, 2)
MATMUL_SIZES(nn, false, true)
MATMUL_SIZES(nt, false, false)
MATMUL_SIZES(tn, true, true)
MATMUL_SIZES(tt, true, false)
