#include "cli/printable.h"

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

}  // namespace warploom::cli
