#include <fmt/format.h>
#include <fmt/ranges.h>

#include "checkpoint/gguf_checkpoint.h"

namespace warploom {

namespace {

constexpr std::size_t kShownElements = 8;

struct AsText {
  std::string operator()(std::uint64_t v) const { return std::to_string(v); }
  std::string operator()(std::int64_t v) const { return std::to_string(v); }
  std::string operator()(double v) const { return fmt::format("{}", v); }
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(std::string_view v) const { return std::string(v); }
  std::string operator()(const GgufArray& array) const {
    return std::visit(
        [](const auto& values) {
          std::string text = fmt::format("[{}", values.empty() ? "" : fmt::format("{}", values[0]));
          for (std::size_t i = 1; i < values.size() && i < kShownElements; ++i) text += fmt::format(", {}", values[i]);
          return text + (values.size() > kShownElements ? fmt::format(", ... {} in all]", values.size()) : "]");
        },
        array);
  }
};

}  // namespace

std::string gguf_text(const GgufValue& value) { return std::visit(AsText{}, value); }

CheckpointInfo gguf_info(const GgufFile& file) {
  CheckpointInfo info;
  info.format = fmt::format("GGUF version {}", file.version());
  info.bytes = file.bytes();
  for (const auto& [key, value] : file.metadata()) info.metadata.push_back({std::string(key), gguf_text(value)});
  for (const GgufTensor& tensor : file.tensors())
    info.tensors.push_back(
        {std::string(tensor.name), std::string(tensor.type_name), tensor.shape, tensor.offset, tensor.bytes});
  return info;
}

}  // namespace warploom
