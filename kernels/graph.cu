// Nearest neighbours, and attention over the edges that end in a node.
//
// Values of edges are (edges, heads), of nodes (nodes, heads, channels). The edges of a node are order[offsets[node]] to
// order[offsets[node + 1] − 1].
//
// nearest_neighbours  a warp a point: 32 candidates at once against a sorted list of 32 in its lanes, again behind the
//                     last of these while more are asked for; reads all points once a warp, from cache.
// edge_softmax        8 lanes a node and head: reads the scores twice, writes each weight once.
// edge_softmax_grad   8 lanes a node and head: reads y and dy twice, writes once.
// aggregate           a thread 16 bytes of a node's channels; reads a row of channels an edge, writes each row once.
// edge_dot            8 lanes an edge and head: reads two rows of channels, writes one number.
#include "common.cuh"

struct NeighbourSizes {
    i64 batch;
    int points, dimensions, count, own;
};

// No neighbour: behind any distance.
#define NOWHERE 0xffffffffffffffffull
// NaN: behind any number.
#define FARTHEST 0x7ff8000000000000ull

// Squares of f32 differences in f64: equal distances are equal, and bits of positive numbers are in their order.
template <class T>
__device__ __forceinline__ u64 squared_distance(const T* x, const T* y, int dimensions) {
    double sum = 0.0;
    for (int d = 0; d < dimensions; ++d) {
        const double away = double(to_float(x[d])) - double(to_float(y[d]));
        sum += away * away;
    }
    return isnan(sum) ? FARTHEST : u64(__double_as_longlong(sum));
}

// Whether a candidate comes behind the last one that was written.
__device__ __forceinline__ bool behind(u64 distance, int point, u64 last, int last_point) {
    return distance > last || (distance == last && point > last_point);
}

template <class T>
__device__ void nearest_neighbours(const T* points, int* y, const NeighbourSizes& s) {
    const int lane = threadIdx.x % 32;
    for (i64 task = grid_thread() / 32; task < s.batch * s.points; task += grid_threads() / 32) {
        const T* set = points + task / s.points * s.points * s.dimensions;
        const int node = int(task % s.points);
        u64 last = 0;
        int last_point = -1;
        for (int written = 0; written < s.count; written += 32) {
            // What this lane holds of the list: the lane-th nearest so far.
            u64 held = NOWHERE;
            int held_point = 0;
            const int wanted = min(s.count - written, 32);
            for (int first = 0; first < s.points; first += 32) {
                const int point = first + lane;
                u64 distance = NOWHERE;
                if (point < s.points && (s.own || point != node)) {
                    distance = squared_distance(set + i64(node) * s.dimensions, set + i64(point) * s.dimensions,
                                                s.dimensions);
                    if (written > 0 && !behind(distance, point, last, last_point)) distance = NOWHERE;
                }
                u32 nearer = __ballot_sync(ALL_LANES, distance < __shfl_sync(ALL_LANES, held, wanted - 1));
                for (; nearer != 0; nearer &= nearer - 1) {
                    const int from = __ffs(int(nearer)) - 1;
                    const u64 candidate = __shfl_sync(ALL_LANES, distance, from);
                    const int at = __popc(__ballot_sync(ALL_LANES, held <= candidate));
                    const u64 moved = __shfl_up_sync(ALL_LANES, held, 1);
                    const int moved_point = __shfl_up_sync(ALL_LANES, held_point, 1);
                    if (lane > at) held = moved, held_point = moved_point;
                    if (lane == at) held = candidate, held_point = first + from;
                }
            }
            if (lane < wanted) y[task * s.count + written + lane] = held_point;
            last = __shfl_sync(ALL_LANES, held, wanted - 1);
            last_point = __shfl_sync(ALL_LANES, held_point, wanted - 1);
        }
    }
}

#define NEIGHBOURS(suffix, T)                                                                            \
    extern "C" __global__ void nearest_neighbours_##suffix(const T* points, int* y, NeighbourSizes s) {  \
        nearest_neighbours(points, y, s);                                                                \
    }
EACH_DTYPE(NEIGHBOURS)

struct GraphSizes {
    i64 nodes, edges;
    int heads, channels;
    // How many channels a thread works on; divides `channels`.
    int wide, padding;
};

// Lanes that share a sum.
constexpr int LANES = 8;

__device__ __forceinline__ double lanes_sum(double x) {
    for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}
