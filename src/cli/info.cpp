#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "warploom/device.h"
#include "warploom/inspect.h"

namespace warploom::cli {

namespace {

std::string size(double bytes) {
  if (bytes < 1e4) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e7) return fmt::format("{:.1f} kB", bytes / 1e3);
  return fmt::format("{:.1f} MB", bytes / 1e6);
}

std::string size_of(const CheckpointTensor& tensor) {
  return tensor.bytes > 0 ? size(static_cast<double>(tensor.bytes)) : "of unknown size";
}

void print_memory(const CheckpointInfo& info) {
  double weights = 0;
  bool unknown = false;
  for (const CheckpointTensor& tensor : info.tensors) {
    weights += static_cast<double>(tensor.bytes);
    unknown = unknown || tensor.bytes == 0;
  }
  fmt::print("\nmemory\n  weights                       {}{}\n", size(weights),
             unknown ? " and tensors of unknown types" : "");
  if (info.shape) {
    const auto kv = static_cast<double>(info.shape->kv_bytes_per_token(DType::f16));
    const std::int64_t context = info.shape->context_length;
    fmt::print("  KV cache (f16)                {} a token, {} for a full context of {}\n", size(kv),
               size(kv * static_cast<double>(context)), context);
  } else {
    fmt::print("  KV cache                      unknown: {}\n", printable(info.refusal));
  }
}

void print_device(const DeviceInfo& device) {
  fmt::print("\ndevice\n  {}\n", printable(device.description));
  if (!device.cuda_unavailable.empty()) fmt::print("  not CUDA: {}\n", printable(device.cuda_unavailable));
}

void run(const std::string& path, const DeviceOptions& options) {
  const CheckpointInfo info = inspect(path);
  const DeviceInfo device = find_device(options);
  fmt::print("{}: {}, {}, {} keys, {} tensors\n\nmetadata\n", path, info.format, size(static_cast<double>(info.bytes)),
             info.metadata.size(), info.tensors.size());
  for (const CheckpointEntry& entry : info.metadata)
    fmt::print("  {:<42} {}\n", printable(entry.key), printable(entry.value, 120, " ..."));
  print_memory(info);
  print_device(device);
  fmt::print("\ntensors\n");
  for (const CheckpointTensor& tensor : info.tensors)
    fmt::print("  {:<32} {:<6} [{}] {}\n", printable(tensor.name), tensor.type, fmt::join(tensor.shape, ", "),
               size_of(tensor));
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("info", "What a model file holds, the memory that it will need, and the device that will run it");
  const auto choice = std::make_shared<ModelChoice>();
  command->add_option("MODEL", choice->path, "GGUF file; without it, the one under models/");
  add_device_options(*command, *choice);
  command->callback([choice] { run(find_model(choice->path), device_options(*choice)); });
}

}  // namespace warploom::cli
