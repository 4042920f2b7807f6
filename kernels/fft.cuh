// Stockham's Fourier transform of any length in the shared memory of a block.
#pragma once
#include "common.cuh"

// How a length is taken apart: numbers lie `across` transforms side by side.
struct FftPlan {
    int n, across, stages, greatest;
    // In the order in which they are done; those above 7 are odd primes, the greatest first.
    int radices[32];
};

// Two arrays of n · across numbers, and the roots of a prime radix.
struct FftShared {
    float2 *a, *b, *roots;
    __device__ __forceinline__ FftShared(unsigned char* bytes, const FftPlan& plan) {
        // The second array holds numbers of 16 bytes, too.
        const int len = (plan.n * plan.across + 1) / 2 * 2;
        a = reinterpret_cast<float2*>(bytes);
        b = a + len;
        roots = b + len;
    }
};

__device__ __forceinline__ float2 times(float2 x, float2 y) {
    return make_float2(x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x);
}
__device__ __forceinline__ float2 plus(float2 x, float2 y) { return make_float2(x.x + y.x, x.y + y.y); }
__device__ __forceinline__ float2 minus(float2 x, float2 y) { return make_float2(x.x - y.x, x.y - y.y); }

// Parts in the order in which the transform takes them: swapped for the inverse.
__device__ __forceinline__ float2 ordered(float2 x, bool inverse) { return inverse ? make_float2(x.y, x.x) : x; }

// Of a complex line that holds two real rows: a number of the first row's spectrum and of the second's, of the line's
// number and its mirrored one.
__device__ __forceinline__ float2 first_row(float2 own, float2 mirrored) {
    return make_float2(0.5f * (own.x + mirrored.x), 0.5f * (own.y - mirrored.y));
}
__device__ __forceinline__ float2 second_row(float2 own, float2 mirrored) {
    return make_float2(0.5f * (own.y + mirrored.y), 0.5f * (mirrored.x - own.x));
}

// A number of both rows' spectra as the line's and its mirrored one, ordered for the inverse; where both are `one`, a
// real row has no imaginary part.
__device__ __forceinline__ void both_rows(float2 a, float2 b, float2& own, float2& mirrored, bool one) {
    if (one) a.y = 0.0f, b.y = 0.0f;
    mirrored = make_float2(b.x - a.y, a.x + b.y);
    own = make_float2(a.y + b.x, a.x - b.y);
}

// What a column of a half spectrum is multiplied by where it stands for two.
__device__ __forceinline__ float paired_scale(int column, int columns, float scale) {
    return column > 0 && 2 * column < columns ? scale : 1.0f;
}

// cos and sin of 2π t / R for R of 3, 5 and 7 and t up to 3.
__device__ __forceinline__ constexpr float cosine(int radix, int t) {
    return radix == 3 ? -0.5f
         : radix == 5 ? (t == 1 ? 0.309016994374947424f : -0.809016994374947424f)
                      : (t == 1 ? 0.623489801858733531f : t == 2 ? -0.222520933956314404f : -0.900968867902419126f);
}
__device__ __forceinline__ constexpr float sine(int radix, int t) {
    return radix == 3 ? 0.866025403784438647f
         : radix == 5 ? (t == 1 ? 0.951056516295153572f : 0.587785252292473129f)
                      : (t == 1 ? 0.781831482468029809f : t == 2 ? 0.974927912181823607f : 0.433883739117558120f);
}

// The transform of R numbers in registers.
template <int R>
__device__ __forceinline__ void butterfly(float2 (&v)[R]) {
    constexpr int HALF = R / 2;
    float2 sums[HALF], differences[HALF], first = v[0];
#pragma unroll
    for (int r = 1; r <= HALF; ++r) {
        sums[r - 1] = plus(v[r], v[R - r]);
        differences[r - 1] = minus(v[r], v[R - r]);
        v[0] = plus(v[0], sums[r - 1]);
    }
#pragma unroll
    for (int k = 1; k <= HALF; ++k) {
        float2 c = first, s = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int r = 1; r <= HALF; ++r) {
            // The angle k · r / R as one up to a half turn.
            const int t = k * r % R, up = t <= HALF ? t : R - t;
            const float cos = cosine(R, up), sin = t <= HALF ? sine(R, up) : -sine(R, up);
            c = plus(c, make_float2(cos * sums[r - 1].x, cos * sums[r - 1].y));
            s = plus(s, make_float2(sin * differences[r - 1].x, sin * differences[r - 1].y));
        }
        v[k] = make_float2(c.x + s.y, c.y - s.x);
        v[R - k] = make_float2(c.x - s.y, c.y + s.x);
    }
}
template <>
__device__ __forceinline__ void butterfly<2>(float2 (&v)[2]) {
    const float2 sum = plus(v[0], v[1]);
    v[1] = minus(v[0], v[1]);
    v[0] = sum;
}
template <>
__device__ __forceinline__ void butterfly<4>(float2 (&v)[4]) {
    const float2 a = plus(v[0], v[2]), b = minus(v[0], v[2]), c = plus(v[1], v[3]), d = minus(v[1], v[3]);
    v[0] = plus(a, c);
    v[1] = make_float2(b.x + d.y, b.y - d.x);
    v[2] = minus(a, c);
    v[3] = make_float2(b.x - d.y, b.y + d.x);
}

