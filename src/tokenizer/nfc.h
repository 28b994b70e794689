// Unicode's normal form C (UAX #15), in which an e with an acute accent is one character however it was written.
#pragma once

#include <string>
#include <string_view>

namespace warploom {

/// Bytes that are no UTF-8 stay as they are, and nothing is composed across them.
std::string to_nfc(std::string_view text);

}  // namespace warploom
