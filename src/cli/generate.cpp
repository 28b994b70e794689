#include <algorithm>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/invalid_logits.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "cli/text_input.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::cli {

namespace {

struct Generate {
  ModelChoice model;
  KvChoice kv;
  SamplingChoice sampling;
  std::string prompt, file, system, prefill;
  bool has_system = false;  // an empty message is one, and not the template's default
  Request request;          // but for its prompt
  bool batch = false, chat = false, json = false, echo = false, no_kv_cache = false;
};

std::vector<std::string> read_prompts(const CLI::App& command, const Generate& g) {
  const bool from_file = command.count("--file") > 0, argument = command.count("PROMPT") > 0;
  if (from_file == argument) throw CLI::ValidationError("give one of PROMPT, --file FILE and - (standard input)");
  if (g.has_system && !g.chat) throw CLI::ValidationError("--system goes with --chat");
  if (!g.prefill.empty() && !g.chat) throw CLI::ValidationError("--prefill goes with --chat");
  const std::string source = from_file ? g.file : g.prompt == "-" ? "-" : "";
  if (g.batch) {
    if (source.empty()) throw CLI::ValidationError("--batch reads one prompt a line: it goes with --file or -");
    std::vector<std::string> lines = read_lines(source);
    if (lines.empty()) throw InvalidArgument(fmt::format("{} holds no prompt", source));
    return lines;
  }
  return {source.empty() ? g.prompt : read_all(source)};
}

Request request_for(const Generate& g, const Tokenizer& tokenizer, const std::string& prompt) {
  Request request = g.request;
  request.prompt = prompt;
  if (!g.chat) return request;
  std::vector<ChatMessage> messages;
  if (g.has_system) messages.push_back({"system", g.system});
  messages.push_back({"user", prompt});
  if (!g.prefill.empty()) {
    messages.push_back({"assistant", g.prefill});
    request.prompt = tokenizer.encode_chat(messages, ChatEnd::open);
  } else {
    request.prompt = std::move(messages);
  }
  return request;
}

double rate(const Completion& c) {
  // The first token comes out of the prompt's step; the others are what decoding took time for.
  return c.timings.decode_seconds > 0 ? static_cast<double>(c.token_ids.size() - 1) / c.timings.decode_seconds : 0.0;
}

std::string counted(std::int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

nlohmann::json to_json(std::size_t prompt, const RequestOutput& output, const Completion& c, double load_seconds,
                       std::uint64_t seed) {
  return {{"prompt", prompt},
          {"index", c.index},
          {"seed", seed},
          {"prompt_token_ids", output.prompt_token_ids},
          {"token_ids", c.token_ids},
          {"text", c.text},
          {"finish_reason", name(c.finish_reason)},
          {"timings",
           {{"prompt_tokens", output.prompt_token_ids.size()},
            {"cached_tokens", output.cached_tokens},
            {"generated_tokens", c.token_ids.size()},
            {"load_seconds", load_seconds},
            {"time_to_first_token", c.timings.time_to_first_token},
            {"decode_seconds", c.timings.decode_seconds},
            {"tokens_per_second", rate(c)}}}};
}

void print_summary(const std::vector<RequestOutput>& all, double load_seconds, std::uint64_t seed) {
  std::int64_t prompt = 0, generated = 0, sequences = 0;
  double first = 0, decode = 0;
  for (const RequestOutput& output : all) {
    prompt += static_cast<std::int64_t>(output.prompt_token_ids.size());
    for (const Completion& c : output.completions) {
      ++sequences;
      generated += static_cast<std::int64_t>(c.token_ids.size());
      first = std::max(first, c.timings.time_to_first_token);
      decode = std::max(decode, c.timings.decode_seconds);
    }
  }
  const std::string speed =
      decode > 0 ? fmt::format(" at {:.1f} tokens/s", static_cast<double>(generated - sequences) / decode) : "";
  const std::string end =
      sequences == 1 ? std::string(name(all[0].completions[0].finish_reason)) : counted(sequences, "sequence");
  say("{} in {:.2f} s, {} generated{}, {}; loaded in {:.2f} s; --seed {}\n", counted(prompt, "prompt token"), first,
      generated, speed, end, load_seconds, seed);
}

int run(const CLI::App& command, Generate& g) {
  const std::vector<std::string> prompts = read_prompts(command, g);
  EngineOptions options;
  options.kv_type = kv_type_of(g.kv);
  options.block_size = g.kv.block_size;
  options.use_kv_cache = !g.no_kv_cache;
  double load_seconds = 0;
  const auto model = load_model(g.model, &load_seconds);
  catch_interrupts();  // until here there is nothing to keep
  std::vector<Request> requests;
  for (const std::string& prompt : prompts) {
    if (!g.chat && !g.model.quiet) warn_of_two_bos(*model->tokenizer(), prompt);
    requests.push_back(request_for(g, *model->tokenizer(), prompt));
  }

  const bool stream = !g.json && prompts.size() == 1 && g.request.n == 1;
  if (stream && g.echo) {
    show(prompts[0]);
  }
  std::optional<Progress> progress(std::in_place, !g.model.quiet,
                                   stream ? 0 : prompts.size() * static_cast<std::size_t>(std::max(g.request.n, 1)));
  const bool answers = g.chat && g.prefill.empty();  // which begin a text, where others go on with one
  AnswerText streamed(*model->tokenizer());
  Callbacks callbacks;
  callbacks.should_abort = [&progress] {
    progress->before_step();
    return interrupted();
  };
  callbacks.on_token = [&](const TokenEvent& event) {
    progress->see(event);
    if (stream) show(answers ? streamed.next(event) : event.text);
    return true;
  };
  const std::vector<RequestOutput> all = generate(model, requests, options, callbacks);
  progress.reset();

  const std::uint64_t seed = g.request.sampling.seed;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const Completion& c : all[i].completions) {
      if (g.json) {
        nlohmann::json line = to_json(i, all[i], c, load_seconds, seed);
        if (answers) line["text"] = answer_text(*model->tokenizer(), c);
        fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      } else if (!stream) {
        fmt::print("--- prompt {}, continuation {} ---\n", i + 1, c.index + 1);
        if (g.echo) show(prompts[i]);
        show(answers ? answer_text(*model->tokenizer(), c) : std::string_view(c.text));
        fmt::print("\n");
      }
    }
  }
  if (stream) fmt::print("\n");
  std::fflush(stdout);
  if (!g.model.quiet && !g.json) print_summary(all, load_seconds, seed);
  for (std::size_t i = 0; i < all.size(); ++i)
    for (const Completion& c : all[i].completions)
      if (c.finish_reason == FinishReason::invalid_logits) fail_by_cause(model, requests[i], options, all[i], c);
  return interrupt_status();
}

}  // namespace

