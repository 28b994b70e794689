#include "report.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "format.h"

namespace warploom::bench {

namespace {

std::string as_json(const Report& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Measurement& m : report.measurements) {
    rows.push_back(
        {{"test", m.test}, {"unit", m.unit}, {"runs", m.runs}, {"min", m.min()}, {"median", m.median()}, {"max", m.max()}});
    for (const auto& [name, value] : {std::pair("prompt", m.prompt), {"length", m.length}, {"batch", m.batch}})
      if (value > 0) rows.back()[name] = value;
    if (m.sampling_share >= 0) rows.back()["sampling_share"] = m.sampling_share;
    if (m.num_kept >= 0) rows.back()["num_kept"] = m.num_kept;
  }
  const nlohmann::json all = {
      {"machine", as_json(report.machine)}, {"device", report.device}, {"model", report.model}, {"measurements", rows}};
  return all.dump(2) + "\n";
}

// One table of all runs: what holds for all of them is in every row.
std::string as_csv(const Report& report) {
  const auto number = [](auto value, bool known) { return known ? fmt::format("{}", value) : std::string(); };
  std::string text = "cpu,cores,device,model,test,unit,prompt,length,batch,min,median,max,sampling_share,num_kept\n";
  for (const Measurement& m : report.measurements)
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", quoted(report.machine.cpu), report.machine.cores,
                        quoted(report.device), quoted(report.model), quoted(m.test), m.unit, number(m.prompt, m.prompt > 0),
                        number(m.length, m.length > 0), number(m.batch, m.batch > 0), m.min(), m.median(), m.max(),
                        number(m.sampling_share, m.sampling_share >= 0), number(m.num_kept, m.num_kept >= 0));
  return text;
}

std::string share(const Measurement& m) {
  return m.sampling_share < 0 ? "" : fmt::format("{:.1f}%", 100 * m.sampling_share);
}

}  // namespace

std::string render(const Report& report, const std::string& format) {
  if (format == "json") return as_json(report);
  if (format == "csv") return as_csv(report);
  const bool markdown = format == "markdown";
  std::string text = heading(report.machine, report.device, report.model) + "\n\n";
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
