#include "warploom/synthetic.h"

#include <array>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "checkpoint/file_type.h"
#include "checkpoint/synthetic_checkpoint.h"
#include "model/loaded_model.h"
#include "warploom/error.h"

namespace warploom {

namespace {

struct NamedShape {
  std::string_view name;
  std::string_view architecture;
  std::int64_t vocab_size, context_length, num_layers, hidden_size, num_heads, num_kv_heads, head_dim, intermediate_size;
  bool tie_word_embeddings;
};

constexpr auto kShapes = std::to_array<NamedShape>({
    {"smollm2-135m", "llama", 49152, 8192, 30, 576, 9, 3, 64, 1536, true},
    {"smollm2-360m", "llama", 49152, 8192, 32, 960, 15, 5, 64, 2560, true},
    {"smollm2-1.7b", "llama", 49152, 8192, 24, 2048, 32, 32, 64, 8192, true},
    {"tinyllama-1.1b", "llama", 32000, 2048, 22, 2048, 32, 4, 64, 5632, false},
    {"llama-2-7b", "llama", 32000, 4096, 32, 4096, 32, 32, 128, 11008, false},
    {"llama-3.1-8b", "llama", 128256, 131072, 32, 4096, 32, 8, 128, 14336, false},
    {"llama-3.2-1b", "llama", 128256, 131072, 16, 2048, 32, 8, 64, 8192, true},
    {"llama-3.2-3b", "llama", 128256, 131072, 28, 3072, 24, 8, 128, 8192, true},
    {"mistral-7b-v0.3", "llama", 32768, 32768, 32, 4096, 32, 8, 128, 14336, false},
    {"qwen2.5-0.5b", "qwen2", 151936, 32768, 24, 896, 14, 2, 64, 4864, true},
    {"qwen2.5-1.5b", "qwen2", 151936, 32768, 28, 1536, 12, 2, 128, 8960, true},
    {"qwen2.5-3b", "qwen2", 151936, 32768, 36, 2048, 16, 2, 128, 11008, true},
    {"qwen2.5-7b", "qwen2", 152064, 32768, 28, 3584, 28, 4, 128, 18944, false},
});

}  // namespace

std::vector<std::string> model_shape_names() {
  std::vector<std::string> names;
  for (const NamedShape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelShape model_shape(std::string_view name) {
  for (const NamedShape& s : kShapes)
    if (s.name == name)
      return {std::string(s.architecture),
              s.vocab_size,
              s.context_length,
              s.num_layers,
              s.hidden_size,
              s.num_heads,
              s.num_kv_heads,
              s.head_dim,
              s.intermediate_size,
              s.tie_word_embeddings};
  throw InvalidArgument(
      fmt::format("no model's shape is known as \"{}\"; known are {}", name, fmt::join(model_shape_names(), ", ")));
}

std::vector<std::string> weight_type_names() {
  std::vector<std::string> names;
  for (const FileType& type : file_types()) names.emplace_back(type.name);
  return names;
}

std::shared_ptr<const Model> synthetic_model(const ModelShape& shape, std::string_view type, std::uint64_t seed,
                                             const ModelOptions& options) {
  const int threads =
      options.device.threads > 0 ? options.device.threads : static_cast<int>(std::thread::hardware_concurrency());
  return load_model(*synthetic_checkpoint(shape, type, seed, threads), options);
}

}  // namespace warploom
