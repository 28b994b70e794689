#include "report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace warploom::bench {

namespace {

std::string heading(const Report& report) {
  return fmt::format("{}, {} cores, {:.0f} GiB; {}{}", report.machine.cpu, report.machine.cores, report.machine.memory_gib,
                     report.device, report.model.empty() ? "" : fmt::format("; {}", report.model));
}

std::string as_json(const Report& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Measurement& m : report.measurements) {
    rows.push_back(
        {{"test", m.test}, {"unit", m.unit}, {"runs", m.runs}, {"min", m.min()}, {"median", m.median()}, {"max", m.max()}});
    if (m.sampling_share >= 0) rows.back()["sampling_share"] = m.sampling_share;
    if (m.num_kept >= 0) rows.back()["num_kept"] = m.num_kept;
  }
  const nlohmann::json all = {
      {"machine", {{"cpu", report.machine.cpu}, {"cores", report.machine.cores}, {"memory_gib", report.machine.memory_gib}}},
      {"device", report.device},
      {"model", report.model},
      {"measurements", rows}};
  return all.dump(2) + "\n";
}

std::string share(const Measurement& m) {
  return m.sampling_share < 0 ? "" : fmt::format("{:.1f}%", 100 * m.sampling_share);
}

}  // namespace

std::string render(const Report& report, const std::string& format) {
  if (format == "json") return as_json(report);
  const bool markdown = format == "markdown";
  std::string text = heading(report) + "\n\n";
  text += markdown
              ? "| test | unit | min | median | max | sampling |\n|---|---|---:|---:|---:|---:|\n"
              : fmt::format("{:<48} {:>9} {:>10} {:>10} {:>10} {:>9}\n", "test", "unit", "min", "median", "max", "sampling");
  for (const Measurement& m : report.measurements)
    text += markdown ? fmt::format("| {} | {} | {:.1f} | {:.1f} | {:.1f} | {} |\n", m.test, m.unit, m.min(), m.median(),
                                   m.max(), share(m))
                     : fmt::format("{:<48} {:>9} {:>10.1f} {:>10.1f} {:>10.1f} {:>9}\n", m.test, m.unit, m.min(), m.median(),
                                   m.max(), share(m));
  return text;
}

}  // namespace warploom::bench
