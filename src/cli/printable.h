// Text from files and models, made fit for people to read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace warploom::cli {

/// `text` on one line, without what would steer a terminal: control characters (C0, DEL, C1) become spaces. Longer than
/// `limit` bytes, it is cut between two characters and ends in `more`.
std::string printable(std::string_view text, std::size_t limit = std::string_view::npos, std::string_view more = "...");

/// `text` on its lines, without what would steer a terminal: carriage returns go, other control characters but line feeds and
/// tabs become U+FFFD, as do bytes that are no UTF-8. Pieces of a text may be given one by one, cut between characters.
std::string for_terminal(std::string_view text);

/// Writes to standard output at once: to a terminal without what would steer it, else byte for byte.
void show(std::string_view text);

}  // namespace warploom::cli
