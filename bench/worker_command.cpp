#include "worker_command.h"

#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/model_options.h"
#include "measure.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::bench {

namespace {

using nlohmann::json;

struct Run {
  std::vector<std::vector<TokenId>> prompts;
  std::int64_t new_tokens = 0;
};

std::vector<TokenId> prompt_of(const json& list) {
  if (!list.is_array()) throw InvalidArgument("a prompt is no list of token ids");
  std::vector<TokenId> ids;
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::numeric_limits<TokenId>::max())
      throw InvalidArgument(fmt::format("{} is no token id", id.dump()));
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

Run parse(const std::string& line) {
  const json record = json::parse(line, nullptr, false);
  if (!record.is_object()) throw InvalidArgument("is no JSON object");
  Run run;
  if (!record.contains("prompts") || !record["prompts"].is_array() || record["prompts"].empty())
    throw InvalidArgument("\"prompts\" is no list of prompts");
  for (const json& list : record["prompts"]) run.prompts.push_back(prompt_of(list));
  if (!record.contains("new") || !record["new"].is_number_unsigned())
    throw InvalidArgument("\"new\" is no number of tokens to generate");
  run.new_tokens = record["new"].get<std::int64_t>();
  return run;
}

json answer(BatchRunner& runner, const Run& run) {
  Request like;
  like.max_tokens = run.new_tokens;
  like.ignore_eos = true;
  like.sampling.temperature = 0.0f;
  std::vector<Request> requests(run.prompts.size(), like);
  for (std::size_t i = 0; i < requests.size(); ++i) requests[i].prompt = run.prompts[i];
  std::vector<RequestOutput> outputs;
  const BatchTimes times = runner.run(requests, &outputs);
  json tokens = json::array();
  for (const RequestOutput& output : outputs) tokens.push_back(output.completions.front().token_ids);
  return {{"first_seconds", times.first_seconds},
          {"rest_seconds", times.rest_seconds},
          {"rest_tokens", times.rest_tokens},
          {"tokens", tokens}};
}

json as_json(const ModelShape& shape) {
  return {{"architecture", shape.architecture},
          {"vocab_size", shape.vocab_size},
          {"context_length", shape.context_length},
          {"num_layers", shape.num_layers},
          {"hidden_size", shape.hidden_size},
          {"num_heads", shape.num_heads},
          {"num_kv_heads", shape.num_kv_heads},
          {"head_dim", shape.head_dim},
          {"intermediate_size", shape.intermediate_size},
          {"tie_word_embeddings", shape.tie_word_embeddings}};
}

void run(const cli::ModelChoice& choice, const cli::KvChoice& kv) {
  const auto model = cli::load_model(choice);
  EngineOptions options;
  cli::set_kv_options(kv, options);
  BatchRunner runner(model, options);
  const auto say = [](const json& line) { std::cout << line.dump() << std::endl; };
  say({{"ready", true}, {"device", model->device().description}, {"shape", as_json(model->shape())}});
  std::string line;
  for (std::int64_t number = 1; std::cout && std::getline(std::cin, line); ++number) {
    try {
      say(answer(runner, parse(line)));
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(fmt::format("standard input:{}: {}", number, error.what()));
    }
  }
}

}  // namespace

CLI::App* add_worker(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "worker",
      "Runs that another program asks for on standard input: {\"prompts\": [[ID, ...], ...], \"new\": TOKENS} a line");
  const auto choice = std::make_shared<cli::ModelChoice>();
  cli::add_model_options(*command, *choice);
  const auto kv = std::make_shared<cli::KvChoice>();
  cli::add_synthetic_options(*command, *choice);
  cli::add_kv_options(*command, *kv);
  command->callback([choice, kv] { run(*choice, *kv); });
  return command;
}

}  // namespace warploom::bench
