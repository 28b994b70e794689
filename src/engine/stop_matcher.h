// Finds stop strings in text that comes in pieces, and holds back what may begin one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace warploom {

class StopMatcher {
 public:
  /// `stops` must outlive the matcher; none is empty. include_stop: the shown text ends after the stop string, not before it.
  explicit StopMatcher(const std::vector<std::string>& stops, bool include_stop = false)
      : stops_(stops), include_stop_(include_stop) {}

  /// Takes the next piece; returns what can be shown. After a match that is the text up to the stop string, and nothing more is
  /// ever returned. Of several stop strings in the text, the one that begins first counts; if they begin together, the
  /// shortest.
  std::string push(std::string_view piece);
  /// What was held back, if no stop string came.
  std::string finish();
  bool matched() const { return matched_ != nullptr; }
  /// Empty if there is none.
  std::string matched_stop() const { return matched_ ? *matched_ : std::string(); }

 private:
  const std::vector<std::string>& stops_;
  bool include_stop_;
  std::string held_;
  const std::string* matched_ = nullptr;
};

}  // namespace warploom
