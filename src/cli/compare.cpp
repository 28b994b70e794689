#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/invalid_logits.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "cli/text_statistics.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::cli {

namespace {

struct Strategy {
  std::string name;
  SamplingParams params;
};

std::vector<Strategy> strategies() {
  std::vector<Strategy> all = {{"greedy", {.temperature = 0.0f}},
                               {"temperature 0.7", {.temperature = 0.7f}},
                               {"top-k 50", {.temperature = 1.0f, .top_k = 50}},
                               {"top-p 0.9", {.temperature = 1.0f, .top_p = 0.9f}},
                               {"top-k 50 + top-p 0.9", {.temperature = 1.0f, .top_k = 50, .top_p = 0.9f}}};
  for (const float t : {0.2f, 0.5f, 1.0f, 1.5f, 2.0f})
    all.push_back({fmt::format("temperature {:.1f}", t), {.temperature = t}});
  return all;
}

int run(const ModelChoice& choice, const KvChoice& kv, const std::string& prompt, std::int64_t max_tokens,
        std::uint64_t seed) {
  const auto model = load_model(choice);
  EngineOptions engine;
  set_kv_options(kv, engine);
  catch_interrupts();
  bool header = false;
  for (Strategy& strategy : strategies()) {
    Request request;
    request.prompt = prompt;
    request.max_tokens = max_tokens;
    request.sampling = strategy.params;
    request.sampling.seed = seed;
    request.logprobs = true;
    const auto run_once = [&] {
      return generate(model, request, engine, {.on_token = {}, .should_abort = interrupted, .on_output = {}});
    };
    const RequestOutput output = run_once();
    const Completion &first = output.completions.front(), second = run_once().completions.front();
    if (interrupted()) return interrupt_status();
    if (!output.error.empty()) fail_by_cause(model, request, engine, output);
    if (!std::exchange(header, true))
      fmt::print("{:<22} {:>6} {:>6} {:>6} {:>8} {:>9} {:>8}  {}\n", "strategy", "same?", "dist-1", "dist-2", "rep-4",
                 "log-prob", "tokens/s", "text");
    const double logprob = std::accumulate(first.logprobs.begin(), first.logprobs.end(), 0.0) /
                           static_cast<double>(std::max<std::size_t>(1, first.logprobs.size()));
    const double speed = first.timings.decode_seconds > 0
                             ? static_cast<double>(first.token_ids.size() - 1) / first.timings.decode_seconds
                             : 0.0;
    fmt::print("{:<22} {:>6} {:>6.3f} {:>6.3f} {:>8.3f} {:>9.3f} {:>8.1f}  {}\n", strategy.name,
               first.token_ids == second.token_ids ? "yes" : "no", distinct(first.token_ids, 1),
               distinct(first.token_ids, 2), repeated(first.token_ids, 4), logprob, speed, printable(first.text, 60));
    std::fflush(stdout);
  }
  fmt::print(
      "\nsame?: two runs gave the same tokens; dist-n: different n-grams as a share of all; rep-4: 4-grams seen before;\n"
      "log-prob: mean over the tokens, at temperature 1 before any filter. {} tokens at most, seed {}.\n",
      max_tokens, seed);
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, int& status) {
  struct Options {
    ModelChoice model;
    KvChoice kv;
    std::string prompt = "Once upon a time";
    std::int64_t max_tokens = 128;
    std::uint64_t seed = 1;
  };
  CLI::App* command = app.add_subcommand("compare", "The sampling strategies side by side on one prompt");
  const auto o = std::make_shared<Options>();
  command->add_option("PROMPT", o->prompt, "the text to continue")->capture_default_str();
  command->add_option("-n,--max-tokens", o->max_tokens, "maximum number of tokens of each text")
      ->check(whole_number<std::int64_t>(1))
      ->capture_default_str();
  command->add_option("-s,--seed", o->seed, "of every strategy's draws")
      ->check(whole_number<std::uint64_t>())
      ->capture_default_str();
  add_model_options(*command, o->model);
  add_kv_options(*command, o->kv);
  command->callback([o, &status] { status = run(o->model, o->kv, o->prompt, o->max_tokens, o->seed); });
}

}  // namespace warploom::cli
