// Where prompts and texts come from: arguments, files, standard input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "warploom/tokenizer.h"

namespace warploom::cli {

/// Everything in the file, or on standard input for "-", byte for byte. Throws InvalidArgument if it cannot be read.
std::string read_all(const std::string& path);

/// The file's lines without their ends; empty lines are left out, and do not count.
std::vector<std::string> read_lines(const std::string& path);

/// Says so on standard error if `text` begins with the beginning-of-sequence token that the tokenizer adds by itself.
void warn_of_two_bos(const Tokenizer& tokenizer, std::string_view text);

}  // namespace warploom::cli
