#include "cli/progress.h"

#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/say.h"

namespace warploom::cli {

Progress::Progress(bool wanted, std::size_t sequences) : shown_(wanted && isatty(STDERR_FILENO)), sequences_(sequences) {}

void Progress::before_step() {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (!shown_ || tokens_ > 0 || seconds < 1) return;
  say("\rreading the prompt, {:.0f} s", seconds);
  there_ = true;
}

void Progress::see(const TokenEvent& event) {
  ++tokens_;
  const bool end = event.finish_reason != FinishReason::running;
  ended_ += end;
  if (sequences_ == 0) return clear();
  if (!shown_ || (tokens_ % 16 != 0 && !end)) return;
  say("\r\x1b[K{} of {} ended, {} tokens", ended_, sequences_, tokens_);
  there_ = true;
}

void Progress::clear() {
  if (there_) say("\r\x1b[K");
  there_ = false;
}

ShareProgress::ShareProgress(bool wanted, const char* what) : shown_(wanted && isatty(STDERR_FILENO)), what_(what) {}

void ShareProgress::see(double share) {
  if (!shown_ || std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(500)) return;
  say("\r{} {:3.0f}%", what_, share * 100.0);
  there_ = true;
}

void ShareProgress::clear() {
  if (there_) say("\r\x1b[K");
  there_ = false;
}

}  // namespace warploom::cli
