// Products of warpgroups on sm_90a (`wgmma`), asynchronous and from shared memory, each with a twin for the host.
//
// A warpgroup, 128 threads whose first one's number is a multiple of 128, multiplies 64 × 16 by 16 × N of bf16 into f32.
// Warp w of it holds the rows 16 w … 16 w + 15, laid out as by `mma.sync`: lane 4g + t the rows g and g + 8 and of every
// eight columns 2t and 2t + 1: d[4j + 2r + c] is row g + 8r, column 8j + 2t + c.
//
// Operands lie in shared memory in lines of 128 bytes, from a multiple of 1024 bytes on. Inner index innermost: a line
// holds 64 of it, for one row (column) of the result. Inner index outermost: a line holds 64 rows (columns), for one of
// it; 64 lines behind each other are a panel, and the next panel is for the 64 rows (columns) behind. Of line l, the
// 16 bytes of number u lie at number u ^ (l % 8): the 128-byte swizzle, which spreads what is read together over all banks.
//
// The rules are those of the PTX ISA, "Asynchronous warpgroup level matrix instructions": matrix descriptor, strides,
// canonical layouts ((8,m),(T,2k)):((8T,SBO),(1,T)) and ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO)), register fragments, async
// proxy. CUTLASS (cute/arch/mma_sm90_desc.hpp, cute/atom/mma_traits_sm90_gmma.hpp, the mainloop of
// sm90_mma_multistage_gmma_ss_warpspecialized.hpp) and ThunderKittens (its shared descriptors) say the same.
#pragma once
#include "mma.cuh"

// Threads of a warpgroup, its rows, what one product sums, and bytes of a line, of eight lines and of a panel.
constexpr int WARPGROUP = 128, GROUP_ROWS = 64, GROUP_DEPTH = 16;
constexpr int LINE_BYTES = 128, PATTERN_BYTES = 1024, PANEL_BYTES = 64 * LINE_BYTES;

// Where the 16 bytes of number `unit` of a line lie, from the first line on.
__device__ __forceinline__ int swizzled(int line, int unit) { return line * LINE_BYTES + ((unit ^ (line & 7)) << 4); }

// Describes an operand at an address of shared memory. Eight lines on, its rows (columns), or its inner index, go on
// behind each other; with the inner index outermost, the next 64 rows (columns) lie a panel further. With it innermost
// there is nothing for the leading offset to say: 1, as CUTLASS has it.
template <bool OUTER>
__device__ __forceinline__ u64 described(u32 address) {
    constexpr u64 LEADING = OUTER ? PANEL_BYTES >> 4 : 1, STRIDE = PATTERN_BYTES >> 4, SWIZZLE_128 = 1;
    return u64(address & 0x3ffff) >> 4 | LEADING << 16 | STRIDE << 32 | SWIZZLE_128 << 62;
}

// Bytes from one step of the inner index (GROUP_DEPTH of it) to the next.
template <bool OUTER>
struct GroupStep {
    static constexpr int BYTES = OUTER ? GROUP_DEPTH * LINE_BYTES : GROUP_DEPTH * 2;
};

// Whether there are such products: kernels that need them have no body elsewhere, where they are never asked for.
#if defined(GUSTFRONT_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HAS_WGMMA
#endif

#ifdef GUSTFRONT_HOST
#include "host/wgmma.h"
#elif defined(HAS_WGMMA)

// Orders what a thread did to its sums before the products that follow.
__device__ __forceinline__ void open_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Ends a group of products.
__device__ __forceinline__ void close_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits for the products but for those of the last N groups.
template <int N>
__device__ __forceinline__ void await_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Shows what this thread wrote to shared memory, and waited for, to products that begin behind the next barrier.
__device__ __forceinline__ void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#define NAMES_64                                                                                                   \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,"   \
    "%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55," \
    "%56,%57,%58,%59,%60,%61,%62,%63"
#define NAMES_128                                                                                                 \
    NAMES_64                                                                                                      \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,"   \
    "%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,"   \
    "%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define SUMS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_16(i) SUMS_4(i), SUMS_4(i + 4), SUMS_4(i + 8), SUMS_4(i + 12)
#define SUMS_64(i) SUMS_16(i), SUMS_16(i + 16), SUMS_16(i + 32), SUMS_16(i + 48)

// d += left · right, begun: d holds the sums once the product is waited for, and is not to be touched before.
template <bool LEFT_OUTER, bool RIGHT_OUTER>
__device__ __forceinline__ void multiply_group(float (&d)[64], u64 left, u64 right) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_64 "}, %64, %65, 1, 1, 1, %66, %67;"
                 : SUMS_64(0)
                 : "l"(left), "l"(right), "n"(int(LEFT_OUTER)), "n"(int(RIGHT_OUTER)));
}

template <bool LEFT_OUTER, bool RIGHT_OUTER>
__device__ __forceinline__ void multiply_group(float (&d)[128], u64 left, u64 right) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" NAMES_128 "}, %128, %129, 1, 1, 1, %130, %131;"
                 : SUMS_64(0), SUMS_64(64)
                 : "l"(left), "l"(right), "n"(int(LEFT_OUTER)), "n"(int(RIGHT_OUTER)));
}

#endif
