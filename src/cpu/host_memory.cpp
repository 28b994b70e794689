#include "cpu/host_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace warploom::cpu {

std::uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t kilobytes = 0;
  while (file >> name >> kilobytes) {
    if (name == "MemAvailable:") return kilobytes << 10;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return UINT64_MAX;
}

}  // namespace warploom::cpu
