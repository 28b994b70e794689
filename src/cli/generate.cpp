#include <algorithm>
#include <cstdio>
#include <map>

#include <fmt/format.h>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/generate_report.h"
#include "cli/interrupt.h"
#include "cli/invalid_logits.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "cli/progress.h"
#include "cli/request_options.h"
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
  RequestChoice request_choice;
  Request request;  // what it comes to, but for its prompt
  bool batch = false, chat = false, json = false, echo = false, no_kv_cache = false;
};

std::vector<std::string> read_prompts(const CLI::App& command, const Generate& g) {
  const bool from_file = command.count("--file") > 0, argument = command.count("PROMPT") > 0;
  if (from_file == argument) throw CLI::ValidationError("give one of PROMPT, --file FILE and - (standard input)");
  if (g.has_system && !g.chat) throw CLI::ValidationError("--system goes with --chat");
  if (!g.prefill.empty() && !g.chat) throw CLI::ValidationError("--prefill goes with --chat");
  for (const char* name : {"--logprobs", "--top-logprobs", "--prompt-logprobs"})
    if (command.count(name) > 0 && !g.json) throw CLI::ValidationError(fmt::format("{} goes with --json", name));
  const std::string source = from_file ? g.file : g.prompt == "-" ? "-" : "";
  if (g.batch) {
    if (source.empty()) throw CLI::ValidationError("--batch reads one prompt a line: it goes with --file or -");
    std::vector<std::string> lines = read_lines(source);
    if (lines.empty()) throw InvalidArgument(fmt::format("{} holds no prompt", source));
    return lines;
  }
  return {source.empty() ? g.prompt : read_all(source)};
}

std::vector<TokenId> encode(const Generate& g, const Tokenizer& tokenizer, const std::string& prompt) {
  if (!g.chat) return tokenizer.encode(prompt);
  std::vector<ChatMessage> messages;
  if (g.has_system) messages.push_back({"system", g.system});
  messages.push_back({"user", prompt});
  if (g.prefill.empty()) return tokenizer.encode_chat(messages);
  messages.push_back({"assistant", g.prefill});
  return tokenizer.encode_chat(messages, ChatEnd::open);
}

Request request_for(const Generate& g, const Tokenizer& tokenizer, const std::string& prompt) {
  Request request = g.request;
  request.prompt = encode(g, tokenizer, prompt);
  return request;
}

/// The prompts' requests, their prompts as tokens. Of a batch, a prompt that cannot be taken is reported and left out.
struct Batch {
  std::vector<Request> requests;
  std::vector<std::size_t> prompts;  // which one each request is of
  bool refused = false;
};

/// Gives equal prompts different random numbers.
class Subsequences {
 public:
  void assign(Request& request) {
    std::uint64_t& next = next_[std::get<std::vector<TokenId>>(request.prompt)];
    const std::uint64_t first = request.first_subsequence + next;
    next += static_cast<std::uint64_t>(std::max(request.n, request.best_of));
    if (first > UINT32_MAX)
      throw InvalidArgument(
          fmt::format("--first-subsequence {} leaves no subsequence below 2^32 for this prompt, which came before",
                      request.first_subsequence));
    request.first_subsequence = static_cast<std::uint32_t>(first);
  }

 private:
  std::map<std::vector<TokenId>, std::uint64_t> next_;
};

Batch batch_for(const Generate& g, const Model& model, const std::vector<std::string>& prompts) {
  Batch batch;
  Subsequences subsequences;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    try {
      if (!g.chat && !g.model.quiet) warn_of_two_bos(*model.tokenizer(), prompts[i]);
      Request request = request_for(g, *model.tokenizer(), prompts[i]);
      check_prompt(std::get<std::vector<TokenId>>(request.prompt), model.shape());
      subsequences.assign(request);
      batch.requests.push_back(std::move(request));
      batch.prompts.push_back(i);
    } catch (const Error& error) {
      if (!g.batch) throw;
      batch.refused = true;
      if (g.json) print_line({{"prompt", i}, {"error", error.what()}});
      say("warploom: prompt {}: {}\n", i, error.what());
    }
  }
  return batch;
}

