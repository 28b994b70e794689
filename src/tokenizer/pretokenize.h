// Splits text into the words within which byte-level BPE merges: each vocabulary was made with a regular expression of its
// own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace warploom {

struct PreTokenizerKind {
  std::string_view name;     // as llama.cpp calls it
  std::string_view pattern;  // matches one word at any place of a text
  bool whole_words;          // a word that is a token is taken as it is, even if merges do not lead to it
  bool add_bos;              // what the file means if it does not say
  bool nfc;                  // text is normalised first
};

/// Null if the name is not known.
const PreTokenizerKind* find_pretokenizer(std::string_view name);
/// Those that are known, for messages: "smollm, gpt-2, ...".
std::string pretokenizer_names();

/// A compiled pattern. Safe to share between threads.
class PreTokenizer {
 public:
  explicit PreTokenizer(const PreTokenizerKind& kind);
  const PreTokenizerKind& kind() const { return *kind_; }

 private:
  friend class Words;
  struct Pattern;
  const PreTokenizerKind* kind_;
  std::shared_ptr<const Pattern> pattern_;
};

/// Walks over the words of a text, which together are the text. A byte that is not part of valid UTF-8 counts as one
/// character that is neither letter, number nor space.
class Words {
 public:
  /// Both must outlive it.
  Words(const PreTokenizer& pretokenizer, std::string_view text);
  ~Words();
  /// Empty at the end.
  std::string_view next();

 private:
  std::string_view text_;
  std::string repaired_;      // the text with a placeholder for every invalid byte; empty if there is none
  std::string_view subject_;  // what the pattern sees: as long as text_
  std::size_t position_ = 0;
  const PreTokenizer::Pattern& pattern_;
  struct Match;
  std::unique_ptr<Match> match_;
};

}  // namespace warploom
