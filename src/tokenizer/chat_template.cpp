#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "warploom/error.h"

namespace warploom {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    out.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return out.append(text);
}

// Templates that mean the same are written with either quote, and with or without spaces around operators.
std::string normalise_quotes(std::string_view source) { return replace_all(replace_all(source, "\\n", "\n"), "\"", "'"); }
std::string squeeze_operators(std::string_view source) {
  std::string out;
  for (const char c : source) {
    const bool is_operator = c == '+' || c == '|';
    while (is_operator && !out.empty() && out.back() == ' ') out.pop_back();
    if (c == ' ' && !out.empty() && (out.back() == '+' || out.back() == '|')) continue;
    out += c;
  }
  return out;
}

// What lies between `before` and the next `after`; empty where there is none.
std::string_view between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t begin = text.find(before);
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin + before.size());
  const std::size_t end = text.find(after);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

// The white space that Python's str.strip, and so Jinja's trim, takes away.
constexpr auto kWhiteSpace = std::to_array<std::string_view>(
    {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1C",   "\x1D",   "\x1E",   "\x1F",
     "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
     "\u2007", "\u2008", "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"});

std::string_view trim_front(std::string_view text) {
  const auto leads = [&](std::string_view space) { return text.starts_with(space); };
  for (auto it = std::ranges::find_if(kWhiteSpace, leads); it != kWhiteSpace.end();
       it = std::ranges::find_if(kWhiteSpace, leads)) {
    text.remove_prefix(it->size());
  }
  return text;
}
std::string_view trim_back(std::string_view text) {
  const auto trails = [&](std::string_view space) { return text.ends_with(space); };
  for (auto it = std::ranges::find_if(kWhiteSpace, trails); it != kWhiteSpace.end();
       it = std::ranges::find_if(kWhiteSpace, trails)) {
    text.remove_suffix(it->size());
  }
  return text;
}

constexpr std::string_view kChatMl = "chatml";
constexpr std::string_view kLlama2 = "llama2";
constexpr std::string_view kLlama3 = "llama3";
constexpr std::string_view kGemma = "gemma";
constexpr std::string_view kMistral = "mistral";

constexpr auto kChatMlMarkers = std::to_array<std::string_view>({"<|im_start|>", "<|im_end|>"});
constexpr auto kLlama3Markers = std::to_array<std::string_view>({"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"});
constexpr auto kGemmaMarkers = std::to_array<std::string_view>({"<start_of_turn>", "<end_of_turn>"});
constexpr auto kInstMarkers = std::to_array<std::string_view>({"[INST]", "[/INST]"});

// Throws unless `messages` are an optional system message, then user and assistant in turn.
void check_roles(std::span<const ChatMessage> messages, bool add_generation_prompt) {
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
  if (add_generation_prompt && messages.back().role != "user") {
    throw InvalidArgument(fmt::format("messages[{}]: an answer was asked for, but the last message is the assistant's own",
                                      messages.size() - 1));
  }
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string_view bos, std::string_view eos) {
  const std::string text = normalise_quotes(source);
  const std::string squeezed = squeeze_operators(text);
  trim_ = contains(squeezed, "content']|trim") || contains(squeezed, "content|trim") ||
          contains(squeezed, "content'].strip()") || contains(squeezed, "content.strip()");
  const auto has_all = [&](const auto& markers) {
    return std::ranges::all_of(markers, [&](std::string_view marker) { return contains(text, marker); });
  };
  // Markers of more than one format: something else.
  const bool chatml = has_all(kChatMlMarkers), llama3 = has_all(kLlama3Markers), gemma = has_all(kGemmaMarkers),
             inst = has_all(kInstMarkers);
  if (chatml + llama3 + gemma + inst != 1) return;
  if (chatml) recognise_chatml(text);
  if (llama3) recognise_llama3(text);
  if (gemma) recognise_gemma(text);
  if (inst) recognise_inst(text, bos, eos);
  const bool bos_is_marker = std::ranges::count(markers(), bos) > 0;
  if (!opens_turns_ && (contains(text, "bos_token") || (!bos.empty() && !bos_is_marker && contains(text, bos))))
    opening_ = bos;
}

