#include "cli/printable.h"

#include <cstdio>

#include <unistd.h>

namespace warploom::cli {

std::string printable(std::string_view text, std::size_t limit, std::string_view more) {
  const bool cut = text.size() > limit;
  if (cut) {
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;  // not inside a character
    text = text.substr(0, limit);
  }
  std::string line;
  line.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009F
      line += ' ';
      ++i;
    } else {
      line += byte < 32 || byte == 127 ? ' ' : text[i];
    }
  }
  if (cut) line += more;
  return line;
}

std::string for_terminal(std::string_view text) {
  static constexpr std::string_view kReplacement = "\uFFFD";
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
    std::size_t end = i + 1;
    while (end < text.size() && end < i + length && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    const bool whole = length > 0 && end == i + length;
    const bool control =
        lead < 32 || lead == 127 || (lead == 0xc2 && whole && static_cast<unsigned char>(text[i + 1]) < 0xa0);
    if (whole && (!control || lead == '\n' || lead == '\t')) {
      shown += text.substr(i, length);
    } else if (lead != '\r') {
      shown += kReplacement;
    }
    i = end;
  }
  return shown;
}

void show(std::string_view text) {
  static const bool terminal = isatty(STDOUT_FILENO) != 0;
  const std::string harmless = terminal ? for_terminal(text) : std::string();
  if (terminal) text = harmless;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace warploom::cli
