// What the program has made and not given back: memory, streams, events, graphs. For the report of leaks.
#pragma once

#include <cstddef>
#include <string>

namespace emulator {

enum class Held { kDeviceMemory, kPinnedMemory, kStream, kEvent, kGraph, kExecutableGraph, kPool };

void hold(Held kind, const void* handle, size_t bytes = 0);
bool held(Held kind, const void* handle);
void drop(Held kind, const void* handle);
std::string holdings();  // a line each, in the order of their making, or ""

}  // namespace emulator
