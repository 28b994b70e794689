#include "text/tokenizer.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "text/bpe.h"
#include "text/chat_template.h"
#include "text/sentencepiece.h"
#include "text/special_tokens.h"
#include "text/vocabulary.h"
#include "warploom/error.h"

namespace warploom {
namespace {

std::unique_ptr<const TextEncoder> make_encoder(const GgufFile& file, const TokenIndex& index, Vocabulary& vocabulary) {
  if (vocabulary.algorithm == TokenAlgorithm::sentencepiece) return std::make_unique<SentencePieceEncoder>(file, vocabulary);
  return std::make_unique<BpeEncoder>(file, index, vocabulary);
}

class GgufTokenizer final : public Tokenizer {
 public:
  GgufTokenizer(const GgufFile& file, const TokenIndex& index, Vocabulary vocabulary)
      : path_(file.path().string()),
        vocabulary_(std::move(vocabulary)),
        encoder_(make_encoder(file, index, vocabulary_)),
        template_source_(file.get_string("tokenizer.chat_template").value_or("")),
        template_(template_source_, piece_or_nothing(vocabulary_.bos), piece_or_nothing(vocabulary_.eos)),
        specials_(mark_special(index)) {}

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    check_size(text.size());
    std::vector<TokenId> ids;
    if (options.add_special && vocabulary_.add_bos) ids.push_back(vocabulary_.bos);
    encode_fragments(specials_.split(text, options.parse_special), ids);
    if (options.add_special && vocabulary_.add_eos) ids.push_back(vocabulary_.eos);
    return ids;
  }

  std::string decode(std::span<const TokenId> ids, bool with_special) const override {
    std::string text;
    bool at_start = true;
    for (const TokenId id : ids) decode_next(id, with_special, at_start, text);
    return text;
  }

  void decode_next(TokenId id, bool with_special, bool& at_start, std::string& text) const override {
    check_id(id);
    std::string_view piece = vocabulary_.pieces[id];
    const bool atomic = vocabulary_.is_atomic(id);
    if (vocabulary_.is_special(id) && !with_special) piece = {};
    if (vocabulary_.space_prefix && at_start && !atomic && piece.starts_with(' ')) piece.remove_prefix(1);
    at_start = atomic;
    text.append(piece);
  }

  std::string_view piece(TokenId id) const override { return check_id(id), vocabulary_.pieces[id]; }
  std::size_t vocab_size() const override { return vocabulary_.size(); }
  bool is_special(TokenId id) const override { return check_id(id), vocabulary_.is_special(id); }
  bool is_eog(TokenId id) const override { return check_id(id), vocabulary_.ends[id]; }
  TokenId bos() const override { return vocabulary_.bos; }
  TokenId eos() const override { return vocabulary_.eos; }

  std::vector<TokenId> encode_chat(std::span<const ChatMessage> messages, bool add_generation_prompt) const override {
    // Where text meets text across a boundary of segments, words must form as in the joined text: so the segments are joined
    // between special tokens, and only the format's own segments are searched for those.
    std::vector<TokenId> ids;
    std::string plain;
    const auto flush = [&] {
      check_size(plain.size());
      encode_fragments(specials_.split(plain, false), ids);
      plain.clear();
    };
    for (const ChatSegment& segment : render(messages, add_generation_prompt)) {
      if (!segment.markup) {
        plain += segment.text;
        continue;
      }
      for (const Fragment& fragment : specials_.split(segment.text, true)) {
        if (fragment.token < 0 || !vocabulary_.is_special(fragment.token)) {
          plain += fragment.text;
          continue;
        }
        flush();
        ids.push_back(fragment.token);
      }
    }
    flush();
    return ids;
  }

  std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt) const override {
    std::string text;
    for (const ChatSegment& segment : render(messages, add_generation_prompt)) text += segment.text;
    return text;
  }
  // The format writes its own beginning-of-sequence token.
  EncodeOptions chat_encode_options() const override { return {.add_special = false, .parse_special = true}; }
  std::string_view chat_format() const override { return template_.format(); }

 private:
  std::string_view piece_or_nothing(TokenId id) const { return id < 0 ? std::string_view() : vocabulary_.pieces[id]; }

  // Some files mark the chat format's own tokens as text that the vocabulary's makers defined.
  const Vocabulary& mark_special(const TokenIndex& index) {
    for (const std::string_view marker : template_.markers()) {
      const auto found = index.find(marker);
      if (found == index.end() || vocabulary_.kinds[found->second] != TokenKind::user_defined) continue;
      vocabulary_.kinds[found->second] = TokenKind::control;
    }
    return vocabulary_;
  }

  // At a text's start, and after tokens that are taken as a whole, a first word begins.
  void encode_fragments(const std::vector<Fragment>& fragments, std::vector<TokenId>& ids) const {
    bool after_atomic = true;
    for (const Fragment& fragment : fragments) {
      if (fragment.token >= 0) {
        ids.push_back(fragment.token);
      } else if (vocabulary_.space_prefix && after_atomic) {
        encoder_->encode(std::string(" ").append(fragment.text), ids);
      } else {
        encoder_->encode(fragment.text, ids);
      }
      after_atomic = fragment.token >= 0;
    }
  }

  std::vector<ChatSegment> render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
    if (template_.format().empty()) {
      throw ModelError(
          template_source_.empty()
              ? fmt::format("{}: tokenizer.chat_template is missing: the file does not say how to chat with it", path_)
              : fmt::format("{}: tokenizer.chat_template is not of a known format (ChatML, Llama 2, Llama 3, Gemma, "
                            "Mistral); it begins with '{}'",
                            path_, template_source_.substr(0, 120)));
    }
    return template_.render(messages, add_generation_prompt);
  }

  void check_id(TokenId id) const {
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary_.size()) return;
    throw InvalidArgument(fmt::format("token id {} is outside the vocabulary of {} tokens", id, vocabulary_.size()));
  }
  static void check_size(std::size_t bytes) {
    constexpr std::size_t kMost = INT32_MAX - 1;  // a space may be put before
    if (bytes > kMost) throw InvalidArgument(fmt::format("text of {} bytes is longer than {}", bytes, kMost));
  }

  std::string path_;
  Vocabulary vocabulary_;
  std::unique_ptr<const TextEncoder> encoder_;
  std::string template_source_;
  ChatTemplate template_;
  SpecialTokens specials_;
};

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const std::shared_ptr<const GgufFile>& file) {
  TokenIndex index;
  Vocabulary vocabulary = read_vocabulary(*file, index);
  return std::make_shared<const GgufTokenizer>(*file, index, std::move(vocabulary));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& path) {
  return load_tokenizer(GgufFile::open(path));
}

}  // namespace warploom
