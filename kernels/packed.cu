// GRIB2 fields (templates 5.0, 5.2 and 5.3) unpacked, with the same bits as on the host (formats/grib2/packing).
//
// Groups follow each other, each with a reference, a width and a length of its own. Where the values of each begin, and
// their bits, is a scan over the groups; values that are differences are a scan over those. Each scan is three launches:
// tiles, one block over the tiles, tiles again. Integers wrap at 64 bits, so sums are the same in every order.
//
// unpack_simple     5.0: reads the packed bits once, writes 4 bytes a value
// group_sums        a block 1024 groups, how many values and bits they have: reads widths and lengths
// scan_groups       what lies before each tile; 1 in `status` where the groups are not those of the field
// group_starts      reads widths and lengths again, writes 12 bytes a group
// difference_sums   a block 2048 values, what their differences do to a sum: reads the packed bits
// scan_differences  what lies before each tile, and the first two differences of the field
// unpack_groups     reads the packed bits again, writes 4 bytes a value
// spread            values to the points whose bit is one, NaN elsewhere: reads and writes 4 bytes a point
//
// Where `status` is 1, no kernel after scan_groups does anything.
#include "common.cuh"

// The order of the points in a message; places are rows along +x.
struct PointOrder {
    u64 columns, rows;
    int plain, columns_first, alternating, backwards;
};

struct SimpleSizes {
    u64 count;
    double offset, factor;
    u32 bits;
    int padding;
    PointOrder order;
};

struct GroupSizes {
    // Values, groups, and bits that there are.
    u64 count, groups, available;
    // The bits where the references, widths, lengths and values of the groups begin.
    u64 references, widths, lengths, values;
    u64 length_reference, length_increment, last_length;
    // What a field of differences begins with, and what is added to each difference.
    u64 first[2], minimum;
    double offset, factor;
    u32 reference_bits, width_bits, length_bits, width_reference;
    // How many kinds of missing values there are, and the order of the differences.
    int missing, differences;
    PointOrder order;
};

struct SpreadSizes {
    u64 points;
    PointOrder order;
};

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
// Values of a thread, neighbours.
constexpr int EACH = 8;
// Groups of a thread, neighbours.
constexpr int GROUPS_EACH = 4;
// The widest number, in bits.
constexpr u32 WIDEST = 57;
// More values than any field that comes here has: fewer than 2³¹ groups of as many sum up without wrapping.
constexpr u64 TOO_MANY = 1ull << 32;
// The NaN that the host writes.
#define MISSING_VALUE __int_as_float(0x7fc00000)

__device__ __forceinline__ u32 big_endian(u32 x) { return __byte_perm(x, 0, 0x0123); }

// A number of `width` ≤ 57 bits from bit `at` on; up to 12 bytes from the start of its first word on are touched.
__device__ __forceinline__ u64 read_bits(const u32* words, u64 at, u32 width) {
    const u32* from = words + (at >> 5);
    const u32 skipped = at & 31;
    u64 bits = (u64(big_endian(from[0])) << 32 | big_endian(from[1])) << skipped;
    if (skipped + width > 64) bits |= big_endian(from[2]) >> (32 - skipped);
    // Two shifts, so that no bits at all shift by 64.
    return (bits >> 1) >> (63 - width);
}

// A product and a sum, each rounded, as on the host.
__device__ __forceinline__ float scaled(double x, double offset, double factor) {
    return float(__dadd_rn(offset, __dmul_rn(x, factor)));
}

__device__ __forceinline__ u64 place(const PointOrder& o, u64 point) {
    if (o.plain) return point;
    const u64 length = o.columns_first ? o.rows : o.columns, line = point / length;
    u64 within = point % length;
    if (o.alternating && line % 2 == 1) within = length - 1 - within;
    const u64 row = o.columns_first ? within : line, column = o.columns_first ? line : within;
    return row * o.columns + (o.backwards ? o.columns - 1 - column : column);
}

// The values from `first` on, as many of them as there are.
__device__ __forceinline__ void store(const float* values, float* y, u64 first, u64 count, const PointOrder& o) {
    if (o.plain && first + EACH <= count) {
        for (int k = 0; k < EACH; k += 4)
            *reinterpret_cast<Pack<float, 4>*>(y + first + k) = {{values[k], values[k + 1], values[k + 2], values[k + 3]}};
        return;
    }
    for (int k = 0; k < EACH; ++k)
        if (first + k < count) y[place(o, first + k)] = values[k];
}

