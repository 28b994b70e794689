// Where prompts and texts come from: arguments, files, standard input.
#pragma once

#include <string>
#include <vector>

namespace warploom::cli {

/// Everything in the file, or on standard input for "-", byte for byte. Throws InvalidArgument where it cannot be read.
std::string read_all(const std::string& path);

/// The file's lines without their ends; empty lines are left out.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace warploom::cli
