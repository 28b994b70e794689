#include "structure/rules.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>

namespace warploom::structure {

namespace fs = std::filesystem;

namespace {

bool starts_with_any(const std::string& path, std::initializer_list<const char*> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const char* prefix) { return path.starts_with(prefix); });
}

bool is_source(const std::string& path) {
  static const std::set<std::string> extensions = {".h", ".cpp", ".cu", ".cuh"};
  return extensions.contains(fs::path(path).extension().string());
}

struct Folder {
  std::string name;
  int layer = 0;
};

// The table of layers in docs/architecture.md. The first prefix that fits decides.
Folder folder_of(const std::string& path) {
  static const std::vector<Folder> folders = {{"include/warploom/", 0},
                                              {"src/core/", 1},
                                              {"src/backend/", 2},
                                              {"cuda/device/", 2},
                                              {"cuda/runtime/", 2},
                                              {"cuda/toolkit/", 3},
                                              {"cuda/backend/", 3},
                                              {"src/cpu/", 3},
                                              {"src/checkpoint/", 4},
                                              {"src/tokenizer/", 4},
                                              {"src/model/", 4},
                                              {"src/kv/", 4},
                                              {"src/engine/", 5},
                                              {"src/cli/", 6},
                                              {"bench/", 6},
                                              {"examples/", 6},
                                              {"python/native/", 6},
                                              {"tools/gpu_emulator/include/", 6},
                                              {"tools/gpu_emulator/", 6},
                                              {"tools/gpu_kit/", 6},
                                              {"tools/sampler_check/", 6},
                                              {"tests/", 6}};
  for (const Folder& folder : folders)
    if (path.starts_with(folder.name)) return folder;
  return {"", -1};
}

// Equal ranks are blind to each other but for these.
bool may_read_neighbour(const std::string& from, const std::string& to) {
  static const std::set<std::pair<std::string, std::string>> allowed = {
      {"cuda/device/", "cuda/runtime/"},
      {"cuda/backend/", "cuda/toolkit/"},
      {"src/tokenizer/", "src/checkpoint/"},
      {"src/model/", "src/checkpoint/"},
      {"src/model/", "src/tokenizer/"},
      {"src/model/", "src/kv/"},
      // The tests, the benchmark and the probes ask the emulator what it saw.
      {"tools/gpu_emulator/", "tools/gpu_emulator/include/"},
      {"tests/", "tools/gpu_emulator/include/"},
      {"bench/", "tools/gpu_emulator/include/"},
      {"tools/gpu_kit/", "tools/gpu_emulator/include/"},
      // The tests of the command line, the benchmark and the sampler check reach their parts; the benchmark takes the command line's
      // options, the sampler check its reading of them and the benchmark's description of the machine.
      {"tests/", "src/cli/"},
      {"tests/", "bench/"},
      {"tests/", "tools/sampler_check/"},
      {"tools/sampler_check/", "src/cli/"},
      {"tools/sampler_check/", "bench/"},
      {"bench/", "src/cli/"}};
  return allowed.contains({from, to});
}

// A backend is a leaf: layers 4 and 5 see none, the CPU sees nothing of CUDA. The toolkit stands without the seam,
// the emulator without everything else.
bool may_never_read(const Folder& from, const Folder& to) {
  if (to.name.starts_with("cuda/") && !from.name.starts_with("cuda/")) return from.layer < 6;
  return (to.layer == 3 && (from.layer == 4 || from.layer == 5)) ||
         (from.name == "cuda/toolkit/" && to.name == "src/backend/") ||
         (from.name.starts_with("tools/gpu_emulator/") && !to.name.starts_with("tools/gpu_emulator/"));
}

struct Include {
  int line = 0;
  bool quoted = false;
  std::string name;
};

std::vector<Include> includes(const std::string& text) {
  static const std::regex directive(R"re(^\s*#\s*include\s*(["<])([^">]+)[">])re");
  std::vector<Include> found;
  std::istringstream lines(text);
  std::string line;
  std::smatch match;
  for (int number = 1; std::getline(lines, line); ++number)
    if (std::regex_search(line, match, directive)) found.push_back({number, match[1] == "\"", match[2]});
  return found;
}

// The file that a quoted include means, as the compiler's search paths find it; empty where there is none.
std::string resolve(const Tree& tree, const std::string& from, const std::string& name) {
  const std::string beside = fs::path(from).parent_path().string() + "/";
  for (const std::string& base : {beside, std::string("include/"), std::string("src/"), std::string(), std::string("tests/"),
                                  std::string("python/"), std::string("tools/gpu_emulator/include/")})
    if (tree.contains(base + name)) return base + name;
  return {};
}

