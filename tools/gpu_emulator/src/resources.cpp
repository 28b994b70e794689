#include "resources.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "counters.h"
#include "decoder.h"

namespace emulator {
namespace {

std::string ptxas() {
  if (const char* named = std::getenv("WARPLOOM_PTXAS")) return named;
  if (std::filesystem::exists(WARPLOOM_PTXAS_PATH)) return WARPLOOM_PTXAS_PATH;
  return "ptxas";
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }  // of paths and symbols: no quote in them

// The number before a phrase of ptxas's report; 0 where the phrase is not there.
int number_before(const std::string& text, const std::string& phrase) {
  size_t at = text.find(phrase);
  if (at == std::string::npos) return 0;
  while (at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9') --at;
  return std::atoi(text.c_str() + at);
}

// The architecture that PTX is for, 90 of sm_90. ptxas compiles it for none that is older.
int target_of(const std::string& ptx) {
  const std::string directive = ".target sm_";
  const size_t at = ptx.find(directive);
  return at == std::string::npos ? 0 : std::atoi(ptx.c_str() + at + directive.size());
}

std::optional<WarploomResources> assemble(const Code& code, const DeviceModel& model) {
  std::string folder = std::filesystem::temp_directory_path() / "warploom-emulator-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return std::nullopt;
  const std::string ptx = folder + "/kernel.ptx", name(code.ast->name);
  std::ofstream(ptx) << code.program->module->text;
  const std::string command = quoted(ptxas()) + " -v -arch sm_" + std::to_string(model.major) + std::to_string(model.minor) +
                              " -e " + quoted(name) + " " + quoted(ptx) + " -o " + quoted(folder + "/kernel.cubin") +
                              " 2>&1";
  std::string report;
  int status = -1;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    char block[4096];
    while (const size_t n = fread(block, 1, sizeof block, pipe)) report.append(block, n);
    status = pclose(pipe);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  // Device functions that are called have properties of their own: the kernel's come last.
  const size_t own = report.rfind("Function properties for " + name);
  if (status != 0 || own == std::string::npos) {
    std::fprintf(stderr, "emulator: ptxas failed: %s\n", report.c_str());
    return std::nullopt;
  }
  const std::string mine = report.substr(own);
  WarploomResources r;
  r.registers = number_before(mine, " registers");
  r.stack_bytes = number_before(mine, " bytes stack frame");
  r.spill_store_bytes = number_before(mine, " bytes spill stores");
  r.spill_load_bytes = number_before(mine, " bytes spill loads");
  r.static_shared_bytes = number_before(mine, " bytes smem");
  return r;
}

// The launch bounds' limit on a thread's registers.
int most_registers(const ptx::Function& f) {
  constexpr int kUnit = 8, kMost = 255, kFile = 65536;
  int most = kMost;
  const uint64_t threads = uint64_t{f.max_threads[0]} * f.max_threads[1] * f.max_threads[2];
  if (threads > 0)
    most = std::min<int>(most, kFile / static_cast<int>(threads * std::max(f.min_blocks, 1u)) / kUnit * kUnit);
  if (f.max_registers > 0) most = std::min(most, static_cast<int>(f.max_registers));
  return most;
}

constexpr int kSpareRegisters = 4;  // what ptxas takes beyond those that are live at once

}  // namespace

std::optional<WarploomResources> resources_of(const Code& code, const DeviceModel& model) {
  static std::mutex mutex;
  static auto* const known = new std::map<std::pair<const Code*, std::string>, std::optional<WarploomResources>>;
  const std::lock_guard lock(mutex);
  const auto [found, is_new] = known->try_emplace({&code, model.key});
  if (is_new) found->second = assemble(code, model);
  return found->second;
}

int resident_blocks(const Code& code, const DeviceModel& model, size_t shared, int threads) {
  const int live = static_cast<int>(code.live_registers), most = most_registers(*code.ast);
  const auto blocks = [&](int registers) { return occupancy(model, std::min(most, registers), shared, threads).blocks; };
  // Of the registers that are live in the PTX ptxas gave the kernels that were looked at 0.67 to 1.0 times as many.
  const int least = blocks(live * 5 / 4 + 4 * kSpareRegisters);
  if (least == blocks(live * 2 / 3)) return least;
  const bool can_ask = target_of(code.program->module->text) <= 10 * model.major + model.minor;
  const auto asked = can_ask ? resources_of(code, model) : std::nullopt;
  return blocks(asked ? asked->registers : live + kSpareRegisters);
}

}  // namespace emulator

using namespace emulator;

extern "C" int warploom_emulator_resources(const char* kernel, const char* gpu, WarploomResources* out) {
  const DeviceModel* model = find_model(gpu);
  const Code* code = nullptr;
  for (const auto& [kind, counts] : all_counts()) {
    if (kind.kernel.find(kernel) == std::string::npos) continue;
    if (code != nullptr && code != kind.code) return 0;
    code = kind.code;
  }
  if (model == nullptr || code == nullptr) return 0;
  const auto found = resources_of(*code, *model);
  if (found) *out = *found;
  return found ? 1 : 0;
}
