#include <algorithm>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "cli/text_input.h"
#include "warploom/error.h"

namespace warploom::cli {

namespace {

struct Generate {
  ModelChoice model;
  SamplingChoice sampling;
  std::string prompt, file, system;
  GenerateOptions options;
  bool batch = false, chat = false, json = false, echo = false, no_kv_cache = false;
};

std::vector<std::string> read_prompts(const CLI::App& command, const Generate& g) {
  const bool from_file = command.count("--file") > 0, argument = command.count("PROMPT") > 0;
  if (from_file == argument) throw CLI::ValidationError("give one of PROMPT, --file FILE and - (standard input)");
  if (!g.system.empty() && !g.chat) throw CLI::ValidationError("--system goes with --chat");
  const std::string source = from_file ? g.file : g.prompt == "-" ? "-" : "";
  if (g.batch) {
    if (source.empty()) throw CLI::ValidationError("--batch reads one prompt a line: it goes with --file or -");
    std::vector<std::string> lines = read_lines(source);
    if (lines.empty()) throw InvalidArgument(fmt::format("{} holds no prompt", source));
    return lines;
  }
  return {source.empty() ? g.prompt : read_all(source)};
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, const Generate& g, const std::string& prompt) {
  if (!g.chat) return tokenizer.encode(prompt);
  std::vector<ChatMessage> messages;
  if (!g.system.empty()) messages.push_back({"system", g.system});
  messages.push_back({"user", prompt});
  return tokenizer.encode_chat(messages);
}

double rate(const Timings& t) {
  // The first token comes out of the prompt's step; the others are what decoding took time for.
  return t.decode_seconds > 0 ? static_cast<double>(t.generated_tokens - 1) / t.decode_seconds : 0.0;
}

std::string counted(std::int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

nlohmann::json to_json(const Generation& g, double load_seconds, std::uint64_t seed) {
  return {{"prompt", g.prompt},
          {"index", g.index},
          {"seed", seed},
          {"prompt_token_ids", g.prompt_token_ids},
          {"ids", g.ids},
          {"text", g.text},
          {"finish_reason", name(g.finish_reason)},
          {"timings",
           {{"prompt_tokens", g.timings.prompt_tokens},
            {"cached_tokens", g.timings.cached_tokens},
            {"generated_tokens", g.timings.generated_tokens},
            {"load_seconds", load_seconds},
            {"prefill_seconds", g.timings.prefill_seconds},
            {"decode_seconds", g.timings.decode_seconds},
            {"tokens_per_second", rate(g.timings)}}}};
}

void print_summary(const std::vector<Generation>& all, double load_seconds, std::uint64_t seed) {
  std::int64_t prompt = 0, generated = 0;
  double prefill = 0, decode = 0;
  for (const Generation& g : all) {
    prompt += g.timings.prompt_tokens;
    generated += g.timings.generated_tokens;
    prefill = std::max(prefill, g.timings.prefill_seconds);
    decode = std::max(decode, g.timings.decode_seconds);
  }
  const std::string speed =
      decode > 0 ? fmt::format(" at {:.1f} tokens/s",
                               static_cast<double>(generated - static_cast<std::int64_t>(all.size())) / decode)
                 : "";
  fmt::print(
      stderr, "{} in {:.2f} s, {} generated{}, {}; loaded in {:.2f} s; --seed {}\n", counted(prompt, "prompt token"),
      prefill, generated, speed,
      all.size() == 1 ? std::string(name(all[0].finish_reason)) : counted(static_cast<std::int64_t>(all.size()), "sequence"),
      load_seconds, seed);
}

int run(const CLI::App& command, Generate& g) {
  const std::vector<std::string> prompts = read_prompts(command, g);
  g.options.kv_cache = !g.no_kv_cache;
  catch_interrupts();
  double load_seconds = 0;
  const auto model = load_model(g.model, &load_seconds);
  std::vector<std::vector<TokenId>> ids;
  for (const std::string& prompt : prompts) ids.push_back(encode(*model->tokenizer(), g, prompt));

  const bool stream = !g.json && prompts.size() == 1 && g.options.n == 1;
  if (stream && g.echo) {
    fmt::print("{}", prompts[0]);
    std::fflush(stdout);
  }
  std::optional<Progress> progress(std::in_place, !g.model.quiet,
                                   stream ? 0 : prompts.size() * static_cast<std::size_t>(std::max(g.options.n, 1)));
  g.options.abort_requested = [&progress] {
    progress->before_step();
    return interrupted();
  };
  const auto all = generate(model, ids, g.options, [&](const TokenEvent& event) {
    progress->see(event);
    if (stream && !event.text.empty()) {
      std::fwrite(event.text.data(), 1, event.text.size(), stdout);
      std::fflush(stdout);
    }
    return true;
  });
  progress.reset();

  bool bad_logits = false;
  for (const Generation& one : all) {
    bad_logits = bad_logits || one.finish_reason == FinishReason::invalid_logits;
    if (g.json) {
      fmt::print("{}\n", to_json(one, load_seconds, g.options.sampling.seed)
                             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else if (!stream) {
      fmt::print("--- prompt {}, continuation {} ---\n{}{}\n", one.prompt + 1, one.index + 1,
                 g.echo ? prompts[one.prompt] : "", one.text);
    }
  }
  if (stream) fmt::print("\n");
  std::fflush(stdout);
  if (!g.model.quiet && !g.json) print_summary(all, load_seconds, g.options.sampling.seed);
  if (bad_logits) throw ModelError("the model gave logits that are not numbers; its weights are damaged");
  return interrupted() ? kInterrupted : 0;
}

}  // namespace

void add_generate(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt; the text streams as it is made");
  const auto g = std::make_shared<Generate>();
  command->add_option("PROMPT", g->prompt, "the text to continue; - reads standard input, byte for byte");
  command->add_option("-f,--file", g->file, "read the prompt from a file, byte for byte");
  command->add_flag("--batch", g->batch, "one prompt a line, all run as one batch");
  add_model_options(*command, g->model);
  command->add_option("-n,--max-tokens", g->options.max_tokens, "most tokens to generate for each sequence")
      ->check(whole_number<std::int64_t>())
      ->capture_default_str();
  add_sampling_options(*command, g->sampling);
  command->add_option("--n", g->options.n, "continuations of each prompt, up to 65536")
      ->check(whole_number<int>())
      ->capture_default_str();
  command->add_option("--stop", g->options.stop, "end where this text appears; give it again for each further text")
      ->allow_extra_args(false)
      ->take_all();
  command->add_flag("--chat", g->chat, "the prompt is a user's message: apply the model's chat template");
  command->add_option("--system", g->system, "system message for --chat");
  command->add_flag("--ignore-eos", g->options.ignore_eos, "go on past the model's end-of-sequence token");
  command->add_flag("--no-kv-cache", g->no_kv_cache, "recompute everything at each step, to see what the cache is worth");
  command->add_flag("--json", g->json, "one JSON object a sequence");
  command->add_flag("--echo", g->echo, "print the prompt before its continuation");
  command->callback([command, g, &status] {
    g->options.sampling = resolve(g->sampling, *command);
    status = run(*command, *g);
  });
}

}  // namespace warploom::cli
