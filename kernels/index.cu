// Rows and elements chosen by indices, and sums into the places that indices name.
//
// Dimensions are (outer, size, inner) of the array with places, (outer, picked, inner) of the other. An index outside
// names no element: it gives 0 and adds nothing.
//
// index_select  copies rows of `inner`, 16 bytes a thread where they allow it; reads and writes each picked row once.
// gather        an element a thread.
// one_hot       an element a thread: writes each once.
// index_keys    the place that each element is added to, or a number behind them all: what is sorted for sums.
// index_starts  where in the sorted list each place begins, by halving.
// index_sum     rows · workers · lanes threads: lanes side by side on 16 bytes of a row, workers take every so-manieth
//               element of a place in order, then join; reads each element once, writes each place once.
#include "common.cuh"

struct IndexSizes {
    i64 outer, size, picked, inner;
};

__device__ __forceinline__ bool names(int index, i64 size) { return index >= 0 && index < size; }

// `inner` counts units of T.
template <class T>
__device__ void index_select(const T* x, const int* index, T* y, const IndexSizes& s) {
    const i64 len = s.outer * s.picked * s.inner;
    for (i64 i = grid_thread(); i < len; i += grid_threads()) {
        const i64 row = i / s.inner, outer = row / s.picked;
        const int from = index[row - outer * s.picked];
        T value{};
        if (names(from, s.size)) value = x[(outer * s.size + from) * s.inner + (i - row * s.inner)];
        y[i] = value;
    }
}
extern "C" __global__ void index_select_16(const u16* x, const int* index, u16* y, IndexSizes s) {
    index_select(x, index, y, s);
}
extern "C" __global__ void index_select_32(const u32* x, const int* index, u32* y, IndexSizes s) {
    index_select(x, index, y, s);
}
extern "C" __global__ void index_select_128(const uint4* x, const int* index, uint4* y, IndexSizes s) {
    index_select(x, index, y, s);
}

template <class T>
__device__ void gather(const T* x, const int* index, T* y, const IndexSizes& s) {
    const i64 len = s.outer * s.picked * s.inner;
    for (i64 i = grid_thread(); i < len; i += grid_threads()) {
        const i64 row = i / s.inner, outer = row / s.picked;
        const int from = index[i];
        T value{};
        if (names(from, s.size)) value = x[(outer * s.size + from) * s.inner + (i - row * s.inner)];
        y[i] = value;
    }
}
extern "C" __global__ void gather_16(const u16* x, const int* index, u16* y, IndexSizes s) { gather(x, index, y, s); }
extern "C" __global__ void gather_32(const u32* x, const int* index, u32* y, IndexSizes s) { gather(x, index, y, s); }

extern "C" __global__ void one_hot(const int* index, float* y, IndexSizes s) {
    for (i64 i = grid_thread(); i < s.picked * s.size; i += grid_threads()) {
        const i64 row = i / s.size;
        y[i] = index[row] == i - row * s.size ? 1.0f : 0.0f;
    }
}

// An index for each element of (outer, picked, inner).
extern "C" __global__ void index_keys(const int* index, u32* keys, IndexSizes s) {
    for (i64 i = grid_thread(); i < s.outer * s.picked * s.inner; i += grid_threads()) {
        const i64 row = i / s.inner, outer = row / s.picked;
        const int place = index[i];
        const i64 none = s.outer * s.size * s.inner;
        keys[i] = u32(names(place, s.size) ? (outer * s.size + place) * s.inner + (i - row * s.inner) : none);
    }
}

// The first of `picked` sorted keys that is not below each number from 0 to `size`.
extern "C" __global__ void index_starts(const u32* keys, u32* starts, IndexSizes s) {
    for (i64 place = grid_thread(); place <= s.size; place += grid_threads()) {
        i64 low = 0, high = s.picked;
        while (low < high) {
            const i64 middle = (low + high) / 2;
            if (keys[middle] < place)
                low = middle + 1;
            else
                high = middle;
        }
        starts[place] = u32(low);
    }
}

