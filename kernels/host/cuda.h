// CUDA's language on the host: the threads of a block are fibers that meet at real barriers and warp operations.
//
// A fiber runs until it waits, so what is shared between two barriers is seen in the order in which fibers run; the
// order is a choice of each launch (forward, reversed, shuffled), and a missing barrier shows as a wrong result in one.
// Blocks run one after the other, in the same kind of order. The switch is for x86-64; elsewhere ucontext serves.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __global__ __attribute__((used))
#define __device__ inline
#define __host__
#define __forceinline__ __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __constant__ static const
#define __align__(n) alignas(n)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace host {

// What a launch is given, as the Rust side fills it in.
struct Launch {
    dim3 grid, block;
    unsigned shared_bytes;
    unsigned order; // 0 forward, 1 reversed, otherwise the seed of a shuffle
};

enum class State : uint8_t { Ready, AtBarrier, AtWarp, Done };

#if defined(__x86_64__)
using Context = void*;
extern "C" void gustfront_switch(Context* from, Context to);
asm(R"(
.text
.weak gustfront_switch
.type gustfront_switch,@function
gustfront_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gustfront_switch, .-gustfront_switch
)");
#else
using Context = ucontext_t;
#endif

using Value = std::array<uint64_t, 4>;

struct Fiber {
    Context context;
    uint3 thread;
    unsigned index;
    State state;
    unsigned mask;  // lanes that a warp operation names
    int line;       // where a barrier stands in the source
    Value value;    // what a lane will show to the others of its warp
    Value shown;    // what it showed them last, kept until all of them have run
};

constexpr size_t STACK = 64 * 1024;
constexpr unsigned WARP = 32;

struct Block {
    std::vector<Fiber> fibers;
    std::vector<unsigned> order;
    std::vector<char> stacks;
    std::vector<uint4> shared;
    std::function<void()> body;
    Context scheduler;
    Launch launch;
    uint3 index;
    unsigned current = 0;
    std::string failure;
    // Its number among all that its thread ran, the barriers that it met, and what is asked as it ends: what is wrong, or
    // nullptr.
    uint64_t run = 0, barriers = 0;
    std::vector<const char* (*)()> endings;
};

// The block that this thread runs. A pointer, for which the compiler sees that nothing has to be constructed first.
inline thread_local Block* block = nullptr;
// How many blocks this thread has run.
inline thread_local uint64_t runs = 0;

inline Fiber& self() { return block->fibers[block->current]; }

inline void switch_to(Context& from, Context& to) {
#if defined(__x86_64__)
    gustfront_switch(&from, to);
#else
    swapcontext(&from, &to);
#endif
}

inline void wait(State state) {
    Fiber& fiber = self();
    fiber.state = state;
    switch_to(fiber.context, block->scheduler);
}

inline void enter() {
    block->body();
    wait(State::Done);
    abort(); // a finished fiber is never run again
}

inline void prepare(Fiber& fiber, unsigned i) {
    const dim3 size = block->launch.block;
    fiber.index = i;
    fiber.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    fiber.state = State::Ready;
    char* top = block->stacks.data() + (i + 1) * STACK;
#if defined(__x86_64__)
    void** stack = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
    *--stack = nullptr;
    *--stack = reinterpret_cast<void*>(enter);
    for (int saved = 0; saved < 6; ++saved) *--stack = nullptr;
    fiber.context = stack;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = top - STACK;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
#endif
}

// Lets a warp go on once every lane that its operation names waits in it.
inline bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < block->fibers.size(); first += WARP) {
        const size_t end = std::min(first + WARP, block->fibers.size());
        unsigned waiting = 0;
        for (size_t i = first; i < end; ++i) waiting |= unsigned(block->fibers[i].state == State::AtWarp) << (i - first);
        const unsigned present = end - first == WARP ? ~0u : (1u << (end - first)) - 1;
        for (size_t i = first; i < end; ++i) {
            Fiber& fiber = block->fibers[i];
            if (fiber.state == State::AtWarp && (fiber.mask & present & ~waiting) == 0) {
                for (size_t other = first; other < end; ++other) {
                    Fiber& named = block->fibers[other];
                    if (named.state != State::AtWarp || !(fiber.mask >> (other - first) & 1)) continue;
                    named.state = State::Ready;
                    named.shown = named.value;
                }
                released = true;
                waiting &= ~fiber.mask;
            }
        }
    }
    return released;
}

