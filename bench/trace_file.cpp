#include "trace_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "warploom/error.h"

namespace warploom::bench {

namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 20;
constexpr std::uint64_t kUnshared = std::uint64_t{1} << 63;  // contents from here on are of one prompt

/// Names the line in what goes wrong.
struct Line {
  const std::string& path;
  std::int64_t number;
  std::string_view text;

  [[noreturn]] void fail(const std::string& what) const {
    throw InvalidArgument(fmt::format("{}:{}: {}", path, number, what));
  }
  std::int64_t tokens(std::string_view name, std::int64_t value) const {
    if (value < 0 || value > kMaxTokens) fail(fmt::format("{} is {}, not in [0, {}]", name, value, kMaxTokens));
    return value;
  }
  double time(std::string_view name, double value) const {
    if (!(value >= 0 && value <= 1e12)) fail(fmt::format("{} is {}, not a time from 0 on", name, value));
    return value;
  }
};

// Unless it is of a request that failed.
void add(Trace& trace, Arrival arrival) {
  if (arrival.prompt_tokens() == 0 || arrival.output_tokens == 0) {
    ++trace.failed;
  } else {
    trace.arrivals.push_back(std::move(arrival));
  }
}

std::vector<TokenId> token_ids_of(const nlohmann::json& list, std::int64_t input_length, const Line& line) {
  if (!list.is_array() || static_cast<std::int64_t>(list.size()) != input_length)
    line.fail(fmt::format("\"prompt_token_ids\" is no list of the {} ids that \"input_length\" promises", input_length));
  std::vector<TokenId> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::numeric_limits<TokenId>::max())
      line.fail(fmt::format("\"prompt_token_ids\" holds {}, no token id", id.dump()));
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

void add_mooncake(Trace& trace, const Line& line, std::int64_t block_tokens) {
  const nlohmann::json record = nlohmann::json::parse(line.text, nullptr, false);
  if (!record.is_object()) line.fail("is no JSON object");
  const auto member = [&](const char* name) -> const nlohmann::json& {
    const auto found = record.find(name);
    if (found == record.end() || !found->is_number()) line.fail(fmt::format("\"{}\" is missing or no number", name));
    return *found;
  };
  const auto tokens = [&](const char* name) {
    const nlohmann::json& value = member(name);
    if (!value.is_number_integer()) line.fail(fmt::format("\"{}\" is {}, no whole number", name, value.dump()));
    return line.tokens(name, value.get<std::int64_t>());
  };
  const double milliseconds = line.time("timestamp", member("timestamp").get<double>());
  std::int64_t left = tokens("input_length");
  const std::int64_t output_tokens = tokens("output_length");
  if (const auto recorded = record.find("prompt_token_ids"); recorded != record.end())
    return add(trace, {milliseconds / 1000, {}, output_tokens, token_ids_of(*recorded, left, line)});
  std::vector<PromptPart> prompt;
  const nlohmann::json ids = record.value("hash_ids", nlohmann::json::array());
  if (!ids.is_array()) line.fail("\"hash_ids\" is no list");
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kUnshared)
      line.fail(fmt::format("\"hash_ids\" holds {}, no whole number from 0 on", id.dump()));
    if (left == 0)
      line.fail(fmt::format("\"hash_ids\" has {} blocks, more than {} tokens take with {} a block (--trace-block)",
                            ids.size(), record["input_length"].dump(), block_tokens));
    prompt.push_back({id.get<std::uint64_t>(), std::min(left, block_tokens)});
    left -= prompt.back().tokens;
  }
  if (left > 0) prompt.push_back({kUnshared + static_cast<std::uint64_t>(line.number), left});
  add(trace, {milliseconds / 1000, std::move(prompt), output_tokens, {}});
}

std::vector<std::string_view> columns_of(std::string_view line) {
  std::vector<std::string_view> columns;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = line.find(',');
    columns.push_back(line.substr(0, end));
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  }
  return columns;
}

class BurstGpt {
 public:
  explicit BurstGpt(const Line& heading) {
    const std::vector<std::string_view> columns = columns_of(heading.text);
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      const auto found = std::find(columns.begin(), columns.end(), kNames[i]);
      if (found == columns.end())
        heading.fail(fmt::format("is neither a JSON object nor names a column \"{}\": it is no Mooncake or BurstGPT trace",
                                 kNames[i]));
      at_[i] = static_cast<std::size_t>(found - columns.begin());
    }
  }

  void add_line(Trace& trace, const Line& line) const {
    const std::vector<std::string_view> columns = columns_of(line.text);
    double values[3] = {};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (at_[i] >= columns.size())
        line.fail(fmt::format("has {} columns; \"{}\" is number {}", columns.size(), kNames[i], at_[i] + 1));
      const std::string_view text = columns[at_[i]];
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), values[i]);
      if (error != std::errc() || end != text.data() + text.size())
        line.fail(fmt::format("{} is \"{}\", no number", kNames[i], text));
      if (i > 0 && values[i] != std::floor(values[i])) line.fail(fmt::format("{} is {}, no whole number", kNames[i], text));
      if (i > 0 && !(std::abs(values[i]) < 1e15)) line.fail(fmt::format("{} is {}, out of range", kNames[i], text));
    }
    std::vector<PromptPart> prompt;
    const std::int64_t request = line.tokens(kNames[1], static_cast<std::int64_t>(values[1]));
    const std::int64_t response = line.tokens(kNames[2], static_cast<std::int64_t>(values[2]));
    if (request > 0) prompt.push_back({kUnshared + static_cast<std::uint64_t>(line.number), request});
    add(trace, {line.time(kNames[0], values[0]), std::move(prompt), response, {}});
  }

 private:
  static constexpr std::array<std::string_view, 3> kNames = {"Timestamp", "Request tokens", "Response tokens"};
  std::array<std::size_t, 3> at_{};
};

}  // namespace

Trace read_trace(std::istream& file, const std::string& path, std::int64_t block_tokens, std::int64_t max_requests) {
  Trace trace;
  std::optional<BurstGpt> burst_gpt;
  std::string text;
  bool first = true;
  for (std::int64_t number = 1; static_cast<std::int64_t>(trace.arrivals.size()) < max_requests && std::getline(file, text);
       ++number) {
    if (text.ends_with('\r')) text.pop_back();
    if (text.empty()) continue;
    const Line line{path, number, text};
    if (first && text[0] != '{') {
      burst_gpt.emplace(line);
    } else if (burst_gpt) {
      burst_gpt->add_line(trace, line);
    } else {
      add_mooncake(trace, line, block_tokens);
    }
    first = false;
  }
  if (file.bad()) throw InvalidArgument(fmt::format("{} cannot be read", path));
  if (trace.arrivals.empty()) throw InvalidArgument(fmt::format("{} holds no request that was answered", path));
  std::stable_sort(trace.arrivals.begin(), trace.arrivals.end(),
                   [](const Arrival& a, const Arrival& b) { return a.seconds < b.seconds; });
  const double start = trace.arrivals.front().seconds;
  for (Arrival& arrival : trace.arrivals) arrival.seconds -= start;
  return trace;
}

Trace read_trace(const std::string& path, std::int64_t block_tokens, std::int64_t max_requests) {
  std::ifstream file(path);
  if (!file) throw InvalidArgument(fmt::format("{} cannot be read", path));
  return read_trace(file, path, block_tokens, max_requests);
}

}  // namespace warploom::bench
