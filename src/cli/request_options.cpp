#include "cli/request_options.h"

#include <charconv>
#include <cstdint>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "cli/checks.h"

namespace warploom::cli {

namespace {

template <typename T>
bool parse(std::string_view text, T& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

LogitBias bias_of(std::string_view text) {
  LogitBias bias;
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !parse(text.substr(0, colon), bias.token) ||
      !parse(text.substr(colon + 1), bias.bias))
    throw CLI::ValidationError(fmt::format("--logit-bias: \"{}\" is not TOKEN:BIAS, e.g. 42:-5 or 42:-inf", text));
  return bias;
}

CLI::Validator length() {
  return CLI::Validator(
      [check = whole_number<std::int64_t>(1)](std::string& text) -> std::string {
        const std::string error = text == "-1" ? std::string() : check(text);
        return error.empty() ? error : error + " nor -1";
      },
      "");
}

}  // namespace

void add_request_options(CLI::App& command, RequestChoice& choice) {
  Request& request = choice.request;
  const auto tokens = [&command](const char* name, std::vector<TokenId>& ids, const char* what) {
    command.add_option(name, ids, what)->check(whole_number<TokenId>())->delimiter(',')->allow_extra_args(false)->take_all();
  };
  command
      .add_option("-n,--max-tokens", request.max_tokens, "maximum number of tokens of each continuation; -1: until it ends")
      ->check(length())
      ->capture_default_str();
  command.add_option("--min-tokens", request.min_tokens, "before that many, neither stop tokens nor stop texts end it")
      ->check(whole_number<std::int64_t>());
  command.add_option("--n", request.n, "continuations of each prompt, up to 65536")
      ->check(whole_number<int>())
      ->capture_default_str();
  command
      .add_option("--best-of", request.best_of, "generate that many and keep the --n with the highest mean log-probability")
      ->check(whole_number<int>(1));
  command
      .add_option("--first-subsequence", request.first_subsequence,
                  "its random numbers are those of this continuation of the prompt; in a batch, equal prompts count on")
      ->check(whole_number<std::uint32_t>());
  command.add_flag("--penalize-prompt", request.penalize_prompt,
                   "the frequency and presence penalties count the prompt's tokens too");
  command
      .add_option("--penalty-window", request.penalty_window,
                  "penalties look at this many of the last tokens; 0: at every token")
      ->check(whole_number<std::int64_t>())
      ->capture_default_str();
  command.add_option("--stop", request.stop, "end where this text appears; give it again for each further text")
      ->allow_extra_args(false)
      ->take_all();
  command.add_flag("--include-stop", request.include_stop, "keep the text that ended it");
  tokens("--stop-token", request.stop_token_ids,
         "end at this token's id; several: give it again, or separate them by commas");
  command.add_flag("--ignore-eos", request.ignore_eos, "go on past the model's end-of-sequence token");
  command.add_option("--logit-bias", choice.logit_bias, "TOKEN:BIAS, added to that token's logit; give it again for others")
      ->allow_extra_args(false)
      ->take_all();
  tokens("--allow-token", request.allowed_token_ids, "draw only these tokens");
  tokens("--ban-token", request.banned_token_ids, "never draw these tokens");
  command.add_flag("--logprobs", request.logprobs, "with --json: log-probabilities of the tokens, before the filters");
  command
      .add_option("--top-logprobs", request.top_logprobs, "with --json: the most probable tokens at each step, up to 1024")
      ->check(whole_number<int>(0, 1024));
  command.add_flag("--prompt-logprobs", request.prompt_logprobs, "with --json: log-probabilities of the prompt's tokens");
}

Request resolve(const RequestChoice& choice) {
  Request request = choice.request;
  if (request.max_tokens == -1) request.max_tokens = std::numeric_limits<std::int64_t>::max();
  for (const std::string& text : choice.logit_bias) request.logit_bias.push_back(bias_of(text));
  return request;
}

}  // namespace warploom::cli
