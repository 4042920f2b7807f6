// Each element alone: functions of one array, their gradients, and functions of two arrays that broadcast.
//
// map, map_grad  16 bytes a thread where the arrays allow it; reads x (and dy) once, writes once.
// zip            one element a thread; operands that do not broadcast take 16 bytes a thread.
#include "functions.cuh"

struct MapSizes {
    u64 len;
    Function function;
    // Whether all arrays begin at a multiple of 16 bytes.
    int aligned;
};

// y[i] = of(i) for all i, `N` neighbours at a time where they are aligned: `of` is given how many.
template <int N, class F>
__device__ __forceinline__ void each_pack(u64 len, bool aligned, F of) {
    const i64 packs = aligned ? len / N : 0;
    for (i64 pack = grid_thread(); pack < packs; pack += grid_threads()) of.pack(pack);
    for (i64 i = packs * N + grid_thread(); i < i64(len); i += grid_threads()) of.one(i);
}

template <class T>
struct MapWork {
    typedef typename Wide<T>::Type Pack;
    const T* x;
    T* y;
    Function function;
    __device__ __forceinline__ void pack(i64 i) const {
        Pack values = reinterpret_cast<const Pack*>(x)[i];
#pragma unroll
        for (int k = 0; k < Wide<T>::LEN; ++k) values.of[k] = from_float<T>(apply(function, to_float(values.of[k])));
        reinterpret_cast<Pack*>(y)[i] = values;
    }
    __device__ __forceinline__ void one(i64 i) const { y[i] = from_float<T>(apply(function, to_float(x[i]))); }
};

template <class T>
struct GradWork {
    typedef typename Wide<T>::Type Pack;
    const T *x, *dy;
    T* dx;
    Function function;
    __device__ __forceinline__ T grad(T x, T dy) const {
        return from_float<T>(pulled(function, to_float(x), to_float(dy)));
    }
    __device__ __forceinline__ void pack(i64 i) const {
        Pack values = reinterpret_cast<const Pack*>(x)[i];
        const Pack slopes = reinterpret_cast<const Pack*>(dy)[i];
#pragma unroll
        for (int k = 0; k < Wide<T>::LEN; ++k) values.of[k] = grad(values.of[k], slopes.of[k]);
        reinterpret_cast<Pack*>(dx)[i] = values;
    }
    __device__ __forceinline__ void one(i64 i) const { dx[i] = grad(x[i], dy[i]); }
};

#define MAP(suffix, T)                                                                                          \
    extern "C" __global__ void map_##suffix(const T* x, T* y, MapSizes s) {                                     \
        each_pack<Wide<T>::LEN>(s.len, s.aligned, MapWork<T>{x, y, s.function});                                \
    }                                                                                                           \
    extern "C" __global__ void map_grad_##suffix(const T* x, const T* dy, T* dx, MapSizes s) {                  \
        each_pack<Wide<T>::LEN>(s.len, s.aligned, GradWork<T>{x, dy, dx, s.function});                          \
    }
EACH_DTYPE(MAP)

// The numbers of the functions, in the order of `Zip` in tensor/ops/elementwise.rs.
enum ZipKind { Add, Subtract, Multiply, Divide, Maximum, Minimum, GreaterOrEqual, ShareOfGreater, Same, Weigh };

__device__ __forceinline__ float zip_one(int kind, float x, float y) {
    switch (kind) {
    case Add: return x + y;
    case Subtract: return x - y;
    case Multiply: return x * y;
    case Divide: return x / y;
    case Maximum: return Greatest::join(x, y);
    case Minimum: return Least::join(x, y);
    case GreaterOrEqual: return x >= y ? 1.0f : 0.0f;
    case ShareOfGreater: return x == y ? 0.5f : x < y ? 0.0f : 1.0f;
    case Same: return x == y || (isnan(x) && isnan(y)) ? 1.0f : 0.0f;
    default: return y == 0.0f ? 0.0f : x * y;
    }
}

// Sizes in the order of memory, and the steps of both operands along them, 0 where one repeats.
struct ZipSizes {
    i64 len;
    int kind;
    // Whether neither operand repeats and all arrays begin at a multiple of 16 bytes.
    int aligned;
    i64 sizes[6], x[6], y[6];
};

template <class T>
struct ZipWork {
    typedef typename Wide<T>::Type Pack;
    const T *x, *y;
    T* z;
    const ZipSizes& s;
    __device__ __forceinline__ void pack(i64 i) const {
        Pack values = reinterpret_cast<const Pack*>(x)[i];
        const Pack others = reinterpret_cast<const Pack*>(y)[i];
        for (int k = 0; k < Wide<T>::LEN; ++k)
            values.of[k] = from_float<T>(zip_one(s.kind, to_float(values.of[k]), to_float(others.of[k])));
        reinterpret_cast<Pack*>(z)[i] = values;
    }
    __device__ __forceinline__ void one(i64 i) const {
        i64 rest = i, at_x = 0, at_y = 0;
        for (int d = 5; d >= 0; --d) {
            const i64 along = rest % s.sizes[d];
            rest /= s.sizes[d];
            at_x += along * s.x[d];
            at_y += along * s.y[d];
        }
        z[i] = from_float<T>(zip_one(s.kind, to_float(x[at_x]), to_float(y[at_y])));
    }
};

#define ZIP(suffix, T)                                                                           \
    extern "C" __global__ void zip_##suffix(const T* x, const T* y, T* z, ZipSizes s) {          \
        each_pack<Wide<T>::LEN>(s.len, s.aligned, ZipWork<T>{x, y, z, s});                       \
    }
EACH_DTYPE(ZIP)
