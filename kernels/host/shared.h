// What happens in a block's shared memory beside its threads: copies under way, and what products may see of them.
//
// A copy is done no sooner than its thread waits for it. Of every 16 bytes of the dynamic shared memory it is known how
// many copies into them are under way, which thread's copy they hold that was not shown to the tensor cores yet
// (`fence.proxy.async`), how many barriers there must have been since, and how many products still read them. Ordinary
// stores are not followed.
#pragma once

namespace host {

// Where the dynamic shared memory begins, as a device would number it: no multiple of more than 16.
constexpr unsigned SHARED_START = 1040;

struct Grain {
    unsigned copies = 0, products = 0;
    // The thread that copied it and has not shown it, counted from 1; 0 for none.
    unsigned hidden_by = 0;
    // How many barriers the block must have met for it to be seen.
    uint64_t met = 0;
};

struct Copy {
    void* to;
    const void* from;
    int bytes, group;
};

// Of a thread: what it began to copy, and which grains it copied and has not shown.
struct Copies {
    std::vector<Copy> begun;
    std::vector<size_t> hidden;
    int groups = 0;
};

struct Traffic {
    uint64_t run = 0;
    std::vector<Grain> grains;
    std::vector<Copies> threads;
};

inline const char* copies_left();

// Of the block that runs.
inline Traffic& traffic() {
    static thread_local Traffic own;
    if (own.run != block->run) {
        own.run = block->run;
        own.grains.assign(block->shared.size(), Grain{});
        own.threads.assign(block->fibers.size(), Copies{});
        block->endings.push_back(copies_left);
    }
    return own;
}

inline Copies& own_copies() { return traffic().threads[self().index]; }

// Copies that a thread of a block that has ended never waited for.
inline const char* copies_left() {
    for (const Copies& copies : traffic().threads)
        if (!copies.begun.empty()) return "a thread ended without waiting for its copies";
    return nullptr;
}

inline void fail(const std::string& what) {
    if (block->failure.empty()) block->failure = what;
}

// The grain at an address; nullptr outside of the dynamic shared memory.
inline Grain* grain_at(const void* at) {
    const size_t offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(block->shared.data());
    Traffic& all = traffic();
    return offset / 16 < all.grains.size() ? &all.grains[offset / 16] : nullptr;
}

inline void finish_copy(const Copy& copy) {
    if (reinterpret_cast<uintptr_t>(copy.to) % 16 || (copy.bytes && reinterpret_cast<uintptr_t>(copy.from) % 16))
        fail("an asynchronous copy of 16 bytes from or to an address that is no multiple of them");
    std::memset(copy.to, 0, 16);
    std::memcpy(copy.to, copy.from, copy.bytes);
    if (Grain* grain = grain_at(copy.to)) {
        --grain->copies;
        grain->hidden_by = self().index + 1;
        own_copies().hidden.push_back(grain - traffic().grains.data());
    }
}

} // namespace host

inline unsigned shared_address(const void* at) {
    const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(host::block->shared.data());
    return host::SHARED_START + unsigned(offset);
}

inline void copy_16(void* to, const void* from, int bytes) {
    host::Copies& own = host::own_copies();
    if (host::Grain* grain = host::grain_at(to)) {
        if (grain->products > 0) host::fail("a copy begins into shared memory that a product still reads");
        ++grain->copies;
    }
    own.begun.push_back({to, from, bytes, own.groups});
}
inline void close_copies() { ++host::own_copies().groups; }
template <int N>
void await_copies() {
    host::Copies& own = host::own_copies();
    size_t kept = 0;
    for (const host::Copy& copy : own.begun) {
        if (copy.group >= own.groups - N) own.begun[kept++] = copy;
        else host::finish_copy(copy);
    }
    own.begun.resize(kept);
}