// Lets all threads pass a barrier once no other thread is on its way to it.
inline bool release_barrier() {
    int line = -1;
    for (const Fiber& fiber : block->fibers) {
        if (fiber.state == State::Done) continue;
        if (fiber.state != State::AtBarrier) return false;
        if (line >= 0 && fiber.line != line)
            block->failure = "threads wait at the barriers of lines " + std::to_string(line) + " and " + std::to_string(fiber.line);
        line = fiber.line;
    }
    for (Fiber& fiber : block->fibers)
        if (fiber.state == State::AtBarrier) fiber.state = State::Ready;
    block->barriers += line >= 0;
    return line >= 0;
}

// What is wrong though all threads have ended.
inline void end_block() {
    for (const auto ending : block->endings)
        if (const char* what = block->failure.empty() ? ending() : nullptr) block->failure = what;
}

inline void run_block() {
    block->run = ++runs;
    block->endings.clear();
    for (unsigned i = 0; i < block->fibers.size(); ++i) prepare(block->fibers[i], i);
    std::memset(block->shared.data(), 0xff, block->shared.size() * sizeof(uint4));
    while (block->failure.empty()) {
        bool ran = false;
        for (unsigned i : block->order) {
            if (block->fibers[i].state != State::Ready) continue;
            block->current = i;
            ran = true;
            switch_to(block->scheduler, block->fibers[i].context);
        }
        bool finished = true;
        for (const Fiber& fiber : block->fibers) finished = finished && fiber.state == State::Done;
        if (finished) return end_block();
        ran = release_warps() || release_barrier() || ran;
        if (!ran) block->failure = "threads wait for each other for ever: a barrier or a warp operation that not all reach";
    }
}

inline std::vector<unsigned> ordered(size_t count, unsigned order) {
    std::vector<unsigned> indices(count);
    std::iota(indices.begin(), indices.end(), 0u);
    if (order == 1) return {indices.rbegin(), indices.rend()};
    if (order > 1) std::shuffle(indices.begin(), indices.end(), std::mt19937(order));
    return indices;
}

// Runs a kernel with arguments that lie behind pointers, as cuLaunchKernel takes them; nullptr, or what went wrong.
template <class... Parameters>
const char* launch(void (*kernel)(Parameters...), const Launch& given, void** arguments) {
    const dim3 size = given.block, grid = given.grid;
    static thread_local Block own;
    block = &own;
    block->launch = given;
    block->failure.clear();
    block->fibers.resize(size_t(size.x) * size.y * size.z);
    block->order = ordered(block->fibers.size(), given.order);
    if (block->stacks.size() < block->fibers.size() * STACK) block->stacks.resize(block->fibers.size() * STACK);
    block->shared.resize((given.shared_bytes + sizeof(uint4) - 1) / sizeof(uint4));
    std::tuple<std::decay_t<Parameters>...> values;
    size_t next = 0;
    std::apply([&](auto&... value) { (std::memcpy(&value, arguments[next++], sizeof value), ...); }, values);
    block->body = [&] { std::apply(kernel, values); };
    for (unsigned i : ordered(size_t(grid.x) * grid.y * grid.z, given.order)) {
        block->index = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
        run_block();
        if (!block->failure.empty()) return block->failure.c_str();
    }
    return nullptr;
}

// How long each argument of a kernel is, in bytes; how many there are.
template <class... Parameters>
unsigned sizes(void (*)(Parameters...), size_t* bytes) {
    unsigned count = 0;
    ((bytes[count++] = sizeof(std::decay_t<Parameters>)), ...);
    return count;
}

// Shows a value to the lanes of a mask, and takes what `of` reads from theirs. All released lanes run before any lane is
// released again: none misses what another showed.
template <class T, class F>
auto exchange(unsigned mask, const T& value, F of) {
    static_assert(sizeof(T) <= sizeof(Value) && std::is_trivially_copyable_v<T>);
    Fiber& fiber = self();
    std::memcpy(&fiber.value, &value, sizeof value);
    fiber.mask = mask;
    wait(State::AtWarp);
    const unsigned first = fiber.index / WARP * WARP;
    const Fiber* warp = block->fibers.data() + first;
    const unsigned lanes = block->fibers.size() - first;
    return of([warp, lanes](unsigned lane) {
        T shown{};
        if (lane < lanes) std::memcpy(&shown, &warp[lane].shown, sizeof shown);
        return shown;
    });
}