extern "C" __global__ void unpack_simple(const u32* words, float* y, SimpleSizes s) {
    const u64 first = u64(grid_thread()) * EACH;
    if (first >= s.count) return;
    float values[EACH];
    for (int k = 0; k < EACH; ++k) {
        const u64 value = min(i64(first + k), i64(s.count - 1));
        values[k] = scaled(double(read_bits(words, value * s.bits, s.bits)), s.offset, s.factor);
    }
    store(values, y, first, s.count, s.order);
}

// How many values and bits some groups have.
struct Span {
    u64 values, bits;
    static __device__ __forceinline__ Span none() { return {0, 0}; }
    __device__ __forceinline__ Span then(const Span& next) const { return {values + next.values, bits + next.bits}; }
    __device__ __forceinline__ Span up(int lanes) const {
        return {__shfl_up_sync(ALL_LANES, values, lanes), __shfl_up_sync(ALL_LANES, bits, lanes)};
    }
};

// What some differences do: how many they are, what they add to the slope, and to the value where the slope is zero.
struct Steps {
    u64 count, slope, value;
    static __device__ __forceinline__ Steps none() { return {0, 0, 0}; }
    __device__ __forceinline__ Steps then(const Steps& next) const {
        return {count + next.count, slope + next.slope, value + next.value + next.count * slope};
    }
    __device__ __forceinline__ Steps up(int lanes) const {
        return {__shfl_up_sync(ALL_LANES, count, lanes), __shfl_up_sync(ALL_LANES, slope, lanes),
                __shfl_up_sync(ALL_LANES, value, lanes)};
    }
    __device__ __forceinline__ void add(u64 difference, int order) {
        count += 1;
        if (order == 2) slope += difference;
        value += order == 2 ? slope : difference;
    }
};

// How many ones some bits have.
struct Ones {
    u32 count;
    static __device__ __forceinline__ Ones none() { return {0}; }
    __device__ __forceinline__ Ones then(const Ones& next) const { return {count + next.count}; }
    __device__ __forceinline__ Ones up(int lanes) const { return {__shfl_up_sync(ALL_LANES, count, lanes)}; }
};

// What the threads before this one have together, and all threads; `scratch` may be used again at once.
template <class T>
__device__ __forceinline__ T before_thread(const T& own, T* scratch, T& all) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    T sum = own;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
        const T before = sum.up(lanes);
        if (lane >= lanes) sum = before.then(sum);
    }
    if (lane == 31) scratch[warp] = sum;
    __syncthreads();
    T before = T::none();
    all = T::none();
    for (int w = 0; w < WARPS; ++w) {
        if (w == warp) before = all;
        all = all.then(scratch[w]);
    }
    const T previous = sum.up(1);
    __syncthreads();
    return lane == 0 ? before : before.then(previous);
}

// Turns what each tile has into what those before it have; what all have. One block.
template <class T>
__device__ __forceinline__ T scan_tiles(T* tiles, u64 count, T* scratch) {
    T done = T::none();
    for (u64 first = 0; first < count; first += THREADS) {
        const u64 tile = first + threadIdx.x;
        T all;
        const T before = before_thread(tile < count ? tiles[tile] : T::none(), scratch, all);
        if (tile < count) tiles[tile] = done.then(before);
        done = done.then(all);
    }
    return done;
}

__device__ __forceinline__ u64 group_width(const u32* words, u64 group, const GroupSizes& s) {
    return s.width_reference + read_bits(words, s.widths + group * s.width_bits, s.width_bits);
}

// The values and bits of a group; too many values where it cannot be one of the field's.
__device__ __forceinline__ Span group_span(const u32* words, u64 group, const GroupSizes& s) {
    if (group >= s.groups) return Span::none();
    const u64 coded = read_bits(words, s.lengths + group * s.length_bits, s.length_bits);
    const u64 length = group + 1 == s.groups ? s.last_length : s.length_reference + s.length_increment * coded;
    const u64 width = group_width(words, group, s);
    if (width > WIDEST || length > s.count) return {TOO_MANY, 0};
    return {length, width * length};
}

