// The local time, for templates that tell the model the date.
#pragma once

#include <string>

namespace warploom::jinja {

/// As Python's datetime.now().strftime(format), in English. Throws TemplateError naming the line.
std::string strftime_now(const std::string& format, int line);

}  // namespace warploom::jinja