std::span<const std::string_view> ChatTemplate::markers() const {
  if (format_ == kChatMl) return kChatMlMarkers;
  if (format_ == kLlama3) return kLlama3Markers;
  if (format_ == kGemma) return kGemmaMarkers;
  if (format_ == kMistral) return kInstMarkers;
  return {};
}

void ChatTemplate::recognise_chatml(std::string_view source) {
  // Phi-4 and SmolVLM use the same first marker for formats of their own; reasoning models open the answer's thoughts.
  for (const std::string_view other : {"<|im_sep|>", "<end_of_utterance>", "assistant\n<think>"}) {
    if (contains(source, other)) return;
  }
  if (!contains(source, "<|im_end|>\n") && !contains(squeeze_operators(std::string(source)), "<|im_end|>'+'\n")) return;
  format_ = kChatMl;
  system_ = {"<|im_start|>system\n", "<|im_end|>\n"};
  user_ = {"<|im_start|>user\n", "<|im_end|>\n"};
  assistant_ = {"<|im_start|>assistant\n", "<|im_end|>\n"};
  generation_prompt_ = assistant_.before;
  system_role_ = SystemRole::own_turn;
  // A system turn written out as one string is what the template says where nobody says anything. Where a quote comes before
  // the turn's end, it is put together from parts instead.
  for (std::size_t at = source.find(system_.before); at != source.npos; at = source.find(system_.before, at + 1)) {
    const std::string_view literal = between(source.substr(at), system_.before, "<|im_end|>");
    if (literal.empty() || contains(literal, "'")) continue;
    default_system_ = literal;
    return;
  }
}

