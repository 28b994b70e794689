#include "cli/invalid_logits.h"

#include <algorithm>
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

// Of what was asked of the draw; `plain`, which asks for nothing, draws.
std::string what_is_to_blame(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options,
                             Request plain, const Completion& completion, const std::string& error) {
  plain.logit_bias = request.logit_bias;
  plain.allowed_token_ids = request.allowed_token_ids;
  plain.banned_token_ids = request.banned_token_ids;
  if (!draws(model, plain, options))
    return "the logit biases and the allowed and banned tokens leave no token that could be drawn";
  if (static_cast<std::int64_t>(completion.token_ids.size()) < request.min_tokens) {
    plain.stop_token_ids = request.stop_token_ids;
    plain.stop = request.stop;
    plain.min_tokens = plain.max_tokens;
    if (!draws(model, plain, options))
      return fmt::format("all tokens that are allowed end the text, which none may before --min-tokens {}",
                         request.min_tokens);
  }
  const std::string given = penalties(request.sampling);
  return given.empty() ? error : fmt::format("{}: too strong, it makes logits infinite", given);
}

ModelError too_large_for(DType type) {
  return ModelError(fmt::format("the model's keys or values are too large for a KV cache of {}; --kv-type f32 holds them",
                                type == DType::f16    ? "f16"
                                : type == DType::bf16 ? "bf16"
                                                      : "int8"));
}

ModelError overflow(const Model& model) {
  return ModelError(fmt::format(
      "the model's activations overflow: its logits are not numbers{}",
      model.device().kind == DeviceKind::cuda ? "; --compute-type bf16 or --device cpu holds larger numbers than f16" : ""));
}

}  // namespace

void fail_by_cause(const std::shared_ptr<const Model>& model, const Request& request, const EngineOptions& options,
                   const RequestOutput& output) {
  const auto completion = std::ranges::find(output.completions, FinishReason::invalid_logits, &Completion::finish_reason);
  if (completion == output.completions.end()) throw OutOfMemory(output.error);
  Request plain;  // the draw that failed, with nothing asked for
  std::vector<TokenId> tokens = output.prompt_token_ids;
  tokens.insert(tokens.end(), completion->token_ids.begin(), completion->token_ids.end());
  plain.prompt = std::move(tokens);
  plain.max_tokens = 1;
  if (draws(model, plain, options))
    throw InvalidArgument(what_is_to_blame(model, request, options, plain, *completion, output.error));
  if (options.kv_type != DType::f32) {
    EngineOptions wide = options;
    wide.kv_type = DType::f32;
    wide.round_attention = false;
    if (draws(model, plain, wide)) throw too_large_for(options.kv_type);
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
  wide.round_attention = false;
  static_cast<void>(score_or_fail_by_cause(model, tokens, wide));
  throw too_large_for(options.kv_type);
}

}  // namespace warploom::cli
