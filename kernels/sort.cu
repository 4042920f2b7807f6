// Lists of 32-bit keys in ascending order, with the place that each came from; equal keys stay in their order.
//
// A radix sort by 8 bits at a time (lists, len). Each block owns one stretch of whole chunks of 256 elements, so that
// nothing depends on the order in which blocks run.
//
// sort_count  how often each digit occurs in each stretch; reads the keys once.
// sort_scan   a warp a digit: its sums over the stretches before.
// sort_place  puts each element behind those of smaller digits, of earlier stretches and earlier in its own; reads and
//             writes keys and places once.
#include "common.cuh"

constexpr int DIGITS = 256;
constexpr int WARPS = DIGITS / 32;

struct SortSizes {
    // Keys of a list; the first list of a launch.
    u64 len, first_list;
    // Bits below the digit; chunks of a stretch, stretches of a list.
    int shift, chunks, stretches, padding;
};

__device__ __forceinline__ u32 digit_of(u32 key, int shift) { return key >> shift & (DIGITS - 1); }

// The sum of the values of the lanes up to this one.
__device__ __forceinline__ u32 warp_sum_up_to(u32 value) {
    const int lane = threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        const u32 other = __shfl_up_sync(ALL_LANES, value, step);
        if (lane >= step) value += other;
    }
    return value;
}

// The sum of the values of the threads before, of 256.
__device__ __forceinline__ u32 block_sum_before(u32 value, u32* scratch) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 sum = warp_sum_up_to(value);
    if (lane == 31) scratch[warp] = sum;
    __syncthreads();
    u32 before = 0;
    for (int w = 0; w < warp; ++w) before += scratch[w];
    return before + sum - value;
}

extern "C" __global__ void sort_count(const u32* keys, u32* counts, SortSizes s) {
    __shared__ u32 held[DIGITS];
    held[threadIdx.x] = 0;
    __syncthreads();
    const u64 list = s.first_list + blockIdx.y, first = u64(blockIdx.x) * s.chunks * DIGITS;
    for (int chunk = 0; chunk < s.chunks; ++chunk) {
        const u64 i = first + u64(chunk) * DIGITS + threadIdx.x;
        if (i < s.len) atomicAdd(&held[digit_of(keys[list * s.len + i], s.shift)], 1u);
    }
    __syncthreads();
    counts[(list * DIGITS + threadIdx.x) * s.stretches + blockIdx.x] = held[threadIdx.x];
}

// `totals` becomes how often each digit occurs.
extern "C" __global__ void sort_scan(u32* counts, u32* totals, SortSizes s) {
    const int lane = threadIdx.x % 32;
    const u64 row = (s.first_list + blockIdx.y) * DIGITS + blockIdx.x * WARPS + threadIdx.x / 32;
    u32* of_digit = counts + row * s.stretches;
    u32 before = 0;
    for (int first = 0; first < s.stretches; first += 32) {
        const int stretch = first + lane;
        const u32 own = stretch < s.stretches ? of_digit[stretch] : 0, sum = warp_sum_up_to(own);
        if (stretch < s.stretches) of_digit[stretch] = before + sum - own;
        before += __shfl_sync(ALL_LANES, sum, 31);
    }
    if (lane == 0) totals[row] = before;
}

// The places before the first pass, `from` null, are the elements' own.
extern "C" __global__ void sort_place(const u32* keys, const u32* from, const u32* counts, const u32* totals,
                                      u32* keys_out, u32* to, SortSizes s) {
    __shared__ u32 scratch[WARPS], next[WARPS][DIGITS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u64 list = s.first_list + blockIdx.y, start = list * s.len, first = u64(blockIdx.x) * s.chunks * DIGITS;
    // Where the next element of the digit of this thread's number goes.
    u32 base = block_sum_before(totals[list * DIGITS + threadIdx.x], scratch) +
               counts[(list * DIGITS + threadIdx.x) * s.stretches + blockIdx.x];
    for (int chunk = 0; chunk < s.chunks; ++chunk) {
        for (int w = 0; w < WARPS; ++w) next[w][threadIdx.x] = 0;
        __syncthreads();
        const u64 i = first + u64(chunk) * DIGITS + threadIdx.x;
        const u32 key = i < s.len ? keys[start + i] : 0;
        const u32 digit = digit_of(key, s.shift);
        // Those behind the end are alike and none of the others.
        const u32 alike = __match_any_sync(ALL_LANES, i < s.len ? digit : u32(DIGITS));
        const u32 rank = __popc(alike & ((1u << lane) - 1));
        if (i < s.len && rank == 0) next[warp][digit] = __popc(alike);
        __syncthreads();
        for (int w = 0; w < WARPS; ++w) {
            const u32 count = next[w][threadIdx.x];
            next[w][threadIdx.x] = base;
            base += count;
        }
        __syncthreads();
        if (i < s.len) {
            const u64 at = start + next[warp][digit] + rank;
            keys_out[at] = key;
            to[at] = from ? from[start + i] : u32(i);
        }
        __syncthreads();
    }
}