void add_generate(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt; the text streams as it is made");
  const auto g = std::make_shared<Generate>();
  command->add_option("PROMPT", g->prompt, "the text to continue; - reads standard input, byte for byte");
  command->add_option("-f,--file", g->file, "read the prompt from a file, byte for byte");
  command->add_flag("--batch", g->batch, "one prompt a line, all run as one batch");
  add_model_options(*command, g->model);
  add_kv_options(*command, g->kv);
  command->add_option("-n,--max-tokens", g->request.max_tokens, "maximum number of tokens to generate for each sequence")
      ->check(whole_number<std::int64_t>(1))
      ->capture_default_str();
  add_sampling_options(*command, g->sampling);
  command->add_option("--n", g->request.n, "continuations of each prompt, up to 65536")
      ->check(whole_number<int>())
      ->capture_default_str();
  command->add_option("--stop", g->request.stop, "end where this text appears; give it again for each further text")
      ->allow_extra_args(false)
      ->take_all();
  command->add_flag("--chat", g->chat, "the prompt is a user's message: apply the model's chat template");
  command->add_option("--system", g->system, "system message for --chat; empty: an empty one, not the model's default");
  command->add_option("--prefill", g->prefill, "beginning of the answer for --chat, which the model goes on with");
  command->add_flag("--ignore-eos", g->request.ignore_eos, "go on past the model's end-of-sequence token");
  command->add_flag("--no-kv-cache", g->no_kv_cache, "recompute everything at each step, to see what the cache is worth");
  command->add_flag("--json", g->json, "one JSON object a sequence");
  command->add_flag("--echo", g->echo, "print the prompt before its continuation");
  command->callback([command, g, &status] {
    g->has_system = command->count("--system") > 0;
    g->request.sampling = resolve(g->sampling, *command);
    status = run(*command, *g);
  });
}

}  // namespace warploom::cli
