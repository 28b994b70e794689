#include "cli/generate_report.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>

#include <fmt/format.h>

#include "cli/say.h"

namespace warploom::cli {

namespace {

double rate(const Completion& c) {
  // The first token comes out of the prompt's step; the others are what decoding took time for.
  return c.timings.decode_seconds > 0 ? static_cast<double>(c.token_ids.size() - 1) / c.timings.decode_seconds : 0.0;
}

std::string counted(std::int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

}  // namespace

nlohmann::json to_json(std::size_t prompt, const RequestOutput& output, const Completion& c, std::string_view text,
                       const RunInfo& info) {
  nlohmann::json line = {{"prompt", prompt},
                         {"index", c.index},
                         {"device", info.device},
                         {"seed", info.seed},
                         {"subsequence", c.subsequence},
                         {"prompt_token_ids", output.prompt_token_ids},
                         {"token_ids", c.token_ids},
                         {"text", text},
                         {"finish_reason", name(c.finish_reason)},
                         {"timings",
                          {{"prompt_tokens", output.prompt_token_ids.size()},
                           {"cached_tokens", output.cached_tokens},
                           {"generated_tokens", c.token_ids.size()},
                           {"load_seconds", info.load_seconds},
                           {"time_to_first_token", c.timings.time_to_first_token},
                           {"decode_seconds", c.timings.decode_seconds},
                           {"tokens_per_second", rate(c)}}}};
  if (!c.stop_string.empty()) line["stop_string"] = c.stop_string;
  if (!c.logprobs.empty()) line["logprobs"] = c.logprobs;
  for (const std::vector<TokenLogprob>& top : c.top_logprobs) {
    nlohmann::json& entries = line["top_logprobs"].emplace_back(nlohmann::json::array());
    for (const TokenLogprob& entry : top) entries.push_back({{"token", entry.token}, {"logprob", entry.logprob}});
  }
  if (!output.prompt_logprobs.empty()) line["prompt_logprobs"] = output.prompt_logprobs;
  if (!output.error.empty()) line["error"] = output.error;
  return line;
}

// Control characters beyond those that JSON escapes: terminals take them for commands, too.
std::string escape_controls(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == 0x7f) {
      escaped += "\\u007f";
    } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009F
      fmt::format_to(std::back_inserter(escaped), "\\u{:04x}", next);
      ++i;
    } else {
      escaped += text[i];
    }
  }
  return escaped;
}

void print_line(const nlohmann::json& line) {
  fmt::print("{}\n", escape_controls(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  std::fflush(stdout);
}

void print_summary(std::span<const RequestOutput> all, const RunInfo& info) {
  std::int64_t prompt = 0, generated = 0, sequences = 0, decoded = 0;  // decoded: behind each sequence's first token
  double first = 0, decode = 0;
  for (const RequestOutput& output : all) {
    prompt += static_cast<std::int64_t>(output.prompt_token_ids.size());
    for (const Completion& c : output.completions) {
      ++sequences;
      const auto tokens = static_cast<std::int64_t>(c.token_ids.size());
      generated += tokens;
      decoded += std::max<std::int64_t>(tokens - 1, 0);  // some may have been interrupted before their first
      first = std::max(first, c.timings.time_to_first_token);
      decode = std::max(decode, c.timings.decode_seconds);
    }
  }
  const std::string speed = decode > 0 ? fmt::format(" at {:.1f} tokens/s", static_cast<double>(decoded) / decode) : "";
  const std::string end =
      sequences == 1 ? std::string(name(all[0].completions[0].finish_reason)) : counted(sequences, "sequence");
  say("{} in {:.2f} s, {} generated{}, {}; loaded in {:.2f} s; {}; --seed {}\n", counted(prompt, "prompt token"), first,
      generated, speed, end, info.load_seconds, info.device, info.seed);
}

}  // namespace warploom::cli
