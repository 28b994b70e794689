#include <charconv>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/printable.h"
#include "cli/text_input.h"
#include "warploom/error.h"

namespace warploom::cli {

namespace {

struct Tokenize {
  std::string model, text;
  std::vector<std::string> ids;
  bool json = false, no_special = false, plain = false, with_special = false;
};

[[noreturn]] void refuse_id(std::string_view text) {
  throw InvalidArgument(fmt::format("\"{:.20}\" is not a token id: ids are whole numbers from 0 on", text));
}

/// Ids from text such as "[1, 2, 3]", "1 2 3" or {"ids": [...]}.
std::vector<TokenId> parse_ids(const std::string& text) {
  std::vector<TokenId> ids;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto* list = json.is_object() && json.contains("ids") ? &json["ids"] : &json;
  if (list->is_array()) {
    for (const auto& id : *list) {
      if (!id.is_number_unsigned() || !std::in_range<TokenId>(id.get<std::uint64_t>()))
        refuse_id(id.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      ids.push_back(id.get<TokenId>());
    }
    return ids;
  }
  const char *at = text.data(), *end = text.data() + text.size();
  while (at < end) {
    if (std::string_view(" \t\r\n,").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    TokenId id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || next == at) refuse_id({at, end});
    ids.push_back(id);
    at = next;
  }
  return ids;
}

void print_ids(const std::vector<TokenId>& ids, bool json) {
  if (json) {
    fmt::print("{}\n", nlohmann::json{{"ids", ids}}.dump());
  } else {
    fmt::print("{}\n", fmt::join(ids, " "));
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  const auto t = std::make_shared<Tokenize>();
  CLI::App* tokenize = app.add_subcommand(
      "tokenize", "Text to token ids; a byte that the vocabulary cannot spell becomes its unknown token, or nothing");
  tokenize->add_option("TEXT", t->text, "the text; - reads standard input, byte for byte")->required();
  tokenize->add_option("-m,--model", t->model, "GGUF file; without it, the one under models/")->check(not_empty());
  tokenize->add_flag("--json", t->json, "print {\"ids\": [...]}");
  tokenize->add_flag("--no-special", t->no_special, "do not add the model's beginning-of-sequence token");
  tokenize->add_flag("--plain", t->plain, "take special tokens written out in the text as plain text");
  tokenize->callback([t] {
    const auto tokenizer = Tokenizer::load(find_model(t->model));
    print_ids(tokenizer->encode(t->text == "-" ? read_all("-") : t->text, {!t->no_special, !t->plain}), t->json);
  });

  CLI::App* detokenize = app.add_subcommand("detokenize", "Token ids to text, byte for byte");
  detokenize->add_option("IDS", t->ids, "ids between spaces or commas, or {\"ids\": [...]}; - reads standard input")
      ->required();
  detokenize->add_option("-m,--model", t->model, "GGUF file; without it, the one under models/")->check(not_empty());
  detokenize->add_flag("--json", t->json, "print {\"text\": ...}");
  detokenize->add_flag("--with-special", t->with_special, "write special tokens out");
  detokenize->callback([t] {
    const auto tokenizer = Tokenizer::load(find_model(t->model));
    const std::string text = tokenizer->decode(
        parse_ids(t->ids == std::vector<std::string>{"-"} ? read_all("-") : fmt::format("{}", fmt::join(t->ids, " "))),
        t->with_special);
    if (t->json) {
      fmt::print("{}\n", nlohmann::json{{"text", text}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      show(text);
    }
  });
}

}  // namespace warploom::cli
