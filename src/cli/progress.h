// What a terminal shows while a model runs and no text streams.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "warploom/request.h"

namespace warploom::cli {

/// One line on standard error, if that is a terminal; gone at the end.
class StatusLine {
 public:
  explicit StatusLine(bool wanted);
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool shown() const { return shown_; }
  void show(const std::string& text);
  void clear();  // until more comes

 private:
  bool shown_, there_ = false;
};

/// How long prompts have been read for, if that takes over a second; then, of
/// many sequences, how many have ended.
class Progress {
 public:
  /// sequences: 0 if their text streams.
  Progress(bool wanted, std::size_t sequences) : line_(wanted), sequences_(sequences) {}

  void before_step();
  void see(const TokenEvent& event);
  void clear() { line_.clear(); }  // until more comes

 private:
  StatusLine line_;
  std::size_t sequences_, ended_ = 0;
  std::int64_t tokens_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// What share of some work is done: "loading 42%", once it takes longer than half a second.
class ShareProgress {
 public:
  ShareProgress(bool wanted, const char* what) : line_(wanted), what_(what) {}

  void see(double share);  // in [0, 1]
  void clear() { line_.clear(); }

 private:
  StatusLine line_;
  const char* what_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace warploom::cli