std::string at(const std::string& path, int line) { return path + ":" + std::to_string(line) + ": "; }

// "RmsNormArgs" -> "rms_norm"
std::string op_name(const std::string& args) {
  std::string name;
  for (const char c : args.substr(0, args.size() - 4)) {
    if (std::isupper(static_cast<unsigned char>(c)) && !name.empty()) name += '_';
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return name;
}

}  // namespace

Tree read_tree(const fs::path& root) {
  Tree tree;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator(); ++it) {
    const std::string path = fs::relative(it->path(), root).string(), name = it->path().filename().string();
    if (it->is_directory() &&
        (path == "build" || path == "models" || name == "__pycache__" || (name[0] == '.' && path != ".ci")))
      it.disable_recursion_pending();
    if (!it->is_regular_file() || name == ".git" || it->path().extension() == ".gguf") continue;
    std::ifstream file(it->path(), std::ios::binary);
    tree[path] = {std::istreambuf_iterator<char>(file), {}};
  }
  return tree;
}

bool may_include(const std::string& from_path, const std::string& to_path) {
  const Folder from = folder_of(from_path), to = folder_of(to_path);
  if (to.name == from.name) return true;
  if (may_never_read(from, to)) return false;
  return to.layer < from.layer || (to.layer == from.layer && may_read_neighbour(from.name, to.name));
}

Violations include_ranks(const Tree& tree) {
  Violations violations;
  for (const auto& [path, text] : tree) {
    const Folder from = folder_of(path);
    if (!is_source(path) || from.layer < 0 || path.starts_with("tests/install/")) continue;
    for (const Include& include : includes(text)) {
      if (!include.quoted) continue;
      const std::string target = resolve(tree, path, include.name);
      if (target.empty()) {
        violations.push_back(at(path, include.line) + "\"" + include.name +
                             "\" is no file of the repository; use <> for others");
        continue;
      }
      const Folder to = folder_of(target);
      if (!may_include(path, target))
        violations.push_back(at(path, include.line) + from.name + " (layer " + std::to_string(from.layer) +
                             ") may not include " + target + " (layer " + std::to_string(to.layer) + ")");
    }
  }
  return violations;
}

Violations cuda_headers(const Tree& tree) {
  static const std::regex cuda(R"re(^(cuda|cublas|cub/|thrust/|curand|nvtx|cooperative_groups|mma\.h|device_launch))re");
  Violations violations;
  for (const auto& [path, text] : tree) {
    if (!is_source(path) ||
        starts_with_any(path, {"cuda/", "include/warploom/cuda/", "python/native/cuda/", "tools/sampler_check/",
                               "tools/gpu_emulator/", "tools/gpu_kit/", "bench/gpu/", "tests/cuda/"}))
      continue;
    for (const Include& include : includes(text))
      if (!include.quoted && std::regex_search(include.name, cuda))
        violations.push_back(at(path, include.line) + "<" + include.name + "> outside cuda/");
  }
  return violations;
}

Violations app_includes(const Tree& tree) {
  Violations violations;
  for (const auto& [path, text] : tree) {
    const Folder from = folder_of(path);
    if (!is_source(path) || (from.name != "src/cli/" && from.name != "examples/")) continue;
    for (const Include& include : includes(text)) {
      const Folder to = include.quoted ? folder_of(resolve(tree, path, include.name)) : Folder{};
      if (!include.quoted || to.name == from.name || to.layer == 0) continue;
      violations.push_back(at(path, include.line) + from.name + " may not include \"" + include.name +
                           "\", which is not public");
    }
  }
  return violations;
}

Violations file_lengths(const Tree& tree) {
  constexpr std::ptrdiff_t kMaxLines = 600;
  Violations violations;
  for (const auto& [path, text] : tree) {
    const std::ptrdiff_t lines = std::count(text.begin(), text.end(), '\n');
    if (is_source(path) && lines > kMaxLines)
      violations.push_back(path + ": " + std::to_string(lines) + " lines, over " + std::to_string(kMaxLines));
  }
  return violations;
}

Violations machine_paths(const Tree& tree) {
  static const std::regex absolute(R"re((^|[\s"'`=(:])/(home|root|work|tmp|Users|mnt)/)re");
  Violations violations;
  for (const auto& [path, text] : tree) {
    if (starts_with_any(path, {"LICENSE", "tests/data/", "tests/structure/"})) continue;
    std::istringstream lines(text);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number)
      if (std::regex_search(line, absolute)) violations.push_back(at(path, number) + "a path of one machine: " + line);
  }
  return violations;
}

