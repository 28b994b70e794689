#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/format.h"
#include "cpu_ops.h"

namespace warploom::bench {

namespace {

struct Row {
  explicit Row(const CpuOp& op)
      : micros(1e6 * op.seconds),
        gigabytes(1e-9 * static_cast<double>(op.bytes) / op.seconds),
        read(1e-9 * op.read_ceiling),
        products(1e-9 * static_cast<double>(op.multiply_adds) / op.seconds),
        arithmetic(1e-9 * op.arithmetic_ceiling),
        bound(op.bound_by_memory() ? "reading"
              : op.int8            ? "int8"
                                   : "f32") {}

  double micros, gigabytes, read, products, arithmetic;
  const char* bound;
};

std::string as_json(const std::vector<CpuOp>& ops) {
  nlohmann::json rows = nlohmann::json::array();
  for (const CpuOp& op : ops)
    rows.push_back({{"op", op.name},
                    {"seconds", op.seconds},
                    {"bytes", op.bytes},
                    {"multiply_adds", op.multiply_adds},
                    {"arithmetic", op.int8 ? "int8" : "f32"},
                    {"bytes_per_second_ceiling", op.read_ceiling},
                    {"multiply_adds_per_second_ceiling", op.arithmetic_ceiling},
                    {"bound", Row(op).bound},
                    {"share", op.share()}});
  return nlohmann::json({{"ops", rows}}).dump(2) + "\n";
}

}  // namespace

std::string render(const std::vector<CpuOp>& ops, const std::string& heading, const std::string& format) {
  if (format == "json") return as_json(ops);
  const bool csv = format == "csv", markdown = format == "markdown";
  std::string text = csv ? "" : heading + "\n\n";
  if (csv) text += "op,microseconds,GB/s,GB/s ceiling,G multiply-adds/s,G multiply-adds/s ceiling,bound,share\n";
  if (markdown)
    text += "| op | us | GB/s | of | G multiply-adds/s | of | bound by | share |\n|---|---:|---:|---:|---:|---:|---|---:|\n";
  if (!csv && !markdown)
    text += fmt::format("{:<40} {:>9} {:>7} {:>7} {:>9} {:>7} {:>8} {:>6}\n", "op", "us", "GB/s", "of", "G madd/s", "of",
                        "bound by", "share");
  for (const CpuOp& op : ops) {
    const Row row(op);
    const auto* line = csv        ? "{},{:.2f},{:.2f},{:.2f},{:.2f},{:.2f},{},{:.3f}\n"
                       : markdown ? "| {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {} | {:.0f}% |\n"
                                  : "{:<40} {:>9.1f} {:>7.1f} {:>7.1f} {:>9.1f} {:>7.1f} {:>8} {:>5.0f}%\n";
    text += fmt::format(fmt::runtime(line), csv ? quoted(op.name) : op.name, row.micros, row.gigabytes, row.read,
                        row.products, row.arithmetic, row.bound, csv ? op.share() : 100 * op.share());
  }
  return text;
}

}  // namespace warploom::bench
