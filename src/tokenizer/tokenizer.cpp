#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "checkpoint/checkpoint.h"
#include "tokenizer/bpe.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/nfc.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/white_space.h"
#include "warploom/error.h"

namespace warploom {

namespace {

std::unique_ptr<const TextEncoder> make_encoder(const TokenizerData& data, const TokenIndex& index, Vocabulary& vocabulary) {
  if (vocabulary.algorithm == TokenAlgorithm::sentencepiece) return std::make_unique<SentencePieceEncoder>(data, vocabulary);
  return std::make_unique<BpeEncoder>(data, index, vocabulary);
}

std::string_view stripped(std::string_view text) {
  text.remove_prefix(white_space_before(text));
  text.remove_suffix(white_space_after(text));
  return text;
}

void check_size(std::size_t bytes) {
  constexpr std::size_t kMaxBytes = INT32_MAX - 1;  // a space may be put before
  if (bytes > kMaxBytes) throw InvalidArgument(fmt::format("text of {} bytes is longer than {}", bytes, kMaxBytes));
}

}  // namespace

struct Tokenizer::State {
  State(const TokenizerData& data, const TokenIndex& index, Vocabulary words)
      : path(data.path),
        vocabulary(std::move(words)),
        template_name(data.names.chat_template),
        template_source(data.chat_template),
        chat(template_source, piece_or_nothing(vocabulary.bos), piece_or_nothing(vocabulary.eos),
             piece_or_nothing(vocabulary.unknown), piece_or_nothing(data.padding)),
        encoder(make_encoder(data, index, mark_special())),
        specials(vocabulary) {}

  // Some files call the chat format's own tokens text. As text they would be spelled out in bytes, or what people say could hold
  // them.
  Vocabulary& mark_special() {
    for (std::size_t i = 0; i < vocabulary.size(); ++i) {
      const TokenKind kind = vocabulary.kinds[i];
      if (kind != TokenKind::normal && kind != TokenKind::user_defined) continue;
      if (chat.is_marker(vocabulary.pieces[i])) vocabulary.kinds[i] = TokenKind::control;
    }
    return vocabulary;
  }

  // At a text's start, and after tokens that are taken as a whole, a first word begins.
  void encode_fragments(const std::vector<Fragment>& fragments, bool normalize, bool after_atomic,
                        std::vector<TokenId>& ids) const {
    for (const Fragment& fragment : fragments) {
      if (fragment.token >= 0) {
        ids.push_back(fragment.token);
      } else if (vocabulary.space_prefix && after_atomic) {
        encoder->encode(std::string(" ").append(fragment.text), ids);
      } else if (vocabulary.nfc && normalize) {
        encoder->encode(to_nfc(fragment.text), ids);
      } else {
        encoder->encode(fragment.text, ids);
      }
      after_atomic = fragment.token >= 0;
    }
  }

  // Where text meets text across a boundary of segments, words must form as in the joined text: so the segments are joined
  // between special tokens, and only the template's own segments are searched for those.
  void encode_segments(const std::vector<ChatSegment>& segments, bool after_atomic, std::vector<TokenId>& ids) const {
    std::string plain;
    const auto flush = [&] {
      check_size(plain.size());
      encode_fragments(specials.split(plain, false), true, std::exchange(after_atomic, true), ids);
      plain.clear();
    };
    for (const ChatSegment& segment : segments) {
      if (!segment.markup) {
        plain += segment.text;
        continue;
      }
      for (const Fragment& fragment : specials.split(segment.text, true)) {
        if (fragment.token < 0 || !vocabulary.is_special(fragment.token)) {
          plain += fragment.text;
          continue;
        }
        flush();
        ids.push_back(fragment.token);
      }
    }
    flush();
  }

  std::vector<ChatSegment> render(std::span<const ChatMessage> messages, ChatEnd end) const {
    if (chat.format().empty()) throw ModelError(fmt::format("{}: {}", path, chat_refusal()));
    return chat.render(messages, end);
  }

  std::string chat_refusal() const {
    if (!chat.format().empty()) return {};
    if (template_source.empty())
      return fmt::format("{} is missing: the file does not say how to chat with it", template_name);
    return fmt::format("{} is not supported: {}; it begins with '{}'", template_name, chat.refusal(),
                       template_source.substr(0, 120));
  }

  std::string_view piece_or_nothing(TokenId id) const { return id < 0 ? std::string_view() : vocabulary.pieces[id]; }

  void check_id(TokenId id) const {
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary.size()) return;
    throw InvalidArgument(fmt::format("token id {} is outside the vocabulary of {} tokens", id, vocabulary.size()));
  }

  // Appends the token's bytes to `text`. `at_start` says that a text begins here: then the space that encode puts before the
  // first word of some vocabularies is left out. It is updated for the token that follows.
  void decode_next(TokenId id, bool with_special, bool& at_start, std::string& text) const {
    check_id(id);
    std::string_view piece = vocabulary.pieces[id];
    const bool atomic = vocabulary.is_atomic(id);
    if (!vocabulary.is_text(id) && !with_special) piece = {};
    if (vocabulary.space_prefix && at_start && !atomic && piece.starts_with(' ')) piece.remove_prefix(1);
    at_start = atomic;
    text.append(piece);
  }