extern "C" __global__ void group_sums(const u32* words, Span* tiles, GroupSizes s) {
    __shared__ Span scratch[WARPS];
    const u64 first = u64(grid_thread()) * GROUPS_EACH;
    Span own = Span::none(), all;
    for (int k = 0; k < GROUPS_EACH; ++k) own = own.then(group_span(words, first + k, s));
    before_thread(own, scratch, all);
    if (threadIdx.x == 0) tiles[blockIdx.x] = all;
}

// The sum of the bits is right where that of the values is: each value has at most 57.
extern "C" __global__ void scan_groups(Span* tiles, u32* status, u64 count, GroupSizes s) {
    __shared__ Span scratch[WARPS];
    const Span all = scan_tiles(tiles, count, scratch);
    if (threadIdx.x == 0) *status = all.values != s.count || s.values + all.bits > s.available;
}

// Writes one start more than there are groups: where all values end.
extern "C" __global__ void group_starts(const u32* words, const Span* tiles, const u32* status, u32* starts, u64* bits,
                                        GroupSizes s) {
    __shared__ Span scratch[WARPS];
    if (*status) return;
    const u64 first = u64(grid_thread()) * GROUPS_EACH;
    Span of[GROUPS_EACH], own = Span::none(), all;
    for (int k = 0; k < GROUPS_EACH; ++k) {
        of[k] = group_span(words, first + k, s);
        own = own.then(of[k]);
    }
    Span before = tiles[blockIdx.x].then(before_thread(own, scratch, all));
    for (int k = 0; k < GROUPS_EACH; ++k) {
        if (first + k < s.groups) {
            starts[first + k] = u32(before.values);
            bits[first + k] = s.values + before.bits;
        }
        before = before.then(of[k]);
        if (first + k + 1 == s.groups) starts[s.groups] = u32(s.count);
    }
}

// Where groups lie, as group_starts wrote it.
struct Groups {
    const u32* words;
    const u32* starts;
    const u64* bits;
};

