#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/printable.h"

namespace warploom::cli {

namespace {

std::string size(double bytes) {
  if (bytes < 1e4) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e7) return fmt::format("{:.1f} kB", bytes / 1e3);
  return fmt::format("{:.1f} MB", bytes / 1e6);
}

/// 0 where the file does not say, or not a number. In floating point: a file may claim anything.
double number(const FileInfo& info, const std::string& key) {
  for (const FileEntry& entry : info.metadata)
    if (entry.key.size() > key.size() && entry.key.ends_with("." + key)) return std::strtod(entry.value.c_str(), nullptr);
  return 0;
}

void print_memory(const FileInfo& info) {
  double weights = 0;
  for (const FileTensor& tensor : info.tensors) weights += static_cast<double>(tensor.bytes);
  const double heads = std::max(1.0, number(info, "attention.head_count"));
  const double kv_heads = number(info, "attention.head_count_kv") > 0 ? number(info, "attention.head_count_kv") : heads;
  const double head_dim = number(info, "attention.key_length") > 0 ? number(info, "attention.key_length")
                                                                   : number(info, "embedding_length") / heads;
  const double kv = 2 * 2 * number(info, "block_count") * kv_heads * head_dim;
  const double context = number(info, "context_length");
  fmt::print("\nmemory\n  weights                       {}\n", size(weights));
  if (kv > 0)
    fmt::print("  KV cache (f16)                {} a token, {} for a full context of {:.0f}\n", size(kv), size(kv * context),
               context);
}

void run(const std::string& path) {
  const FileInfo info = inspect(path);
  fmt::print("{}: GGUF version {}, {}, {} keys, {} tensors\n\nmetadata\n", path, info.version,
             size(static_cast<double>(info.bytes)), info.metadata.size(), info.tensors.size());
  for (const FileEntry& entry : info.metadata)
    fmt::print("  {:<42} {}\n", printable(entry.key), printable(entry.value, 120, " ..."));
  print_memory(info);
  fmt::print("\ntensors\n");
  for (const FileTensor& tensor : info.tensors)
    fmt::print("  {:<32} {:<6} [{}] {}\n", printable(tensor.name), tensor.type, fmt::join(tensor.shape, ", "),
               size(static_cast<double>(tensor.bytes)));
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* command = app.add_subcommand("info", "What a model file holds, and the memory that it will need");
  const auto path = std::make_shared<std::string>();
  command->add_option("MODEL", *path, "GGUF file; without it, the one under models/");
  command->callback([path] { run(find_model(*path)); });
}

}  // namespace warploom::cli
