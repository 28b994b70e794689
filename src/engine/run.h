// What a run needs of a model, so that tests can put something else in its place.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/decoder_model.h"
#include "warploom/generator.h"

namespace warploom {

struct Engine {
  const Model* model = nullptr;
  ModelShape shape;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::int64_t block_size = 16;
  std::function<std::unique_ptr<ModelRunner>(const BatchLimits&)> create_runner;
  std::function<std::unique_ptr<KvCache>(std::int64_t blocks)> create_cache;
  std::function<std::int64_t()> room_for_blocks;  // how many blocks the device's free memory holds; null: any number
};

/// Keeps the model alive. Throws InvalidArgument on null.
Engine engine_for(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Tokenizer>& tokenizer);

/// As generate() of warploom/generator.h.
std::vector<Generation> run_generation(const Engine& engine, std::span<const std::vector<TokenId>> prompts,
                                       const GenerateOptions& options, const TokenCallback& callback);

}  // namespace warploom