Violations host_tuning(const Tree& tree) {
  Violations violations;
  for (const auto& [path, text] : tree) {
    if (!path.ends_with("CMakeLists.txt") && !path.ends_with(".cmake") && path != "CMakePresets.json") continue;
    if (!path.starts_with("tools/gpu_emulator/") && text.find("-march=native") != std::string::npos)
      violations.push_back(path + ": -march=native; only the emulator is for the machine that builds it");
  }
  return violations;
}

Violations op_twins(const Tree& tree) {
  const auto text_of = [&](const std::string& path) { return tree.contains(path) ? tree.at(path) : std::string(); };
  static const std::regex args_struct(R"re(struct (\w+Args) \{)re");
  const std::string ops = text_of("src/backend/ops.h") + text_of("include/warploom/sample_args.h") +
                          text_of("include/warploom/paged_attention_args.h");
  std::vector<std::string> all;
  for (std::sregex_iterator it(ops.begin(), ops.end(), args_struct), end; it != end; ++it) all.push_back((*it)[1]);
  if (all.empty()) return {"src/backend/ops.h: no op found"};

  std::string tests;
  for (const auto& [path, text] : tree)
    if (path.starts_with("tests/") && path.ends_with("_test.cpp") && !path.starts_with("tests/structure/")) tests += text;

  std::vector<std::string> backends = {"src/cpu/cpu_backend.cpp"};
  if (tree.contains("cuda/backend/cuda_backend.cpp")) backends.push_back("cuda/backend/cuda_backend.cpp");

  Violations violations;
  for (const std::string& args : all) {
    const std::string op = op_name(args);
    const std::regex function("\\b" + op + "\\(const " + args + "&");
    if (!std::regex_search(text_of("src/backend/backend.h"), function))
      violations.push_back("src/backend/backend.h: no " + op + "(const " + args + "&)");
    for (const std::string& backend : backends)
      if (!std::regex_search(text_of(backend), function))
        violations.push_back(backend + ": no " + op + "(const " + args + "&)");
    if (!std::regex_search(tests, std::regex("\\b" + op + "\\("))) violations.push_back("tests: nothing calls " + op);
  }
  return violations;
}

Violations named_paths(const Tree& tree) {
  // In backquotes or as a link: something with a slash, or a file name with an extension that the tree knows.
  static const std::regex quoted(R"re(`([A-Za-z0-9_.][A-Za-z0-9_./-]*)`)re"), link(R"re(\]\(([A-Za-z0-9_./-]+)\))re");
  static const std::regex file_name(R"re(\.(h|cpp|cu|cuh|md|json|txt|cmake|py)$)re");
  const auto exists = [&](std::string path) {
    if (path.ends_with("/")) path.pop_back();
    const auto it = tree.lower_bound(path);
    return tree.contains(path) || (it != tree.end() && it->first.starts_with(path + "/")) ||
           std::any_of(tree.begin(), tree.end(), [&](const auto& entry) { return entry.first.starts_with(path + "/"); });
  };
  Violations violations;
  for (const char* document : {"README.md", "CONTRIBUTING.md", "docs/architecture.md"}) {
    if (!tree.contains(document)) {
      violations.push_back(std::string(document) + " is missing");
      continue;
    }
    const std::string& text = tree.at(document);
    for (const std::regex* pattern : {&quoted, &link})
      for (std::sregex_iterator it(text.begin(), text.end(), *pattern), end; it != end; ++it) {
        // A link starts from its document's folder.
        const fs::path folder = pattern == &link ? fs::path(document).parent_path() : fs::path();
        const std::string path = (folder / std::string((*it)[1])).lexically_normal().string();
        const bool looks_like_path = path.find('/') != std::string::npos || std::regex_search(path, file_name);
        if (!looks_like_path || starts_with_any(path, {"build/", "models/", ".venv/"})) continue;  // made, not kept
        if (!exists(path)) violations.push_back(std::string(document) + ": " + path + " is not there");
      }
  }
  return violations;
}

Violations readme_example(const Tree& tree) {
  if (!tree.contains("README.md") || !tree.contains("examples/generate.cpp"))
    return {"README.md or examples/generate.cpp is missing"};
  const std::string& readme = tree.at("README.md");
  const std::string opening = "```cpp\n";
  const std::size_t begin = readme.find(opening), end = readme.find("```\n", begin + opening.size());
  if (begin == std::string::npos || end == std::string::npos) return {"README.md: no ```cpp block"};
  if (readme.substr(begin + opening.size(), end - begin - opening.size()) == tree.at("examples/generate.cpp")) return {};
  return {"README.md: the C++ block differs from examples/generate.cpp"};
}

}  // namespace warploom::structure
