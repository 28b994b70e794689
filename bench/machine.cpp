#include "machine.h"

#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

namespace warploom::bench {

Machine this_machine() {
  Machine machine;
  machine.cpu = "unknown processor";
  machine.cores = static_cast<int>(std::thread::hardware_concurrency());
  machine.memory_gib =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0 * 1024.0);
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    machine.cpu = line.substr(line.find(':') + 2);
    break;
  }
  return machine;
}

std::string heading(const Machine& machine, const std::string& device, const std::string& model) {
  return fmt::format("{}, {} cores, {:.0f} GiB; {}{}{}", machine.cpu, machine.cores, machine.memory_gib, device,
                     model.empty() ? "" : "; ", model);
}

}  // namespace warploom::bench
