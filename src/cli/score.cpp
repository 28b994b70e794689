#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/invalid_logits.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "cli/text_input.h"
#include "warploom/error.h"

namespace warploom::cli {

namespace {

void refuse_extras(const std::vector<std::string>& extras) {
  if (extras.empty()) return;
  if (extras.front().starts_with('-')) throw CLI::ExtrasError(extras);
  throw CLI::ValidationError(
      fmt::format("\"{:.40}\" is not an option; the text is read from a file, -f FILE, or from standard input: echo TEXT | "
                  "warploom score -f -",
                  extras.front()));
}

}  // namespace

void add_score(CLI::App& app) {
  struct Options {
    ModelChoice model;
    KvChoice kv;
    std::string file;
    ScoreOptions score;
    bool json = false, bos = false;
  };
  CLI::App* command =
      app.add_subcommand("score", "How well the model predicts a text: negative log-likelihood and perplexity");
  const auto o = std::make_shared<Options>();
  command->add_option("-f,--file", o->file, "the text (required); - reads standard input");
  command->add_option("--window", o->score.window, "tokens that are scored together; 0: the model's context")
      ->check(whole_number<std::int64_t>())
      ->capture_default_str();
  command->add_flag("--bos", o->bos,
                    "begin each window with the beginning-of-sequence token and score every token, as lm-eval does");
  command->add_flag("--json", o->json, "one JSON object");
  add_model_options(*command, o->model);
  add_kv_options(*command, o->kv);
  command->allow_extras();  // to say what to do with a text that is given by itself
  command->callback([o, command] {
    refuse_extras(command->remaining());
    if (o->file.empty()) throw CLI::RequiredError("--file");
    set_kv_options(o->kv, o->score);
    const std::string text = read_all(o->file);
    const auto model = load_model(o->model);
    const Tokenizer& tokenizer = *model->tokenizer();
    if (o->bos && tokenizer.bos() < 0) throw ModelError("--bos: the model has no beginning-of-sequence token");
    if (o->bos) o->score.bos = tokenizer.bos();
    if (!o->bos && !o->model.quiet) warn_of_two_bos(tokenizer, text);
    const std::vector<TokenId> ids = tokenizer.encode(text, {.add_special = !o->bos});
    ShareProgress progress(!o->model.quiet, "scoring");
    o->score.progress = [&](double share) { progress.see(share); };
    const Score result = score_or_fail_by_cause(model, ids, o->score);
    progress.clear();
    if (o->json) {
      fmt::print("{}\n", nlohmann::json{{"tokens", ids.size()},
                                        {"scored", result.logprobs.size()},
                                        {"mean_nll", result.mean_nll},
                                        {"perplexity", result.perplexity}}
                             .dump());
    } else {
      fmt::print("tokens {}, scored {}\nnegative log-likelihood {:.6f} a token\nperplexity {:.4f}\n", ids.size(),
                 result.logprobs.size(), result.mean_nll, result.perplexity);
    }
  });
}

}  // namespace warploom::cli
