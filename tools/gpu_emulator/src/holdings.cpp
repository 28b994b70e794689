#include "holdings.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "emulator/emulator.h"
#include "entry.h"
#include "environment.h"

namespace emulator {
namespace {

struct Holding {
  Held kind;
  const void* handle;
  size_t bytes;
  uint64_t number;  // of its kind, from 1
  const void* caller;
};
struct Holdings {
  std::map<std::pair<Held, const void*>, uint64_t> order;
  std::map<uint64_t, Holding> all;
  std::map<Held, uint64_t> made;
  uint64_t next = 0;
};
Holdings& table() {
  static Holdings* const instance = new Holdings;
  return *instance;
}

const char* name_of(Held kind) {
  switch (kind) {
    case Held::kDeviceMemory: return "device memory";
    case Held::kPinnedMemory: return "pinned memory";
    case Held::kStream: return "stream";
    case Held::kEvent: return "event";
    case Held::kGraph: return "graph";
    case Held::kPool: return "memory pool";
    default: return "executable graph";
  }
}

// "program+0x1234", for addr2line, with the function's name where the program exports it.
std::string place(const void* address) {
  Dl_info info;
  if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "somewhere";
  char text[32];
  std::snprintf(text, sizeof text, "+0x%zx",
                static_cast<size_t>(static_cast<const char*>(address) - static_cast<const char*>(info.dli_fbase)));
  std::string where = std::filesystem::path(info.dli_fname).filename().string() + text;
  if (info.dli_sname != nullptr) where += std::string(" in ") + info.dli_sname;
  return where;
}

// A program that leaks says so at its end, and fails, if it was asked for.
struct LeaksAtExit {
  ~LeaksAtExit() {
    if (!environment().leaks) return;
    const std::string leaks = holdings();
    if (leaks.empty()) return;
    std::fprintf(stderr, "emulator: leaked:\n%s", leaks.c_str());
    std::fflush(nullptr);
    _exit(1);
  }
} leaks_at_exit;

}  // namespace

void hold(Held kind, const void* handle, size_t bytes) {
  WARPLOOM_RUNTIME_LOCK;
  Holdings& t = table();
  t.order[{kind, handle}] = t.next;
  t.all[t.next++] = {kind, handle, bytes, ++t.made[kind], Entry::caller()};
}

bool held(Held kind, const void* handle) {
  WARPLOOM_RUNTIME_LOCK;
  return table().order.contains({kind, handle});
}

void drop(Held kind, const void* handle) {
  WARPLOOM_RUNTIME_LOCK;
  Holdings& t = table();
  const auto found = t.order.find({kind, handle});
  if (found == t.order.end()) return;
  t.all.erase(found->second);
  t.order.erase(found);
}

std::string holdings() {
  WARPLOOM_RUNTIME_LOCK;
  std::string text;
  for (const auto& [order, h] : table().all) {
    text += std::string("  ") + name_of(h.kind) + " no. " + std::to_string(h.number);
    if (h.bytes > 0) text += ", " + std::to_string(h.bytes) + " bytes";
    text += ", made by " + place(h.caller) + "\n";
  }
  return text;
}

}  // namespace emulator

extern "C" const char* warploom_emulator_leaks() {
  static std::string& text = *new std::string;
  return text = emulator::holdings(), text.c_str();
}
