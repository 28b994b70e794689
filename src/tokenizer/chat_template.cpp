#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/white_space.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using jinja::Author;
using jinja::Text;

constexpr auto kChatMlMarkers = std::to_array<std::string_view>({"<|im_start|>", "<|im_end|>"});
constexpr auto kLlama3Markers = std::to_array<std::string_view>({"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"});
constexpr auto kGemmaMarkers = std::to_array<std::string_view>({"<start_of_turn>", "<end_of_turn>"});
constexpr auto kInstMarkers = std::to_array<std::string_view>({"[INST]", "[/INST]"});

// Markers that are not spelled with bars, as in "<|user|>".
constexpr auto kPlainMarkers = std::to_array<std::string_view>(
    {"<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<end_of_utterance>"});

struct Format {
  std::string_view name;
  std::span<const std::string_view> markers;
};
constexpr auto kFormats = std::to_array<Format>({{"chatml", kChatMlMarkers},
                                                 {"llama3", kLlama3Markers},
                                                 {"gemma", kGemmaMarkers},
                                                 {"llama2", kInstMarkers},
                                                 {"mistral", kInstMarkers},
                                                 {"other", {}}});

std::string_view format_of(std::string_view source) {
  const auto has = [&](std::string_view marker) { return source.find(marker) != std::string_view::npos; };
  for (const Format& format : kFormats) {
    if (format.name == "llama2" && !has("<<SYS>>")) continue;
    if (std::ranges::all_of(format.markers, has)) return format.name;
  }
  return {};
}

// Throws unless `messages` are an optional system message, then user and assistant in turn, the last one fit for `end`.
void check_roles(std::span<const ChatMessage> messages, ChatEnd end) {
  const std::size_t first = !messages.empty() && messages[0].role == "system" ? 1 : 0;
  if (messages.size() == first) throw InvalidArgument("messages: a conversation needs at least one message of the user");
  for (std::size_t i = first; i < messages.size(); ++i) {
    const std::string_view wanted = (i - first) % 2 == 0 ? "user" : "assistant";
    const std::string& role = messages[i].role;
    if (role == wanted) continue;
    if (role == "system") throw InvalidArgument(fmt::format("messages[{}]: a system message may only come first", i));
    if (role != "user" && role != "assistant") {
      throw InvalidArgument(fmt::format("messages[{}]: role '{}' is none of system, user, assistant", i, role));
    }
    throw InvalidArgument(
        fmt::format("messages[{}]: role is '{}' where '{}' is due: user and assistant take turns", i, role, wanted));
  }
  const bool users = messages.back().role == "user";
  if (end == ChatEnd::generation_prompt && !users) {
    throw InvalidArgument(fmt::format("messages[{}]: an answer was asked for, but the last message is the assistant's own",
                                      messages.size() - 1));
  }
  if (end == ChatEnd::open && users) {
    throw InvalidArgument(
        fmt::format("messages[{}]: an answer is to be continued, but the last message is the user's", messages.size() - 1));
  }
}

Author author_of(std::span<const ChatMessage> messages, std::size_t i) {
  if (messages[i].role == "system") return Author::system;
  if (i + 1 == messages.size()) return Author::last_message;
  return i + 2 == messages.size() ? Author::message_before_last : Author::earlier_message;
}

bool is_blank(std::string_view text) { return white_space_before(text) == text.size(); }

std::string_view stripped(std::string_view text) {
  text.remove_prefix(white_space_before(text));
  text.remove_suffix(white_space_after(text));
  return text;
}

// Ends in that white space, of which the template may have kept the end.
Text with_space(const Text& text, std::string_view space) {
  if (text.bytes.ends_with(space)) return text;
  const std::size_t by_format = text.authors.find_last_not_of(static_cast<char>(Author::last_message));
  const std::size_t kept = text.size() - (by_format == std::string::npos ? 0 : by_format + 1);
  const bool is_end = kept < space.size() && text.bytes.ends_with(space.substr(space.size() - kept));
  Text whole = is_end ? text.substr(0, text.size() - kept) : text;
  whole.append(Text(space, Author::last_message));
  return whole;
}

