#include "ptx_registers.h"

#include <charconv>

namespace emulator::ptx {

int ScopedRegisters::find(std::string_view name) const {
  size_t digits = name.size();
  while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
  int number = -1;
  if (digits < name.size()) std::from_chars(name.data() + digits, name.data() + name.size(), number);
  const std::string_view prefix = name.substr(0, digits);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->names.find(name); found != scope->names.end()) return found->second;
    const auto range = scope->ranges.find(prefix);
    if (range != scope->ranges.end() && number >= 0 && number < range->second.count) return range->second.first + number;
  }
  return -1;
}

}  // namespace emulator::ptx