  std::string path;
  Vocabulary vocabulary;
  std::string template_name, template_source;
  ChatTemplate chat;
  std::unique_ptr<const TextEncoder> encoder;
  SpecialTokens specials;
};

std::shared_ptr<const Tokenizer> load_tokenizer(const TokenizerData& data) {
  TokenIndex index(data.tokens);
  Vocabulary vocabulary = read_vocabulary(data, index);
  auto state = std::make_unique<const Tokenizer::State>(data, index, std::move(vocabulary));
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(state)));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& path) {
  return load_tokenizer(open_checkpoint(path)->tokenizer());
}

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_size(text.size());
  const Vocabulary& vocabulary = state_->vocabulary;
  std::vector<TokenId> ids;
  if (options.add_special && vocabulary.add_bos) ids.push_back(vocabulary.bos);
  state_->encode_fragments(state_->specials.split(text, options.parse_special), options.normalize, true, ids);
  if (options.add_eos && vocabulary.add_eos) ids.push_back(vocabulary.eos);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool with_special) const {
  std::string text;
  bool at_start = true;
  for (const TokenId id : ids) state_->decode_next(id, with_special, at_start, text);
  return text;
}

std::string_view Tokenizer::piece(TokenId id) const { return state_->check_id(id), state_->vocabulary.pieces[id]; }
std::size_t Tokenizer::vocab_size() const { return state_->vocabulary.size(); }
bool Tokenizer::is_special(TokenId id) const { return state_->check_id(id), state_->vocabulary.is_special(id); }
bool Tokenizer::is_eog(TokenId id) const {
  state_->check_id(id);
  return std::ranges::find(eog_token_ids(), id) != eog_token_ids().end();
}

TokenId Tokenizer::special_token(std::string_view text) const {
  const std::vector<Fragment> fragments = state_->specials.split(text, true);
  if (fragments.size() != 1 || fragments[0].token < 0 || !state_->vocabulary.is_special(fragments[0].token)) return -1;
  return fragments[0].token;
}

const std::vector<TokenId>& Tokenizer::eog_token_ids() const { return state_->vocabulary.eog; }
TokenId Tokenizer::bos() const { return state_->vocabulary.bos; }
TokenId Tokenizer::eos() const { return state_->vocabulary.eos; }

std::vector<TokenId> Tokenizer::encode_chat(std::span<const ChatMessage> messages, ChatEnd end) const {
  std::vector<TokenId> ids;
  state_->encode_segments(state_->render(messages, end), true, ids);
  return ids;
}

std::vector<TokenId> Tokenizer::encode_next_turn(std::span<const TokenId> prompt, std::span<const TokenId> answer,
                                                 std::span<const ChatMessage> messages) const {
  if (!answer.empty() && is_eog(answer.back())) answer = answer.first(answer.size() - 1);  // the template writes it
  if (messages.size() < 3 || answer.empty()) return encode_chat(messages);
  const std::string earlier = apply_chat_template(messages.first(messages.size() - 2));
  const auto around = state_->chat.around_last_answer(messages);
  std::string drawn;
  bool at_start = false;
  for (const TokenId id : answer) state_->decode_next(id, false, at_start, drawn);
  const auto is_same = [&](std::string_view text) { return stripped(text) == stripped(drawn); };
  if (!around || !around->before.starts_with(earlier) || !is_same(std::string_view(around->before).substr(earlier.size())))
    return encode_chat(messages);
  std::vector<TokenId> ids(prompt.begin(), prompt.end());
  ids.insert(ids.end(), answer.begin(), answer.end());
  state_->encode_segments(around->after, state_->vocabulary.is_atomic(ids.back()), ids);
  return ids;
}

std::string Tokenizer::apply_chat_template(std::span<const ChatMessage> messages, ChatEnd end) const {
  std::string text;
  for (const ChatSegment& segment : state_->render(messages, end)) text += segment.text;
  return text;
}

// The format writes its own beginning-of-sequence token.
EncodeOptions Tokenizer::chat_encode_options() const { return {.add_special = false}; }

std::string_view Tokenizer::chat_format() const { return state_->chat.format(); }
std::string Tokenizer::chat_refusal() const { return state_->chat_refusal(); }

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool with_special, bool at_start)
    : tokenizer_(std::move(tokenizer)), with_special_(with_special), at_start_(at_start) {
  if (!tokenizer_) throw InvalidArgument("StreamDecoder: tokenizer is null");
}

std::string StreamDecoder::push(TokenId id) {
  tokenizer_->state_->decode_next(id, with_special_, at_start_, pending_);
  const std::size_t held = incomplete_utf8_suffix(pending_);
  std::string ready = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, ready.size());
  return ready;
}

std::string StreamDecoder::finish() { return std::exchange(pending_, {}); }

}  // namespace warploom
