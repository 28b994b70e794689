#include "model/registry.h"

#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "model/llama.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr auto kFamilies =
    std::to_array<ModelFamily>({{"llama", llama_tensors, load_llama}, {"qwen2", llama_tensors, load_llama}});

}  // namespace

const ModelFamily& family_of(const Checkpoint& checkpoint) {
  const std::string_view architecture = checkpoint.architecture();
  std::string supported;
  for (const ModelFamily& family : kFamilies) {
    if (family.architecture == architecture) return family;
    const bool last = &family == &kFamilies.back();
    supported += fmt::format("{}{}", supported.empty() ? "" : last ? " and " : ", ", family.architecture);
  }
  checkpoint.fail(fmt::format("architecture \"{}\" is not supported; supported are {}", architecture, supported));
}

std::unique_ptr<DecoderModel> load_decoder_model(const Checkpoint& checkpoint, std::unique_ptr<Backend> backend,
                                                 const std::function<void(double)>& progress) {
  ModelConfig config = read_config(checkpoint);
  const ModelShape& shape = config.shape;
  try {
    backend->check_kv_cache_shape({shape.num_layers, shape.num_kv_heads, shape.head_dim, 1, DType::f16, 16});
  } catch (const InvalidArgument& error) {
    checkpoint.fail(error.what());
  }
  return family_of(checkpoint).load(checkpoint, std::move(config), std::move(backend), progress);
}

}  // namespace warploom
