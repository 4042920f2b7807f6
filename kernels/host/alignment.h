// Accesses that a device would refuse: their address is no multiple of their size. The host does them all the same.
#pragma once

namespace host {

// What the compiler knows of an access, as far as it is read here.
struct Access {
    const char* file;
    unsigned line, column;
};

} // namespace host

// What the compiler asks for in front of accesses (`-fsanitize=alignment`), where an address is not aligned.
extern "C" __attribute__((weak, used, noinline, cold)) void __ubsan_handle_type_mismatch_v1(void* access, void* at) {
    const host::Access* of = static_cast<const host::Access*>(access);
    if (!host::block || !host::block->failure.empty()) return;
    const size_t last = reinterpret_cast<uintptr_t>(at) % 16;
    host::block->failure = "an access that is not aligned, at " + std::to_string(last) + " of 16 bytes: line " +
                           std::to_string(of->line) + " of " + of->file;
}
