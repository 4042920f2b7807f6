// Passes over (samples, positions, channels) with the channels of a position beside each other, and sums a channel.
//
// A block takes a run of positions of one sample and up to THREADS packs of V channels; a thread stays on its pack, so
// that what belongs to a channel stays in registers. Sums of a block are added in f64 and written as (2, channels) a
// block; a second kernel adds those of all blocks in their order.
#pragma once
#include "common.cuh"

// A tensor as channels-last positions. Where 16 bytes hold several channels, or a part of a pack, channels are counted
// over as many positions as fill packs: channel c of the view is channel c % origin of the tensor.
struct View {
    i64 positions;
    int samples, channels, origin;
    // Positions that a thread takes, and blocks of a sample.
    int steps, blocks;
    // Channels of 16 bytes where packs of so many are whole and aligned, otherwise 0.
    int wide;
};

constexpr int THREADS = 256;

// What one thread of a pass works on.
struct Place {
    i64 first, end, step;
    int sample, channel;
    // Packs that lie beside each other in a block, and threads that share a pack.
    int width, lanes;
    bool active;
};

template <int V>
__device__ __forceinline__ Place place(const View& s) {
    const int packs = s.channels / V;
    Place p;
    p.width = min(packs, THREADS);
    p.lanes = THREADS / p.width;
    const int pack = blockIdx.y * p.width + threadIdx.x % p.width, lane = threadIdx.x / p.width;
    p.sample = blockIdx.x / s.blocks;
    const i64 run = i64(p.lanes) * s.steps, start = blockIdx.x % s.blocks * run;
    p.first = start + lane;
    p.end = min(start + run, s.positions);
    p.step = p.lanes;
    p.channel = pack * V;
    p.active = lane < p.lanes && pack < packs;
    if (!p.active) p.end = p.first;
    return p;
}

// Where a thread's pack of a position lies.
__device__ __forceinline__ i64 at(const View& s, const Place& p, i64 position) {
    return (p.sample * s.positions + position) * s.channels + p.channel;
}

// V neighbours as f32.
template <int V, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[V]) {
    const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
    for (int k = 0; k < V; ++k) to[k] = to_float(pack.of[k]);
}

template <int V, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[V]) {
    Pack<T, V> pack;
#pragma unroll
    for (int k = 0; k < V; ++k) pack.of[k] = from_float<T>(from[k]);
    *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

// A number of each channel of a thread's pack; `factors` are (samples, origin).
template <int V>
__device__ __forceinline__ void load_factors(const float* factors, const View& s, const Place& p, float (&to)[V]) {
    if (!p.active) return;
#pragma unroll
    for (int k = 0; k < V; ++k) to[k] = factors[i64(p.sample) * s.origin + (p.channel + k) % s.origin];
}

// Adds two sums a channel over the threads of a block; `finish` is given each channel's once.
template <int V, class F>
__device__ __forceinline__ void block_sums(const float (&a)[V], const float (&b)[V], const View& s, const Place& p,
                                           F finish) {
    __shared__ float held[2 * V * THREADS];
    __shared__ double parts[2 * THREADS];
    const int thread = threadIdx.x;
#pragma unroll
    for (int k = 0; k < V; ++k) {
        held[k * THREADS + thread] = a[k];
        held[(V + k) * THREADS + thread] = b[k];
    }
    __syncthreads();
    // Each sum is shared by as many threads as there are for it.
    const int sums = V * p.width, share = max(1, THREADS / sums);
    for (int first = 0; first < sums; first += THREADS) {
        const int sum = first + (share > 1 ? thread % sums : thread), part = share > 1 ? thread / sums : 0;
        double of_a = 0.0, of_b = 0.0;
        if (sum < sums && part < share) {
            const float* from = held + sum / p.width * THREADS + sum % p.width;
            for (int lane = part; lane < p.lanes; lane += share) {
                of_a += from[lane * p.width];
                of_b += from[V * THREADS + lane * p.width];
            }
        }
        parts[thread] = of_a;
        parts[THREADS + thread] = of_b;
        __syncthreads();
        if (sum < sums && part == 0) {
            for (int other = 1; other < share; ++other) {
                of_a += parts[other * sums + thread];
                of_b += parts[THREADS + other * sums + thread];
            }
            const int channel = (blockIdx.y * p.width + sum % p.width) * V + sum / p.width;
            if (channel < s.channels) finish(channel, of_a, of_b);
        }
        __syncthreads();
    }
}

// One sum over a block of whole warps, in every thread.
__device__ __forceinline__ double block_sum(double x, double* scratch) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = lane < warps ? scratch[lane] : 0.0;
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    __syncthreads();
    return x;
}

__device__ __forceinline__ double warp_sum(double x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// What blocks summed of one channel of the tensor: `of(sum a, sum b, positions)` for each part that this thread folds.
template <class F>
__device__ __forceinline__ void each_part(const double* parts, const View& s, i64 index, F of) {
    const i64 sample = index / s.origin;
    const int channel = int(index % s.origin), repeats = s.channels / s.origin;
    const int width = s.wide ? min(s.channels / s.wide, THREADS) : min(s.channels, THREADS);
    const i64 run = i64(THREADS / width) * s.steps;
    for (int i = threadIdx.x; i < s.blocks * repeats; i += blockDim.x) {
        const int block = i / repeats, of_view = channel + i % repeats * s.origin;
        const double* part = parts + (sample * s.blocks + block) * 2 * s.channels + of_view;
        of(part[0], part[s.channels], double(min(run, s.positions - block * run)));
    }
}

// (2, samples, origin) sums of what blocks summed; one block a channel of a sample.
__device__ __forceinline__ void fold_parts(const double* parts, double* sums, const View& s) {
    __shared__ double scratch[32];
    const i64 len = i64(s.samples) * s.origin;
    for (i64 index = blockIdx.x; index < len; index += gridDim.x) {
        double a = 0.0, b = 0.0;
        each_part(parts, s, index, [&](double of_a, double of_b, double) { a += of_a, b += of_b; });
        a = block_sum(a, scratch);
        b = block_sum(b, scratch);
        if (threadIdx.x == 0) sums[index] = a, sums[len + index] = b;
    }
}
