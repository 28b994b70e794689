#include "entry.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/emulator.h"
#include "environment.h"

namespace emulator {
namespace {

struct Fault {
  std::string entry_point;  // "*": any
  int left;                 // calls until it strikes, this one included
  cudaError_t error;
};
struct Faults {
  Faults() {
    if (const auto& given = environment().injection)
      planned.push_back({given->entry_point, given->nth, static_cast<cudaError_t>(given->error)});
  }
  std::vector<Fault> planned;
  int struck = 0;
  std::string last_struck;
};
// Calls by the names that the program wrote, nested ones left out.
std::map<std::string, uint64_t, std::less<>>& calls() {
  static auto* const instance = new std::map<std::string, uint64_t, std::less<>>;
  return *instance;
}
Faults& faults() {
  static Faults* const instance = new Faults;
  return *instance;
}

thread_local int depth = 0;
thread_local const void* outermost_caller = nullptr;

// As the program wrote it: __cudaLaunchKernel_ptsz is cudaLaunchKernel.
std::string_view written_name(std::string_view name) {
  if (name.starts_with("__")) name.remove_prefix(2);
  for (const std::string_view suffix : {"_ptsz", "_v2"})
    if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  return name;
}

}  // namespace

std::recursive_mutex& runtime_mutex() {
  static std::recursive_mutex* const mutex = new std::recursive_mutex;
  return *mutex;
}

cudaError_t injected(const char* entry_point) {
  WARPLOOM_RUNTIME_LOCK;
  const std::string_view name = written_name(entry_point);
  const auto counted = calls().find(name);
  ++(counted != calls().end() ? counted->second : calls()[std::string(name)]);
  Faults& all = faults();
  if (all.planned.empty()) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  std::erase_if(all.planned, [&](Fault& f) {
    const bool any = f.entry_point == "*" && name != "kernel";
    if ((!any && f.entry_point != name) || --f.left > 0) return false;
    error = f.error;
    ++all.struck;
    all.last_struck = name;
    return true;
  });
  return error;
}

Entry::Entry(const char* entry_point, const void* caller) {
  if (depth++ > 0) return;
  outermost_caller = caller;
  error_ = injected(entry_point);
}
Entry::~Entry() { --depth; }
const void* Entry::caller() { return outermost_caller; }

}  // namespace emulator

using namespace emulator;

extern "C" {

void warploom_emulator_inject(const char* entry_point, int nth, int error) {
  WARPLOOM_RUNTIME_LOCK;
  if (nth <= 0)
    faults().planned.clear();
  else
    faults().planned.push_back({entry_point, nth, static_cast<cudaError_t>(error)});
  faults().struck = 0;
}
uint64_t warploom_emulator_calls(const char* entry_point) {
  WARPLOOM_RUNTIME_LOCK;
  const auto counted = calls().find(std::string_view(entry_point));
  return counted != calls().end() ? counted->second : 0;
}
int warploom_emulator_injections() {
  WARPLOOM_RUNTIME_LOCK;
  return faults().struck;
}
const char* warploom_emulator_struck() {
  WARPLOOM_RUNTIME_LOCK;
  return faults().last_struck.c_str();
}
// For the emulated cuBLAS.
int warploom_emulator_injected(const char* entry_point) { return injected(entry_point); }

}  // extern "C"
