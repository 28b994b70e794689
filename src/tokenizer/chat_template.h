// How a model was trained to see a conversation. Model files carry that as a Jinja program; this library does not run it, but
// recognises the formats that it knows, with their variants, and refuses the rest.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/tokenizer.h"

namespace warploom {

/// A stretch of the rendered conversation.
struct ChatSegment {
  std::string text;
  bool markup;  // written by the format, so that special tokens in it count; else it is what someone said
};

class ChatTemplate {
 public:
  /// `source` is the file's template, empty where it has none; `bos` and `eos` are those tokens' texts, empty where there are none.
  /// Where the format is not recognised, format() is empty.
  ChatTemplate(std::string_view source, std::string_view bos, std::string_view eos);

  std::string_view format() const { return format_; }  ///< "chatml", "llama2", "llama3", "gemma", "mistral", or empty
  /// The special tokens that the format writes, where the vocabulary has them.
  std::span<const std::string_view> markers() const;
  /// Throws InvalidArgument on a conversation that the format cannot express. Only where format() is not empty.
  std::vector<ChatSegment> render(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

 private:
  // Where the system message goes: Mistral's v3 leaves it out where the last message is not the user's.
  enum class SystemRole { own_turn, first_user, last_message, refused };
  // What comes before and after each role's content.
  struct Turn {
    std::string before;
    std::string after;
  };

  void recognise_chatml(std::string_view source);
  void recognise_llama3(std::string_view source);
  void recognise_gemma(std::string_view source);
  void recognise_inst(std::string_view source, std::string_view bos, std::string_view eos);

  std::string_view format_;
  std::string opening_;  // before everything: the beginning-of-sequence token where the template writes it
  Turn system_, user_, assistant_;
  std::string generation_prompt_;
  std::string default_system_;   // where the conversation has no system message
  std::string system_preamble_;  // before the system message's content
  SystemRole system_role_ = SystemRole::refused;
  bool opens_turns_ = false;  // the beginning-of-sequence token comes before every turn of the user instead
  bool trim_ = false;         // contents lose white space at both ends
  bool trim_assistant_ = false;
};

}  // namespace warploom
