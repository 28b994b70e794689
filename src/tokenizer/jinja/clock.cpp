#include "tokenizer/jinja/clock.h"

#include <clocale>
#include <ctime>
#include <memory>
#include <string_view>
#include <type_traits>

#include "tokenizer/jinja/error.h"

namespace warploom::jinja {
namespace {

struct FreeLocale {
  void operator()(locale_t locale) const { freelocale(locale); }
};
using Locale = std::unique_ptr<std::remove_pointer_t<locale_t>, FreeLocale>;

// What Python resolves by itself: microseconds, and the zone, which datetime.now() does not know.
std::string resolved(std::string_view format, long nanoseconds) {
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const std::string_view rest = format.substr(i);
    if (rest.starts_with("%f")) {
      out += fmt::format("{:06}", nanoseconds / 1000);
      ++i;
    } else if (rest.starts_with("%z") || rest.starts_with("%Z")) {
      ++i;
    } else if (rest.starts_with("%:z")) {
      i += 2;
    } else if (rest.size() > 1 && rest[0] == '%') {
      out += rest.substr(0, 2);
      ++i;
    } else {
      out += rest[0];
    }
  }
  return out;
}

}  // namespace

std::string strftime_now(const std::string& format, int line) {
  constexpr std::size_t kMaxBytes = 1 << 16;
  if (format.find('\0') != std::string::npos) fail(line, "strftime_now: the format has a character of value 0");
  std::timespec now{};
  std::tm local{};
  if (std::timespec_get(&now, TIME_UTC) == 0 || localtime_r(&now.tv_sec, &local) == nullptr)
    fail(line, "strftime_now: the clock cannot be read");
  // The application's own language may be another.
  const Locale english(newlocale(LC_ALL_MASK, "C", nullptr));
  if (english == nullptr) fail(line, "strftime_now: no memory for a locale");
  // An empty result and one that does not fit look alike, but for the space.
  const std::string spaced = resolved(format, now.tv_nsec) + " ";
  std::string out(256, '\0');
  std::size_t size = 0;
  while ((size = strftime_l(out.data(), out.size(), spaced.c_str(), &local, english.get())) == 0) {
    if (out.size() >= kMaxBytes) fail(line, "strftime_now: the format makes more than {} bytes", kMaxBytes);
    out.resize(out.size() * 2);
  }
  out.resize(size - 1);
  return out;
}

}  // namespace warploom::jinja
