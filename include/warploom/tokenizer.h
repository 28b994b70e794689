// Text to token ids and back, from what a GGUF file says about its tokenizer.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

struct EncodeOptions {
  bool add_special = true;     ///< add the beginning-of-sequence token (and end-of-sequence, where the model's file says so)
  bool parse_special = true;   ///< recognise special tokens written out in the text, e.g. "<|im_start|>"; else they are plain text
};

struct ChatMessage {
  std::string role;     ///< "system", "user" or "assistant"
  std::string content;
};

/// Immutable and safe to share between threads.
class WARPLOOM_EXPORT Tokenizer {
 public:
  /// Reads the tokenizer of a GGUF file. Throws ModelError where it is missing, damaged or of an unsupported kind.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);

  virtual ~Tokenizer() = default;

  /// Any bytes are accepted, invalid UTF-8 too: decode(encode(text)) gives them back.
  virtual std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  /// Throws InvalidArgument on an id outside the vocabulary. Special tokens are left out unless `with_special`.
  virtual std::string decode(std::span<const TokenId> ids, bool with_special = false) const = 0;

  /// The bytes of one token as decode would append them in the middle of a text, special tokens written out.
  virtual std::string_view piece(TokenId id) const = 0;

  virtual std::size_t vocab_size() const = 0;
  virtual bool is_special(TokenId id) const = 0;
  /// True for every token that ends a generation: end of sequence, end of turn.
  virtual bool ends_generation(TokenId id) const = 0;
  virtual TokenId bos() const = 0;  ///< -1 where the model has none
  virtual TokenId eos() const = 0;  ///< -1 where the model has none

  /// The conversation as the model was trained to see it. Recognised formats: ChatML, Llama 2, Llama 3, Gemma, Mistral.
  /// Encode the result with `chat_encode_options()`. Throws ModelError where the file's template is missing or not recognised.
  virtual std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt = true) const = 0;
  virtual EncodeOptions chat_encode_options() const = 0;
  virtual std::string_view chat_format() const = 0;  ///< "chatml", ...; empty where not recognised
};

/// Turns tokens into text as they come, never emitting half a UTF-8 character. One per sequence; not thread-safe.
class WARPLOOM_EXPORT StreamDecoder {
 public:
  /// Keeps the tokenizer alive.
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool with_special = false);
  /// The text that this token completes; may be empty.
  std::string push(TokenId id);
  /// What is left at the end: incomplete bytes come out as they are.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string pending_;
  bool with_special_;
  bool at_start_ = true;
};

}  // namespace warploom