bool has_author(const Text& text, Author author) {
  return text.authors.find(static_cast<char>(author)) != std::string::npos;
}

std::vector<ChatSegment> to_segments(const Text& text) {
  const auto is_markup = [&](std::size_t i) { return text.authors[i] == static_cast<char>(Author::format); };
  std::vector<ChatSegment> segments;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    while (end < text.size() && text.authors[end] == text.authors[begin]) ++end;
    segments.push_back({text.bytes.substr(begin, end - begin), is_markup(begin)});
  }
  return segments;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string_view bos, std::string_view eos, std::string_view unknown,
                           std::string_view padding) {
  const std::pair<std::string, std::string_view> tokens[] = {
      {"bos_token", bos}, {"eos_token", eos}, {"unk_token", unknown}, {"pad_token", padding}};
  for (const auto& [name, spelling] : tokens)
    if (!spelling.empty()) special_tokens_.emplace_back(name, jinja::Value::text(spelling));
  if (source.empty()) return;
  try {
    template_.emplace(source);
    written_ = prove() + std::string(source);
    format_ = format_of(source);
  } catch (const jinja::TemplateError& error) {
    refusal_ = error.what();
  } catch (const InvalidArgument& error) {
    refusal_ = error.what();
  }
}

bool ChatTemplate::is_marker(std::string_view token) const {
  const auto spelled = [&](std::string_view before, std::string_view after) {
    return token.size() > before.size() + after.size() && token.starts_with(before) && token.ends_with(after);
  };
  const bool known = std::ranges::count(kPlainMarkers, token) > 0 || spelled("<|", "|>") || spelled("<\uFF5C", "\uFF5C>");
  return known && written_.find(token) != std::string::npos;
}

// What it does for every conversation must be supported; a question alone must be expressible. Returns the markup that it wrote.
std::string ChatTemplate::prove() const {
  const ChatMessage system{"system", "Be brief."}, user{"user", " Who are you? "}, assistant{"assistant", "\nA model.\n"};
  const std::vector<ChatMessage> question = {user};
  Text written = run_checked(question, true);
  const std::vector<std::vector<ChatMessage>> longer = {
      {system, user}, {user, assistant}, {user, assistant, user}, {system, user, assistant, user}};
  for (const std::vector<ChatMessage>& messages : longer) {
    try {
      written.append(run(messages, messages.back().role == "user"));
    } catch (const jinja::RaisedByTemplate&) {  // it says which conversations it cannot express
    }
  }
  std::string markup;
  for (const ChatSegment& segment : to_segments(written)) {
    if (segment.markup) markup += segment.text;
  }
  return markup;
}

Text ChatTemplate::run(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  using jinja::Value;
  jinja::List list;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    list.push_back(Value::dictionary({{"role", Value::text(messages[i].role)},
                                      {"content", Value::text(Text(messages[i].content, author_of(messages, i)))}}));
  }
  // As Hugging Face's library calls it without tools.
  jinja::Entries variables = {{"messages", Value::list(std::move(list))},
                              {"add_generation_prompt", {add_generation_prompt}},
                              {"tools", {jinja::None{}}},
                              {"documents", {jinja::None{}}}};
  variables.insert(variables.end(), special_tokens_.begin(), special_tokens_.end());
  return template_->render(variables);
}

Text ChatTemplate::run_checked(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  Text text;
  try {
    text = run(messages, add_generation_prompt);
  } catch (const jinja::RaisedByTemplate& error) {
    throw InvalidArgument(fmt::format("messages: the model's chat template refuses them: {}", error.what()));
  }
  // Templates without a place for something leave it out.
  if (add_generation_prompt) {
    if (!is_blank(messages.back().content) && !has_author(text, Author::last_message))
      throw InvalidArgument("messages: the model's chat template leaves out the last message");
    if (messages[0].role == "system" && !is_blank(messages[0].content) && !has_author(text, Author::system))
      throw InvalidArgument("messages[0]: the model's chat template leaves out the system message");
  }
  return text;
}