void ChatTemplate::recognise_llama3(std::string_view source) {
  format_ = kLlama3;
  const auto turn = [](std::string_view role) {
    return Turn{fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n", role), "<|eot_id|>"};
  };
  system_ = turn("system");
  user_ = turn("user");
  assistant_ = turn("assistant");
  generation_prompt_ = assistant_.before;
  system_role_ = SystemRole::own_turn;
  // From Llama 3.1 on the system turn is always there and opens with two dates. The template's own date stands for today's:
  // a library's output must not depend on the day.
  const std::string_view cutting = between(source, "'Cutting Knowledge Date: ", "\n");
  const std::string_view today = between(source, "set date_string = '", "'");
  if (!cutting.empty() && !today.empty()) {
    system_preamble_ = fmt::format("Cutting Knowledge Date: {}\nToday Date: {}\n\n", cutting, today);
  } else if (!cutting.empty()) {
    format_ = {};
  }
}

void ChatTemplate::recognise_gemma(std::string_view source) {
  format_ = kGemma;
  user_ = {"<start_of_turn>user\n", "<end_of_turn>\n"};
  assistant_ = {"<start_of_turn>model\n", "<end_of_turn>\n"};
  generation_prompt_ = assistant_.before;
  if (contains(source, "first_user_prefix")) {  // Gemma 3
    if (!contains(source, "first_user_prefix = messages[0]['content'] + '\n\n'") ||
        !contains(source, "first_user_prefix = ''")) {
      format_ = {};
      return;
    }
    system_role_ = SystemRole::first_user;
    system_ = {"", "\n\n"};
  }
}

// Llama 2 and Mistral's versions differ in the spaces around [INST] and in where the system message goes.
void ChatTemplate::recognise_inst(std::string_view source, std::string_view bos, std::string_view eos) {
  const std::string text = squeeze_operators(std::string(source));
  // The one of `choices` that stands in quotes in the template; null where that is none or several.
  const auto quoted = [&](std::span<const std::string_view> choices) {
    const std::string_view* found = nullptr;
    for (const std::string_view& choice : choices) {
      if (!contains(text, fmt::format("'{}'", choice))) continue;
      if (found != nullptr) return static_cast<const std::string_view*>(nullptr);
      found = &choice;
    }
    return found;
  };
  static constexpr auto kOpen = std::to_array<std::string_view>({" [INST] ", "[INST] ", "[INST]"});
  static constexpr auto kClose = std::to_array<std::string_view>({" [/INST]", "[/INST]"});
  const std::string_view* open = quoted(kOpen);
  const std::string_view* close = quoted(kClose);
  if (open == nullptr || close == nullptr || contains(text, "[SYSTEM_PROMPT]")) return;
  user_ = {std::string(*open), std::string(*close)};
  opens_turns_ = contains(text, "bos_token+'[INST]");
  if (opens_turns_) user_.before.insert(0, bos);

  const bool spaced_end = contains(text, "+' '+eos_token");
  std::string_view content;
  for (const std::string_view name : {"message['content']", "message.content", "content"}) {
    for (const std::string_view filter : {"", "|trim", ".strip()"}) {
      if (contains(text, fmt::format("{}{}{}+eos_token", name, filter, spaced_end ? "+' '" : ""))) {
        content = name;
        trim_assistant_ = !filter.empty();
        break;
      }
    }
    if (!content.empty()) break;
  }
  if (content.empty()) return;
  if (contains(text, fmt::format("' '+{}", content))) assistant_.before.push_back(' ');
  assistant_.after = fmt::format("{}{}{}", spaced_end ? " " : "", eos, contains(text, "eos_token+' '") ? " " : "");
  trim_ = contains(text, "content.strip()+' [/INST]'") || contains(text, "content.strip()+'[/INST]'");

  if (contains(text, "<<SYS>>")) {
    if (!contains(text, "'<<SYS>>\n'") || !contains(text, "'\n<</SYS>>\n\n'")) return;
    format_ = kLlama2;
    system_ = {"<<SYS>>\n", "\n<</SYS>>\n\n"};
    system_role_ = SystemRole::first_user;
    return;
  }
  if (contains(text, "system_message")) {
    const bool first = contains(text, "loop.first and system_message");
    const bool last = contains(text, "loop.last and system_message");
    if (first == last || !contains(text, "system_message+'\n\n'")) return;
    system_role_ = first ? SystemRole::first_user : SystemRole::last_message;
    system_ = {"", "\n\n"};
  }
  format_ = kMistral;
}

std::vector<ChatSegment> ChatTemplate::render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  check_roles(messages, add_generation_prompt);
  const bool has_system = messages[0].role == "system";
  if (has_system && system_role_ == SystemRole::refused) {
    throw InvalidArgument(
        fmt::format("messages[0]: the model's chat format ({}) has no place for a system message", format_));
  }
  std::vector<ChatSegment> segments;
  const auto markup = [&](std::string_view text) { segments.push_back({std::string(text), true}); };
  const auto content = [&](std::string_view text, bool trim) {
    segments.push_back({std::string(trim ? trim_front(trim_back(text)) : text), false});
  };

  markup(opening_);
  if (system_role_ == SystemRole::own_turn && (has_system || !default_system_.empty() || !system_preamble_.empty())) {
    markup(system_.before + system_preamble_);
    if (has_system) {
      content(messages[0].content, trim_);
    } else {
      markup(default_system_);
    }
    markup(system_.after);
  }
  const std::size_t first = has_system ? 1 : 0;
  for (std::size_t i = first; i < messages.size(); ++i) {
    if (messages[i].role == "assistant") {
      markup(assistant_.before);
      content(messages[i].content, trim_ || trim_assistant_);
      markup(assistant_.after);
      continue;
    }
    markup(user_.before);
    const bool carries_system = has_system && ((system_role_ == SystemRole::first_user && i == first) ||
                                               (system_role_ == SystemRole::last_message && i + 1 == messages.size()));
    if (carries_system) {
      markup(system_.before);
      content(messages[0].content, false);
      markup(system_.after);
    }
    // Llama 2's template trims system message and question as one.
    const bool trim_end_only = carries_system && format_ == kLlama2 && trim_;
    content(trim_end_only ? trim_back(messages[i].content) : messages[i].content, trim_ && !trim_end_only);
    markup(user_.after);
  }
  if (add_generation_prompt) markup(generation_prompt_);
  return segments;
}

}  // namespace warploom
