#include <cstdio>
#include <iostream>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/invalid_logits.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "cli/progress.h"
#include "cli/say.h"
#include "warploom/error.h"
#include "warploom/generator.h"

namespace warploom::cli {

namespace {

struct Chat {
  ModelChoice model;
  KvChoice kv;
  SamplingChoice sampling;
  Request request;  // but for its prompt
  std::string system;
  bool has_system = false;  // an empty message is one, and not the template's default
};

constexpr const char* kCommands =
    "Ctrl-C stops an answer, Ctrl-D or /exit leaves, /reset forgets the conversation, /help says this.";

/// False at the end of input. Ctrl-C while nothing is typed leaves as well.
bool read_line(std::string& line, bool show_prompt) {
  if (show_prompt) {
    say("> ");
    std::fflush(stderr);
  }
  const InterruptibleReads reads;
  if (!std::getline(std::cin, line) || interrupted()) return false;
  if (line.ends_with('\r')) line.pop_back();  // of a file made on Windows
  return true;
}

/// Says why an answer ends before the model ended it.
void say_what_is_missing(const Completion& answer, const std::string& error) {
  if (!error.empty())
    say("(cut: {}; /reset starts a new conversation)\n", error);
  else if (answer.finish_reason == FinishReason::length)
    say("(cut after {} tokens; --max-tokens allows more)\n", answer.token_ids.size());
  else if (answer.finish_reason == FinishReason::context_full)
    say("(cut: the context is full; /reset starts a new conversation)\n");
}

int run(Chat& chat) {
  const auto model = load_model(chat.model);
  const Tokenizer& tokenizer = *model->tokenizer();
  if (tokenizer.chat_format().empty()) throw ModelError(fmt::format("{}; use warploom generate", tokenizer.chat_refusal()));
  const bool terminal = isatty(STDIN_FILENO) && !chat.model.quiet;
  if (terminal) say("Type a message. {}\n", kCommands);

  EngineOptions options;
  set_kv_options(chat.kv, options);
  options.max_num_seqs = 1;
  Generator generator(model, options);  // keeps what it computed, so that a turn computes what is new
  std::vector<ChatMessage> messages;
  std::vector<TokenId> prompt, drawn;  // of the turn before
  const auto reset = [&] {
    messages.clear();
    prompt.clear();
    drawn.clear();
    generator.clear_cache();
    if (chat.has_system) messages.push_back({"system", chat.system});
  };
  reset();
  const std::uint64_t seed = chat.request.sampling.seed;
  std::string line;
  for (catch_interrupts(); read_line(line, terminal); catch_interrupts()) {
    if (line.empty()) continue;
    if (line.starts_with('/')) line.erase(line.find_last_not_of(" \t") + 1);
    if (line == "/exit") break;
    if (line == "/reset") {
      reset();
      continue;
    }
    if (line.starts_with('/')) {
      if (line != "/help") say("{} is not a command. ", line);
      say("{}\n", kCommands);
      continue;
    }
    messages.push_back({"user", line});
    std::vector<TokenId> ids;
    try {
      ids = tokenizer.encode_next_turn(prompt, drawn, messages);
    } catch (const Error& error) {  // this message, or this many, are not what the template can express
      messages.pop_back();
      say("{}\n", error.what());
      continue;
    }
    if (static_cast<std::int64_t>(ids.size()) >= model->shape().context_length) {
      messages.pop_back();
      const bool first = messages.empty() || messages.back().role == "system";
      say("That is {} tokens; the model's context holds {}. {}\n", ids.size(), model->shape().context_length,
          first ? "Send a shorter message." : "/reset starts a new conversation.");
      continue;
    }
    chat.request.prompt = ids;
    prompt = std::move(ids);
    Progress progress(!chat.model.quiet, 0);
    Callbacks callbacks;
    callbacks.should_abort = [&progress] {
      progress.before_step();
      return interrupted();
    };
    AnswerText text(tokenizer);
    callbacks.on_token = [&](const TokenEvent& event) {
      progress.see(event);
      show(text.next(event));
      return true;
    };
    const RequestOutput output = generator.generate(chat.request, callbacks);
    const Completion& answer = output.completions.at(0);
    fmt::print("\n");
    std::fflush(stdout);
    if (answer.finish_reason == FinishReason::invalid_logits) fail_by_cause(model, chat.request, options, output);
    if (!chat.model.quiet) say_what_is_missing(answer, output.error);
    messages.push_back({"assistant", std::string(answer_text(tokenizer, answer))});
    drawn = answer.token_ids;
    if (terminated()) break;
    ++chat.request.sampling.seed;  // the same question twice need not give the same answer
  }
  if (!chat.model.quiet) say("--seed {}\n", seed);
  return terminated() ? interrupt_status() : 0;
}

}  // namespace

void add_chat(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("chat", "Talk with the model; /help inside says how");
  const auto chat = std::make_shared<Chat>();
  chat->request.max_tokens = 1024;
  add_model_options(*command, chat->model);
  add_kv_options(*command, chat->kv);
  command->add_option("-n,--max-tokens", chat->request.max_tokens, "maximum number of tokens of an answer")
      ->check(whole_number<std::int64_t>(1))
      ->capture_default_str();
  add_sampling_options(*command, chat->sampling);
  command->add_option("--system", chat->system, "system message");
  command->callback([command, chat, &status] {
    chat->has_system = command->count("--system") > 0;
    chat->request.sampling = resolve(chat->sampling, *command);
    status = run(*chat);
  });
}

}  // namespace warploom::cli