int run(const CLI::App& command, Generate& g) {
  const std::vector<std::string> prompts = read_prompts(command, g);
  EngineOptions options;
  set_kv_options(g.kv, options);
  options.use_kv_cache = !g.no_kv_cache;
  double load_seconds = 0;
  const auto model = load_model(g.model, &load_seconds);
  catch_interrupts();  // until here there is nothing to keep
  const Batch batch = batch_for(g, *model, prompts);
  const std::uint64_t seed = g.request.sampling.seed;

  const bool stream = !g.json && prompts.size() == 1 && g.request.n == 1;
  if (stream && g.echo) show(prompts[0]);
  Progress progress(!g.model.quiet, stream ? 0 : batch.requests.size() * static_cast<std::size_t>(std::max(g.request.n, 1)));
  const bool answers = g.chat && g.prefill.empty();  // which begin a text; others go on with one
  AnswerText streamed(*model->tokenizer());
  Callbacks callbacks;
  callbacks.should_abort = [&progress] {
    progress.before_step();
    return interrupted();
  };
  callbacks.on_token = [&](const TokenEvent& event) {
    progress.see(event);
    if (stream) show(answers ? streamed.next(event) : event.text);
    return true;
  };
  callbacks.on_output = [&](std::uint64_t request, const RequestOutput& output) {
    progress.clear();
    const std::size_t prompt = batch.prompts[request];
    for (const Completion& c : output.completions) {
      const std::string_view text = answers ? answer_text(*model->tokenizer(), c) : std::string_view(c.text);
      if (g.json) {
        print_line(to_json(prompt, output, c, text, {load_seconds, model->device().description, seed}));
      } else if (!stream) {
        fmt::print("--- prompt {}, continuation {} ---\n", prompt, c.index);
        if (g.echo) show(prompts[prompt]);
        show(text);
        fmt::print("\n");
      }
    }
  };
  const std::vector<RequestOutput> all = generate(model, batch.requests, options, callbacks);
  progress.clear();
  if (stream) fmt::print("\n");
  std::fflush(stdout);
  if (!g.model.quiet && !g.json && !all.empty()) print_summary(all, {load_seconds, model->device().description, seed});
  bool failed = batch.refused;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].error.empty()) continue;
    failed = true;
    try {
      fail_by_cause(model, batch.requests[i], options, all[i]);
    } catch (const Error& error) {
      if (!g.batch) throw;
      say("warploom: prompt {}: {}\n", batch.prompts[i], error.what());
    }
  }
  return failed && !interrupted() ? 1 : interrupt_status();
}

}  // namespace

void add_generate(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt; the text streams as it is made");
  const auto g = std::make_shared<Generate>();
  command->add_option("PROMPT", g->prompt, "the text to continue; - reads standard input, byte for byte");
  command->add_option("-f,--file", g->file, "read the prompt from a file, byte for byte");
  command->add_flag("--batch", g->batch,
                    "one prompt a line, all run as one batch; prompts are counted from 0, empty lines are not");
  add_model_options(*command, g->model);
  add_kv_options(*command, g->kv);
  add_sampling_options(*command, g->sampling);
  add_request_options(*command, g->request_choice);
  command->add_flag("--chat", g->chat, "the prompt is a user's message: apply the model's chat template");
  command->add_option("--system", g->system, "system message for --chat; empty: an empty one, not the model's default");
  command->add_option("--prefill", g->prefill, "beginning of the answer for --chat, which the model goes on with");
  command->add_flag("--no-kv-cache", g->no_kv_cache, "recompute everything at each step, to see what the cache is worth");
  command->add_flag("--json", g->json, "one JSON object a sequence");
  command->add_flag("--echo", g->echo, "print the prompt before its continuation");
  command->callback([command, g, &status] {
    g->has_system = command->count("--system") > 0;
    g->request = resolve(g->request_choice);
    g->request.sampling = resolve(g->sampling, *command);
    status = run(*command, *g);
  });
}

}  // namespace warploom::cli
