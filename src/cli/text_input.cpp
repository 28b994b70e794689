#include "cli/text_input.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "cli/say.h"
#include "warploom/error.h"

namespace warploom::cli {

std::string read_all(const std::string& path) {
  const auto close = [](std::FILE* f) { return f == stdin ? 0 : std::fclose(f); };
  const std::unique_ptr<std::FILE, decltype(close)> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) throw InvalidArgument(fmt::format("{}: {}", path, std::strerror(errno)));
  std::string text;
  char part[65536];
  while (const std::size_t n = std::fread(part, 1, sizeof part, file.get())) text.append(part, n);
  if (std::ferror(file.get()))
    throw InvalidArgument(fmt::format("{}: {}", path == "-" ? "standard input" : path, std::strerror(errno)));
  return text;
}

std::vector<std::string> read_lines(const std::string& path) {
  const std::string text = read_all(path);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

void warn_of_two_bos(const Tokenizer& tokenizer, std::string_view text) {
  const TokenId bos = tokenizer.bos();
  if (bos < 0 || !text.starts_with(tokenizer.piece(bos))) return;
  const std::vector<TokenId> ids = tokenizer.encode(tokenizer.piece(bos));
  if (ids.size() < 2 || ids[0] != bos || ids[1] != bos) return;
  say("warning: the text begins with {}, which the tokenizer adds by itself: the model sees it twice\n",
      tokenizer.piece(bos));
}

}  // namespace warploom::cli