struct SumSizes {
    i64 outer, size, picked, inner;
    // Powers of 2: threads side by side on a row, threads that share a place's elements.
    int lanes, workers;
    // How many elements of a row a thread works on; divides `inner`.
    int wide, padding;
};

// How many elements are added in f32 before their sum is added in f64.
constexpr int RUN = 64;
constexpr int THREADS = 256;

template <class T, int N>
struct Sums {
    double whole[N];
    float part[N];
    int count;
    __device__ __forceinline__ void begin() {
#pragma unroll
        for (int k = 0; k < N; ++k) whole[k] = 0.0, part[k] = 0.0f;
        count = 0;
    }
    __device__ __forceinline__ void add(const Pack<T, N>& x) {
#pragma unroll
        for (int k = 0; k < N; ++k) part[k] += to_float(x.of[k]);
        if (++count == RUN) end_run();
    }
    __device__ __forceinline__ void end_run() {
#pragma unroll
        for (int k = 0; k < N; ++k) whole[k] += part[k], part[k] = 0.0f;
        count = 0;
    }
};

// Sums of the workers of a row and lane, in worker 0: always of the same halves.
template <int N>
__device__ __forceinline__ void join_workers(float (&sums)[N], float (*shared)[THREADS], int worker,
                                             const SumSizes& s) {
    for (int half = s.workers / 2; half > 0; half /= 2) {
#pragma unroll
        for (int k = 0; k < N; ++k) shared[k][threadIdx.x] = sums[k];
        __syncthreads();
        if (worker < half)
#pragma unroll
            for (int k = 0; k < N; ++k) sums[k] += shared[k][threadIdx.x + half * s.lanes];
        __syncthreads();
    }
}

template <class T, int N>
__device__ void index_sum(const T* base, const u32* starts, const u32* places, const T* __restrict__ source, T* y,
                          const SumSizes& s, float (*shared)[THREADS]) {
    const int lane = threadIdx.x % s.lanes, worker = threadIdx.x / s.lanes % s.workers;
    const int rows = THREADS / (s.lanes * s.workers), own = threadIdx.x / (s.lanes * s.workers);
    const i64 packs = s.inner / N, pack = i64(blockIdx.y) * s.lanes + lane;
    const i64 tasks = (s.size + rows - 1) / rows;
    for (i64 task = blockIdx.x; task < tasks * s.outer; task += gridDim.x) {
        const i64 outer = task / tasks, place = (task - outer * tasks) * rows + own, from = outer * s.picked;
        const bool live = place < s.size && pack < packs;
        const u32 end = live ? starts[place + 1] : 0;
        Sums<T, N> sums;
        sums.begin();
#pragma unroll 4
        for (u32 i = live ? starts[place] + worker : 0; i < end; i += s.workers)
            sums.add(reinterpret_cast<const Pack<T, N>*>(source + (from + places[i]) * s.inner)[pack]);
        sums.end_run();
        float joined[N];
#pragma unroll
        for (int k = 0; k < N; ++k) joined[k] = float(sums.whole[k]);
        join_workers<N>(joined, shared, worker, s);
        if (!live || worker > 0) continue;
        const i64 at = (outer * s.size + place) * packs + pack;
        Pack<T, N> result{};
        if (base) result = reinterpret_cast<const Pack<T, N>*>(base)[at];
#pragma unroll
        for (int k = 0; k < N; ++k) result.of[k] = from_float<T>(to_float(result.of[k]) + joined[k]);
        reinterpret_cast<Pack<T, N>*>(y)[at] = result;
    }
}

#define INDEX_SUM(suffix, T)                                                                                        \
    extern "C" __global__ void index_sum_##suffix(const T* base, const u32* starts, const u32* places,              \
                                                  const T* source, T* y, SumSizes s) {                              \
        __shared__ float shared[Wide<T>::LEN][THREADS];                                                             \
        if (s.wide > 1)                                                                                             \
            index_sum<T, Wide<T>::LEN>(base, starts, places, source, y, s, shared);                                 \
        else                                                                                                        \
            index_sum<T, 1>(base, starts, places, source, y, s, shared);                                            \
    }
EACH_DTYPE(INDEX_SUM)
