#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/model_options.h"

namespace warploom::cli {

namespace {

std::string size(std::uint64_t bytes) {
  if (bytes < 10000) return fmt::format("{} B", bytes);
  if (bytes < 10000000) return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

std::int64_t number(const FileInfo& info, const std::string& key) {
  for (const FileEntry& entry : info.metadata)
    if (entry.key.size() > key.size() && entry.key.ends_with("." + key)) return std::strtoll(entry.value.c_str(), nullptr, 10);
  return 0;
}

void print_memory(const FileInfo& info) {
  std::uint64_t weights = 0;
  for (const FileTensor& tensor : info.tensors) weights += tensor.bytes;
  const std::int64_t heads = std::max<std::int64_t>(1, number(info, "attention.head_count"));
  const std::int64_t kv_heads = number(info, "attention.head_count_kv") > 0 ? number(info, "attention.head_count_kv") : heads;
  const std::int64_t head_dim = number(info, "attention.key_length") > 0 ? number(info, "attention.key_length") : number(info, "embedding_length") / heads;
  const std::int64_t kv = 2 * 2 * number(info, "block_count") * kv_heads * head_dim;
  const std::int64_t context = number(info, "context_length");
  fmt::print("\nmemory\n  weights                       {}\n", size(weights));
  if (kv > 0)
    fmt::print("  KV cache (f16)                {} a token, {} for a full context of {}\n", size(static_cast<std::uint64_t>(kv)),
               size(static_cast<std::uint64_t>(kv * context)), context);
}

void run(const std::string& path) {
  const FileInfo info = inspect(path);
  fmt::print("{}: GGUF version {}, {}, {} keys, {} tensors\n\nmetadata\n", path, info.version, size(info.bytes), info.metadata.size(), info.tensors.size());
  for (const FileEntry& entry : info.metadata) {
    std::string value = entry.value.substr(0, 120);
    std::replace(value.begin(), value.end(), '\n', ' ');
    fmt::print("  {:<42} {}{}\n", entry.key, value, entry.value.size() > 120 ? " ..." : "");
  }
  fmt::print("\ntensors\n");
  for (const FileTensor& tensor : info.tensors)
    fmt::print("  {:<32} {:<6} [{}] {}\n", tensor.name, tensor.type, fmt::join(tensor.shape, ", "), size(tensor.bytes));
  print_memory(info);
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* command = app.add_subcommand("info", "What a model file holds, and the memory that it will need");
  const auto path = std::make_shared<std::string>();
  command->add_option("MODEL", *path, "GGUF file; without it, the one under models/");
  command->callback([path] { run(find_model(*path)); });
}

}  // namespace warploom::cli
