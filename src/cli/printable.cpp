#include "cli/printable.h"

#include <cstdio>

#include <unistd.h>

namespace warploom::cli {

namespace {

constexpr std::string_view kReplacement = "\uFFFD";

struct Character {
  std::string_view bytes;
  bool whole = false;    // of UTF-8
  bool control = false;  // of ASCII's, or U+0080 to U+009F
};

Character character_at(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  std::size_t end = at + 1;
  while (end < text.size() && end < at + length && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
  Character character{text.substr(at, end - at), length > 0 && end == at + length};
  character.control =
      lead < 32 || lead == 127 || (lead == 0xc2 && character.whole && static_cast<unsigned char>(text[at + 1]) < 0xa0);
  return character;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit, std::string_view more) {
  const bool cut = text.size() > limit;
  if (cut) {
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;  // not inside a character
    text = text.substr(0, limit);
  }
  std::string line;
  line.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    line += !character.whole ? kReplacement : character.control ? " " : character.bytes;
    i += character.bytes.size();
  }
  if (cut) line += more;
  return line;
}

std::string for_terminal(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    if (character.whole && (!character.control || text[i] == '\n' || text[i] == '\t')) {
      shown += character.bytes;
    } else if (text[i] != '\r') {
      shown += kReplacement;
    }
    i += character.bytes.size();
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