__device__ __forceinline__ float lanes_greatest(float x) {
    for (int step = LANES / 2; step > 0; step /= 2) x = Greatest::join(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

// A node and head of `LANES` lanes. All lanes of a warp go through the same number of tasks.
struct NodeTask {
    i64 first, end;
    int head, lane;
    __device__ __forceinline__ NodeTask(i64 task, const int* offsets, const GraphSizes& s) {
        const i64 node = task / s.heads;
        const bool live = node < s.nodes;
        head = int(task - node * s.heads);
        lane = threadIdx.x % LANES;
        first = live ? offsets[node] + lane : 0;
        end = live ? offsets[node + 1] : 0;
    }
};

// Of(task) for every node and head; tasks of a warp begin and end together.
template <class F>
__device__ __forceinline__ void each_task(i64 tasks, F of) {
    const i64 whole = (tasks + 32 / LANES - 1) / (32 / LANES) * (32 / LANES);
    for (i64 task = grid_thread() / LANES; task < whole; task += grid_threads() / LANES) of(task);
}

template <class T>
__device__ void edge_softmax(const T* scores, const int* offsets, const int* order, T* y, const GraphSizes& s) {
    each_task(s.nodes * s.heads, [&](i64 number) {
        const NodeTask task(number, offsets, s);
        auto at = [&](i64 i) { return i64(order[i]) * s.heads + task.head; };
        float greatest = -INFINITE;
        for (i64 i = task.first; i < task.end; i += LANES) greatest = Greatest::join(greatest, to_float(scores[at(i)]));
        greatest = lanes_greatest(greatest);
        double sum = 0.0;
        for (i64 i = task.first; i < task.end; i += LANES) sum += expf(to_float(scores[at(i)]) - greatest);
        sum = lanes_sum(sum);
        const float inverse = float(1.0 / sum);
        for (i64 i = task.first; i < task.end; i += LANES)
            y[at(i)] = from_float<T>(expf(to_float(scores[at(i)]) - greatest) * inverse);
    });
}

template <class T>
__device__ void edge_softmax_grad(const T* y, const T* dy, const int* offsets, const int* order, T* dx,
                                  const GraphSizes& s) {
    each_task(s.nodes * s.heads, [&](i64 number) {
        const NodeTask task(number, offsets, s);
        auto at = [&](i64 i) { return i64(order[i]) * s.heads + task.head; };
        double sum = 0.0;
        for (i64 i = task.first; i < task.end; i += LANES) sum += double(to_float(y[at(i)])) * to_float(dy[at(i)]);
        sum = lanes_sum(sum);
        for (i64 i = task.first; i < task.end; i += LANES)
            dx[at(i)] = from_float<T>(float(to_float(y[at(i)]) * (to_float(dy[at(i)]) - sum)));
    });
}

template <class T, int N>
__device__ void aggregate(const T* __restrict__ weights, const T* __restrict__ values, const int* __restrict__ sources,
                          const int* __restrict__ offsets, const int* __restrict__ order, T* y, const GraphSizes& s) {
    const int packs = s.heads * s.channels / N;
    for (i64 i = grid_thread(); i < s.nodes * packs; i += grid_threads()) {
        const i64 node = i / packs;
        const int pack = int(i - node * packs), head = pack * N / s.channels;
        float sums[N] = {};
#pragma unroll 4
        for (int k = offsets[node]; k < offsets[node + 1]; ++k) {
            const i64 edge = order[k];
            const float weight = to_float(weights[edge * s.heads + head]);
            const Pack<T, N> x = reinterpret_cast<const Pack<T, N>*>(values)[i64(sources[edge]) * packs + pack];
#pragma unroll
            for (int c = 0; c < N; ++c) sums[c] += weight * to_float(x.of[c]);
        }
        Pack<T, N> result;
#pragma unroll
        for (int c = 0; c < N; ++c) result.of[c] = from_float<T>(sums[c]);
        reinterpret_cast<Pack<T, N>*>(y)[i] = result;
    }
}

template <class T, int N>
__device__ void edge_dot(const T* __restrict__ to, const T* __restrict__ from, const int* sources, const int* targets,
                         T* y, const GraphSizes& s) {
    const int packs = s.channels / N, lane = threadIdx.x % LANES;
    each_task(s.edges * s.heads, [&](i64 task) {
        double sum = 0.0;
        if (task < s.edges * s.heads) {
            const i64 edge = task / s.heads, head = task - edge * s.heads;
            const Pack<T, N>* a =
                reinterpret_cast<const Pack<T, N>*>(to + (i64(targets[edge]) * s.heads + head) * s.channels);
            const Pack<T, N>* b =
                reinterpret_cast<const Pack<T, N>*>(from + (i64(sources[edge]) * s.heads + head) * s.channels);
            for (int i = lane; i < packs; i += LANES) {
                const Pack<T, N> x = a[i], z = b[i];
#pragma unroll
                for (int c = 0; c < N; ++c) sum += double(to_float(x.of[c])) * to_float(z.of[c]);
            }
        }
        sum = lanes_sum(sum);
        if (task < s.edges * s.heads && lane == 0) y[task] = from_float<T>(float(sum));
    });
}

#define GRAPH(suffix, T)                                                                                            \
    extern "C" __global__ void edge_softmax_##suffix(const T* scores, const int* offsets, const int* order, T* y,   \
                                                     GraphSizes s) {                                                \
        edge_softmax(scores, offsets, order, y, s);                                                                 \
    }                                                                                                               \
    extern "C" __global__ void edge_softmax_grad_##suffix(const T* y, const T* dy, const int* offsets,              \
                                                          const int* order, T* dx, GraphSizes s) {                  \
        edge_softmax_grad(y, dy, offsets, order, dx, s);                                                            \
    }                                                                                                               \
    extern "C" __global__ void aggregate_##suffix(const T* weights, const T* values, const int* sources,            \
                                                  const int* offsets, const int* order, T* y, GraphSizes s) {       \
        if (s.wide > 1)                                                                                             \
            aggregate<T, Wide<T>::LEN>(weights, values, sources, offsets, order, y, s);                             \
        else                                                                                                        \
            aggregate<T, 1>(weights, values, sources, offsets, order, y, s);                                        \
    }                                                                                                               \
    extern "C" __global__ void edge_dot_##suffix(const T* to, const T* from, const int* sources,                    \
                                                 const int* targets, T* y, GraphSizes s) {                          \
        if (s.wide > 1)                                                                                             \
            edge_dot<T, Wide<T>::LEN>(to, from, sources, targets, y, s);                                            \
        else                                                                                                        \
            edge_dot<T, 1>(to, from, sources, targets, y, s);                                                       \
    }
EACH_DTYPE(GRAPH)