// Where the last message's words begin in `text`, which was rendered from it. Templates may cut and move what is said, so they
// count only whole, and only at the end of what the template took from the message; or, if it took nothing of it but wrote the
// same by itself, as some do with thoughts, where an answer begins.
std::size_t ChatTemplate::place_of_last_message(const Text& text, std::span<const ChatMessage> messages) const {
  const std::string_view words = stripped(messages.back().content);
  const std::size_t last = text.authors.rfind(static_cast<char>(Author::last_message));
  if (last != std::string::npos) {
    const std::size_t end = last + 1 - white_space_after(std::string_view(text.bytes).substr(0, last + 1));
    const std::size_t found = text.bytes.find(words, end - std::min(end, words.size()));
    return found < end ? found : std::string::npos;
  }
  const std::string start = run_checked(messages.first(messages.size() - 1), true).bytes;
  if (!text.bytes.starts_with(start)) return std::string::npos;
  const std::size_t begin = start.size() + white_space_before(std::string_view(text.bytes).substr(start.size()));
  return text.bytes.compare(begin, words.size(), words) == 0 ? begin : std::string::npos;
}

// Everything before the end of the last message's content, and white space of it that the template took away.
Text ChatTemplate::up_to_last_message(std::span<const ChatMessage> messages) const {
  const std::string_view given = messages.back().content;
  const std::string_view words = stripped(given);
  Text text = run_checked(messages, false);
  if (words.empty()) {
    const std::size_t last = text.authors.rfind(static_cast<char>(Author::last_message));
    if (last != std::string::npos) {
      text = text.substr(0, last + 1);
    } else {  // where something would have been
      std::vector<ChatMessage> marked(messages.begin(), messages.end());
      marked.back().content = "x";
      text = run_checked(marked, false);
      const std::size_t end = text.authors.find(static_cast<char>(Author::last_message));
      if (end == std::string::npos) throw InvalidArgument("messages: the model's chat template leaves out the last message");
      text = text.substr(0, end);
    }
    return with_space(text, given);
  }
  const std::size_t begin = place_of_last_message(text, messages);
  if (begin == std::string::npos)
    throw InvalidArgument(fmt::format(
        "messages[{}]: the model's chat template changes this beginning of an answer, so the model cannot go on with it",
        messages.size() - 1));
  const std::string_view before_words = given.substr(0, white_space_before(given));
  Text whole = with_space(text.substr(0, begin), before_words);
  whole.append(text.substr(begin, words.size()));
  whole.append(Text(given.substr(before_words.size() + words.size()), Author::last_message));
  return whole;
}

Text ChatTemplate::render_text(std::span<const ChatMessage> messages, ChatEnd end) const {
  check_roles(messages, end);
  try {
    return end == ChatEnd::open ? up_to_last_message(messages) : run_checked(messages, end == ChatEnd::generation_prompt);
  } catch (const jinja::TemplateError& error) {
    throw ModelError(fmt::format("the model's chat template cannot render these messages: {}", error.what()));
  }
}

std::vector<ChatSegment> ChatTemplate::render(std::span<const ChatMessage> messages, ChatEnd end) const {
  return to_segments(render_text(messages, end));
}

std::optional<ChatTemplate::AroundAnswer> ChatTemplate::around_last_answer(std::span<const ChatMessage> messages) const {
  const Text text = render_text(messages, ChatEnd::generation_prompt);
  const std::size_t last = text.authors.rfind(static_cast<char>(Author::message_before_last));
  if (messages.size() < 2 || last == std::string::npos) return std::nullopt;
  return AroundAnswer{text.bytes.substr(0, last + 1), to_segments(text.substr(last + 1))};
}

}  // namespace warploom