inline unsigned lane_index() { return self().index % WARP; }

inline void barrier(int line) {
    self().line = line;
    wait(State::AtBarrier);
}

} // namespace host

#define threadIdx (host::self().thread)
#define blockIdx (host::block->index)
#define blockDim (host::block->launch.block)
#define gridDim (host::block->launch.grid)
#define __syncthreads() host::barrier(__LINE__)
// The dynamic shared memory of a block.
#define SHARED_BYTES(name) unsigned char* name = reinterpret_cast<unsigned char*>(host::block->shared.data())

inline void __syncwarp(unsigned mask = ~0u) {
    host::exchange(mask, 0, [](auto) { return 0; });
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const unsigned first = host::lane_index() & ~unsigned(width - 1);
    return host::exchange(mask, value, [&](auto lane) { return lane(first | (source & (width - 1))); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    const unsigned own = host::lane_index(), other = own ^ bits;
    return host::exchange(mask, value, [&](auto lane) { return lane(other / width == own / width ? other : own); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    const unsigned own = host::lane_index(), other = own + by;
    return host::exchange(mask, value, [&](auto lane) { return lane(other / width == own / width ? other : own); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    const unsigned own = host::lane_index(), within = own & (width - 1);
    return host::exchange(mask, value, [&](auto lane) { return lane(within >= by ? own - by : own); });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return host::exchange(mask, int(predicate != 0), [&](auto lane) {
        unsigned bits = 0;
        for (unsigned i = 0; i < host::WARP; ++i)
            if (mask >> i & 1) bits |= unsigned(lane(i)) << i;
        return bits;
    });
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value) {
    return host::exchange(mask, value, [&](auto lane) {
        unsigned bits = 0;
        for (unsigned i = 0; i < host::WARP; ++i)
            if (mask >> i & 1) bits |= unsigned(lane(i) == value) << i;
        return bits;
    });
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }
inline void __threadfence() {}

// Blocks run one after the other and fibers never run at once, so plain arithmetic is atomic.
template <class T, class U>
T atomicAdd(T* at, U by) {
    const T before = *at;
    *at += T(by);
    return before;
}
template <class T>
T atomicMax(T* at, T other) {
    const T before = *at;
    *at = before < other ? other : before;
    return before;
}
template <class T>
T atomicMin(T* at, T other) {
    const T before = *at;
    *at = other < before ? other : before;
    return before;
}
template <class T>
T atomicExch(T* at, T other) {
    const T before = *at;
    *at = other;
    return before;
}
template <class T>
T atomicCAS(T* at, T expected, T other) {
    const T before = *at;
    if (before == expected) *at = other;
    return before;
}

template <class T>
T __ldg(const T* from) {
    return *from;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __expf(float x) { return std::exp(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
    return reversed;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t bytes = uint64_t(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= unsigned(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
    return result;
}
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(uint64_t(x) * y >> 32); }
inline float __int_as_float(int x) {
    float y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
inline int __float_as_int(float x) {
    int y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
inline long long __double_as_longlong(double x) {
    long long y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
// Rounded on their own, whatever the compiler would join.
inline float __fmul_rn(float x, float y) {
    volatile float product = x * y;
    return product;
}
inline float __fadd_rn(float x, float y) {
    volatile float sum = x + y;
    return sum;
}
inline double __dmul_rn(double x, double y) {
    volatile double product = x * y;
    return product;
}
inline double __dadd_rn(double x, double y) {
    volatile double sum = x + y;
    return sum;
}
inline float __uint_as_float(unsigned x) { return __int_as_float(int(x)); }
inline unsigned __float_as_uint(float x) { return unsigned(__float_as_int(x)); }
inline int min(int x, int y) { return x < y ? x : y; }
inline int max(int x, int y) { return x < y ? y : x; }
inline unsigned min(unsigned x, unsigned y) { return x < y ? x : y; }
inline unsigned max(unsigned x, unsigned y) { return x < y ? y : x; }
inline long long min(long long x, long long y) { return x < y ? x : y; }
inline long long max(long long x, long long y) { return x < y ? y : x; }
using std::isfinite;
using std::isinf;
using std::isnan;

#include "alignment.h"