// The last group from `low` on that begins at or before a value; groups of no values begin there too, before it.
__device__ __forceinline__ u32 group_of(const u32* starts, u64 value, u32 low, u32 high) {
    while (high - low > 1) {
        const u32 middle = low + (high - low) / 2;
        if (starts[middle] <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Whether a number of `bits` bits stands for missing: all ones, or with two kinds of missing one less.
__device__ __forceinline__ bool is_missing(u64 number, u32 bits, int kinds) {
    const u64 ones = (1ull << bits) - 1;
    return (kinds > 0 && number == ones) || (kinds > 1 && number + 1 == ones);
}

// One group, while its values are read.
struct Group {
    u32 index, start, end, width;
    u64 bit, base;
    bool missing;
};

__device__ __forceinline__ Group open_group(const Groups& g, u32 index, const GroupSizes& s) {
    const u64 reference = read_bits(g.words, s.references + u64(index) * s.reference_bits, s.reference_bits);
    const u32 width = u32(group_width(g.words, index, s));
    const bool missing = width == 0 && is_missing(reference, s.reference_bits, s.missing);
    return {index, g.starts[index], g.starts[index + 1], width, g.bits[index], reference + s.minimum, missing};
}

// Reads the values from `first` on; a bit for each that is there and not missing.
__device__ __forceinline__ u32 read_values(const Groups& g, u64 first, u64* values, const GroupSizes& s) {
    u32 present = 0;
    if (first >= s.count) return present;
    Group group = open_group(g, group_of(g.starts, first, 0, u32(s.groups)), s);
    for (int k = 0; k < EACH; ++k) {
        const u64 value = first + k;
        if (value >= s.count) break;
        if (value >= group.end) {
            const u32 next = group.index + 1;
            group = open_group(g, g.starts[next + 1] > value ? next : group_of(g.starts, value, next, u32(s.groups)), s);
        }
        const u64 increment = read_bits(g.words, group.bit + (value - group.start) * group.width, group.width);
        const bool missing = group.width == 0 ? group.missing : is_missing(increment, group.width, s.missing);
        values[k] = group.base + increment;
        present |= u32(!missing) << k;
    }
    return present;
}

__device__ __forceinline__ Steps steps_of(const u64* differences, u32 present, int order) {
    Steps steps = Steps::none();
    for (int k = 0; k < EACH; ++k)
        if (present >> k & 1) steps.add(differences[k], order);
    return steps;
}

// `firsts` has the first two differences of each tile that has as many.
extern "C" __global__ void difference_sums(const u32* words, const u32* starts, const u64* bits, const u32* status,
                                           Steps* tiles, u64* firsts, GroupSizes s) {
    __shared__ Steps scratch[WARPS];
    if (*status) return;
    u64 differences[EACH];
    const u32 present = read_values({words, starts, bits}, u64(grid_thread()) * EACH, differences, s);
    Steps all;
    u64 rank = before_thread(steps_of(differences, present, s.differences), scratch, all).count;
    for (int k = 0; k < EACH; ++k)
        if (present >> k & 1) {
            if (rank < 2) firsts[2 * blockIdx.x + rank] = differences[k];
            rank += 1;
        }
    if (threadIdx.x == 0) tiles[blockIdx.x] = all;
}

// Writes the field's first two differences behind those of the tiles; zeros where it has fewer.
extern "C" __global__ void scan_differences(Steps* tiles, u64* firsts, const u32* status, u64 count) {
    __shared__ Steps scratch[WARPS];
    if (*status) return;
    const Steps all = scan_tiles(tiles, count, scratch);
    if (threadIdx.x < 2) firsts[2 * count + threadIdx.x] = 0;
    __syncthreads();
    for (u64 tile = threadIdx.x; tile < count; tile += THREADS) {
        const u64 before = tiles[tile].count, end = tile + 1 < count ? tiles[tile + 1].count : all.count;
        for (u64 rank = before; rank < 2 && rank < end; ++rank) firsts[2 * count + rank] = firsts[2 * tile + rank - before];
    }
}

// The sum after `sum.count` differences, the first of which stand for values that the field begins with.
__device__ __forceinline__ u64 corrected(const Steps& sum, const u64* differences, const GroupSizes& s) {
    const u64 once = s.first[0] - differences[0];
    if (s.differences == 1) return sum.value + once;
    const u64 twice = s.first[1] - 2 * s.first[0] - differences[1];
    return sum.value + sum.count * once + (sum.count - 1) * twice;
}

extern "C" __global__ void unpack_groups(const u32* words, const u32* starts, const u64* bits, const u32* status,
                                         const Steps* tiles, const u64* firsts, float* y, GroupSizes s) {
    __shared__ Steps scratch[WARPS];
    if (*status) return;
    u64 integers[EACH];
    const u64 first = u64(grid_thread()) * EACH;
    const u32 present = read_values({words, starts, bits}, first, integers, s);
    if (s.differences > 0) {
        Steps all, sum = before_thread(steps_of(integers, present, s.differences), scratch, all);
        sum = tiles[blockIdx.x].then(sum);
        const u64 of_field[2] = {firsts[2 * gridDim.x], firsts[2 * gridDim.x + 1]};
        for (int k = 0; k < EACH; ++k)
            if (present >> k & 1) {
                sum.add(integers[k], s.differences);
                integers[k] = corrected(sum, of_field, s);
            }
    }
    float values[EACH];
    for (int k = 0; k < EACH; ++k)
        values[k] = present >> k & 1 ? scaled(double(i64(integers[k])), s.offset, s.factor) : MISSING_VALUE;
    if (first < s.count) store(values, y, first, s.count, s.order);
}

// A thread an octet of the bitmap; `before` counts the ones before each block's octets.
extern "C" __global__ void spread(const float* packed, const u8* bitmap, const u32* before, float* y, SpreadSizes s) {
    __shared__ Ones scratch[WARPS];
    const u64 octet = grid_thread(), first = octet * EACH;
    const u32 ones = first < s.points ? bitmap[octet] : 0;
    Ones all;
    u64 next = before[blockIdx.x] + before_thread(Ones{u32(__popc(ones))}, scratch, all).count;
    for (int k = 0; k < EACH; ++k) {
        if (first + k >= s.points) break;
        const bool one = ones >> (EACH - 1 - k) & 1;
        y[place(s.order, first + k)] = one ? packed[next] : MISSING_VALUE;
        next += one;
    }
}
