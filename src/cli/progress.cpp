#include "cli/progress.h"

#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/say.h"

namespace warploom::cli {

StatusLine::StatusLine(bool wanted) : shown_(wanted && isatty(STDERR_FILENO)) {}

void StatusLine::show(const std::string& text) {
  say("\r\x1b[K{}", text);
  there_ = true;
}

void StatusLine::clear() {
  if (there_) say("\r\x1b[K");
  there_ = false;
}

void Progress::before_step() {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (!line_.shown() || tokens_ > 0 || seconds < 1) return;
  line_.show(fmt::format("reading the prompt, {:.0f} s", seconds));
}

void Progress::see(const TokenEvent& event) {
  ++tokens_;
  const bool end = event.finish_reason != FinishReason::running;
  ended_ += end;
  if (sequences_ == 0) return clear();
  if (!line_.shown() || (tokens_ % 16 != 0 && !end)) return;
  line_.show(fmt::format("{} of {} ended, {} tokens", ended_, sequences_, tokens_));
}

void ShareProgress::see(double share) {
  if (!line_.shown() || std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(500)) return;
  line_.show(fmt::format("{} {:3.0f}%", what_, share * 100.0));
}

}  // namespace warploom::cli
