#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretokenize.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

#include "tokenizer/utf8.h"
#include "warploom/error.h"

namespace warploom {
namespace {

// \s is spelled out as White_Space, because PCRE2's takes in U+180E, which Unicode made a format character in 6.3.
#define SPACE R"(\t-\r\x{85}\p{Z})"

// GPT-2, encoder.py.
constexpr std::string_view kGpt2 =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N})" SPACE R"(]+|[)" SPACE R"(]+(?![^)" SPACE R"(])|[)" SPACE "]+";

// SmolLM, tokenizer.json: every digit is split off by itself first, then GPT-2's pattern runs on what lies between, which
// sees the text end before a digit. One pattern does both: no word goes across a digit, and a digit ends spaces as the end
// does.
constexpr std::string_view kSmolLm = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\p{L}\p{N})" SPACE R"(]+|[)" SPACE
                                     R"(]+(?![^\p{N})" SPACE R"(])|[)" SPACE "]+";

// Llama 3 and Qwen2, tokenizer.json: they differ in how many digits make a number.
#define LLAMA3(digits)                                                                                                      \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" digits R"(| ?[^\p{L}\p{N})" SPACE R"(]+[\r\n]*|[)" SPACE \
  R"(]*[\r\n]+|[)" SPACE R"(]+(?![^)" SPACE R"(])|[)" SPACE "]+"
constexpr std::string_view kLlama3 = LLAMA3("{1,3}");
constexpr std::string_view kQwen2 = LLAMA3("");

// Mistral Nemo's Tekken, tokenizer.json.
#define OTHER_CASED R"(\p{Lm}\p{Lo}\p{M})"
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt})" OTHER_CASED R"(]*[\p{Ll})" OTHER_CASED
    R"(]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt})" OTHER_CASED R"(]+[\p{Ll})" OTHER_CASED R"(]*|\p{N}| ?[^\p{L}\p{N})" SPACE
    R"(]+[\r\n/]*|[)" SPACE R"(]*[\r\n]+|[)" SPACE R"(]+(?![^)" SPACE R"(])|[)" SPACE "]+";

// What llama.cpp takes when it knows nothing better. Runs of punctuation are split off by themselves first, then GPT-2's pattern
// runs on what lies between, then numbers are split off, and each three digits of them. Within a pattern for all of that, a space
// before a number is a word, and punctuation ends spaces as the text's end does.
#define PUNCTUATION R"(\p{P}$+<=>^~|)"
constexpr std::string_view kDefault =
    "[" PUNCTUATION R"(]+| ?\p{L}+| (?=\p{N})|[0-9]{3}|(?:(?![0-9]{3})\p{N})+| ?[^\p{L}\p{N})" PUNCTUATION SPACE
    R"(]+|[)" SPACE R"(]+(?![^)" PUNCTUATION SPACE R"(])|[)" SPACE "]+";

constexpr auto kKinds = std::to_array<PreTokenizerKind>({
    {"smollm", kSmolLm, false, false, false},
    {"gpt-2", kGpt2, false, false, false},
    {"llama-bpe", kLlama3, true, true, false},
    {"llama3", kLlama3, true, true, false},
    {"llama-v3", kLlama3, true, true, false},
    {"falcon3", kLlama3, true, true, false},
    {"smaug-bpe", kLlama3, false, false, false},
    {"qwen2", kQwen2, false, false, true},
    {"deepseek-r1-qwen", kQwen2, false, false, true},
    {"tekken", kTekken, true, true, false},
    {"default", kDefault, false, false, false},
});

}  // namespace

const PreTokenizerKind* find_pretokenizer(std::string_view name) {
  const auto kind = std::ranges::find(kKinds, name, &PreTokenizerKind::name);
  return kind == kKinds.end() ? nullptr : &*kind;
}

std::string pretokenizer_names() {
  std::string names;
  for (const PreTokenizerKind& kind : kKinds) names.append(names.empty() ? "" : ", ").append(kind.name);
  return names;
}

struct PreTokenizer::Pattern {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  Pattern() = default;
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  ~Pattern() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

PreTokenizer::PreTokenizer(const PreTokenizerKind& kind) : kind_(&kind) {
  const auto pattern = std::make_shared<Pattern>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Anchored here and not in each call, which would turn off the just-in-time compiled code.
  pattern->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kind.pattern.data()), kind.pattern.size(),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &offset, nullptr);
  if (pattern->code == nullptr) {
    throw Error("pre-tokenizer '" + std::string(kind.name) + "': PCRE2 error " + std::to_string(error) + " at offset " +
                std::to_string(offset) + " (was PCRE2 built with Unicode support?)");
  }
  pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);  // if it fails, the interpreter does the work
  pattern->context = pcre2_match_context_create(nullptr);
  if (pattern->context == nullptr) throw std::bad_alloc();
  // Going back over white space counts against this limit: the default is met after some 10 MB of it.
  pcre2_set_match_limit(pattern->context, UINT32_MAX);
  pattern_ = pattern;
}

struct Words::Match {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  Match() = default;
  Match(const Match&) = delete;
  Match& operator=(const Match&) = delete;
  ~Match() { pcre2_match_data_free(data); }
};

Words::Words(const PreTokenizer& pretokenizer, std::string_view text)
    : text_(text), subject_(text), pattern_(*pretokenizer.pattern_), match_(std::make_unique<Match>()) {
  if (match_->data == nullptr) throw std::bad_alloc();
  if (is_valid_utf8(text)) return;
  repaired_ = text;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Char front = utf8_front(text.substr(i));
    if (front.state == Utf8State::valid) {
      i += front.bytes;
    } else {
      repaired_[i++] = '\x01';  // one byte long, and neither letter, number nor space
    }
  }
  subject_ = repaired_;
}

Words::~Words() = default;

std::string_view Words::next() {
  if (position_ == text_.size()) return {};
  // The check that the subject is valid UTF-8 was done once; in every call it would make the walk quadratic.
  const int found = pcre2_match(pattern_.code, reinterpret_cast<PCRE2_SPTR>(subject_.data()), subject_.size(), position_,
                                PCRE2_NO_UTF_CHECK, match_->data, pattern_.context);
  if (found < 0)
    throw Error("pre-tokenizer: PCRE2 error " + std::to_string(found) + " at byte " + std::to_string(position_));
  const std::size_t begin = position_;
  position_ = pcre2_get_ovector_pointer(match_->data)[1];
  return text_.substr(begin, position_ - begin);
}

}  // namespace warploom
