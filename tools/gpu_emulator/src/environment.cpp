#include "environment.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace emulator {
namespace {

constexpr std::string_view kPrefix = "WARPLOOM_EMULATOR_";
constexpr const char* kNames[] = {"DEVICE", "INJECT", "LEAKS", "MEMORY", "PROFILE", "SEED", "THREADS", "TICKER", "WATCHDOG"};
constexpr uint64_t kMiB = 1 << 20, kUsualMemory = 8ull << 30;

[[noreturn]] void refuse(std::string_view name, std::string_view value, const std::string& allowed) {
  std::fflush(nullptr);
  std::fprintf(stderr, "emulator: %s%.*s=%.*s: give %s\n", kPrefix.data(), static_cast<int>(name.size()), name.data(),
               static_cast<int>(value.size()), value.data(), allowed.c_str());
  _exit(2);
}

// Null where the variable is not set or is empty.
const char* value_of(const char* name) {
  const char* value = std::getenv((std::string(kPrefix) + name).c_str());
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// `unit`: how the number is called in the message, "of MiB " for one.
uint64_t number(const char* name, const char* unit, uint64_t least, uint64_t most, uint64_t otherwise) {
  const char* value = value_of(name);
  if (value == nullptr) return otherwise;
  const auto given = whole_number(value);
  if (given && *given >= least && *given <= most) return *given;
  refuse(name, value,
         std::string("a whole number ") + unit + "from " + std::to_string(least) + " to " + std::to_string(most));
}

bool flag(const char* name) {
  const char* value = value_of(name);
  if (value == nullptr || std::string_view(value) == "0") return false;
  if (std::string_view(value) != "1") refuse(name, value, "0 or 1");
  return true;
}

const DeviceModel* model(const char* name, const DeviceModel* otherwise) {
  const char* value = value_of(name);
  if (value == nullptr) return otherwise;
  const DeviceModel* found = find_model(value);
  if (found == nullptr) refuse(name, value, "one of " WARPLOOM_EMULATOR_GPUS);
  return found;
}

// Whether calls of `name` are counted: cuBLAS, whose entry points are counted too, may be loaded later.
bool is_entry_point(const std::string& name) {
  return name == "*" || name == "kernel" || name.starts_with("cublas") ||
         (name.starts_with("cuda") && dlsym(RTLD_DEFAULT, name.c_str()) != nullptr);
}

std::optional<Injection> injection() {
  const char* value = value_of("INJECT");
  if (value == nullptr) return std::nullopt;
  const std::string_view text = value;
  const size_t first = text.find(':'), second = text.find(':', first + 1);
  if (first != std::string_view::npos && second != std::string_view::npos) {
    const std::string entry_point(text.substr(0, first));
    const auto nth = whole_number(text.substr(first + 1, second - first - 1)), error = whole_number(text.substr(second + 1));
    if (is_entry_point(entry_point) && nth && *nth >= 1 && *nth <= INT32_MAX && error && *error >= 1 && *error <= 999)
      return Injection{entry_point, static_cast<int>(*nth), static_cast<int>(*error)};
  }
  refuse("INJECT", text,
         "ENTRY_POINT:N:ERROR, such as cudaMalloc:3:2: a function of the runtime or cuBLAS, * or kernel; its Nth call, from "
         "1; a cudaError_t from 1 to 999");
}

// Bytes of the host, or of the container that this process is in.
uint64_t host_memory() {
  uint64_t least = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    uint64_t limit = 0;
    if (std::ifstream(path) >> limit) least = std::min(least, limit);  // "max" is no number
  }
  return least;
}

// Every byte that a program allocates takes another one of the host at once, which says what state it is in. So a device with more
// memory than the host would end in the host's killing the program.
uint64_t device_memory() {
  const uint64_t host = host_memory();
  const uint64_t most = std::max<uint64_t>(1, std::min(kMostMemory, host) / kMiB);
  const uint64_t usual = std::max<uint64_t>(1, std::min(kUsualMemory, host / 2) / kMiB);
  const std::string unit =
      host < kMostMemory ? "of MiB, of which this host has " + std::to_string(host / kMiB) + ", " : "of MiB ";
  return number("MEMORY", unit.c_str(), 1, most, usual) * kMiB;
}

void refuse_unknown() {
  std::string known;
  for (const char* name : kNames) known += (known.empty() ? "" : ", ") + std::string(kPrefix) + name;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with(kPrefix)) continue;
    const size_t equals = std::min(text.find('='), text.size());
    const std::string_view name = text.substr(kPrefix.size(), equals - kPrefix.size());
    if (std::none_of(std::begin(kNames), std::end(kNames), [&](const char* one) { return name == one; }))
      refuse(name, text.substr(std::min(equals + 1, text.size())), "one of the variables that there are, " + known);
  }
}

Environment read() {
  refuse_unknown();
  Environment e;
  e.device = model("DEVICE", &device_models().front());
  e.memory = device_memory();
  e.seed = number("SEED", "", 0, UINT64_MAX, e.seed);
  e.watchdog = number("WATCHDOG", "of warp instructions ", 1, UINT64_MAX, e.watchdog);
  e.threads = static_cast<unsigned>(number("THREADS", "of host threads ", 0, 1024, e.threads));
  e.leaks = flag("LEAKS");
  e.injection = injection();
  e.profile = model("PROFILE", nullptr);
  e.ticker = model("TICKER", nullptr);
  return e;
}

[[maybe_unused]] const Environment& read_at_load = environment();

}  // namespace

const Environment& environment() {
  static const Environment* const instance = new Environment(read());
  return *instance;
}

}  // namespace emulator
