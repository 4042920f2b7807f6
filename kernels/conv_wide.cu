// Convolutions of wide layers in bf16 on `wgmma` (sm_90a), and their data gradients, with the contract of `conv.cu`, whose
// kernels do the same by `mma.sync`; runs of channels are multiples of 8, and the weights are packed by `conv_pack`.
//
// conv_wide_<n>  one block 128 pixels by n output channels. The index that is summed is (kernel element, channel): 64 of
//                it at a time are gathered for each pixel into a line, and copied as they lie from the packed weights,
//                ahead into a ring of buffers; both through the second cache.
#include "conv.cuh"
#include "wide.cuh"

// The pixels and channels of one tile, and its weights.
template <int N>
struct WideSource {
    const bf16 *image, *packed;
    const Tap* taps;
    const TilePlace& place;
    const ConvSizes& s;

    __device__ __forceinline__ int pieces() const { return (place.phase.taps * s.from_channels + PIECE - 1) / PIECE; }

    // A thread copies every 32nd line's 16 bytes of one number: the swizzle is the same for all of them.
    __device__ __forceinline__ void load(u8* to, int piece) const {
        const int unit = threadIdx.x % 8, line = threadIdx.x / 8;
        u8* own = to + swizzled(line, unit);
        load_pixels(own, line, piece * PIECE + 8 * unit);
        load_weights(own + LEFT_BYTES, place.phase.first_packed + piece * PIECE + line, 8 * unit);
    }

    // Eight channels of an element of the kernel, for a quarter of the pixels; zeros outside of the image.
    __device__ __forceinline__ void load_pixels(u8* to, int first, int k) const {
        const int tap = k / s.from_channels, channel = k - tap * s.from_channels;
        const bool valid = tap < place.phase.taps;
        const Tap at = taps[valid ? tap : 0];
#pragma unroll
        for (int i = 0; i < WIDE_ROWS / 32; ++i) {
            const int m = first + 32 * i;
            const int r = place.i(m, s) * s.from_step[0] + at.row, c = place.j(m, s) * s.from_step[1] + at.column;
            const bool inside = valid && unsigned(r) < unsigned(s.from_rows) && unsigned(c) < unsigned(s.from_columns);
            const i64 pixel = inside ? i64(r) * s.from_columns + c : 0;
            copy_16(to + i * 32 * LINE_BYTES, image + pixel * (s.from_channels * s.groups) + channel, inside ? 16 : 0);
        }
    }

    // Two lines of the packed weights, which go on for all columns of the tile.
    __device__ __forceinline__ void load_weights(u8* to, int row, int column) const {
        const bf16* own = packed + (i64(row) * s.packed_columns + column);
#pragma unroll
        for (int half = 0; half < 2; ++half, to += 32 * LINE_BYTES, own += i64(32) * s.packed_columns)
#pragma unroll
            for (int panel = 0; panel < N / 64; ++panel) copy_16(to + panel * PANEL_BYTES, own + 64 * panel, 16);
    }
};

template <int N>
__device__ __forceinline__ void conv_wide(const bf16* x, const bf16* packed, const Tail<bf16>& tail, const Phase* phases,
                                          const Tap* taps, const ConvSizes& s) {
#ifdef HAS_WGMMA
    SHARED_BYTES(shared);
    u8* buffers = wide_buffers(shared);
    const int blocks = s.packed_columns / N, first = int(blockIdx.x % blocks) * N;
    const i64 group = blockIdx.y, image_len = i64(s.from_rows) * s.from_columns * s.from_channels * s.groups;
    const TilePlace place = tile_place(s.first_image + blockIdx.z, blockIdx.x / blocks, WIDE_ROWS, phases, s);
    if (!place.has(0, s)) return;
    const bf16* image = x + place.image * image_len + group * s.from_channels;
    const bf16* weights = packed + group * s.packed_rows * s.packed_columns + first;
    const WideSource<N> from{image, weights, taps + place.phase.first_tap, place, s};
    WideTile<N> tile;
    tile.template sum<false, true>(buffers, from.pieces(), [&](u8* to, int piece) { from.load(to, piece); });
    float* held = reinterpret_cast<float*>(buffers);
    tile.put(held);
    const int channel = group * s.to_channels, channels = s.groups * s.to_channels;
    finish_any<bf16, WIDE_ROWS, N>(held, WideTile<N>::PITCH, place, channel + first, channel + s.to_channels, channels, tail, s);
#endif
}

#define CONV_WIDE(n, blocks)                                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks) conv_wide_##n##_bf16(                             \
        const bf16* x, const bf16* w, const float*, const bf16* bias, const bf16* residual, bf16* y, float* before, \
        Moments* moments, const Phase* phases, const Tap* taps, ConvSizes s) {                                      \
        conv_wide<n>(x, w, Tail<bf16>{bias, residual, y, before, moments}, phases, taps, s);                        \
    }
CONV_WIDE(128, 2)
CONV_WIDE(256, 1)
