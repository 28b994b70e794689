#include "format.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "warploom/error.h"

namespace warploom::bench {

void check_format(const std::string& format) {
  for (const char* known : {"table", "markdown", "json", "csv"})
    if (format == known) return;
  throw InvalidArgument(fmt::format("--format: \"{}\" is not one of table, markdown, json, csv", format));
}

std::string quoted(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '"' ? "\"\"" : std::string(1, c);
  return "\"" + escaped + "\"";
}

nlohmann::json as_json(const Machine& machine) {
  return {{"cpu", machine.cpu}, {"cores", machine.cores}, {"memory_gib", machine.memory_gib}};
}

}  // namespace warploom::bench
