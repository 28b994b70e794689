#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace warploom {

std::string StopMatcher::push(std::string_view piece) {
  if (matched_) return {};
  held_ += piece;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos || at > first || (at == first && stop.size() >= matched_->size())) continue;
    first = at;
    matched_ = &stop;
  }
  if (matched_) {
    held_.resize(first + (include_stop_ ? matched_->size() : 0));
    return std::exchange(held_, {});
  }
  // The longest end of the text that begins a stop string stays.
  std::size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) keep = n;
    }
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopMatcher::finish() { return matched_ ? std::string() : std::exchange(held_, {}); }

}  // namespace warploom
