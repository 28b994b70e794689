#include "cli/invalid_logits.h"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::cli {

namespace {

bool draws(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options) {
  return generate(model, request, options).completions.at(0).finish_reason != FinishReason::invalid_logits;
}

void remove_penalties(SamplingParams& params) {
  const SamplingParams off;
  params.repetition_penalty = off.repetition_penalty;
  params.frequency_penalty = off.frequency_penalty;
  params.presence_penalty = off.presence_penalty;
}

std::string penalties(const SamplingParams& params) {
  const SamplingParams off;
  std::vector<std::string> given;
  const auto add = [&](const char* what, float value, float none) {
    if (value != none) given.push_back(fmt::format("{} {}", what, value));
  };
  add("repetition penalty", params.repetition_penalty, off.repetition_penalty);
  add("frequency penalty", params.frequency_penalty, off.frequency_penalty);
  add("presence penalty", params.presence_penalty, off.presence_penalty);
  return fmt::format("{}", fmt::join(given, " and "));
}

ModelError too_large_for(DType type) {
  return ModelError(fmt::format("the model's keys or values are too large for a KV cache of {}; --kv-type f32 holds them",
                                type == DType::f16 ? "f16" : "bf16"));
}

ModelError overflow(const Model& model) {
  return ModelError(fmt::format(
      "the model's activations overflow: its logits are not numbers{}",
      model.device().kind == DeviceKind::cuda ? "; --compute-type bf16 or --device cpu holds larger numbers than f16" : ""));
}

}  // namespace

void fail_by_cause(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options,
                   const RequestOutput& output, const Completion& completion) {
  Request again;
  std::vector<TokenId> tokens = output.prompt_token_ids;
  tokens.insert(tokens.end(), completion.token_ids.begin(), completion.token_ids.end());
  again.prompt = std::move(tokens);
  again.max_tokens = 1;
  Request without_penalties = again;
  without_penalties.sampling = request.sampling;
  remove_penalties(without_penalties.sampling);
  without_penalties.logit_bias = request.logit_bias;
  without_penalties.allowed_token_ids = request.allowed_token_ids;
  without_penalties.banned_token_ids = request.banned_token_ids;

  if (draws(model, again, options)) {
    if (draws(model, without_penalties, options))
      throw InvalidArgument(fmt::format("{}: too strong, it makes logits infinite", penalties(request.sampling)));
    throw InvalidArgument("the logit biases and the allowed and banned tokens leave no token that could be drawn");
  }
  if (options.kv_type != DType::f32) {
    EngineOptions wide = options;
    wide.kv_type = DType::f32;
    if (draws(model, again, wide)) throw too_large_for(options.kv_type);
  }
  throw overflow(*model);
}

Score score_or_fail_by_cause(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens,
                             const ScoreOptions& options) {
  try {
    return score(model, tokens, options);
  } catch (const ModelError&) {
    if (options.kv_type == DType::f32) throw overflow(*model);
  }
  ScoreOptions wide = options;
  wide.kv_type = DType::f32;
  static_cast<void>(score_or_fail_by_cause(model, tokens, wide));
  throw too_large_for(options.kv_type);
}

}  // namespace warploom::cli
