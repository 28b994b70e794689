#include "gpu_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "format.h"

namespace warploom::bench {

namespace {

std::string clock_of(const GpuReport& report, const GpuMeasurement& m) {
  return m.clock == GpuClock::model ? "modelled on " + report.modelled_gpu : name(m.clock);
}

// Of what the device itself reaches; below 0: not known.
double memory_share(const GpuReport& report, const GpuMeasurement& m) {
  const double rate = std::max(report.device.read_gb_per_s, report.device.copy_gb_per_s);
  return m.bytes > 0 && rate > 0 ? m.gb_per_s() / rate : -1;
}
double matrix_share(const GpuReport& report, const GpuMeasurement& m) {
  return m.flops > 0 && report.device.matrix_tflop_per_s > 0 ? m.tflop_per_s() / report.device.matrix_tflop_per_s : -1;
}

// What is not known is not there.
nlohmann::json as_json(const GpuDevice& d) {
  nlohmann::json device = {{"name", d.name}, {"emulated", d.emulated}};
  const auto add = [&](const char* key, auto value) {
    if (value > 0) device[key] = value;
  };
  add("multiprocessors", d.multiprocessors), add("capability", d.capability);
  add("driver", d.driver), add("runtime", d.runtime);
  add("maximum_clock_mhz", d.clock_mhz), add("maximum_memory_clock_mhz", d.memory_clock_mhz), add("l2_mib", d.l2_mib);
  add("read_gb_per_s", d.read_gb_per_s), add("copy_gb_per_s", d.copy_gb_per_s);
  add("matrix_tflop_per_s", d.matrix_tflop_per_s);
  return device;
}

// "reads 2000 GB/s, copies 1600 GB/s, multiplies 500 TFLOP/s (f16)", as far as it is known.
std::string rates(const GpuDevice& d) {
  std::string text;
  const auto add = [&](const char* does, double value, const char* unit) {
    if (value > 0) text += fmt::format("{}{} {:.0f} {}", text.empty() ? "" : ", ", does, value, unit);
  };
  add("reads", d.read_gb_per_s, "GB/s"), add("copies", d.copy_gb_per_s, "GB/s");
  add("multiplies", d.matrix_tflop_per_s, "TFLOP/s (f16)");
  return text;
}

std::string as_json(const GpuReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const GpuMeasurement& m : report.measurements) {
    const auto [least, most] = std::minmax_element(m.runs.begin(), m.runs.end());
    rows.push_back({{"test", m.test},
                    {"unit", "us"},
                    {"l2", m.l2},
                    {"timed", clock_of(report, m)},
                    {"runs", m.runs},
                    {"min", *least},
                    {"median", m.median()},
                    {"max", *most}});
    if (m.bytes > 0) rows.back()["bytes"] = m.bytes, rows.back()["gb_per_s"] = m.gb_per_s();
    if (m.flops > 0) rows.back()["flops"] = m.flops, rows.back()["tflop_per_s"] = m.tflop_per_s();
    if (memory_share(report, m) >= 0) rows.back()["memory_share"] = memory_share(report, m);
    if (matrix_share(report, m) >= 0) rows.back()["matrix_share"] = matrix_share(report, m);
  }
  nlohmann::json all = {{"machine", as_json(report.machine)},
                        {"device", as_json(report.device)},
                        {"model", report.model},
                        {"measurements", rows}};
  if (!report.modelled_gpu.empty()) all["modelled_gpu"] = report.modelled_gpu;
  return all.dump(2) + "\n";
}

std::string as_csv(const GpuReport& report) {
  std::string text = "device,model,test,l2,timed,median_us,bytes,flops\n";
  for (const GpuMeasurement& m : report.measurements)
    text += fmt::format("{},{},{},{},{},{},{},{}\n", quoted(report.device.name), quoted(report.model), quoted(m.test), m.l2,
                        quoted(clock_of(report, m)), m.median(), m.bytes, m.flops);
  return text;
}

std::string heading(const GpuReport& report) {
  const GpuDevice& d = report.device;
  std::string text = heading(report.machine, d.name, report.model) + "\n";
  if (!report.modelled_gpu.empty())
    text +=
        fmt::format("No GPU: an emulator ran this, and its times are modelled on {}, not measured.\n", report.modelled_gpu);
  if (d.read_gb_per_s > 0)
    text += fmt::format(
        "{} multiprocessors, compute capability {:.1f}, at most {:.0f} MHz, memory {:.0f} MHz, L2 {:.0f} MiB{}\n"
        "The device {}\n",
        d.multiprocessors, d.capability / 10.0, d.clock_mhz, d.memory_clock_mhz, d.l2_mib,
        d.driver > 0 ? fmt::format(", driver {}.{}", d.driver / 1000, d.driver % 1000 / 10) : "", rates(d));
  return text + "\n";
}

std::string percent(double share) { return share < 0 ? "" : fmt::format("{:.0f}%", 100 * share); }
std::string rate(double work, double per_s) { return work > 0 ? fmt::format("{:.1f}", per_s) : ""; }

}  // namespace

const char* name(GpuClock clock) {
  switch (clock) {
    case GpuClock::events: return "events";
    case GpuClock::model: return "model";
    case GpuClock::host: return "host";
  }
  return "?";
}

double GpuMeasurement::median() const {
  std::vector<double> sorted = runs;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

std::string render(const GpuReport& report, const std::string& format) {
  if (format == "json") return as_json(report);
  if (format == "csv") return as_csv(report);
  const bool markdown = format == "markdown";
  std::string text = heading(report);
  text +=
      markdown
          ? "| test | L2 | timed | us | GB/s | of memory | TFLOP/s | of products |\n|---|---|---|---:|---:|---:|---:|---:|\n"
          : fmt::format("{:<56} {:>5} {:>18} {:>10} {:>8} {:>9} {:>8} {:>11}\n", "test", "L2", "timed", "us", "GB/s",
                        "of memory", "TFLOP/s", "of products");
  for (const GpuMeasurement& m : report.measurements) {
    const std::string memory = percent(memory_share(report, m)), matrix = percent(matrix_share(report, m)),
                      clock = clock_of(report, m), bytes = rate(m.bytes, m.gb_per_s()),
                      flops = rate(m.flops, m.tflop_per_s());
    text += markdown ? fmt::format("| {} | {} | {} | {:.1f} | {} | {} | {} | {} |\n", m.test, m.l2, clock, m.median(), bytes,
                                   memory, flops, matrix)
                     : fmt::format("{:<56} {:>5} {:>18} {:>10.1f} {:>8} {:>9} {:>8} {:>11}\n", m.test, m.l2, clock,
                                   m.median(), bytes, memory, flops, matrix);
  }
  return text;
}

}  // namespace warploom::bench