// One stage after those whose radices multiply to `done`.
template <int R>
__device__ __forceinline__ void stage(const float2* from, float2* to, const float2* roots, int done,
                                      const FftPlan& plan) {
    const int apart = plan.n / R, step = plan.n / (done * R);
    for (int i = threadIdx.x; i < apart * plan.across; i += blockDim.x) {
        const int j = i / plan.across, lane = i - j * plan.across, k = j % done;
        float2 v[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            v[r] = from[(j + r * apart) * plan.across + lane];
            if (r > 0 && done > 1) v[r] = times(v[r], roots[r * k * step]);
        }
        butterfly<R>(v);
#pragma unroll
        for (int r = 0; r < R; ++r) to[((j - k) * R + k + r * done) * plan.across + lane] = v[r];
    }
    __syncthreads();
}

// Columns of the matrix of a prime radix that a thread works on.
constexpr int TOGETHER = 4;

// Sums and differences of numbers r and p − r, then the first numbers, all behind each other in `to`.
__device__ __forceinline__ void pair_up(const float2* from, float2* to, const float2* roots, int p, int done,
                                        const FftPlan& plan) {
    const int apart = plan.n / p, step = plan.n / (done * p), width = apart * plan.across;
    float4* pairs = reinterpret_cast<float4*>(to);
    for (int i = threadIdx.x; i < p / 2 * width; i += blockDim.x) {
        const int r = i / width + 1, at = i % width, k = at / plan.across % done;
        float2 u = from[r * width + at], v = from[(p - r) * width + at];
        if (done > 1) u = times(u, roots[r * k * step]), v = times(v, roots[(p - r) * k * step]);
        pairs[i] = make_float4(u.x + v.x, u.y + v.y, u.x - v.x, u.y - v.y);
    }
    float2* firsts = to + p / 2 * width * 2;
    for (int i = threadIdx.x; i < width; i += blockDim.x) firsts[i] = from[i];
}

// A stage of an odd prime radix; the result is in `numbers` again.
__device__ __forceinline__ void prime_stage(float2* numbers, const FftShared& shared, const float2* roots, int p,
                                            int done, const FftPlan& plan) {
    float2* scratch = numbers == shared.a ? shared.b : shared.a;
    const int apart = plan.n / p, width = apart * plan.across, half = p / 2;
    for (int t = threadIdx.x; t < p; t += blockDim.x) {
        const float2 root = roots[t * apart];
        shared.roots[t] = make_float2(root.x, -root.y);
    }
    pair_up(numbers, scratch, roots, p, done, plan);
    __syncthreads();
    const float4* pairs = reinterpret_cast<const float4*>(scratch);
    const float2* firsts = scratch + half * width * 2;
    const int groups = (width + TOGETHER - 1) / TOGETHER;
    for (int i = threadIdx.x; i < (half + 1) * groups; i += blockDim.x) {
        const int out = i % (half + 1), first = i / (half + 1) * TOGETHER;
        int at[TOGETHER];
        float2 c[TOGETHER], s[TOGETHER];
#pragma unroll
        for (int q = 0; q < TOGETHER; ++q) {
            at[q] = min(first + q, width - 1);
            c[q] = firsts[at[q]];
            s[q] = make_float2(0.0f, 0.0f);
        }
        int angle = 0;
        for (int r = 0; r < half; ++r) {
            angle += out;
            angle -= angle >= p ? p : 0;
            const float2 root = shared.roots[angle];
#pragma unroll
            for (int q = 0; q < TOGETHER; ++q) {
                const float4 pair = pairs[r * width + at[q]];
                c[q] = make_float2(c[q].x + root.x * pair.x, c[q].y + root.x * pair.y);
                s[q] = make_float2(s[q].x + root.y * pair.z, s[q].y + root.y * pair.w);
            }
        }
#pragma unroll
        for (int q = 0; q < TOGETHER; ++q) {
            if (first + q >= width) continue;
            const int j = at[q] / plan.across, lane = at[q] - j * plan.across, k = j % done;
            float2* to = numbers + ((j - k) * p + k) * plan.across + lane;
            to[out * done * plan.across] = make_float2(c[q].x + s[q].y, c[q].y - s[q].x);
            if (out > 0) to[(p - out) * done * plan.across] = make_float2(c[q].x - s[q].y, c[q].y + s[q].x);
        }
    }
    __syncthreads();
}

// The transforms of the numbers in `shared.a`, in the array that is given back; all threads see it. `roots` are
// e^(−2πi t/n) for t below n.
__device__ __forceinline__ const float2* transform(const FftShared& shared, const float2* roots, const FftPlan& plan) {
    float2 *from = shared.a, *to = shared.b;
    int done = 1;
    for (int number = 0; number < plan.stages; ++number) {
        const int radix = plan.radices[number];
        switch (radix) {
        case 2: stage<2>(from, to, roots, done, plan); break;
        case 3: stage<3>(from, to, roots, done, plan); break;
        case 4: stage<4>(from, to, roots, done, plan); break;
        case 5: stage<5>(from, to, roots, done, plan); break;
        case 7: stage<7>(from, to, roots, done, plan); break;
        default: prime_stage(from, shared, roots, radix, done, plan);
        }
        done *= radix;
        if (radix > 7) continue;
        float2* last = from;
        from = to;
        to = last;
    }
    return from;
}
