// Text to token ids and back, as a model's file says.
#pragma once

#include <cstddef>
#include <cstdint>
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
  /// Add the beginning-of-sequence token if the model's file says so.
  bool add_special = true;
  /// Recognise special tokens written out in the text, e.g. "<|im_start|>"; else they are plain text.
  bool parse_special = true;
  /// Add the end-of-sequence token if the model's file says so: for a text that is whole, not a prompt that is to be continued.
  bool add_eos = false;
  /// Normalise text to Unicode's form C if the model's tokenizer does: Qwen2's family. Else what it spells is kept as it is.
  bool normalize = true;
};

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// Where a rendered conversation ends.
enum class ChatEnd : std::uint8_t {
  generation_prompt,  ///< behind the opening of the answer to the user's last message (Hugging Face: add_generation_prompt)
  closed,             ///< behind the last message's end
  open,  ///< behind the last content, an answer that the model goes on with (Hugging Face: continue_final_message)
};

/// Immutable and safe to share between threads. Views that it returns live as long as it does.
class WARPLOOM_EXPORT Tokenizer final {
 public:
  /// Reads the tokenizer of a model's file and keeps nothing of it open. Throws ModelError if it is missing, damaged or of an
  /// unsupported kind.
  [[nodiscard]] static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Any bytes are accepted, invalid UTF-8 too, and decode(encode(text)) gives them back as far as the vocabulary can spell
  /// them: of a byte-level vocabulary without a token for some byte, characters with that byte lose it and invalid bytes
  /// become U+FFFD; normalised text is in Unicode's form C; a SentencePiece vocabulary without byte tokens gives its unknown
  /// token. Throws InvalidArgument on a text of 2^31 - 1 bytes or more.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Throws InvalidArgument on an id outside the vocabulary. Special tokens are left out unless `with_special`,
  /// as are those that only fill up the vocabulary, e.g. "[PAD259]".
  [[nodiscard]] std::string decode(std::span<const TokenId> ids, bool with_special = false) const;

  /// The bytes of one token as decode would append them in the middle of a text, special tokens written out. Throws
  /// InvalidArgument on an id outside the vocabulary, as is_special and is_eog do.
  [[nodiscard]] std::string_view piece(TokenId id) const;

  std::size_t vocab_size() const;
  bool is_special(TokenId id) const;
  /// The special token that is spelled so, e.g. "<|im_end|>"; -1 if there is none.
  TokenId special_token(std::string_view text) const;
  /// True for every token that ends a generation: end of sequence, end of turn, end of what is filled in.
  bool is_eog(TokenId id) const;
  /// The tokens for which is_eog() is true.
  const std::vector<TokenId>& eog_token_ids() const;
  TokenId bos() const;  ///< -1 if the model has none
  TokenId eos() const;  ///< -1 if the model has none

  /// The conversation as the model was trained to see it: an optional system message, then user and assistant in turn, the
  /// user's last for ChatEnd::generation_prompt and the assistant's for ChatEnd::open. The file's Jinja template is run. Throws
  /// ModelError if it is missing or does what is not supported, naming that, and InvalidArgument on roles that are unknown or out
  /// of order and on conversations that the template refuses.
  [[nodiscard]] std::vector<TokenId> encode_chat(std::span<const ChatMessage> messages,
                                                 ChatEnd end = ChatEnd::generation_prompt) const;

  /// The prompt of a conversation's next turn: encode_chat(messages), but with the tokens of the turn before as they are, so that
  /// what was computed for them can be used again. `prompt` is what encode_chat or encode_next_turn gave for the messages without
  /// their last two, `answer` what the model drew then; the last two messages are that answer and the next question. Where the
  /// template does not repeat prompt and answer, but for white space around the answer, it is encode_chat(messages) indeed.
  [[nodiscard]] std::vector<TokenId> encode_next_turn(std::span<const TokenId> prompt, std::span<const TokenId> answer,
                                                      std::span<const ChatMessage> messages) const;

  /// What encode_chat encodes, as text. Encoding it with `chat_encode_options()` gives encode_chat's tokens, unless a message
  /// spells a special token: encode_chat takes what is in messages as plain text, so that they cannot forge a turn.
  [[nodiscard]] std::string apply_chat_template(std::span<const ChatMessage> messages,
                                                ChatEnd end = ChatEnd::generation_prompt) const;
  EncodeOptions chat_encode_options() const;
  /// What the template's markers look like: "chatml", "llama2", "llama3", "gemma", "mistral" or "other"; empty if there is no
  /// template, or none that encode_chat can run.
  std::string_view chat_format() const;
  /// Why chat_format() is empty; itself empty otherwise.
  std::string chat_refusal() const;

 private:
  struct State;
  friend class StreamDecoder;
  friend std::shared_ptr<const Tokenizer> load_tokenizer(const struct TokenizerData& data);
  explicit Tokenizer(std::unique_ptr<const State> state);
  const std::unique_ptr<const State> state_;
};

/// Turns tokens into text as they come, never emitting half a UTF-8 character. One per sequence; not thread-safe.
class WARPLOOM_EXPORT StreamDecoder {
 public:
  /// Keeps the tokenizer alive. Throws InvalidArgument if it is null. `at_start`: the tokens begin a text, as decode takes them
  /// to; else they continue one, and a leading space is kept.
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool with_special = false, bool at_start = false);
  /// The text that this token completes; may be empty. Bytes that cannot belong to a character come out as they are.
  /// Throws InvalidArgument on an id outside the vocabulary.
  [[nodiscard]] std::string push(TokenId id);
  /// What is left at the end: incomplete bytes come out as they are.
  [[nodiscard]] std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string pending_;
  bool with_special_;
  bool at_start_;
};

}  // namespace warploom
