// What the source tree must look like. Each rule takes the files' texts and returns one line for each violation, so that
// tests can hand it the repository as well as a planted mistake.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace warploom::structure {

using Tree = std::map<std::string, std::string>;  // path from the root, text
using Violations = std::vector<std::string>;

/// The files below `root` that belong to the repository: no build folder, model, hidden folder but .ci.
Tree read_tree(const std::filesystem::path& root);

/// Whether a file of the folder `from` may include one of `to`: both paths begin with a folder of the table in docs/architecture.md.
bool may_include(const std::string& from, const std::string& to);

/// An #include points to a lower layer, its own folder, or one of the few neighbours that a folder may read. Layers
/// 4 and 5 never see a backend (layer 3), nothing but programs sees cuda/, and cuda/toolkit/ sees no src/backend/.
Violations include_ranks(const Tree& tree);
/// CUDA's headers are included below cuda/, include/warploom/cuda/, tests/cuda/ and tools/ alone.
Violations cuda_headers(const Tree& tree);
/// The command line and the examples include public headers alone.
Violations app_includes(const Tree& tree);
/// No source file over 600 lines.
Violations file_lengths(const Tree& tree);
/// No absolute path of some machine.
Violations machine_paths(const Tree& tree);
/// Nothing but the emulator is compiled for the very machine that builds it.
Violations host_tuning(const Tree& tree);
/// Each op of ops.h has its function in Backend and in every backend, and a test.
Violations op_twins(const Tree& tree);
/// Each path named in README.md and CONTRIBUTING.md is there.
Violations named_paths(const Tree& tree);
/// README.md's first C++ block is examples/generate.cpp.
Violations readme_example(const Tree& tree);

}  // namespace warploom::structure
