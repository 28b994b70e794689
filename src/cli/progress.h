// What a terminal shows while a model runs and no text streams.
#pragma once

#include <chrono>
#include <cstdint>

#include "warploom/request.h"

namespace warploom::cli {

/// One line on standard error, gone at the end: how long prompts have been read for, where that takes over a second; then, of
/// many sequences, how many have ended.
class Progress {
 public:
  /// sequences: 0 where their text streams.
  Progress(bool wanted, std::size_t sequences);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void before_step();
  void see(const TokenEvent& event);
  void clear();  // until more comes

 private:
  bool shown_, there_ = false;
  std::size_t sequences_, ended_ = 0;
  std::int64_t tokens_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// The same for work that says what share of it is done: "loading 42%", once it takes longer than half a second.
class ShareProgress {
 public:
  ShareProgress(bool wanted, const char* what);
  ~ShareProgress() { clear(); }
  ShareProgress(const ShareProgress&) = delete;
  ShareProgress& operator=(const ShareProgress&) = delete;

  void see(double share);  // in [0, 1]
  void clear();

 private:
  bool shown_, there_ = false;
  const char* what_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace warploom::cli
