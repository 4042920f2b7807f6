// Products of warpgroups on the host: they read what their descriptors say by the rules of the PTX ISA, and what a device
// would let go wrong in silence ends the block with a word.
//
// A warp's part of a product reads shared memory as the warp begins it: all of that must have been copied, waited for,
// shown, and met by a barrier before; and must be the same when its threads have waited for it. Sums are a signalling
// NaN from the first product to the wait that covers the last, and must not be touched in between.
#pragma once
#include <map>

namespace host {

constexpr unsigned POISONED_SUM = 0xffbfdead;

// One warp's part of a product under way: what it read where, what it adds to 16 rows of sums, and the lanes to wait.
struct Part {
    std::vector<std::pair<size_t, uint4>> seen;
    std::vector<float> sums;
    unsigned lanes = WARP;
};

// What a warpgroup is to do, and how many of its warps began it.
struct Product {
    u64 left, right;
    int form;
    unsigned warps = 0;
};

// Sums of one thread that products under way are added to: where they lie, what they will be, and the last group.
struct Pending {
    float* at;
    std::vector<float> values;
    int group;
};

struct Multiplier {
    std::vector<Pending> sums;
    std::vector<std::pair<size_t, int>> begun;  // number and group of products that were not waited for
    size_t count = 0;
    int groups = 0;
    bool open = false;
};

struct Products {
    uint64_t run = 0;
    std::vector<Multiplier> threads;
    std::vector<std::map<size_t, Part>> warps;
    std::vector<std::vector<Product>> warpgroups;
};

inline const char* products_left();

inline Products& products() {
    static thread_local Products own;
    if (own.run != block->run) {
        const size_t count = block->fibers.size();
        own = Products{block->run, std::vector<Multiplier>(count), std::vector<std::map<size_t, Part>>(count / WARP + 1),
                       std::vector<std::vector<Product>>(count / 128 + 1)};
        block->endings.push_back(products_left);
    }
    return own;
}

inline Multiplier& own_products() { return products().threads[self().index]; }

inline const char* products_left() {
    for (const Multiplier& thread : products().threads)
        if (!thread.begun.empty()) return "a thread ended without waiting for its products";
    for (const auto& warpgroup : products().warpgroups)
        for (const Product& product : warpgroup)
            if (product.warps != 4) return "not all warps of a warpgroup began a product";
    return nullptr;
}

// Where 16 bytes of an operand lie, by its descriptor: those of row (column) `across` and the inner index `inner`, of
// which the one that lies innermost is a multiple of 8.
inline size_t described_offset(u64 descriptor, bool outer, int across, int inner) {
    const unsigned start = unsigned(descriptor & 0x3fff) << 4, leading = unsigned(descriptor >> 16 & 0x3fff) << 4;
    const unsigned stride = unsigned(descriptor >> 32 & 0x3fff) << 4;
    constexpr u64 FIELDS = 0x3fffull | 0x3fffull << 16 | 0x3fffull << 32 | 3ull << 62;
    if (descriptor & ~FIELDS) fail("a descriptor has bits that must be 0 here");
    if (descriptor >> 62 != 1) fail("a descriptor names another swizzle than that of 128 bytes");
    if (start % 1024 >= (outer ? 16u : 128u)) fail("an operand does not begin with a pattern of 1024 bytes");
    if (!outer && start % 128 + inner / 8 * 16 >= 128) fail("an operand leaves its lines of 128 bytes");
    unsigned address = start;
    if (outer) address += across / 64 * leading + across % 64 / 8 * 16 + inner % 8 * 128 + inner / 8 * stride;
    else address += across % 8 * 128 + across / 8 * stride + inner / 8 * 16;
    address ^= (address >> 7 & 7) << 4;
    if (address < SHARED_START || address - SHARED_START + 16 > block->shared.size() * 16) {
        fail("a descriptor points outside of the block's shared memory");
        return 0;
    }
    return (address - SHARED_START) / 16;
}

// Reads 16 bytes for a product, which must be there to be seen.
inline std::array<float, 8> read_units(Part& part, size_t at) {
    Grain& grain = traffic().grains[at];
    if (grain.copies) fail("a product reads shared memory that a copy was begun to and not waited for");
    if (grain.hidden_by)
        fail("a product reads what thread " + std::to_string(grain.hidden_by - 1) + " copied and did not show it");
    if (grain.met > block->barriers) fail("a product reads what was shown behind the last barrier");
    ++grain.products;
    part.seen.push_back({at, block->shared[at]});
    std::array<u16, 8> halves;
    std::memcpy(halves.data(), &block->shared[at], 16);
    std::array<float, 8> values;
    for (int i = 0; i < 8; ++i) values[i] = __uint_as_float(u32(halves[i]) << 16);
    return values;
}

// An operand's rows (columns) from `first` on as (inner index, row), `count` of them.
inline void read_operand(Part& part, u64 descriptor, bool outer, int first, int count, std::vector<float>& to) {
    to.resize(16 * count);
    for (int a = 0; a < count; a += outer ? 8 : 1)
        for (int k = 0; k < 16; k += outer ? 1 : 8) {
            const std::array<float, 8> values = read_units(part, described_offset(descriptor, outer, first + a, k));
            for (int i = 0; i < 8; ++i) to[(outer ? k : k + i) * count + (outer ? a + i : a)] = values[i];
        }
}

__attribute__((optimize("O3"))) inline void add_products(float* sums, const float* left, const float* right, int columns) {
    for (int k = 0; k < 16; ++k)
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < columns; ++j) sums[i * columns + j] += left[k * 16 + i] * right[k * columns + j];
}

