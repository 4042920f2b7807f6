// Random numbers by Philox4x32-10 (Salmon et al., 2011): a thread a counter, four numbers each; dropout on top of them.
//
// Element i of a key is number i % 4 of the counter (i / 4, words…), as on every other device.
#include "common.cuh"

struct Key {
    u64 len;
    u32 key[2], words[3];
    int normal;
};

struct Words {
    u32 of[4];
};

__device__ __forceinline__ Words philox(const Key& key, u32 counter) {
    Words c = {{counter, key.words[0], key.words[1], key.words[2]}};
    u32 k0 = key.key[0], k1 = key.key[1];
    for (int round = 0; round < 10; ++round) {
        const u64 first = u64(0xD2511F53u) * c.of[0], second = u64(0xCD9E8D57u) * c.of[2];
        c = {{u32(second >> 32) ^ c.of[1] ^ k0, u32(second), u32(first >> 32) ^ c.of[3] ^ k1, u32(first)}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// 2⁻³², the distance of uniform numbers.
constexpr float UNIT = 1.0f / 4294967296.0f;

// (w + ½) / 2³², and the largest f32 below 1 where that would round to 1.
__device__ __forceinline__ float uniform(u32 word) {
    const float value = (float(word) + 0.5f) * UNIT;
    return value < 1.0f ? value : 0.99999994f;
}

// ln((w + ½) / 2³²), exact near 1 as well, where the number itself would be rounded.
__device__ __forceinline__ float ln_uniform(u32 word) {
    return word >= 0xC0000000u ? log1pf(-(float(~word) + 0.5f) * UNIT) : logf((float(word) + 0.5f) * UNIT);
}

// Two normal numbers of two words (Box and Muller, 1958); the angle is counted from the nearest quarter turn, so that
// small sines keep their digits.
__device__ __forceinline__ float2 normal_pair(u32 a, u32 b) {
    const float radius = sqrtf(-2.0f * ln_uniform(a));
    const u32 quarter = (b + (1u << 29)) >> 30;
    const float angle = (float(int(b - (quarter << 30))) + 0.5f) * 1.4629180792671596e-9f; // (π/2) / 2³⁰
    const float s = sinf(angle), c = cosf(angle);
    const float sine = quarter & 1 ? c : s, cosine = quarter & 1 ? s : c;
    const float sine_sign = quarter & 2 ? -1.0f : 1.0f, cosine_sign = (quarter + 1) & 2 ? -1.0f : 1.0f;
    return make_float2(radius * cosine_sign * cosine, radius * sine_sign * sine);
}

__device__ __forceinline__ float4 numbers(const Words& w, bool normal) {
    if (!normal) return make_float4(uniform(w.of[0]), uniform(w.of[1]), uniform(w.of[2]), uniform(w.of[3]));
    const float2 first = normal_pair(w.of[0], w.of[1]), second = normal_pair(w.of[2], w.of[3]);
    return make_float4(first.x, first.y, second.x, second.y);
}

extern "C" __global__ void draw(float* y, Key key) {
    for (i64 counter = grid_thread(); counter < i64((key.len + 3) / 4); counter += grid_threads()) {
        const float4 four = numbers(philox(key, u32(counter)), key.normal);
        const float each[4] = {four.x, four.y, four.z, four.w};
        for (int k = 0; k < 4; ++k)
            if (u64(4 * counter + k) < key.len) y[4 * counter + k] = each[k];
    }
}

template <class T>
__device__ void dropout(const T* x, T* y, float probability, const Key& key) {
    const float scale = 1.0f / (1.0f - probability);
    for (i64 counter = grid_thread(); counter < i64((key.len + 3) / 4); counter += grid_threads()) {
        const Words words = philox(key, u32(counter));
        for (int k = 0; k < 4; ++k) {
            const i64 i = 4 * counter + k;
            if (i >= i64(key.len)) continue;
            y[i] = from_float<T>(uniform(words.of[k]) < probability ? 0.0f : to_float(x[i]) * scale);
        }
    }
}

#define DROPOUT(suffix, T) \
    extern "C" __global__ void dropout_##suffix(const T* x, T* y, float p, Key key) { dropout(x, y, p, key); }
EACH_DTYPE(DROPOUT)
