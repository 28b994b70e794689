// How a model was trained to see a conversation. Model files carry that as a program in Jinja; this runs it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/template.h"
#include "warploom/tokenizer.h"

namespace warploom {

/// A stretch of the rendered conversation.
struct ChatSegment {
  std::string text;
  bool markup;  // written by the template, so that special tokens in it count; else it is what someone said
};

class ChatTemplate {
 public:
  /// `source` is the file's template, empty if it has none; `bos`, `eos`, `unknown` and `padding` are those tokens' texts,
  /// empty if there are none. Short conversations are rendered at once: a template that cannot do that is refused.
  ChatTemplate(std::string_view source, std::string_view bos, std::string_view eos, std::string_view unknown = {},
               std::string_view padding = {});

  /// What the template's markers look like: "chatml", "llama2", "llama3", "gemma" or "mistral", else "other"; empty if the
  /// template is missing or refused.
  std::string_view format() const { return format_; }
  /// Why it is refused: the line, and what is not supported there.
  const std::string& refusal() const { return refusal_; }
  /// Spelled as a marker, e.g. "<|user|>", and written by the template.
  bool is_marker(std::string_view token) const;
  /// With ChatEnd::open, the text ends in what the last message says. Throws InvalidArgument on a conversation that the template
  /// cannot express, and on an open one whose last message it changes; ModelError if it does what is not supported. Only if
  /// format() is not empty.
  std::vector<ChatSegment> render(std::span<const ChatMessage> messages, ChatEnd end) const;

  /// A conversation that ends in an answer and a question, in two: the text up to the answer's end, and what follows it, ready for the
  /// next answer. Empty if the template does not write the answer. Throws as render does.
  struct AroundAnswer {
    std::string before;
    std::vector<ChatSegment> after;
  };
  std::optional<AroundAnswer> around_last_answer(std::span<const ChatMessage> messages) const;

 private:
  jinja::Text render_text(std::span<const ChatMessage> messages, ChatEnd end) const;
  std::string prove() const;
  jinja::Text run(std::span<const ChatMessage> messages, bool add_generation_prompt) const;
  jinja::Text run_checked(std::span<const ChatMessage> messages, bool add_generation_prompt) const;
  jinja::Text up_to_last_message(std::span<const ChatMessage> messages) const;
  std::size_t place_of_last_message(const jinja::Text& text, std::span<const ChatMessage> messages) const;

  jinja::Entries special_tokens_;  // as Hugging Face's library names them
  std::optional<jinja::Template> template_;
  std::string_view format_;
  std::string refusal_;
  std::string written_;  // what the template may write: its source, and what it wrote around a few messages
};

}  // namespace warploom
