#include "builtins.h"

#include <bit>
#include <cstdio>
#include <cstring>

#include "memory.h"
#include "registers.h"

namespace emulator {
namespace {

// A C string in device memory; stops at the end of what is allocated.
std::string text_at(uint64_t address) {
  std::string text;
  while (memory().holds(address) && (*memory().shadow(address) & kUninitialised) != 0) {
    const char c = *reinterpret_cast<const char*>(address++);
    if (c == 0) break;
    text += c;
  }
  return text;
}

template <class T>
T argument(uint64_t& at) {
  at = (at + sizeof(T) - 1) / sizeof(T) * sizeof(T);
  T value;
  std::memcpy(&value, reinterpret_cast<const void*>(at), sizeof(T));
  at += sizeof(T);
  return value;
}

// printf on a buffer of arguments laid out as a C struct; the host's printf formats each conversion by itself.
std::string format(const std::string& text, uint64_t arguments) {
  std::string out;
  char piece[512];
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '%') {
      out += text[i++];
      continue;
    }
    std::string spec = "%";
    size_t k = i + 1;
    int longs = 0;
    for (; k < text.size() && std::strchr("-+ #0123456789.*lhzjt", text[k]) != nullptr; ++k) {
      if (text[k] == '*')
        spec += std::to_string(argument<int32_t>(arguments));
      else if (text[k] == 'l' || text[k] == 'z' || text[k] == 'j' || text[k] == 't')
        ++longs;
      else if (text[k] != 'h')
        spec += text[k];
    }
    const char conversion = k < text.size() ? text[k] : '%';
    i = k + 1;
    switch (conversion) {
      case '%': out += '%'; continue;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        spec += "ll";
        spec += conversion;
        if (conversion == 'd' || conversion == 'i')
          std::snprintf(piece, sizeof piece, spec.c_str(),
                        static_cast<long long>(longs > 0 ? argument<int64_t>(arguments) : argument<int32_t>(arguments)));
        else
          std::snprintf(
              piece, sizeof piece, spec.c_str(),
              static_cast<unsigned long long>(longs > 0 ? argument<uint64_t>(arguments) : argument<uint32_t>(arguments)));
        break;
      case 'c': std::snprintf(piece, sizeof piece, (spec + conversion).c_str(), argument<int32_t>(arguments)); break;
      case 's':
        std::snprintf(piece, sizeof piece, (spec + conversion).c_str(), text_at(argument<uint64_t>(arguments)).c_str());
        break;
      case 'p':
        std::snprintf(piece, sizeof piece, (spec + conversion).c_str(),
                      reinterpret_cast<void*>(argument<uint64_t>(arguments)));
        break;
      default: std::snprintf(piece, sizeof piece, (spec + conversion).c_str(), argument<double>(arguments)); break;
    }
    out += piece;
  }
  return out;
}

template <class T>
T param(Warp& w, const CallSite& site, size_t k, uint32_t lane) {
  T value;
  std::memcpy(&value, w.frame->registers + site.argument_offsets[k] + lane * site.argument_bytes[k], sizeof(T));
  return value;
}

template <class T>
void give(Warp& w, const CallSite& site, uint32_t lane, T value) {
  if (!site.result_offsets.empty())
    std::memcpy(w.frame->registers + site.result_offsets[0] + lane * site.result_bytes[0], &value, sizeof value);
}

void print(Warp& w, const CallSite& site, uint32_t lane) {
  const std::string line = format(text_at(param<uint64_t>(w, site, 0, lane)), param<uint64_t>(w, site, 1, lane));
  std::fwrite(line.data(), 1, line.size(), stdout);
  give(w, site, lane, static_cast<int32_t>(line.size()));
}
[[noreturn]] void fail_assertion(Warp& w, const Inst& in, const CallSite& site, uint32_t lane) {
  const std::string text = text_at(param<uint64_t>(w, site, 0, lane)), file = text_at(param<uint64_t>(w, site, 1, lane)),
                    function = text_at(param<uint64_t>(w, site, 3, lane));
  fault(
      w, in, static_cast<int>(lane), kFaultAssert,
      "assertion failed: " + text + ", " + file + ":" + std::to_string(param<uint32_t>(w, site, 2, lane)) + ", " + function);
}
// The kernels' heap is a part of device memory; 0 where that is used up.
void allocate(Warp& w, const CallSite& site, uint32_t lane) {
  give(w, site, lane, memory().heap->allocate(param<uint64_t>(w, site, 0, lane), 16, kUninitialised));
}
void release(Warp& w, const Inst& in, const CallSite& site, uint32_t lane) {
  const uint64_t address = param<uint64_t>(w, site, 0, lane);
  if (address != 0 && !memory().heap->release(address))
    fault(w, in, static_cast<int>(lane), kFaultIllegalAddress,
          "free of what is not allocated: " + memory().describe(address));
}

}  // namespace

int builtin_of(std::string_view name) {
  return name == "vprintf"        ? kVprintf
         : name == "__assertfail" ? kAssertFail
         : name == "malloc"       ? kMalloc
         : name == "free"         ? kFree
                                  : kNotBuiltin;
}

void run_builtin(Warp& w, const Inst& in, const CallSite& site) {
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(left));
    switch (site.builtin) {
      case kAssertFail: fail_assertion(w, in, site, lane);
      case kMalloc: allocate(w, site, lane); break;
      case kFree: release(w, in, site, lane); break;
      default: print(w, site, lane);
    }
  }
}

}  // namespace emulator