// A warp begins its part: the first of its lanes to go on does what the tensor core does.
inline Part& begin_part(const Product& wanted, size_t number, bool left_outer, bool right_outer, int columns) {
    Products& all = products();
    const unsigned warp = self().index / WARP;
    const auto [found, added] = all.warps[warp].try_emplace(number);
    Part& part = found->second;
    if (!added) return part;
    auto& begun = all.warpgroups[self().index / 128];
    if (begun.size() <= number) begun.push_back(wanted);
    Product& product = begun[number];
    if (product.left != wanted.left || product.right != wanted.right || product.form != wanted.form)
        fail("warps of a warpgroup bring other operands to a product");
    ++product.warps;
    static thread_local std::vector<float> left, right;
    read_operand(part, wanted.left, left_outer, warp % 4 * 16, 16, left);
    read_operand(part, wanted.right, right_outer, 0, columns, right);
    part.sums.assign(16 * columns, 0.0f);
    add_products(part.sums.data(), left.data(), right.data(), columns);
    return part;
}

// The tensor cores have read what they had to.
inline void end_part(const Part& part) {
    for (const auto& [at, bytes] : part.seen) {
        --traffic().grains[at].products;
        if (std::memcmp(&bytes, &block->shared[at], 16)) fail("shared memory changed while a product read it");
    }
}

inline void expect_poison(const Pending& sums) {
    for (size_t i = 0; i < sums.values.size(); ++i)
        if (__float_as_uint(sums.at[i]) != POISONED_SUM) fail("sums were changed while a product was under way");
}

// This thread's sums at an address, set aside and poisoned if they are not yet.
inline Pending& pending(Multiplier& own, float* sums, int count) {
    for (Pending& known : own.sums)
        if (known.at == sums) {
            expect_poison(known);
            return known;
        }
    if (!own.open) fail("sums go to a product without a wgmma.fence before it");
    own.sums.push_back({sums, std::vector<float>(sums, sums + count), 0});
    std::fill(sums, sums + count, __uint_as_float(POISONED_SUM));
    return own.sums.back();
}

} // namespace host

inline void open_products() {
    __syncwarp();
    host::own_products().open = true;
}

inline void close_products() {
    __syncwarp();
    host::own_products().open = false;
    ++host::own_products().groups;
}

inline void show_to_products() {
    host::Copies& own = host::own_copies();
    for (size_t at : own.hidden) {
        host::Grain& grain = host::traffic().grains[at];
        if (grain.hidden_by != host::self().index + 1) continue;
        grain.hidden_by = 0;
        grain.met = host::block->barriers + 1;
    }
    own.hidden.clear();
}

template <bool LEFT_OUTER, bool RIGHT_OUTER, int SUMS>
void multiply_group(float (&d)[SUMS], u64 left, u64 right) {
    constexpr int COLUMNS = 2 * SUMS;
    struct Brought {
        u64 left, right;
    };
    host::exchange(ALL_LANES, Brought{left, right}, [&](auto lane) {
        const Brought first = lane(0);
        if (first.left != left || first.right != right) host::fail("lanes of a warp bring other operands to a product");
        return 0;
    });
    if (blockDim.x % 128 || blockDim.y * blockDim.z != 1) host::fail("the threads are no whole warpgroups");
    host::Multiplier& own = host::own_products();
    const size_t number = own.count++;
    const host::Product wanted{left, right, LEFT_OUTER | RIGHT_OUTER << 1 | COLUMNS << 2};
    const host::Part& part = host::begin_part(wanted, number, LEFT_OUTER, RIGHT_OUTER, COLUMNS);
    host::Pending& sums = host::pending(own, d, SUMS);
    const int row = host::lane_index() / 4, column = host::lane_index() % 4 * 2;
    for (int i = 0; i < SUMS; ++i)
        sums.values[i] += part.sums[(row + i / 2 % 2 * 8) * COLUMNS + i / 4 * 8 + column + i % 2];
    sums.group = own.groups;
    own.begun.push_back({number, own.groups});
}

template <int N>
void await_products() {
    __syncwarp();
    host::Multiplier& own = host::own_products();
    auto& parts = host::products().warps[host::self().index / host::WARP];
    const auto open = [&](int group) { return group >= own.groups - N; };
    for (const auto& [number, group] : own.begun) {
        host::Part& part = parts.at(number);
        if (open(group) || --part.lanes > 0) continue;
        host::end_part(part);
        parts.erase(number);
    }
    for (host::Pending& sums : own.sums) {
        if (open(sums.group)) continue;
        host::expect_poison(sums);
        std::copy(sums.values.begin(), sums.values.end(), sums.at);
    }
    const auto ended = std::remove_if(own.begun.begin(), own.begun.end(), [&](auto& of) { return !open(of.second); });
    own.begun.erase(ended, own.begun.end());
    const auto given = std::remove_if(own.sums.begin(), own.sums.end(), [&](auto& of) { return !open(of.group); });
    own.sums.erase(given, own.sums.end());
}
