// Finds stop strings in text that comes in pieces, and holds back what may begin one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace warploom {

class StopMatcher {
 public:
  /// `stops` must outlive the matcher; none is empty.
  explicit StopMatcher(const std::vector<std::string>& stops) : stops_(stops) {}

  /// Takes the next piece; returns what can be shown. After a match that is the text before the stop string, and nothing more
  /// is ever returned.
  std::string push(std::string_view piece);
  /// What was held back, where no stop string came.
  std::string finish();
  bool matched() const { return matched_; }

 private:
  const std::vector<std::string>& stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace warploom
