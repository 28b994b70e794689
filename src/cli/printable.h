// Text from files and models on a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace warploom::cli {

/// `text` on one line, without what would steer a terminal: control characters (C0, DEL, C1) become spaces. Longer than
/// `limit` bytes, it is cut between two characters and ends in `more`.
std::string printable(std::string_view text, std::size_t limit = std::string_view::npos, std::string_view more = "...");

}  // namespace warploom::cli
